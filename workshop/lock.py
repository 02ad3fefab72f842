"""A lock for one holder of a place at a time, which the kernel releases however the holder's process ends."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def held(place: Path, busy: Callable[[], bool] = lambda: True, *, folder: bool = False) -> Iterator[bool]:
    """Holds a file, or a `folder`, made when missing; whether it is ours. Raises OSError where it cannot be made.

    `busy` is asked when somebody else has it: whether to wait.
    """
    handle = _held(place, busy, folder=folder)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _held(place: Path, busy: Callable[[], bool], *, folder: bool) -> int | None:
    while True:
        (place if folder else place.parent).mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        if not _alone(handle, busy):
            os.close(handle)
            return None
        # who held it may have removed it meanwhile: what is held then has no name, and keeps nobody out
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), place.stat()):
                return handle
        os.close(handle)


def _alone(handle: int, busy: Callable[[], bool]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not busy():
            return False
        fcntl.flock(handle, fcntl.LOCK_EX)
    return True
