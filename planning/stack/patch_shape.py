"""The shape of a patch: fields that the kind does not have, values of another kind, and entries without their key."""

from collections.abc import Iterator, Mapping
from typing import Any

from catalog.objects import FieldKind, Shapes
from planning.stack.merging import fields_of
from settings.problems import Problem, nearest

WORDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int,),
    "truth": (bool,),
    "scalar": (str, int, float),
}
CALLED = {"text": "text; put it in quotes", "number": "a whole number", "truth": "true or false", "scalar": "one value"}


def shape_problems(patch: Mapping[str, Any], kind: str, shapes: Shapes, path: str) -> Iterator[Problem]:
    """All that the API server would refuse, or drop, for its shape."""
    yield from _mapping(patch, FieldKind(kind), shapes, path)


def _mapping(patch: Mapping[str, Any], kind: FieldKind, shapes: Shapes, path: str) -> Iterator[Problem]:
    known = shapes.get(kind.name)
    for key, value in patch.items():
        where = f"{path}.{key}"
        if key.startswith("$"):
            why = "directives are not known here; null takes a value away, and lists without a key are replaced"
            yield Problem(where, why)
        elif known is not None and not kind.is_free and key not in known:
            yield Problem(where, f"{kind.name} has no such field{nearest(key, known)}")
        elif value is not None:
            yield from _value(value, fields_of(kind, key, shapes), shapes, where)


def _value(value: Any, kind: FieldKind, shapes: Shapes, path: str) -> Iterator[Problem]:
    if kind.is_list:
        yield from _list(value, kind, shapes, path)
    elif kind.is_free or kind.name in shapes:
        if isinstance(value, Mapping):
            yield from _mapping(value, kind, shapes, path)
        else:
            yield Problem(path, "must be a mapping of keys")
    elif (types := WORDS.get(kind.name)) and (
        not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
    ):
        yield Problem(path, f"must be {CALLED[kind.name]}")


def _list(value: Any, kind: FieldKind, shapes: Shapes, path: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(path, "must be a list")
        return
    for position, entry in enumerate(value):
        where = f"{path}[{position}]"
        if entry is None:
            yield Problem(where, "is empty; leave it out")
        elif kind.key and not (isinstance(entry, Mapping) and entry.get(kind.key) is not None):
            yield Problem(where, f"needs {kind.key}, by which Kubernetes tells which entry is meant")
        else:
            yield from _value(entry, FieldKind(kind.name), shapes, where)
