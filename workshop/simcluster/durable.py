"""Files that are whole after a power cut: either what they held before, or what was written, never nothing.

A file system may write the new name to disk before the content that belongs to it; so the content goes first.
"""

import os
from pathlib import Path

from workshop.simcluster.paths import SECRET_FILE


def replace(file: Path, text: str) -> None:
    """Gives a file another content, which only its owner can read; nobody ever finds half of it."""
    fresh = file.with_name(f".{file.name}-{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET_FILE), "w", encoding="utf-8") as output:
        output.write(text)
        output.flush()
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
