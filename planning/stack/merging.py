"""A strategic patch merged into an object, as the API server merges it: pure, and of values that may be anything.

Lists that Kubernetes merges by a key are, entries of the patch in their order and the others where they were; other
lists are replaced. Null takes a value away. Directives (`$patch` and the like) are not known here; shapes refuse them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.objects import FieldKind, Shapes

ANY = FieldKind("any")


def merged(base: Mapping[str, Any], patch: Mapping[str, Any], kind: str, shapes: Shapes) -> dict[str, Any]:
    """An object of this type with the patch in it; neither is changed."""
    return _mapping(base, patch, FieldKind(kind), shapes)


def fields_of(kind: FieldKind, key: str, shapes: Shapes) -> FieldKind:
    """The kind of what is under a key."""
    if kind.is_free:
        return FieldKind(kind.name)
    return shapes.get(kind.name, {}).get(key, ANY)


def _mapping(base: Mapping[str, Any], patch: Mapping[str, Any], kind: FieldKind, shapes: Shapes) -> dict[str, Any]:
    whole = dict(base)
    for key, value in patch.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = _value(whole.get(key), value, fields_of(kind, key, shapes), shapes)
    return whole


def _value(here: Any, value: Any, kind: FieldKind, shapes: Shapes) -> Any:
    match value:
        case Mapping():
            return _mapping(here if isinstance(here, Mapping) else {}, value, kind, shapes)
        case list() if kind.key and isinstance(here, (list, tuple)):
            return _by_key(here, value, kind.key, FieldKind(kind.name), shapes)
        case list() if kind.key:
            return _by_key([], value, kind.key, FieldKind(kind.name), shapes)
        case list() if kind.adds and isinstance(here, (list, tuple)):
            return _in_order([entry for entry in here if entry not in value], value, [*here], [*here], value)
        case _:
            return value


def _by_key(
    base: Sequence[Mapping[str, Any]], patch: Sequence[Mapping[str, Any]], key: str, kind: FieldKind, shapes: Shapes
) -> list[Any]:
    """A list whose entries are merged by a key; of two with the same one, the first is meant."""
    known = [entry.get(key) for entry in base]
    changed = {}
    for entry in patch:
        name = entry.get(key)
        before = changed.get(name, base[known.index(name)] if name in known else {})
        changed[name] = _mapping(before, entry, kind, shapes)
    rest = [entry for position, entry in enumerate(base) if known[position] not in changed]
    names = [entry.get(key) for entry in rest]
    return _in_order(rest, [*changed.values()], names, known, [*changed])


def _in_order(
    rest: Sequence[Any], patched: Sequence[Any], rest_names: Sequence[Any], order: Sequence[Any], names: Sequence[Any]
) -> list[Any]:
    """Both together, each in its own order: what only the object has stands before a patched entry it stood before."""
    merged_list: list[Any] = []
    waiting = list(zip(rest_names, rest, strict=False))
    for name, entry in zip(names, patched, strict=True):
        while waiting and name in order and order.index(waiting[0][0]) < order.index(name):
            merged_list.append(waiting.pop(0)[1])
        merged_list.append(entry)
    return [*merged_list, *(entry for _, entry in waiting)]


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """(path, value) of all that a patch says; entries of a list are called by their key."""
    match value:
        case Mapping() if value:
            for key, inner in value.items():
                yield from leaves(inner, f"{path}.{key}" if path else str(key))
        case list() if value and all(isinstance(entry, Mapping) for entry in value):
            for position, entry in enumerate(value):
                yield from leaves(entry, f"{path}[{_called(entry, position)}]")
        case _:
            yield path, value


def _called(entry: Mapping[str, Any], position: int) -> str:
    return str(next((entry[key] for key in ("name", "mountPath", "topologyKey", "ip") if key in entry), position))
