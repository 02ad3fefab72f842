"""Answers about a model that are kept, because it is asked of every card, spread and number of GPUs in turn."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

Subject = TypeVar("Subject")
Rest = TypeVarTuple("Rest")
Answer = TypeVar("Answer")

# Answers kept of one function, after which it starts anew: those of all spreads of a hundred models.
MOST_ANSWERS = 20_000


def remembered(function: Callable[[Subject, *Rest], Answer]) -> Callable[[Subject, *Rest], Answer]:
    """The same pure function of a frozen object and of hashable values, which computes each answer once.

    The object is known by its identity: it is large to hash, and a changed one is a copy. It is kept with its answers,
    so that no other comes to have its identity meanwhile.
    """
    answers: dict[tuple[object, ...], tuple[Subject, Answer]] = {}

    @wraps(function)
    def recall(subject: Subject, *rest: *Rest) -> Answer:
        key = (id(subject), *rest)
        known = answers.get(key)
        if known is None:
            if len(answers) >= MOST_ANSWERS:
                answers.clear()
            known = answers[key] = (subject, function(subject, *rest))
        return known[1]

    return recall
