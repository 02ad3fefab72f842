"""The check of every component's arguments before it declares anything: what is missing, and what is wrong.

Arguments are parts of the plan, by reference, and what only Pulumi knows.
"""

from collections.abc import Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, NotRequired, get_args, get_origin

import pulumi


def check(component: str, name: str, args: Mapping[str, Any], contract: Any) -> None:
    """Raises `pulumi.RunError` with everything that is wrong with `args`, by the keys of the TypedDict `contract`."""
    if not isinstance(args, Mapping):
        raise pulumi.RunError(f"{component} '{name}': its arguments must be a mapping, not a {type(args).__name__}")
    hints = contract.__annotations__
    wrong = [
        f"needs {key}{f', {kind}' if (kind := _kind(hints[key])) else ''}"
        for key in hints
        if key in contract.__required_keys__ and key not in args
    ]
    for key, value in args.items():
        if key not in hints:
            near = get_close_matches(key, hints, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(hints)}"
            wrong.append(f"has no argument {key}; {hint}")
        elif (kinds := _plans(hints[key])) and not isinstance(value, kinds):
            wrong.append(f"{key} must be {_kind(hints[key])}, not a {type(value).__name__}")
    if wrong:
        raise pulumi.RunError("\n".join(f"{component} '{name}': {problem}" for problem in wrong))


def _kind(hint: Any) -> str:
    names = " or ".join(kind.__name__ for kind in _plans(hint))
    return f"{'an' if names.startswith(('E', 'O')) else 'a'} {names}" if names else ""


def _plans(hint: Any) -> tuple[type, ...]:
    """The dataclasses that a key may be one of; none: it may be anything."""
    if get_origin(hint) is NotRequired:
        (hint,) = get_args(hint)
    members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(member for member in members if isinstance(member, type) and is_dataclass(member))
