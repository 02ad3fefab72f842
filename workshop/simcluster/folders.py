"""Folders below the cache that are made once: whole, or not at all.

Whoever makes one works in another folder beside it, which gets the final name only when everything is in it. What an
end without warning leaves behind, of a power cut, too, never looks like a result, and the next attempt removes it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from workshop.simcluster.durable import sync_folder
from workshop.simcluster.paths import OWNER_ONLY
from workshop.simcluster.problems import Impossible


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`; when it is not there, `make` fills an empty one first. A second caller waits, and finds the result."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        # it dies with its process
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = folder.with_name(f".{folder.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=OWNER_ONLY)
            try:
                make(fresh)
                sync_folder(fresh)
                fresh.rename(folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    return folder


def check_free(folder: Path, needed_gb: float, act: str) -> None:
    """Raises `Impossible` where `act` ("building") would run out of disk half-way, and say something less helpful."""
    status = os.statvfs(folder)
    free_gb = status.f_bavail * status.f_frsize / 1e9
    if free_gb < needed_gb:
        raise Impossible(f"{folder}: {act} needs about {needed_gb:g} GB, {free_gb:.1f} GB are free; nothing was done")
