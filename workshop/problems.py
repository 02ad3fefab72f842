"""Refusals and failures as sentences for a reader, each beginning with what it is about."""

from collections.abc import Sequence
from importlib.util import find_spec

from settings.problems import Problem, Refused

# Of requirements.in: what the program itself does not need.
PACKAGES = ("psutil", "trustme")


class Impossible(Exception):
    """A request that this machine or cluster cannot meet; exit code 2. The message says what would help."""


def check_packages() -> None:
    """Raises `Refused` where a package is not installed, before anything is begun."""
    how = "is not installed; `make up` does so, or: .venv/bin/python -m pip install -r workshop/requirements.txt"
    refuse([Problem(name, how) for name in PACKAGES if find_spec(name) is None])


def refuse(problems: Sequence[Problem]) -> None:
    """Raises `Refused`, if there are problems."""
    if problems:
        raise Refused(problems)


def reason(error: Exception) -> str:
    """The message of an error, without what only programmers read."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
