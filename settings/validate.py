"""From raw configuration values to `StackSettings`, or to a list of everything that is wrong with them.

Pure: knows neither Pulumi nor files. What can still be understood is validated again without its broken parts, so that
a misspelt key and a model that does not fit are reported together.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from settings.broken import NAMED, take_away
from settings.gate import Path, copy_checked
from settings.problems import Problem, nearest, not_offered
from settings.schema import StackSettings
from settings.secret_shapes import mask
from settings.wording import worded

# How a refusal of a key begins that its section does not have; what is beside it is known as written.
UNKNOWN = ("unknown key", "belongs to kind")
# A value goes, then the section that misses it, and so on; the deepest value of a stack file is four sections down.
ROUNDS = 5
# Faults that are put into words; nobody reads more.
MOST_DETAILS = 1000


def validate(raw: Mapping[str, Any]) -> tuple[StackSettings | None, list[Problem]]:
    """Checks `raw` (top-level key → plain value, camelCase).

    Returns the settings and no problems; or the problems, with the settings of what is left when whatever is broken is
    taken away (None when nothing sensible is left). Of very many problems the first are returned.
    """
    passed = copy_checked(raw)
    problems = [Problem(_written(path, raw), message) for path, message in passed.refusals]
    if passed.values is None:
        return None, problems
    values = {key: _sorted(value) if key in NAMED else value for key, value in passed.values.items()}
    settings, details = _checked(values)
    seen = {path for path, _ in passed.refusals}
    problems += [_problem(detail, values) for detail in details if _plain(detail["loc"], values) not in seen]
    for _ in range(ROUNDS):
        if settings is not None:
            break
        for detail in details:
            take_away(values, _plain(detail["loc"], values), unknown=detail["type"] == "extra_forbidden")
        settings, details = _checked(values)
    return settings, problems


def broken_sections(problems: Iterable[Problem]) -> set[str]:
    """Sections of which not all is known, because a value in them is broken: what follows from the rest is no news."""
    return {problem.path.partition(".")[0] for problem in problems if not problem.message.startswith(UNKNOWN)}


def _checked(values: Mapping[str, Any]) -> tuple[StackSettings | None, list[Any]]:
    """The settings, or what pydantic says against them."""
    try:
        return StackSettings.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)[:MOST_DETAILS]


def _sorted(value: Any) -> Any:
    return dict(sorted(value.items(), key=lambda entry: str(entry[0]))) if isinstance(value, dict) else value


def _plain(loc: Path, values: Any) -> Path:
    """The path as the user wrote it: pydantic puts the tag of a union (`existing`) into its location."""
    path: list[str | int] = []
    for step in loc:
        if step != "[key]" and step not in _kinds(_annotation(path, values)):
            path.append(step)
    return tuple(path)


def _item(here: Any, step: str | int) -> Any:
    return here[step] if isinstance(here, list) and isinstance(step, int) and step < len(here) else None


def _problem(detail: Any, values: Mapping[str, Any]) -> Problem:
    path = _plain(detail["loc"], values)
    return Problem(_written(path, values), _message(detail, path, values))


def _written(path: Path, values: Any) -> str:
    """The path as the reader of a refusal sees it: dots between keys, brackets around positions of a list.

    Each key is masked by itself, because next to others it may look like no secret any more.
    """
    text, here = "", values
    for step in path:
        key = mask(str(step))
        text += f"[{step}]" if isinstance(here, list) else f".{key}" if text else key or '""'
        here = here.get(step) if isinstance(here, dict) else _item(here, step)
    return text


def _message(detail: Any, path: Path, values: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return _misplaced(str(path[-1]), path[:-1], values)
        case "missing":
            described = _fields(_section(path[:-1], values)).get(str(path[-1]))
            return f"is missing: {described.description}{_choices(described.annotation)}" if described else "is missing"
        case "union_tag_not_found" if detail["input"] is not None:
            return f"needs a kind: {', '.join(_kinds(_annotation(path, values)))}"
        case _:
            return worded(detail)


def _misplaced(key: str, section: Path, values: Any) -> str:
    """The refusal of a key that the mapping at `section` does not have: which kinds have it, or what was meant."""
    members = _kinds(_annotation(section, values))
    kinds = [kind for kind, member in members.items() if key in _fields(member)]
    if not kinds:
        return f"{UNKNOWN[0]}{not_offered(section, key) or nearest(key, _fields(_section(section, values)))}"
    return f"{UNKNOWN[1]} {' or '.join(kinds)}; leave it out, or use kind: {kinds[0]}"


def _choices(kind: Any) -> str:
    return f"; one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else ""


def _section(path: Path, values: Any) -> type[BaseModel] | None:
    """The settings class that describes the mapping at `path`; None when there is none."""
    kind = _chosen(_annotation(path, values), _at(path, values))
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _annotation(path: Sequence[str | int], values: Any) -> Any:
    """The type of what may stand at `path`: a settings class, a union of them, a scalar's; None when nothing may."""
    kind: Any = StackSettings
    here: Any = values
    for step in path:
        kind = _chosen(kind, here)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = _fields(kind).get(str(step))
            kind = field.annotation if field else None
        else:
            kind = get_args(kind)[-1] if get_origin(kind) in (dict, list) else None
        here = _at((step,), here)
    return kind


def _at(path: Sequence[str | int], values: Any) -> Any:
    """The value at `path`; None when there is none."""
    for step in path:
        values = values.get(step) if isinstance(values, dict) else _item(values, step)
    return values


def _fields(section: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """Key as it is written → its field."""
    return {field.alias or name: field for name, field in section.model_fields.items()} if section else {}


def _kinds(kind: Any) -> dict[str, type[BaseModel]]:
    """The members of a union of sections, by their `kind`."""
    if get_origin(kind) not in (UnionType, Union):
        return {}
    sections = [member for member in get_args(kind) if isinstance(member, type) and issubclass(member, BaseModel)]
    return {
        get_args(section.model_fields["kind"].annotation)[0]: section
        for section in sections
        if "kind" in section.model_fields
    }


def _chosen(kind: Any, here: Any) -> Any:
    """The member of a union whose `kind` the data names or leaves out (or the only one beside None)."""
    if get_origin(kind) not in (UnionType, Union):
        return kind
    members, others = _kinds(kind), [member for member in get_args(kind) if member is not type(None)]
    if not members or len(others) == 1:
        return others[0]
    usual = [tag for tag, member in members.items() if not member.model_fields["kind"].is_required()]
    tag = here.get("kind", *usual) if isinstance(here, dict) else None
    return members.get(tag) if isinstance(tag, str) else None
