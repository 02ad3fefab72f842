"""The shape of a stack file at a path: which settings class stands there, which kinds there are, what it has of keys.

A path is of keys as they are written. Knows the classes alone: what is wrong with a value, others say.
"""

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings.gate import Path
from settings.schema import StackSettings


def as_written(loc: Path, values: Any) -> Path:
    """The path as the user wrote it: pydantic puts the tag of a union (`existing`) into its location, once."""
    path: list[str | int] = []
    tagged = False
    for step in loc:
        kind, here = annotation(path, values), at(path, values)
        tags = kinds(kind)
        # a key of a user may be a word for a kind as well
        if step == "[key]" or (step in tags and len(tags) > 1 and not tagged):
            tagged = True
            continue
        tagged = False
        # names alone, where a mapping may be: pydantic puts the name into its location
        names = [str(name) for name in here] if isinstance(here, list) and get_origin(kind) is dict else []
        path.append(names.index(str(step)) if str(step) in names else step)
    return tuple(path)


def section(path: Path, values: Any) -> type[BaseModel] | None:
    """The settings class that describes the mapping at `path`; None when there is none."""
    kind = _chosen(annotation(path, values), at(path, values))
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def annotation(path: Sequence[str | int], values: Any) -> Any:
    """The type of what may stand at `path`: a settings class, a union of them, a scalar's; None when nothing may."""
    kind: Any = StackSettings
    here: Any = values
    for step in path:
        kind = _chosen(kind, here)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = fields(kind).get(str(step))
            kind = field.annotation if field else None
        else:
            kind = _bare(get_args(kind)[-1]) if get_origin(kind) in (dict, list) else None
        here = at((step,), here)
    return kind


def _bare(kind: Any) -> Any:
    """A type without what pydantic is told beside it; fields have that taken off already."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def at(path: Sequence[str | int], values: Any) -> Any:
    """The value at `path`; None when there is none."""
    for step in path:
        values = values.get(step) if isinstance(values, dict) else item(values, step)
    return values


def item(here: Any, step: str | int) -> Any:
    """An element of a list; None when there is none, or no list."""
    return here[step] if isinstance(here, list) and isinstance(step, int) and step < len(here) else None


def fields(kind: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """Key as it is written → its field."""
    return {field.alias or name: field for name, field in kind.model_fields.items()} if kind else {}


def kinds(kind: Any) -> dict[str, type[BaseModel]]:
    """The members of a union of sections, by their `kind`."""
    if get_origin(kind) not in (UnionType, Union):
        return {}
    sections = [member for member in get_args(kind) if isinstance(member, type) and issubclass(member, BaseModel)]
    return {
        get_args(member.model_fields["kind"].annotation)[0]: member
        for member in sections
        if "kind" in member.model_fields
    }


def _chosen(kind: Any, here: Any) -> Any:
    """The member of a union whose `kind` the data names or leaves out (or the only one beside None)."""
    if get_origin(kind) not in (UnionType, Union):
        return kind
    members, others = kinds(kind), [member for member in get_args(kind) if member is not type(None)]
    if not members or len(others) == 1:
        return others[0]
    usual = [tag for tag, member in members.items() if not member.model_fields["kind"].is_required()]
    tag = here.get("kind", *usual) if isinstance(here, dict) else None
    return members.get(tag) if isinstance(tag, str) else None
