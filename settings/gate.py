"""The gate that every configuration passes before it is looked at: sizes, characters, numbers, secrets.

Pure, and the same for a stack file and for what the engine hands over. It bounds everything behind it: no later step
sees a value that is longer, deeper or more than what is said here, and none that a terminal would obey. What it takes
away is told, and what it lets through is the caller's own data, copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from settings.secret_shapes import recognise

Path = tuple[str | int, ...]

# One mebibyte: the largest request etcd takes is 1.5 MiB, and all of a stack's objects come from one file.
MOST_BYTES = 2**20
# The deepest a setting can be is seven; more levels are a mistake or an attack.
MOST_LEVELS = 20
# Values of a whole configuration, and entries of one list or mapping (a pool may name as many nodes).
MOST_VALUES, MOST_ENTRIES = 50_000, 5_000
# A prefix of 253, a slash and a name of 63 (Kubernetes, names of labels and annotations).
LONGEST_KEY = 317
# Half of what Linux lets one argument have (MAX_ARG_STRLEN, 32 pages); annotations and JSON arguments stay below.
LONGEST_TEXT = 65_536
# A number of more bits is none for Kubernetes, JSON readers or vLLM; Python would even refuse to print some.
MOST_BITS = 63
# Values in which lines are broken for good reason: snippets of an Ingress controller, templates, JSON.
WITH_LINES = ("annotations", "args", "attributes", "chatTemplate", "env", "podAnnotations")
# Where a secret belongs that was found below these keys, first match first.
PLACES: tuple[tuple[Path, str], ...] = (
    (
        ("weights", "hub"),
        "the hub's token is the config secret huggingFaceToken, or a Secret in weights.hub.tokenSecret",
    ),
    (
        ("gateway", "redis"),
        "a Redis' password is the entry redis-password of gateway.existingSecret or gateway.redis.passwordSecret",
    ),
    (("gateway", "database"), "a database's URL is the entry database-url of gateway.database.existingSecret"),
    (
        ("gateway", "chatUi"),
        "the secret of the OpenID client is the entry client-secret of gateway.chatUi.existingSecret",
    ),
    (
        ("gateway", "teams"),
        "keys are only named here; their values are derived from gatewayMasterKey, or entries of the team's Secret",
    ),
    (("gateway",), "keys are the config secret gatewayMasterKey, or a Secret that gateway.existingSecret names"),
    (("images",), "nodes log in to a registry by a pull secret or their own configuration"),
    (("overrides",), "an object is readable; name a Secret that exists"),
    (("charts",), "Helm logs in by `helm registry login` or its own configuration"),
    (("observability",), "give an address that needs no login inside the cluster"),
    (("models",), "a pod's specification is readable; servers get their keys from Secrets that are made for them"),
)
ANYWHERE = "secrets are the config secrets gatewayMasterKey and huggingFaceToken, or Secrets that exist"


@dataclass
class Passed:
    """The checked copy. `values` is None when the whole is refused; `refusals` has (path, message) in order."""

    values: dict[str, Any] | None
    refusals: list[tuple[Path, str]] = field(default_factory=list)


class _TooMuch(Exception):
    """The whole is refused: looking further would take long and help nobody."""


def copy_checked(raw: Mapping[str, Any]) -> Passed:
    """Checks and copies a configuration (top-level key → plain value).

    A value that must not be shown or counted is None in the copy, an entry with such a key is left out; a secret stays,
    so that what else is wrong with it is found.
    """
    passed = Passed({})
    try:
        passed.values = _mapping(raw, (), passed.refusals, _Count())
    except _TooMuch:
        passed.values = None
    return passed


@dataclass
class _Count:
    """Values seen so far."""

    values: int = 0


def _copy(value: Any, path: Path, refusals: list[tuple[Path, str]], count: _Count) -> Any:  # noqa: PLR0911 - a table
    """One value; the recursion is as deep as MOST_LEVELS."""
    count.values += 1
    if count.values > MOST_VALUES:
        _refuse(path[:1], f"the configuration has more than {MOST_VALUES:,} values", refusals)
    match value:
        case Mapping():
            return _mapping(value, path, refusals, count)
        case list() | tuple():
            _check_size(value, path, refusals)
            return [_copy(element, (*path, index), refusals, count) for index, element in enumerate(value)]
        case str():
            return _text(value, path, refusals)
        case bool() | None:
            return value
        case int():
            return _whole(value, path, refusals)
        case float():
            return value
        case _:
            return _leave(path, f"is of a kind that no setting has ({type(value).__name__})", refusals)


def _mapping(value: Mapping[Any, Any], path: Path, refusals: list[tuple[Path, str]], count: _Count) -> dict[Any, Any]:
    _check_size(value, path, refusals)
    copied: dict[Any, Any] = {}
    for key, element in value.items():
        if isinstance(key, str) and (wrong := _wrong_key(key)):
            refusals.append(((*path, key), wrong))
            continue
        if not isinstance(key, (str, int, float, bool)) and key is not None:
            refusals.append(((*path, str(type(key).__name__)), "the key must be text; put it in quotes"))
            continue
        if isinstance(key, int) and key.bit_length() > MOST_BITS:
            refusals.append(((*path, "…"), "the key must be text; put it in quotes"))
            continue
        copied[key] = _copy(element, (*path, key), refusals, count)  # pyright: ignore[reportArgumentType] - as above
    return copied


def _check_size(value: Any, path: Path, refusals: list[tuple[Path, str]]) -> None:
    if len(path) > MOST_LEVELS:
        _refuse(path[:3], f"is nested deeper than {MOST_LEVELS} levels", refusals)
    if len(value) > MOST_ENTRIES:
        _refuse(path, f"has {len(value):,} entries; at most {MOST_ENTRIES:,}", refusals)


def _wrong_key(key: str) -> str | None:
    if len(key) > LONGEST_KEY:
        return f"the key has {len(key):,} characters; at most {LONGEST_KEY}"
    if not key.isprintable():
        return f"the key {_unprintable(key, '')}"
    kind = recognise(key)
    return f"the key holds {kind}; {ANYWHERE}" if kind else None


def _text(text: str, path: Path, refusals: list[tuple[Path, str]]) -> str | None:
    if len(text) > LONGEST_TEXT:
        return _leave(path, f"has {len(text):,} characters; at most {LONGEST_TEXT:,}", refusals)
    lines = path[:1] in (("charts",), ("overrides",)) or any(step in WITH_LINES for step in path[-2:])
    allowed = "\n\t" if lines else ""
    if not text.isprintable() and (wrong := _unprintable(text, allowed)):
        return _leave(path, wrong, refusals)
    if kind := recognise(text):
        refusals.append((path, f"holds {kind}, which everybody who reads the stack would see; {_place(path)}"))
    return text


def _unprintable(text: str, allowed: str) -> str | None:
    """The first character of a kind that no setting has: control, format, separator, half a surrogate pair."""
    for position, character in enumerate(text, 1):
        if not character.isprintable() and character not in allowed:
            return f"holds the character U+{ord(character):04X} at position {position}, which no setting may have"
    return None


def _whole(value: int, path: Path, refusals: list[tuple[Path, str]]) -> int | None:
    return value if value.bit_length() <= MOST_BITS else _leave(path, "is too large a number", refusals)


def _place(path: Path) -> str:
    return next((words for prefix, words in PLACES if path[: len(prefix)] == prefix), ANYWHERE)


def _leave(path: Path, message: str, refusals: list[tuple[Path, str]]) -> None:
    refusals.append((path, message))


def _refuse(path: Path, message: str, refusals: list[tuple[Path, str]]) -> None:
    refusals.append((path, message))
    raise _TooMuch
