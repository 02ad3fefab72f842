"""Gateway pods of a rendered stack as processes: the real LiteLLM with the rendered arguments, variables and files.

Only addresses differ from a cluster: names of Services become loopback addresses, ports and folders those of this run.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway.fake_vllm import LOOPBACK
from tests.harness import Config, stack
from workshop.local.toolchain import VENV

START_S = 240
ENTRYPOINT = "litellm"
EVERY_ADDRESS = "0.0.0.0"
Keys = Mapping[str, str]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return found.getsockname()[1]


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@dataclass(frozen=True)
class Rendered:
    """What a stack declares of its gateway."""

    pod: Mapping[str, Any]
    files: Mapping[str, str]
    namespace: str


def rendered(config: Config) -> Rendered:
    """The gateway's pod and the files of its ConfigMap."""
    done = stack(config)
    deployment = done.object("Deployment", "litellm")
    pod = deployment["spec"]["template"]["spec"]
    name = next(volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "config")
    return Rendered(pod, done.object("ConfigMap", name)["data"], deployment["metadata"]["namespace"])


@dataclass(eq=False)
class Proxy:
    """One gateway pod that runs. `url` and `metrics_url` are those of its ports."""

    folder: Path
    ports: Mapping[str, int]
    environment: dict[str, str]
    commands: list[list[str]]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{LOOPBACK}:{self.ports['http']}"

    @property
    def port(self) -> int:
        """That of its Service."""
        return self.ports["http"]

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reaches it."""
        return f"http://{LOOPBACK}:{self.ports['metrics']}/metrics"

    @property
    def log(self) -> str:
        """What its containers wrote."""
        return "".join(file.read_text("utf-8", "replace") for file in sorted(self.folder.glob("*.log")))

    def launch(self) -> None:
        """Starts its containers."""
        for number, command in enumerate(self.commands):
            with (self.folder / f"{number}.log").open("ab") as log:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        env=self.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=self.folder,
                        start_new_session=True,
                    )
                )

    def wait(self, path: str = "/health/readiness", seconds: float = START_S) -> None:
        """Until it is ready; raises when it ended before, or takes longer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(process.poll() is not None for process in self.processes):
                raise StartFailed(f"a container ended with {[p.poll() for p in self.processes]}: {self.log[-3000:]}")
            try:
                with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                    if answer.status == 200:
                        return
            except (OSError, urllib.error.URLError):
                time.sleep(0.25)
        raise StartFailed(f"not ready after {seconds} s: {self.log[-3000:]}")

    def stop(self) -> None:
        """Ends its containers and all they started, without time for clients to close (a second SIGTERM)."""
        for process in self.processes:
            for number, seconds in ((signal.SIGTERM, 0.3), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    break
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
        self.processes.clear()


class StartFailed(Exception):
    """A proxy did not come up."""


def proxy(found: Rendered, keys: Keys, addresses: Mapping[str, str], more: Mapping[str, str] | None = None) -> Proxy:
    """A pod that is not started yet.

    `keys`: entry of the Secrets → value. `addresses`: `host:port`, or the
    start of a URL, as rendered → as it is here. `more`: variables of
    this machine, for programs that an image brings along.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    containers = found.pod["containers"]
    ports = {port["name"]: free_port() for item in containers for port in item.get("ports", [])}
    there = {str(port["containerPort"]): str(ports[port["name"]]) for item in containers for port in item["ports"]}
    redis = {"REDIS_HOST": 0, "REDIS_PORT": 1}

    def here(value: str) -> str:
        if value == EVERY_ADDRESS:
            return LOOPBACK
        for inside in ("/etc/litellm", "/tmp"):
            if value.startswith(inside):
                return str(folder) + value.removeprefix(inside)
        return there.get(value, value)

    variables: dict[str, str] = {}
    for item in containers[0].get("env", []):
        if "value" not in item:
            variables[item["name"]] = keys[item["valueFrom"]["secretKeyRef"]["key"]]
        else:
            variables[item["name"]] = here(item["value"])
    variables = {name: _moved(value, addresses) for name, value in variables.items()}
    if "REDIS_HOST" in variables:
        at = addresses[f"{variables['REDIS_HOST']}:{variables['REDIS_PORT']}"].split(":")
        variables |= {name: at[position] for name, position in redis.items()}
    for name, text in found.files.items():
        (folder / name).write_text(_moved(text, addresses), encoding="utf-8")
    commands = []
    for item in containers:
        words = [*item.get("command", [ENTRYPOINT]), *item.get("args", [])]
        program, *rest = [here(word) for word in words]
        commands.append([str(VENV / "bin" / Path(program).name), *rest])
    environment = {"PATH": f"{VENV / 'bin'}:{os.environ['PATH']}", **variables, **(more or {})}
    return Proxy(folder, ports, environment, commands)


def _moved(text: str, addresses: Mapping[str, str]) -> str:
    for there, here in addresses.items():
        text = text.replace(there, here) if "://" in there else text.replace(f"http://{there}/", f"http://{here}/")
    return text


# Replicas that tests share.
RUNNING: list[Proxy] = []


def start(*proxies: Proxy) -> None:
    """Starts all and waits for all; each that does not come up is started once more."""
    for item in proxies:
        item.launch()
    for item in proxies:
        try:
            item.wait()
        except StartFailed:
            item.stop()
            item.launch()
            item.wait()


def revive() -> list[str]:
    """Starts what does not run, as a kubelet does; returns how each ended. LiteLLM's interpreter crashed once."""
    crashed = [
        item for item in RUNNING if not item.processes or any(process.poll() is not None for process in item.processes)
    ]
    ends = [f"a replica ended with {[process.poll() for process in item.processes]}" for item in crashed]
    for item in crashed:
        item.stop()
    start(*crashed)
    return ends


@contextmanager
def running(*proxies: Proxy) -> Iterator[None]:
    """Starts all, and ends all whatever happens; `revive` looks after them meanwhile."""
    try:
        start(*proxies)
        RUNNING.extend(proxies)
        yield
    finally:
        RUNNING[:] = [item for item in RUNNING if item not in proxies]
        for item in proxies:
            item.stop()
            shutil.rmtree(item.folder, ignore_errors=True)
