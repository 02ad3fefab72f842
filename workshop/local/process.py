"""One process of a container, and everything it leaves behind.

Linux keeps a container's processes in a namespace that dies with the first of them. Here every process inherits a mark
in its environment and a session, and what still has either when the first one is gone is killed. Nothing else is.
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

from workshop.local.translate import MARK

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# How long a shell reports what a signal ended: 128 and the signal.
SIGNALLED = 128
# States of processes that have ended: a zombie, and one that is being taken away (proc(5)).
ENDED = "ZX"
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

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        self.pid = process.pid
        self.ended = asyncio.Event()
        """Set when nothing of it is left."""
        self._process = process
        self._handle = os.pidfd_open(process.pid)
        self._mark = mark
        self._shared: set[Path] = set()

    @classmethod
    def start(cls, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, mark: str) -> "Process":
        """Starts it in a session of its own; output is appended to `log`. Raises OSError when it cannot start."""
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - what the stack renders is what should run
                argv,
                env={**env, KEEP_ENVIRONMENT: "1", MARK: mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it takes no lock
            )
        return cls(process, mark)

    async def wait(self) -> int:
        """Waits for its end, then for that of everything it started. Who is cancelled here ends them all."""
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


def carries(pid: int, mark: str, session: int | None = None) -> bool:
    """Whether a process has this mark, or one below it, or is of this session, and has not ended.

    The mark is not seen where a program writes its title over its environment, or starts another without one; the
    session is left by a daemon. A process that is somebody else's has neither.
    """
    wanted = f"{MARK}={mark}".encode()
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if any(found == wanted or found.startswith(wanted + b"/") for found in variables):
            return True
    return session is not None and _session(pid) == session


def _session(pid: int) -> int | None:
    """The session of a process that has not ended."""
    try:
        # the name in parentheses may hold anything; after it come state, parent, group, session (proc(5))
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ENDED else int(fields[3])


def marked(mark: str, session: int | None = None) -> list[int]:
    """All processes that carry this mark, or one below it, or are of this session."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if pid != os.getpid() and carries(pid, mark, session)]


def shared_memory(pids: Sequence[int]) -> set[Path]:
    """Files below /dev/shm that these processes have mapped: of a container they would vanish with it."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
            found |= {Path(line.split(maxsplit=5)[5]) for line in text.splitlines() if f" {SHARED}/" in line}
    return found


def kill_marked(mark: str, shared: AbstractSet[Path] = frozenset(), session: int | None = None) -> int:
    """Kills all of them until none is left; returns how many there were. `shared`: files to remove with theirs.

    `session`: that of a process whose end was seen and whose status was not taken, so that it is nobody else's.

    Python's own trackers of shared memory come last: when everybody else is gone they tidy up and end by themselves.
    """
    killed = 0
    left = set(shared)
    patient_until = None
    # one may start another while it is looked at
    while pids := marked(mark, session):
        left |= shared_memory(pids)
        others = [pid for pid in pids if not tracks(pid)]
        if not others:
            patient_until = patient_until or time.monotonic() + TRACKER_S
            if time.monotonic() < patient_until:
                time.sleep(LOOK_EVERY_S)
                continue
        # all of them before any is waited for: who is left must not act on the end of another
        handles = [handle for pid in others or pids if (handle := _kill(pid, mark, session)) is not None]
        killed += len(handles)
        for handle in handles:
            _wait_for_end(handle)
    for file in left:
        with contextlib.suppress(OSError):
            file.unlink()
    return killed


def _kill(pid: int, mark: str, session: int | None) -> int | None:
    """Kills a process if it has the mark; gives a handle of it (pidfd_open(2)), or None where nothing was to kill."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None
    # looked at again while the handle holds its number: it cannot have become another process
    if carries(pid, mark, session):
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
