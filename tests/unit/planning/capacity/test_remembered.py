"""Answers about a model that are computed once."""

from dataclasses import dataclass

from planning.capacity import remembered as module
from planning.capacity.remembered import remembered


@dataclass(frozen=True)
class Subject:
    """A frozen object that is equal to its copies."""

    size: int


def test_an_answer_is_computed_once_for_an_object_and_its_values():
    """The same object with the same values is answered from memory; a copy, and other values, are computed."""
    calls = []

    @remembered
    def product(subject: Subject, times: int) -> int:
        calls.append((id(subject), times))
        return subject.size * times

    subject, copy = Subject(3), Subject(3)
    answers = [product(asked, times) for asked, times in ((subject, 2), (subject, 2), (copy, 2), (subject, 5))]
    assert answers == [6, 6, 6, 15]
    assert calls == [(id(subject), 2), (id(copy), 2), (id(subject), 5)]


def test_what_is_remembered_is_bounded_and_never_of_another_object(monkeypatch):
    """Objects that come and go, at the same place in memory too, get their own answers, and few are kept."""
    monkeypatch.setattr(module, "MOST_ANSWERS", 3)
    calls = []

    @remembered
    def size(subject: Subject) -> int:
        calls.append(subject.size)
        return subject.size

    assert [size(Subject(number)) for number in range(10)] == list(range(10))
    kept = Subject(10)
    assert [size(kept), size(kept)] == [10, 10]
    assert calls == list(range(11))
