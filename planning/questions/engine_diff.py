"""Differences of two versions of an engine: `PARTS` has a row per field of its file. Pure functions."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel

from catalog.engine import Engine
from planning.questions.listings import CatalogList

# What one of the two versions does not have.
ABSENT: Any = None
# Fields of an option that say how it may be spelt.
SPELLINGS = frozenset({"aliases", "hidden", "negative"})
# Fields of an option without which it takes everything.
UNLIMITED = frozenset({"choices"})


class ChangeKind(StrEnum):
    """New in the second version, gone from it, or other there."""

    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"


@dataclass(frozen=True)
class EngineChange:
    """A difference; `before` and `after` are plain values, `concerns` models of a stack or what asks for a metric."""

    field: str
    name: str
    before: Any
    after: Any
    text: str
    concerns: tuple[str, ...] = ()

    @property
    def kind(self) -> ChangeKind:
        """The kind of difference."""
        return (
            ChangeKind.NEW if self.before is ABSENT else ChangeKind.GONE if self.after is ABSENT else ChangeKind.CHANGED
        )


class EnginePart(NamedTuple):
    """A field of the engine's file: `noun`, `came` and `went` are words of the list."""

    noun: str
    came: str = "new"
    went: str = "gone"


PARTS: Mapping[str, EnginePart] = {
    "options": EnginePart("option"),
    "contents": EnginePart("JSON of an option"),
    "removed_options": EnginePart("removed option", "refused", "refused no more"),
    "metrics": EnginePart("metric"),
    "roles": EnginePart("role of a metric"),
    "reasoning_parsers": EnginePart("reasoning parser"),
    "tool_call_parsers": EnginePart("tool call parser"),
    "kv_cache_dtypes": EnginePart("KV cache dtype"),
    "load_formats": EnginePart("load format"),
    "tokenizer_modes": EnginePart("tokenizer mode"),
    "tasks": EnginePart("arguments of a task"),
    "variables": EnginePart("variable"),
    "defaults": EnginePart("default"),
    "slices": EnginePart("rule of slices"),
    "devices": EnginePart("rule of devices"),
    "quantizations": EnginePart("quantisation"),
    "loading": EnginePart("loading"),
    "health": EnginePart("server"),
    "any_delta": EnginePart("parser for any delta"),
    "chat_options": EnginePart("option of chats"),
    "writing_options": EnginePart("option of writers"),
    "no_loras": EnginePart("family without adapters"),
    "cache_options": EnginePart("option of caches"),
    "uncompiled": EnginePart("not compiled"),
    "gone_metrics": EnginePart("gone metric"),
}


def differences(before: Engine, after: Engine) -> list[EngineChange]:
    """Everything that differs, in the order of `PARTS`; options that are only spelt otherwise come last."""
    changes = []
    for field, part in PARTS.items():
        old, new = (_facts(engine, field) for engine in (before, after))
        for name in [*old, *(name for name in new if name not in old)]:
            here, there = old.get(name, ABSENT), new.get(name, ABSENT)
            if here != there:
                text = _text(part, here, there, _successor(after, name))
                changes.append(EngineChange(field, name, here, there, text))
    return sorted(changes, key=_is_spelling)


def as_list(changes: Iterable[EngineChange], *, of_stack: bool) -> CatalogList:
    """The differences as a list of `python -m catalog`."""
    columns = {**({"concerns": "concerns"} if of_stack else {}), "section": "of", "name": "name", "text": "change"}
    rows = [
        {
            "section": PARTS[change.field].noun,
            "name": change.name,
            "change": change.kind.value,
            "text": change.text,
            "before": change.before,
            "after": change.after,
            **({"concerns": list(change.concerns)} if of_stack else {}),
        }
        for change in changes
    ]
    return CatalogList("difference", columns, rows)


def _facts(engine: Engine, field: str) -> dict[str, Any]:
    """A section as name → plain value; a list of words has the names alone."""
    value = _plain(getattr(engine, field, {}))
    if field == "contents":
        return {name: _types(content) for name, content in value.items()}
    return value if isinstance(value, dict) else dict.fromkeys(value, "")


def _types(content: Any) -> Any:
    """Types of JSON with their words one by one, so that those that came and went can be told."""
    match content:
        case dict():
            return {key: _types(inner) for key, inner in content.items()}
        case str() if words := re.findall(r"'([^']*)'", content):
            return [re.sub(r"('[^']*'(, )?)+", "…", content), *sorted(words)]
        case list():
            keys = {key: _types(inner) for part in content if isinstance(part, dict) for key, inner in part.items()}
            others = [_types(part) for part in content if not isinstance(part, dict)]
            words = [word for other in others for word in (other if isinstance(other, list) else [other])]
            return {**keys, "otherwise": words}
        case _:
            return content


def _plain(value: Any) -> Any:
    """Mappings, sorted lists of words, and scalars; what a file leaves out is left out, but for the kind of effect."""
    match value:
        case BaseModel():
            return _plain(value.model_dump(exclude_defaults=True))
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case set() | frozenset():
            return sorted(map(_plain, value), key=str)
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value.value if isinstance(value, StrEnum) else value


def _successor(after: Engine, name: str) -> str:
    """The hint of the other version at a name that is gone."""
    gone = {**after.removed_options, **getattr(after, "gone_metrics", {})}
    return f": {gone[name]}" if gone.get(name) else ""


def differ(change: EngineChange, fields: Iterable[str]) -> bool:
    """Whether an option that both have says otherwise in one of these fields."""
    return any(change.before.get(field) != change.after.get(field) for field in fields)


def _is_spelling(change: EngineChange) -> bool:
    both = isinstance(change.before, dict) and isinstance(change.after, dict)
    return both and not differ(change, (change.before.keys() | change.after.keys()) - SPELLINGS)


def _text(part: EnginePart, before: Any, after: Any, successor: str) -> str:
    """One line about a difference."""
    if after is ABSENT:
        return f"{part.went}{successor}"
    if before is ABSENT:
        effect = [after[key] for key in ("effect", "why") if key in after] if isinstance(after, dict) else []
        value = ": ".join(effect) if effect or isinstance(after, dict) else _shown(after)
        return f"{part.came}, {value}" if value else part.came
    old, new = dict(_leaves(before)), dict(_leaves(after))
    parts = []
    for key in [*old, *(key for key in new if key not in old)]:
        unlimited = "any value" if key in UNLIMITED else ABSENT
        here, there = old.get(key, unlimited), new.get(key, unlimited)
        if here != there:
            parts.append(f"{key} {_turned(here, there)}".lstrip())
    return "; ".join(parts) or "in another order"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        value = {str(position): entry for position, entry in enumerate(value)}
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else key)


def _turned(before: Any, after: Any) -> str:
    """Words that came and went of lists; else the one value and the other."""
    lists = [[] if value is ABSENT else value for value in (before, after)]
    if not all(isinstance(value, list) for value in lists):
        return f"{_shown(before)} → {_shown(after)}"
    old, new = ([_shown(word) for word in value] for value in lists)
    came, went = (", ".join(word for word in these if word not in those) for these, those in ((new, old), (old, new)))
    return " ".join(part for part in (f"+ {came}" if came else "", f"− {went}" if went else "") if part) or "reordered"


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
