"""The result of planning: one frozen `Plan`, complete enough that components only declare it.

Owns the types. Units are in the names; every derived value that a reader may wonder about has its sentence in
`reasons` of the part it belongs to (key: the name of the setting that would override it).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planning.plan.gateway import GatewayPlan
from planning.plan.observe import ObservabilityPlan, ReleasePlan
from planning.plan.pods import DnsPlan, ImagePlan
from planning.plan.pools import PoolPlan, PrePull
from planning.plan.servers import CompileCacheClaim, ServerPlan
from planning.plan.storage import Stored
from planning.plan.weights import WeightsPlan


@dataclass(frozen=True)
class Plan:
    """Everything a stack declares, and what its reader should know."""

    context: str
    cluster_identifier: str
    kubernetes: str
    namespace: str
    takes_over: bool
    """Whether objects of other stacks are written over."""
    dns: DnsPlan
    pools: Mapping[str, PoolPlan]
    weights: WeightsPlan
    compile_cache: CompileCacheClaim | None
    """None: what servers compile goes with their pods."""
    pre_pulls: tuple[PrePull, ...]
    storage: tuple[Stored, ...]
    servers: tuple[ServerPlan, ...]
    gateway: GatewayPlan
    observability: ObservabilityPlan
    releases: Mapping[str, ReleasePlan]
    images: tuple[ImagePlan, ...]
    unpinned: tuple[str, ...]
    warnings: tuple[str, ...]
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Patches of the user's over objects, by Kind/name."""
