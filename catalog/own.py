"""Entries of the user's own in a catalogue: where each stands, what it takes the place of, what is wrong with them.

Owns the record only; `planning.own_catalog` makes it, and whoever plans says of it what a reader should know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Fault:
    """Something to mend in an entry: `place` is a file with its line, or a path in the stack file."""

    place: str
    message: str


@dataclass(frozen=True)
class Own:
    """The user's entries by section and name (`models`, `gpus`, `instances`, `prices`).

    `places`: where each stands; `replaced`: those that take the place of an entry of the project; `broken`: those that
    are left out, because of one of the `faults`; `unread`: some file could not be read at all, whatever is in it;
    `notes`: sentences about what the files of checkpoints do not say.
    """

    places: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    replaced: tuple[tuple[str, str], ...] = ()
    broken: frozenset[tuple[str, str]] = frozenset()
    faults: tuple[Fault, ...] = ()
    unread: bool = False
    notes: tuple[str, ...] = ()

    def is_awaited(self, section: str, name: str) -> bool:
        """Whether an entry is missing because something is wrong that is said already."""
        return self.unread or (section, name) in self.broken


NOTHING = Own()
