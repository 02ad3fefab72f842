"""Processes that outlive their command: how they are started, and how they end.

What marks mean is tested where all that carries one is killed: tests/unit/workshop/local/test_process.py.
"""

import os
import stat
import sys
from pathlib import Path

import psutil
import pytest

from workshop import process
from workshop.process import marked, start, stop, watched

WAITS = "import time; print('up', flush=True); time.sleep(600)"


def begin(folder: Path, script: str = WAITS) -> psutil.Process:
    """A process whose mark is the folder."""
    child = start([sys.executable, "-c", script], folder / "log", str(folder), cwd=folder, env=os.environ)
    return psutil.Process(child.pid)


def test_a_process_is_marked_until_it_is_stopped(tmp_path: Path):
    """Then it is gone, and stopping it again is fine."""
    started = begin(tmp_path)
    before = marked(str(tmp_path))
    stop(started)
    stop(started)
    assert (before, marked(str(tmp_path)), started.is_running()) == ([started], [], False)


def test_a_mark_is_seen_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process has no environment for a moment after it has begun; whoever has started it waits until then."""
    seen, look = [""] * 3, process.mark_of

    def late(one: psutil.Process) -> str:
        return seen.pop() if seen else look(one)

    monkeypatch.setattr(process, "mark_of", late)
    started = begin(tmp_path)
    left = [*seen]
    stop(started)
    assert left == []


def test_a_process_that_will_not_end_is_ended(tmp_path: Path):
    """SIGTERM first, and SIGKILL for what ignores it."""
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
    started = begin(tmp_path, deaf)
    while "up" not in (tmp_path / "log").read_text(encoding="utf-8"):
        assert started.is_running()
    stop(started, timeout_s=0.3)
    assert not started.is_running()


def test_somebody_else_who_has_the_number_is_let_be(tmp_path: Path):
    """A number is given again; who started at another moment is another process."""
    started, gone = begin(tmp_path), begin(tmp_path)
    stop(gone)
    gone._pid, gone._proc.pid = started.pid, started.pid  # pyright: ignore[reportAttributeAccessIssue]
    stop(gone)
    before = started.is_running()
    stop(started)
    assert before


def test_logs_are_private(tmp_path: Path):
    """What a process says may hold names and addresses: only its owner reads it."""
    stop(begin(tmp_path, ""))
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_what_takes_long_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While it runs; then there is its status, and what it has said on either way out, without blank lines."""
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.01)
    script = f"echo one; echo >&2; while [ ! -e {tmp_path / 'go'} ]; do sleep 0.01; done; echo two >&2; exit 3"
    assert watched(["sh", "-c", script], (tmp_path / "go").touch) == (3, ["one", "two"])


def test_who_gives_up_ends_what_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C leaves nothing behind."""
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.01)
    pid = tmp_path / "pid"

    def interrupt() -> None:
        if pid.exists() and pid.read_text(encoding="utf-8").strip():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(["sh", "-c", f"echo $$ > {pid}; exec sleep 1000"], interrupt)
    assert not psutil.pid_exists(int(pid.read_text(encoding="utf-8")))
