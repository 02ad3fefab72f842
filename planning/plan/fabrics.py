"""The network between the nodes of one replica: what pods ask for, what NCCL is told, and what goes over it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TCP = "tcp"


@dataclass(frozen=True)
class Traffic:
    """Bytes that a token sends between the nodes of a replica, and the tokens that are sent together.

    `stage_bytes`: from one pipeline stage to the next, over each of `boundaries` between nodes; `expert_bytes`: to the
    experts of the other nodes and back; None: by a way of which nothing is counted. `chunk_tokens`: of prompts in one
    step; `sequences`: that decode together, one token each.
    """

    stage_bytes: int
    boundaries: int
    expert_bytes: int | None
    chunk_tokens: int
    sequences: int


@dataclass(frozen=True)
class FabricPlan:
    """The network between nodes that one replica spans, by what the pool says of it.

    `resources`: what each of its pods asks for beside what every pod of the pool does; `pages`: those of them that are
    huge pages; `environment`: its variables; `without_pages`: those of pods that ask for no such pages. `topology`: the
    label of nodes of which a replica has one value to itself. `one_zone`: the network does not leave a zone. `traffic`:
    of one server.
    """

    kind: str
    name: str
    resources: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    without_pages: Mapping[str, str] = field(default_factory=dict)
    topology: str | None = None
    one_zone: bool = False
    traffic: Traffic | None = None
