"""Answers of a preflight: one line each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from preview.preflight.cluster import Forbidden, Unavailable


class Verdict(StrEnum):
    """Verdict on one thing; with the first and the last `up` may go on."""

    FINE = "fine"
    MISSING = "missing"
    WRONG = "wrong"
    NOT_KNOWN = "not known"


FAILING = (Verdict.MISSING, Verdict.WRONG)


@dataclass(frozen=True)
class Finding:
    """One answer: what was looked for, what is so, and what helps."""

    verdict: Verdict
    subject: str
    text: str = ""
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.subject}: {self.text}" if self.text else self.subject
        return f"{line}; {self.fix}" if self.fix else line


def fine(subject: str, text: str = "") -> Finding:
    """It is there and right."""
    return Finding(Verdict.FINE, subject, text)


def missing(subject: str, note: str = "", fix: str = "") -> Finding:
    """It is not there; `note`: what it has to be."""
    return Finding(Verdict.MISSING, subject, f"is not there{f'; {note}' if note else ''}", fix)


def wrong(subject: str, text: str, fix: str = "") -> Finding:
    """It is there, and the stack would not run with it."""
    return Finding(Verdict.WRONG, subject, text, fix)


def not_known(subject: str, text: str) -> Finding:
    """Nobody could say."""
    return Finding(Verdict.NOT_KNOWN, subject, text)


def read(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """All findings of a look at the cluster; what may not be read is not known."""
    try:
        yield from look()
    except Forbidden:
        yield not_known(subject, "may not be read by the user of this kubeconfig")
    except Unavailable:
        yield wrong(subject, "is served by a program of the cluster that does not answer", "look at its APIService")
