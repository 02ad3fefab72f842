"""What rendered objects may say here: the table of fields.yaml, which explains itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

# Fields of every object.
ENVELOPE = ("apiVersion", "kind", "metadata")
# Nearest fix where a row has no better one.
LEAVE_OUT = "leave it out, or use CLUSTER=sim"


@dataclass(frozen=True)
class Shape:
    """The fields of one kind of mapping."""

    holds: Mapping[str, str] = field(default_factory=dict)
    obeyed: Sequence[str] = ()
    only: Mapping[str, Sequence[object]] = field(default_factory=dict)
    idle: Sequence[str] = ()
    one_of: Sequence[str] = ()
    why: Mapping[str, str] = field(default_factory=dict)


_TABLE = yaml.safe_load(Path(__file__).with_name("fields.yaml").read_text(encoding="utf-8"))
SHAPES: Mapping[str, Shape] = {name: Shape(**row) for name, row in _TABLE.items()}
