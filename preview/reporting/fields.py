"""Differences between two pieces of plain data, field by field, with as few and as short paths as there are."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

# Stands for a field that one side does not have.
ABSENT = object()
# Fields that tell the entries of a list apart: containers, variables and volumes; alerts; mounts.
LIST_KEYS = ("name", "alert", "mountPath")


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, old, new) of every field that differs; a part that only one side has is one field."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}" if path else key)
        return
    pairs = _paired(old, new) if isinstance(old, list) and isinstance(new, list) else None
    if pairs is None:
        yield path, old, new
        return
    for label, (before, after) in pairs.items():
        yield from differences(before, after, f"{path}[{label}]")


def _paired(old: list[Any], new: list[Any]) -> dict[str, tuple[Any, Any]] | None:
    """Entries of two lists of mappings that belong together; None for other lists and for a mere change of order.

    By a field that names every entry on both sides; else what is equal is left out and the rest goes by position, so
    that an inserted entry is one addition and not a shift of all that follow.
    """
    if not all(isinstance(entry, Mapping) for entry in (*old, *new)):
        return None
    for field in LIST_KEYS:
        before, after = ({entry[field]: entry for entry in side if field in entry} for side in (old, new))
        if len(before) == len(old) and len(after) == len(new):
            return {name: (before.get(name, ABSENT), after.get(name, ABSENT)) for name in {**after, **before}}
    left = [(str(place), entry) for place, entry in enumerate(old) if entry not in new]
    right = [(str(place), entry) for place, entry in enumerate(new) if entry not in old]
    # positions are those of the new list; what has none there, of the old one
    together = zip_longest(left, right)
    return {(now or was)[0]: (was[1] if was else ABSENT, now[1] if now else ABSENT) for was, now in together} or None
