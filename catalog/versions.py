"""Files of several versions of one program: each says what differs from the one it is `like`.

A file that is `like` another has all that is in that one, changed by its own: mappings are joined key by key, also
those that are written as lists of entries with a `name`; null takes a key away; anything else is put in its place.
"""

from collections.abc import Mapping

# They belong to one version alone.
NEVER_INHERITED = frozenset({"like", "source", "version"})


class UnknownBase(LookupError):
    """A version that a file is like, and of which there is no file, or which is like that one again."""


def resolved(files: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Every version of one program, whole, by version; `files` as they are written. Raises UnknownBase."""
    return {version: _resolve(version, files, ()) for version in files}


def _resolve(version: str, files: Mapping[str, Mapping[str, object]], chain: tuple[str, ...]) -> dict[str, object]:
    if version in chain:
        raise UnknownBase(f"goes in a circle: {' → '.join((*chain, version))}")
    if version not in files:
        raise UnknownBase(f"there is no file of version {version}")
    own = files[version]
    base = own.get("like")
    if base is None:
        return dict(own)
    inherited = _resolve(str(base), files, (*chain, version))
    kept = {key: value for key, value in inherited.items() if key not in NEVER_INHERITED}
    return joined(kept, {key: value for key, value in own.items() if key != "like"})


def joined(base: Mapping[str, object], change: Mapping[str, object]) -> dict[str, object]:
    """A mapping with the changes of another."""
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
            continue
        below = by_name(merged.get(key)) if isinstance(value, Mapping) else None
        merged[key] = joined(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def difference(base: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """The changes that make the other of the first: what `joined` takes."""
    changes: dict[str, object] = {key: None for key in base if key not in other}
    for key, value in other.items():
        below = base.get(key)
        if below == value:
            continue
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        changes[key] = difference(below, value) if nested else value  # pyright: ignore[reportArgumentType]
    return changes


def by_name(value: object) -> object:
    """A list of mappings with `name`, as the engine files have them, as a mapping by that name; else as it is.

    Raises ValueError where an entry has none, or two have the same.
    """
    if not isinstance(value, list) or not any(isinstance(entry, dict) for entry in value):
        return value
    named = {entry["name"]: entry for entry in value if isinstance(entry, dict) and "name" in entry}
    if len(named) != len(value):
        raise ValueError("every item needs a name, and each name once")
    return named
