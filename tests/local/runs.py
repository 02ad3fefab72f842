"""A stack brought up by the command a person types, in a project of its own, and ways to look at it.

What stands here proves nothing by itself.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preview.rendering.manifests import read
from tests.harness import ROOT
from workshop.local.blueprint import Blueprint
from workshop.local.chat import Endpoint, request
from workshop.local.client import ask
from workshop.local.places import RunFolder
from workshop.local.process import marked
from workshop.local.screen import endpoint
from workshop.local.up import planned

# Generous: two cores may be busy with something else.
DEADLINE_S = 400
COMMENT = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass
class Run:
    """One stack that is up. `said`: what the command printed; `shared_before`: shared memory there was before."""

    project: Path
    stack: str
    environment: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    code: int | None = None
    shared_before: set[str] = field(default_factory=set)

    @property
    def folder(self) -> RunFolder:
        """Where it lives."""
        return RunFolder.of(self.project, self.stack)

    @property
    def plan(self) -> Blueprint:
        """What was planned for it."""
        return planned(read(self.folder.objects), self.folder)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`python -m workshop.local …` for this stack, in a session of its own."""
        command, *rest = arguments
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "workshop.local",
                command,
                *rest,
                "--stack",
                self.stack,
                "--project",
                str(self.project),
            ],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> tuple[int, str]:
        """(exit code, output) of the same."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=DEADLINE_S)
        return process.returncode, said

    def up(self) -> "Run":
        """Brings it up; the output is in `said`."""
        self.shared_before = shared_memory()
        self.code, self.said = self.call("up")
        assert self.code == 0, self.said
        return self

    def status(self) -> dict[str, Any]:
        """What the supervisor says."""
        return ask(self.folder, do="status")

    def pod(self, workload: str) -> dict[str, Any]:
        """The newest pod of a workload that is not on its way out."""
        found = [pod for pod in self.status()["pods"] if pod["workload"] == f"Deployment {workload}"]
        return [pod for pod in found if not pod["deleting"]][-1]

    def container(self, workload: str) -> dict[str, Any]:
        """Its main container."""
        return next(item for item in self.pod(workload)["containers"] if not item["init"])

    def gateway(self) -> Endpoint:
        """The way in."""
        plan = self.plan
        assert plan.gateway is not None
        return endpoint(plan, plan.gateway, self.status())

    def scrape(self, workload: str, port: str, path: str) -> tuple[dict[str, str], list[Sample]]:
        """(name → type, samples) of a pod's metrics."""
        status, text = request(Endpoint(self.pod(workload)["ports"][port], "none"), "GET", path)
        assert status == 200, text
        samples = [
            Sample(name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in SAMPLE.findall(text)
        ]
        return dict(COMMENT.findall(text)), samples

    def processes(self) -> list[int]:
        """Everything that carries the mark of this run."""
        return [process.pid for process in marked(self.folder.mark)]


def project(folder: Path, **stacks: str) -> Path:
    """A project with these stack files that runs this program."""
    declared = (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")
    (folder / "Pulumi.yaml").write_text(f"main: {ROOT}\n{declared}", encoding="utf-8")
    for name, text in stacks.items():
        (folder / f"Pulumi.{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def shared_memory() -> set[str]:
    """Files of POSIX shared memory that Python makes, anybody's."""
    return {file.name for file in Path("/dev/shm").iterdir() if file.name.startswith(("psm_", "sem.mp-"))}


def eventually(what: Callable[[], Any], within_s: float = DEADLINE_S) -> Any:
    """What `what` returns as soon as that is true."""
    end = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.2)  # a look, not a wait for luck: the deadline decides
    return found


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the signal goes to everything in the foreground."""
    os.killpg(process.pid, signal.SIGINT)


def arguments_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
