"""Values that stand in for refused ones, and what may be said of a stack that has some: nothing that follows from them.

A stack with a broken value is planned all the same, with a default in its place, so that everything else that is wrong
is told at once. A section knows which of its values are such; whoever judges something hears whether one was read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import cache
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from pydantic import BaseModel

from settings.gate import Path
from settings.problems import Problem

P = ParamSpec("P")
Value = TypeVar("Value")
_judging: ContextVar["Judging | None"] = ContextVar("judging", default=None)


class Judging:
    """A stretch in which something is judged; `doubts`: what was read that stands in for something, as SECTION.FIELD.

    Stretches are nested: an inner one takes its own account of its problems, so that what it read is none of the outer
    one's `doubts`; `read` has both, for what is made in the whole stretch.
    """

    def __init__(self) -> None:
        self.doubts: set[str] = set()
        self.read: set[str] = set()
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
        return all(name.startswith(indifferent) for name in self.read)

    def kept(self, problems: Iterable[Problem]) -> list[Problem]:
        """Those of the problems that follow from nothing in doubt; to be asked after the stretch."""
        kept = [problem for problem in problems if not self.doubts or problem in self.sure]
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
        judging.doubts |= {f"{type(section).__name__}.{name}" for name in doubts(section)}
        for inside in section.__dict__.values():
            if isinstance(inside, BaseModel):
                follows_from(inside)


def doubts(section: BaseModel) -> frozenset[str]:
    """The fields of a section whose values are in doubt."""
    private: Any = object.__getattribute__(section, "__pydantic_private__")
    return private["doubts"] if private and "doubts" in private else frozenset()


def in_doubt(section: Value, fields: Iterable[str]) -> Value:
    """A copy of a section with these of its fields in doubt; the section itself where there are none."""
    assert isinstance(section, BaseModel)
    added = frozenset(fields)
    if not added:
        return section
    copy: Any = section.model_copy()
    object.__setattr__(copy, "__pydantic_private__", {"doubts": doubts(section) | added})
    object.__setattr__(copy, "__class__", _watched(_usual(type(section))))
    return copy


def mark(here: Any, path: Path) -> Any:
    """A copy of settings in which the value at `path`, as it is written, is in doubt; what is not there is in none."""
    if isinstance(here, dict):
        return {**here, path[0]: mark(here[path[0]], path[1:])} if path and path[0] in here else here
    if not isinstance(here, BaseModel):
        return here
    if not path:
        return _all_of(here)
    name = next((name for name, field in type(here).model_fields.items() if (field.alias or name) == path[0]), None)
    if name is None:
        return here
    value = here.__dict__[name]
    # all look at the sections of the whole configuration, whatever they look for in them
    whole = "gpu_pools" in type(here).model_fields and isinstance(type(here).model_fields[name].annotation, type)
    if len(path) == 1 and not (whole and isinstance(value, BaseModel)):
        return in_doubt(here.model_copy(update={name: _all_of(value)}), [name])
    changed = mark(value, path[1:])
    return in_doubt(here, [name]) if changed is value and len(path) > 1 else here.model_copy(update={name: changed})


def _all_of(value: Any) -> Any:
    """A copy of a value in which everything is in doubt."""
    if isinstance(value, dict):
        return {name: _all_of(inside) for name, inside in value.items()}
    if not isinstance(value, BaseModel):
        return value
    inner = {name: _all_of(inside) for name, inside in value.__dict__.items()}
    return in_doubt(value.model_copy(update=inner), type(value).model_fields)


def _usual(kind: type[BaseModel]) -> type[BaseModel]:
    return kind.__bases__[0] if kind.__dict__.get("_watched") else kind


@cache
def _watched(kind: type[BaseModel]) -> type[BaseModel]:
    """The same class, whose instances say when a value in doubt is read."""

    def read(self: BaseModel, name: str) -> Any:
        if name in doubts(self) and (judging := _judging.get()):
            judging.doubts.add(f"{kind.__name__}.{name}")
        return super(watched, self).__getattribute__(name)

    namespace = {"__slots__": (), "__module__": kind.__module__, "_watched": True, "__getattribute__": read}
    watched = type.__new__(type(kind), kind.__name__, (kind,), namespace)
    return watched
