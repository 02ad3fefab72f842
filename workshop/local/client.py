"""Talks to a running supervisor: what it knows, and what it is asked to do."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from workshop.local.places import RunFolder

ANSWER_TIMEOUT_S = 30


class NotRunning(Exception):
    """No supervisor answers for this folder."""


def ask(folder: RunFolder, **question: Any) -> dict[str, Any]:
    """One question, one answer. Raises `NotRunning`."""
    try:
        # a socket's path may have 107 bytes only; this one goes through the folder's handle, however deep it lies
        directory = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise NotRunning from None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(Path(f"/proc/self/fd/{directory}") / folder.control.name))
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as stream:
                return json.loads(stream.read())
    except (OSError, ValueError):
        raise NotRunning from None
    finally:
        os.close(directory)


def status(folder: RunFolder) -> dict[str, Any] | None:
    """The status of a run; None when no supervisor answers."""
    try:
        return ask(folder, do="status")
    except NotRunning:
        return None
