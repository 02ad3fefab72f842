"""Short names for long directories: programs make sockets in /tmp, and a socket's path has 107 bytes at most.

vLLM's are named by 36 characters (ipc:// of zmq), so /tmp of a pod is reached through a link in the system's own.
"""

import contextlib
import secrets
import tempfile
from pathlib import Path

PREFIX = "llm-"


def short(place: Path) -> Path:
    """A new link to `place` in the system's folder for temporary files."""
    link = Path(tempfile.gettempdir()) / f"{PREFIX}{secrets.token_hex(4)}"
    link.symlink_to(place, target_is_directory=True)
    return link


def forget(below: Path) -> None:
    """Removes every link to something below this directory, whoever has made it."""
    for link in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if link.is_symlink() and link.readlink().is_relative_to(below):
                link.unlink()
