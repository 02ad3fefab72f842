"""Values that stand in for refused ones, and what may be said of a stack that has some: nothing that follows from them.

A stack with a broken value is planned all the same, with a default in its place, so that everything else that is wrong
is told at once. A section knows which of its values are such; whoever judges something hears whether one was read. Of
a list or mapping of which some elements are broken, the others are as they were written: what is told of one of these
follows from it, and what is told of the whole does not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from pydantic import BaseModel

from settings.gate import Path
from settings.problems import Problem

P = ParamSpec("P")
Value = TypeVar("Value")
_judging: ContextVar["Judging | None"] = ContextVar("judging", default=None)
# Of a field, in place of the paths of its broken elements: nothing of it is as it was written.
WHOLE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Doubt:
    """A value that stands in for another: `name` is SECTION.FIELD, `key` the field as it is written.

    `broken`: paths of those elements of it that stand in for something.
    """

    name: str
    key: str
    broken: frozenset[str]

    def spares(self, path: str) -> bool:
        """Whether a path is of an element that is as it was written."""
        inside = any(f".{self.key}{end}" in f".{path}" for end in ".[")
        of_broken = any(f"{path}.".startswith((f"{at}.", f"{at}[")) for at in self.broken)
        return bool(self.broken) and inside and not of_broken


class Judging:
    """A stretch in which something is judged; `doubts`: what was read that stands in for something.

    Stretches are nested: an inner one takes its own account of its problems, so that what it read is none of the outer
    one's `doubts`; `read` has both, for what is made in the whole stretch.
    """

    def __init__(self) -> None:
        self.doubts: set[Doubt] = set()
        self.read: set[Doubt] = set()
        # problems of inner stretches, which follow from nothing in doubt
        self.sure: list[Problem] = []
        self._outer: Token[Judging | None] | None = None

    def __enter__(self) -> Self:
        self._outer = _judging.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outer is not None:
            _judging.reset(self._outer)
        self.read |= self.doubts
        if outer := _judging.get():
            outer.read |= self.read

    def is_sure(self, *indifferent: str) -> bool:
        """Whether what was made follows from nothing in doubt, but from what begins with these words."""
        return all(doubt.name.startswith(indifferent) for doubt in self.read)

    def kept(self, problems: Iterable[Problem]) -> list[Problem]:
        """Those of the problems that follow from nothing in doubt; to be asked after the stretch."""
        kept = [p for p in problems if p in self.sure or all(doubt.spares(p.path) for doubt in self.doubts)]
        if outer := _judging.get():
            outer.sure += kept
        return kept


@contextmanager
def aside() -> Iterator[None]:
    """A stretch that looks at more than what is judged: nothing that is told follows from what it reads."""
    outer = _judging.set(None)
    try:
        yield
    finally:
        _judging.reset(outer)


def judge(check: Callable[P, Iterable[Problem]], *args: P.args, **kwargs: P.kwargs) -> list[Problem]:
    """The problems that a check finds; none where it looked at something in doubt."""
    with Judging() as judging:
        problems = [*check(*args, **kwargs)]
    return judging.kept(problems)


def judged(
    decide: Callable[P, tuple[Value, Sequence[Problem]]], *args: P.args, **kwargs: P.kwargs
) -> tuple[Value, list[Problem]]:
    """The same of what decides something, and finds problems by the way."""
    with Judging() as judging:
        value, problems = decide(*args, **kwargs)
    return value, judging.kept(problems)


def follows_from(section: BaseModel) -> None:
    """Says that what is judged follows from a section that nobody reads here: something was made of it before."""
    if judging := _judging.get():
        judging.doubts |= {_doubt(section, name) for name in doubts(section)}
        for inside in section.__dict__.values():
            if isinstance(inside, BaseModel):
                follows_from(inside)


def doubts(section: BaseModel) -> Mapping[str, frozenset[str]]:
    """The fields of a section whose values are in doubt → the paths of their broken elements, or `WHOLE`."""
    private: Any = object.__getattribute__(section, "__pydantic_private__")
    return private["doubts"] if private and "doubts" in private else MappingProxyType({})


def _doubt(section: BaseModel, name: str) -> Doubt:
    kind = _usual(type(section))
    return Doubt(f"{kind.__name__}.{name}", kind.model_fields[name].alias or name, doubts(section)[name])


def in_doubt(section: Value, fields: Mapping[str, frozenset[str]]) -> Value:
    """A copy of a section with these of its fields in doubt, too; the section itself where there are none."""
    assert isinstance(section, BaseModel)
    if not fields:
        return section
    known, copy = doubts(section), section.model_copy()
    # what stands in for the whole has no elements that could be taken for those of the user
    added = {name: known.get(name, broken) | broken for name, broken in fields.items()}
    object.__setattr__(copy, "__pydantic_private__", {"doubts": {**known, **added}})
    object.__setattr__(copy, "__class__", _watched(_usual(type(section))))
    return copy


def mark(here: Any, path: Path, around: str = "") -> Any:
    """A copy of settings in which the value at `path`, as it is written, is in doubt; what is not there is in none.

    `around`: the path of these settings in those of the stack.
    """
    if not path:
        return _all_of(here)
    if isinstance(here, dict) and path[0] in here:
        return {**here, path[0]: mark(here[path[0]], path[1:], step(around, path[0]))}
    fields = type(here).model_fields if isinstance(here, BaseModel) else {}
    name = next((name for name, field in fields.items() if (field.alias or name) == path[0]), None)
    if name is None or not isinstance(here, BaseModel):
        return here
    value, inner = here.__dict__[name], step(around, path[0])
    # all look at the sections of the whole configuration, whatever they look for in them
    whole = "gpu_pools" in fields and isinstance(fields[name].annotation, type)
    if len(path) == 1 and not (whole and isinstance(value, BaseModel)):
        return in_doubt(here.model_copy(update={name: _all_of(value)}), {name: WHOLE})
    changed = mark(value, path[1:], inner)
    if changed is value and len(path) > 1:
        return in_doubt(here, {name: frozenset({step(inner, path[1])}) if isinstance(value, (dict, list)) else WHOLE})
    return here.model_copy(update={name: changed})


def step(path: str, key: str | int) -> str:
    """The path of what is below another: dots between keys, brackets around positions of a list."""
    return f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else key


def _all_of(value: Any) -> Any:
    """A copy of a value in which everything is in doubt."""
    if isinstance(value, dict):
        return {name: _all_of(inside) for name, inside in value.items()}
    if not isinstance(value, BaseModel):
        return value
    inner = {name: _all_of(inside) for name, inside in value.__dict__.items()}
    return in_doubt(value.model_copy(update=inner), dict.fromkeys(type(value).model_fields, WHOLE))


def _usual(kind: type[BaseModel]) -> type[BaseModel]:
    return kind.__bases__[0] if kind.__dict__.get("_watched") else kind


@cache
def _watched(kind: type[BaseModel]) -> type[BaseModel]:
    """The same class, whose instances say when a value in doubt is read."""

    def read(self: BaseModel, name: str) -> Any:
        if name in doubts(self) and (judging := _judging.get()):
            judging.doubts.add(_doubt(self, name))
        return super(watched, self).__getattribute__(name)

    namespace = {"__slots__": (), "__module__": kind.__module__, "_watched": True, "__getattribute__": read}
    watched = type.__new__(type(kind), kind.__name__, (kind,), namespace)
    return watched
