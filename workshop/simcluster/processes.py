"""Processes that outlive the command that started them, and how to end exactly those.

A number alone proves nothing: the system gives it to somebody else once its owner is gone. So the moment of the start
is kept with it, and only a process with both is ours.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.simcluster.paths import OWNER_ONLY

PROJECT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 10
POLL_S = 0.05


@dataclass(frozen=True)
class Process:
    """One process by number, and when it started, in whatever unit the system counts."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether it runs still."""
        return self.started != "" and start_of(self.pid) == self.started


def start(command: Sequence[str | Path], log: Path) -> Process:
    """Starts a command in a session of its own, so that Ctrl-C here does not reach it; what it says goes to `log`.

    Python finds this project's packages wherever the caller was started.
    """
    # somebody may have thrown the logs away
    log.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    log.touch(mode=0o600)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
    return Process(child.pid, start_of(child.pid))


def start_of(pid: int) -> str:
    """When a process started; empty when there is none, or when it has ended and only waits to be collected."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return _start_in(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"))
    except OSError:
        return "" if Path("/proc/self").exists() else _start_by_ps(pid)


def _start_in(said: str) -> str:
    """As `start_of`, from what /proc says."""
    # the name in parentheses may hold anything; fields after it: state is the 3rd, threads the 20th, start time the
    # 22nd (proc(5))
    fields = said.rpartition(")")[2].split()
    # the first thread may wait to be collected while others still hold files and ports
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return "" if ended else fields[19]


def _start_by_ps(pid: int) -> str:
    """As `start_of`, where there is no /proc."""
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = done.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def stop(process: Process, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Ends a process of ours: politely, and after `timeout_s` for certain. One that is gone already is fine."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if not process.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, sign)
        deadline = time.monotonic() + timeout_s
        while process.alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)
