"""The rendered Job that tells the gateway of its teams, as a process of this machine, and what gets in its way."""

import http.client
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gateway import stacks
from tests.gateway.fake_vllm import LOOPBACK
from tests.harness import Config, container_of, environment, merged, stack
from workshop.local.toolchain import VENV

NAME = "litellm-teams"


def with_teams(teams: Mapping[str, Any]) -> Config:
    """The stack of the fixture `databased`, with these teams; each has the Secret `NAME-keys`."""
    own = {name: {"existingSecret": f"{name}-keys", **team} for name, team in teams.items()}
    return merged(stacks.with_database(), {"gateway": {"teams": own}})


def value_of(team: str, key: str, generation: int = 1) -> str:
    """What the Secret of a team has for a key."""
    return f"sk-value-of-{team}-{key}-{generation}-0123456789"


@dataclass
class Job:
    """The Job of a stack in a folder of its own; `url`: where it finds the gateway."""

    folder: Path
    environment: dict[str, str]

    def start(self, url: str, **more: str) -> subprocess.Popen[str]:
        """Begins a pod of it."""
        variables = {**self.environment, "GATEWAY_URL": url, **more}
        words = [str(VENV / "bin" / "python"), str(self.folder / "gateway_teams.py")]
        return subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True)

    def run(self, url: str, **more: str) -> tuple[int, str]:
        """A pod of it, until it ends: exit status, and what it said."""
        pod = self.start(url, **more)
        said = pod.communicate()[1]
        return pod.returncode, said


@contextmanager
def job(config: Config, **values: str) -> Iterator[Job]:
    """The Job of a stack, with its files and variables as rendered; `values`: of variables that are others here."""
    done = stack(config)
    body = next(body for body in done.objects("Job") if body["metadata"]["name"].startswith(f"{NAME}-"))
    mounted = body["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
    folder = Path(tempfile.mkdtemp(prefix="gateway-teams-"))
    for name, text in done.object("ConfigMap", mounted)["data"].items():
        (folder / name).write_text(text, encoding="utf-8")
    variables: dict[str, str] = {"PATH": os.environ["PATH"]}
    for name, value in environment(container_of(body)).items():
        secret, _, entry = value.removeprefix("secret:").partition("/")
        if not value.startswith("secret:"):
            variables[name] = value.replace("/scripts/", f"{folder}/")
        elif entry == "master-key":
            variables[name] = stacks.MASTER
        else:
            key, _, generation = entry.rpartition("-")
            variables[name] = value_of(secret.removesuffix("-keys"), key, int(generation))
    try:
        yield Job(folder, {**variables, **values})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Between:
    """Stands between a pod and the gateway, and ends the pod when the gateway has answered request number `cut_at`."""

    def __init__(self, url: str) -> None:
        self.requests = 0
        self.cut_at: int | None = None
        self.pod: subprocess.Popen[str] | None = None
        between, host = self, urlsplit(url).netloc

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                between.requests += 1
                cut = between.requests == between.cut_at
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                connection = http.client.HTTPConnection(host, timeout=60)
                connection.request(self.command, self.path, body or None, dict(self.headers))
                answer = connection.getresponse()
                text = answer.read()
                if cut:
                    between.end()
                    return
                self.send_response(answer.status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = handle_one  # noqa: N815 - names that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """Ends the pod as the kernel does when a node dies."""
        assert self.pod is not None, "a pod runs"
        self.pod.kill()

    def close(self) -> None:
        """Listens no more."""
        self._server.shutdown()
        self._server.server_close()
