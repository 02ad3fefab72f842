"""One process of a container, and everything it leaves behind.

Linux keeps a container's processes in a namespace that dies with the first of them. Here every process inherits a mark
in its environment and a session, and what still has either when the first one is gone is killed.
"""

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import psutil

from workshop.process import carries, marked, start

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# How long a shell reports what a signal ended: 128 and the signal.
SIGNALLED = 128
# The package setproctitle, which vLLM's engines use, wipes the environment others see, mark included, without this.
KEEP_ENVIRONMENT = "SPT_NOENV"
# How a resource tracker is started, and how long it may take to tidy up (Lib/multiprocessing/resource_tracker.py).
TRACKER, TRACKER_S, LOOK_EVERY_S = "multiprocessing.resource_tracker", 2, 0.02
# Where Linux keeps POSIX shared memory and semaphores (shm_overview(7)).
SHARED = "/dev/shm"  # noqa: S108 - not a temporary file of ours


def _die_with_parent() -> None:
    """The process ends with the supervisor, however that ends (prctl(2))."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A running process. `ended` is set when nothing of it is left."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        self.pid = process.pid
        self.ended = asyncio.Event()
        self._process = process
        self._handle = os.pidfd_open(process.pid)
        self._mark = mark
        self._shared: set[Path] = set()

    @classmethod
    def start(cls, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, mark: str) -> "Process":
        """Starts it in a session of its own; output is appended to `log`. Raises OSError when it cannot start."""
        environment = {**env, KEEP_ENVIRONMENT: "1"}
        return cls(start(argv, log, mark, cwd=cwd, env=environment, before=_die_with_parent), mark)

    async def wait(self) -> int:
        """Its exit status as a shell says it, after the end of all it started. Who is cancelled here ends them all."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._handle, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._handle)
            try:
                # before its status is taken: until then nobody else can get its number, and with it its session
                await asyncio.to_thread(kill_marked, self._mark, self._shared, self.pid)
            finally:
                status = self._process.wait()
                os.close(self._handle)
                self.ended.set()
        return status if status >= 0 else SIGNALLED - status

    def signal(self, number: int) -> None:
        """To the first process only, as a container gets it."""
        if self.ended.is_set():
            return
        # a process that is killed cannot tidy up any more, and nobody can ask it afterwards
        self._shared |= shared_memory(marked(self._mark, self.pid))
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)


def shared_memory(processes: Sequence[psutil.Process]) -> set[Path]:
    """Files below /dev/shm that these have mapped: of a container they would vanish with it."""
    files = set()
    for process in processes:
        # not by psutil, which adds up the pages of each as well: seconds for a large model
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
            files |= {Path(line.split(maxsplit=5)[5]) for line in text.splitlines() if f" {SHARED}/" in line}
    return files


def kill_marked(mark: str, shared: AbstractSet[Path] = frozenset(), session: int | None = None) -> int:
    """Kills all of them until none is left; returns how many there were. `shared`: files to remove with theirs.

    `session`: that of a process whose end was seen and whose status was not taken, so that it is nobody else's.
    """
    killed, left, patient_until = 0, set(shared), None
    # one may start another while it is looked at
    while carriers := marked(mark, session):
        left |= shared_memory(carriers)
        workers = [process for process in carriers if not tracks(process)]
        if not workers:
            # Python's own trackers of shared memory: when everybody else is gone they tidy up and end by themselves
            patient_until = patient_until or time.monotonic() + TRACKER_S
            if time.monotonic() < patient_until:
                time.sleep(LOOK_EVERY_S)
                continue
        with contextlib.ExitStack() as handles:
            # all of them before any is waited for: who is left must not act on the end of another
            ending = [_kill(process, mark, session, handles) for process in workers or carriers]
            for handle in [handle for handle in ending if handle is not None]:
                # its environment cannot be read as soon as it begins to end, long before its memory and ports are free
                end = select.poll()
                end.register(handle, select.POLLIN)
                end.poll()
                killed += 1
    for file in left:
        with contextlib.suppress(OSError):
            file.unlink()
    return killed


def _kill(process: psutil.Process, mark: str, session: int | None, handles: contextlib.ExitStack) -> int | None:
    """Kills a process if it has the mark; gives a handle of it (pidfd_open(2)), or None where nothing was to kill."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(process.pid)
        handles.callback(os.close, handle)
        # looked at again while the handle holds its number: it cannot have become another process
        if carries(process, mark, session):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return handle
    return None


def tracks(process: psutil.Process) -> bool:
    """Whether this is a resource tracker of Python's multiprocessing."""
    with contextlib.suppress(psutil.Error):
        return any(TRACKER in word for word in process.cmdline())
    return False
