"""Input and result of a comparison: both sides of a stack, and what somebody notices of the change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from preview.reporting.compare import Change
from preview.reporting.wording import minutes

Document = Mapping[str, Any]


class Rank(IntEnum):
    """Severity of a notice; the worst is printed first."""

    STOPS = 0
    FAILS = 1
    DIFFERS = 2
    OPERATORS = 3
    NOBODY = 4


@dataclass(frozen=True)
class Notice:
    """One thing that somebody notices; `lasts_s` is None where it stays so, or where nobody can know."""

    rank: Rank
    who: str
    what: str
    lasts_s: int | None = None

    def __str__(self) -> str:
        duration = f", for about {minutes(self.lasts_s)}" if self.lasts_s else ""
        return f"**{self.who}**{duration}: {self.what}"


@dataclass(frozen=True)
class Sides:
    """Both sides of one stack: documents, what differs, and the secret keys whose encrypted value is another.

    `before` is None when the base has no such stack. It may come from an older version, which has fewer fields.
    """

    before: Document | None
    after: Document
    changes: Sequence[Change]
    rekeyed: Sequence[str] = ()


def identity(change: Change) -> tuple[str, str]:
    """Kind and name of what changes."""
    return change.thing.entry["kind"], change.thing.entry["name"]
