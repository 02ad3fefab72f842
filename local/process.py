"""One process of a container, and everything it leaves behind.

Linux keeps a container's processes in a namespace that dies with the first of them. Here every process inherits a mark
in its environment, and what still carries the mark when the first one is gone is killed. Nothing without it is touched.
"""

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from local.translate import MARK

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# How long a shell reports what a signal ended: 128 and the signal.
SIGNALLED = 128
# The package setproctitle, which vLLM's engines use, wipes the environment others see, mark included, without this.
KEEP_ENVIRONMENT = "SPT_NOENV"
# How a resource tracker is started, and how long it may take to tidy up (Lib/multiprocessing/resource_tracker.py).
TRACKER, TRACKER_S, LOOK_EVERY_S = b"multiprocessing.resource_tracker", 2, 0.02
# Where Linux keeps POSIX shared memory and semaphores (shm_overview(7)).
SHARED = "/dev/shm"  # noqa: S108 - not a temporary file of ours


def _die_with_parent() -> None:
    """The process ends with the supervisor, however that ends (prctl(2))."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A running process. `wait` gives its exit status as a shell would say it; nothing of it is left afterwards."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str) -> None:
        self.pid = process.pid
        self.ended = asyncio.Event()
        """Set when nothing of it is left."""
        self._process = process
        self._mark = mark
        self._shared: set[Path] = set()

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, mark: str) -> "Process":
        """Starts it in a session of its own; output is appended to `log`. Raises OSError when it cannot start."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={**env, KEEP_ENVIRONMENT: "1", MARK: mark},
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        return cls(process, mark)

    async def wait(self) -> int:
        """Waits for its end, then for that of everything it started. Who is cancelled here ends them all."""
        try:
            status = await self._process.wait()
        finally:
            try:
                await asyncio.to_thread(kill_marked, self._mark, self._shared)
            finally:
                self.ended.set()
        return status if status >= 0 else SIGNALLED - status

    def signal(self, number: int) -> None:
        """To the first process only, as a container gets it."""
        # a process that is killed cannot tidy up any more, and nobody can ask it afterwards
        self._shared |= shared_memory(marked(self._mark))
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def carries(pid: int, mark: str) -> bool:
    """Whether a process has this mark, or one below it. A process that ended, or is somebody else's, has none."""
    wanted = f"{MARK}={mark}".encode()
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(found == wanted or found.startswith(wanted + b"/") for found in variables)


def marked(mark: str) -> list[int]:
    """All processes that carry this mark, or one below it."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if pid != os.getpid() and carries(pid, mark)]


def shared_memory(pids: Sequence[int]) -> set[Path]:
    """Files below /dev/shm that these processes have mapped: of a container they would vanish with it."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
            found |= {Path(line.split(maxsplit=5)[5]) for line in text.splitlines() if f" {SHARED}/" in line}
    return found


def kill_marked(mark: str, shared: AbstractSet[Path] = frozenset()) -> int:
    """Kills all of them until none is left; returns how many there were. `shared`: files to remove with theirs.

    Python's own trackers of shared memory come last: when everybody else is gone they tidy up and end by themselves.
    """
    killed = 0
    left = set(shared)
    patient_until = None
    # one may start another while it is looked at
    while pids := marked(mark):
        left |= shared_memory(pids)
        others = [pid for pid in pids if not tracks(pid)]
        if not others:
            patient_until = patient_until or time.monotonic() + TRACKER_S
            if time.monotonic() < patient_until:
                time.sleep(LOOK_EVERY_S)
                continue
        # all of them before any is waited for: who is left must not act on the end of another
        handles = [handle for pid in others or pids if (handle := _kill(pid, mark)) is not None]
        killed += len(handles)
        for handle in handles:
            _wait_for_end(handle)
    for file in left:
        with contextlib.suppress(OSError):
            file.unlink()
    return killed


def _kill(pid: int, mark: str) -> int | None:
    """Kills a process if it has the mark; gives a handle of it (pidfd_open(2)), or None where nothing was to kill."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None
    # looked at again while the handle holds its number: it cannot have become another process
    if carries(pid, mark):
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return handle
    os.close(handle)
    return None


def _wait_for_end(handle: int) -> None:
    """Waits for the end of a killed process, and closes its handle.

    Its environment cannot be read any more as soon as it begins to end, long before its memory and ports are free
    again: whoever looked only for marks would take it for gone.
    """
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        ended.poll()
    finally:
        os.close(handle)


def tracks(pid: int) -> bool:
    """Whether this is a resource tracker of Python's multiprocessing."""
    try:
        return TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
