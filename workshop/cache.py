"""The user's cache: what both workshops keep there is whole or not there, after a power cut, too.

Whoever makes a folder works in another beside it, which gets the final name only when everything in it is on disk.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from settings.problems import Problem, Refused
from workshop.lock import held

OWNER_ONLY, SECRET_FILE = 0o700, 0o600
GB = 10**9


def cache() -> Path:
    """`$XDG_CACHE_HOME/llm-stack`; it need not exist. Raises `Refused` where nothing says where that is."""
    # a relative XDG_CACHE_HOME is to be ignored: XDG Base Directory Specification 0.8, "Basics"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "llm-stack"
    except RuntimeError:
        rule = f"is not set, and user {os.getuid()} has no home directory; set it, or XDG_CACHE_HOME, to a directory"
        raise Refused([Problem("HOME", rule)]) from None


def free_gb(folder: Path) -> float:
    """Free space on its disk."""
    return shutil.disk_usage(folder).free / GB


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`; when it is not there, `make` fills an empty one first. A second caller waits, and finds the result."""
    if folder.is_dir():
        return folder
    with held(folder.with_name(f".{folder.name}.lock")):
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


def write_secret(file: Path, text: str) -> None:
    """Gives a file another content, which only its owner can read; nobody ever finds half of it."""
    fresh = file.with_name(f".{file.name}-{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET_FILE), "w", encoding="utf-8") as output:
        output.write(text)
        output.flush()
        # a file system may write the new name to disk before the content that belongs to it
        os.fsync(output.fileno())
    fresh.rename(file)


def sync_folder(folder: Path) -> None:
    """Waits until everything in a folder is on disk."""
    for place in (folder, *folder.rglob("*")):
        # what a link leads to is either in here as well, or somebody else's
        if not place.is_symlink() and (place.is_dir() or place.is_file()):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
