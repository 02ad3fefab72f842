"""Environment variables that users add to containers: never a secret, never one that is decided elsewhere."""

import re
from collections.abc import Collection, Iterator

from settings.problems import Problem

# HF_TOKEN, but not TOKENIZERS_PARALLELISM.
SECRET_NAME = re.compile(
    r"(TOKEN(_|$)|PASSWORD|PASSWD|SECRET|CREDENTIAL|(API|ACCESS|PRIVATE|ACCOUNT)_?KEY|CONNECTION_STRING)", re.IGNORECASE
)
# What Kubernetes replaces in arguments and values: a variable of the container; $$ is a plain $ (Kubernetes API, args).
REFERENCE = re.compile(r"\$\$|\$\((?P<name>[^()\s]+)\)")
# What the API server takes for the name of a variable.
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def variable_problems(name: str, value: str, decided: Collection[str], path: str) -> Iterator[Problem]:
    """Problems of one variable; `decided`: names of those that the plan sets."""
    yield from (Problem(path, text) for text in secrets_named(value))
    if not VARIABLE_NAME.fullmatch(name):
        yield Problem(path, f'"{name}" is not the name of an environment variable')
    elif name in decided:
        yield Problem(path, "is decided by the plan")
    elif SECRET_NAME.search(name):
        yield Problem(path, "looks like a secret; secrets never go into the environment here")


def secrets_named(text: str) -> list[str]:
    """Problems of a text in which Kubernetes would put the value of a secret, for everybody to read."""
    names = [match["name"] for match in REFERENCE.finditer(text) if match["name"]]
    return [
        f"$({name}) would be replaced by a secret; leave it out, or write $$({name}) for that very text"
        for name in names
        if SECRET_NAME.search(name)
    ]
