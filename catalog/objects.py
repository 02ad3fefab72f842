"""The fields of Kubernetes' objects, and how a strategic patch is merged into each: what `objects.yaml` says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from catalog.compiled import read_yaml

# How the kind of a field is written: a list, and how it is merged; a mapping with free keys; anything else by its name.
LIST = re.compile(r"\[(?P<inner>[^\]]+)\]( by (?P<key>\w+)| (?P<set>as set))?")
FREE = re.compile(r"\{(?P<inner>[^}]+)\}")


@dataclass(frozen=True)
class FieldKind:
    """The kind of a field: `name` of a type or a word, or what a `list` or a mapping with `free` keys holds.

    `key`: by which entries of a list are merged; `adds`: entries of the list are added; neither: it is replaced.
    """

    name: str
    is_list: bool = False
    is_free: bool = False
    key: str | None = None
    adds: bool = False


Shapes = Mapping[str, Mapping[str, FieldKind]]


@cache
def kind_of(text: str) -> FieldKind:
    """The kind that a word of the file says."""
    if match := LIST.fullmatch(text):
        return FieldKind(match["inner"], is_list=True, key=match["key"], adds=bool(match["set"]))
    if match := FREE.fullmatch(text):
        return FieldKind(match["inner"], is_free=True)
    return FieldKind(text)


@cache
def load_objects() -> Shapes:
    """Type → field → kind; read once, and by a stack that changes objects only."""
    content = read_yaml(Path(__file__).with_name("objects.yaml"))
    assert isinstance(content, dict)
    return {
        name: {field: kind_of(kind) for field, kind in fields.items()} for name, fields in content["objects"].items()
    }
