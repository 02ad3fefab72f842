"""Checks of JSON that options of a server hold: keys and types are those that the classes of its version have."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from catalog.content import Content, validator
from catalog.engine import Engine
from planning.capacity.flags import WITH_SIZES, expanded, json_value
from settings.problems import nearest
from settings.wording import worded


def json_problems(engine: Engine, option: str, name: str, value: str) -> Iterator[str]:
    """Complaints of the parser, or of the class that takes it, about well-formed JSON; `name`: as it is written."""
    content = engine.contents.get(option)
    if content is None:
        return
    text = expanded(value) if engine.options[option].type == WITH_SIZES else value
    holds = json_value(text)
    if isinstance(content, Mapping) and not isinstance(holds, dict):
        yield f'{name} {value}: must be an object, {{"key": value}}; keys: {", ".join(sorted(content))}'
        return
    try:
        validator(content).validate_json(text)
    except ValidationError as error:
        # alternatives are all complained of: words that may be are more help than a type, and the first says enough
        details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "literal_error")
        seen: dict[tuple[str, ...], str] = {}
        for detail in details:
            path = _path(holds, detail["loc"])
            seen.setdefault(path, _sentence(detail, content, path))
        for path, text in seen.items():
            # what is wrong inside says why the whole is none of the alternatives
            if not any(other[: len(path)] == path for other in seen if other != path):
                yield f"{'.'.join((name, *path))} {text}"


def _path(value: Any, loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """The part of pydantic's place that is keys and positions of the value: it names alternatives of a type as well."""
    steps: list[str] = []
    for step in loc:
        inner = _inner(value, step)
        if inner:
            (value,) = inner
            steps.append(str(step))
    return tuple(steps)


def _inner(value: Any, step: Any) -> tuple[Any] | None:
    """The value at a key or position; None where the step is neither."""
    match value, step:
        case dict(), str() if step in value:
            return (value[step],)
        case list(), int():
            return (value[step],)
        case _:
            return None


def _sentence(detail: Any, content: Content, path: tuple[str, ...]) -> str:
    """The words for one complaint."""
    if detail["type"] != "extra_forbidden":
        return worded(detail)
    return f"is no key that vLLM knows{nearest(path[-1], _keys(content, path[:-1]))}"


def _keys(content: Content, path: tuple[str, ...]) -> list[str]:
    """The keys of the object at this place."""
    here: object = content
    for key in path:
        here = _object(here).get(key)
    return sorted(_object(here))


def _object(content: object) -> Mapping[str, object]:
    """The object among the alternatives of a content; empty where there is none."""
    parts = content if isinstance(content, list) else [content]
    return next((part for part in parts if isinstance(part, Mapping)), {})
