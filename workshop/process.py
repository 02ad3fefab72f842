"""Processes that outlive the command that started them: each carries a mark in its environment, and is known by it.

A number alone proves nothing: the system gives it to somebody else once its owner is gone. A mark is the path of the
folder a process works for and then, below it, its own name; whoever starts others hands it on.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from workshop.problems import Impossible

Command = Sequence[str | Path]
Before = Callable[[], None]
MARK = "LLM_STACK_WORKSHOP"
STOP_TIMEOUT_S, MARK_TIMEOUT_S, LOOK_EVERY_S = 10, 5, 0.5
ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
# Bytes read of a log per line wanted.
LONGEST_LINE = 2048


def start(
    command: Command, log: Path, mark: str, *, cwd: Path, env: Mapping[str, str], before: Before | None = None
) -> subprocess.Popen[bytes]:
    """Starts a command, which Ctrl-C here does not reach; `before` is called in it. Raises OSError when it cannot."""
    # its output may hold names and addresses: for its owner alone
    log.touch(mode=0o600)
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - what is rendered, or our own words
            command,
            env={**env, MARK: mark},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - it takes no lock
        )
    _await_mark(psutil.Process(child.pid))
    return child


def _await_mark(process: psutil.Process) -> None:
    """Waits until others see the mark: for a moment after a process has begun it shows no environment (fs/exec.c)."""
    deadline = time.monotonic() + MARK_TIMEOUT_S
    while not mark_of(process) and process.status() not in ENDED and time.monotonic() < deadline:
        time.sleep(0.001)


def run(command: Command, timeout_s: float, late: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """A command that has ended, and its output, whatever its status. Raises `Impossible` with `late` in place of it."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **more)  # noqa: S603 - our own words
    except subprocess.TimeoutExpired:
        raise Impossible(late) from None


def watched(command: Command, look: Callable[[], object]) -> tuple[int, list[str]]:
    """(exit status, lines of output) of a command; `look` is called now and then. Whatever ends this ends it, too."""
    with subprocess.Popen(  # noqa: S603 - our own words
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output, _ = process.communicate(timeout=LOOK_EVERY_S)
                    return process.returncode, [line for line in output.splitlines() if line.strip()]
                look()
        finally:
            if process.poll() is None:
                process.terminate()


def processes() -> Iterator[psutil.Process]:
    """Processes of this user: also root, who may read everybody's environment, ends nobody else's."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == os.getuid():
                yield process


def mark_of(process: psutil.Process) -> str:
    """Its mark; empty where it has none, has ended, or is somebody else's."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK, "")
    return ""


def carries(process: psutil.Process, mark: str, session: int | None = None) -> bool:
    """Whether a process has this mark, or one below it, or is of this session, and has not ended."""
    # who writes a title over its environment, or starts another without one, shows no mark; a daemon leaves the session
    if f"{mark_of(process)}/".startswith(f"{mark}/"):
        return True
    with contextlib.suppress(psutil.Error, OSError):
        return os.getsid(process.pid) == session and process.status() not in ENDED
    return False


def marked(mark: str, session: int | None = None) -> list[psutil.Process]:
    """All processes that carry this mark, or one below it, or are of this session; but not this very process."""
    return [process for process in processes() if process.pid != os.getpid() and carries(process, mark, session)]


def stop(*processes: psutil.Process, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Ends processes: politely, and after `timeout_s` for certain. Those that are gone already are fine."""
    left = list(processes)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(process)
        _, left = psutil.wait_procs(left, timeout_s)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log that are not blank; none where there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - count * LONGEST_LINE))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.split("\n") if line.strip()][-count:]


def last_line(output: str, otherwise: str) -> str:
    """The last line of what a program has printed; `otherwise` where that is nothing."""
    return (output.strip() or otherwise).splitlines()[-1].strip()
