"""The rendered router of a server as a process: the real vllm-router with the rendered arguments.

Only addresses and ports differ from a cluster. What stands here proves nothing by itself.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gateway.client import request
from tests.gateway.fake_vllm import LOOPBACK
from tests.gateway.proxies import free_port
from tests.harness import Deployed, minimal, stack
from tests.local.store import packages
from workshop.local.toolchain import VENV

START_S = 60
KEY = "sk-of-the-server"
MAIN = "import sys; from vllm_router.launch_router import main; sys.exit(main())"
ALONE = ("--service-discovery-namespace", "--selector")


def small() -> Deployed:
    """A stack with a router in front of `small`."""
    models = {"small": {"replicas": {"min": 2, "max": 3}, "routing": "prefix"}}
    return stack(minimal(models=models, gpuPools={"l4": {"nodes": 4}}))


def container(deployed: Deployed, model: str) -> dict[str, Any]:
    """The rendered container of the router of a model."""
    (found,) = deployed.object("Deployment", f"vllm-{model}-router")["spec"]["template"]["spec"]["containers"]
    return found


def selected(rendered: Mapping[str, Any]) -> dict[str, str]:
    """Labels of the pods that it looks for."""
    words = rendered["args"]
    return dict(word.split("=") for word in words[words.index("--selector") + 1 :])


def arguments(port: int, server_port: int | None = None, rendered: Mapping[str, Any] | None = None) -> list[str]:
    """Those of a container (that of `small`) at other ports; without `server_port` none that look for pods."""
    rendered = rendered or container(small(), "small")
    here = {
        "--host": LOOPBACK,
        "--port": str(port),
        "--prometheus-port": str(free_port()),
        "--service-discovery-port": str(server_port),
    }
    words = rendered["args"]
    if server_port is None:
        words = [word for word in words[: words.index(ALONE[0])] if not word.startswith("--service-discovery")]
    words = [word.replace(f"$({rendered['env'][0]['name']})", KEY) for word in words]
    pairs = [word.partition("=") for word in words]
    return [f"{name}={here[name]}" if name in here else f"{name}{sign}{value}" for name, sign, value in pairs]


@contextmanager
def running(words: Sequence[str], **environment: str) -> Iterator[None]:
    """The router, until it says that it is alive; its log is in the message of what goes wrong."""
    url = next(word for word in words if word.startswith("--port=")).replace("--port=", f"http://{LOOPBACK}:")
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [VENV / "bin" / "python", "-c", MAIN, *words],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(packages()), **environment},
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + START_S
            while not _alive(url):
                log.seek(0)
                assert process.poll() is None, log.read()
                assert time.monotonic() < end, log.read()
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _alive(url: str) -> bool:
    try:
        return request(url, "/liveness", timeout_s=5).status == 200
    except OSError:
        return False


class Cluster:
    """An API server that has pods, says what becomes of them, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self.pods: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cluster.answer(self)

            def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                pass

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """A list of pods, or events about them until the client goes."""
        split = urlsplit(handler.path)
        watches = "watch=" in split.query
        self.asked.append((handler.command, split.path, watches))
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.end_headers()
        if not watches:
            items = list(self.pods.values())
            body = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
            handler.wfile.write(json.dumps(body).encode())
            return
        told = 0
        try:
            while True:
                for event in self.events[told:]:
                    handler.wfile.write(json.dumps(event).encode() + b"\n")
                    handler.wfile.flush()
                told = len(self.events)
                time.sleep(0.05)
        except OSError:
            pass

    def pod(self, name: str, ip: str, labels: dict[str, str], *, ready: bool = True, leaves: bool = False) -> None:
        """A pod as it is now."""
        metadata: dict[str, Any] = {"name": name, "namespace": "llm-serving", "labels": labels, "resourceVersion": "1"}
        metadata["uid"] = name
        if leaves:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        status = {
            "phase": "Running",
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}, "status": status}
        kind = "MODIFIED" if name in self.pods else "ADDED"
        self.pods[name] = body
        self.events.append({"type": kind, "object": body})

    def kubeconfig(self, folder: Path) -> str:
        """A file that leads to it."""
        here = {"server": f"http://{LOOPBACK}:{self.server.server_port}"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": here}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
        return str(folder / "kubeconfig")

    def close(self) -> None:
        """Ends it."""
        self.server.shutdown()
