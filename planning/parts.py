"""Parts of a plan from the sections of a stack file: a whole stack, or one part for a program of one's own.

A part needs only the sections it follows from; whatever else a stack file has may be left out, and is not looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from catalog.load import Catalog
from planning.own_catalog import own_problems
from planning.plan import Plan
from planning.plan.gateway import GatewayPlan
from planning.plan.observe import ObservabilityPlan
from planning.plan.pods import DnsPlan
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.plan.weights import WeightsPlan
from planning.resolve import resolve_stack
from planning.server.room import add_node_needs
from planning.stack.cluster import dns_plan
from planning.stack.gpu_operator import platform_problems
from planning.stack.images import resolve_images
from planning.stack.pools import resolve_pools
from settings.doubt import judge, judged
from settings.keys import check
from settings.problems import Problem, Refused, nearest
from settings.schema import ClusterSettings
from settings.validate import validate

Sections = Mapping[str, Any]
# What a pool follows from, and what a server does, of itself and of what shares its pool.
POOL_SECTIONS = ("cluster", "gpuPools", "gpuOperator", "images", "catalog")
SERVER_SECTIONS = (
    *POOL_SECTIONS,
    "weights",
    "compileCache",
    "models",
    "workloads",
    "network",
    "autoscaling",
    "observability",
)
# In place of what a pool without servers does not follow from.
NOTHING_SERVED = {
    "weights": {"kind": "existingClaim", "claimName": "none"},
    "models": {"none": {"model": "none", "pool": "none"}},
}


def plan_stack(
    sections: Sections,
    catalog: Catalog,
    earlier: Sequence[Problem] = (),
    *,
    has_master_key: bool = False,
    has_hub_token: bool = False,
) -> Plan:
    """The plan of a whole stack; `earlier` is what was wrong when its file was read.

    Raises `settings.Refused` with everything that is wrong, as the other functions do.
    """
    settings, problems = check(sections, earlier, has_master_key=has_master_key, has_hub_token=has_hub_token)
    return resolve_stack(settings, catalog, problems, has_hub_token=has_hub_token)


def plan_dns(sections: Sections, catalog: Catalog) -> DnsPlan:
    """The place where pods of `cluster` ask for names."""
    settings, problems = validate({**NOTHING_SERVED, **_these(sections, POOL_SECTIONS)})
    unknown = judge(platform_problems, settings, catalog) if settings else []
    if settings is None or problems or unknown:
        raise Refused([*problems, *unknown])
    return dns_plan(settings.cluster, catalog)


def dns_of_any_cluster(catalog: Catalog) -> DnsPlan:
    """The same of a cluster of which nothing is said."""
    return dns_plan(ClusterSettings(context="any", identifier="any"), catalog)


def plan_pool(sections: Sections, name: str, catalog: Catalog) -> PoolPlan:
    """One pool of `gpuPools`; what its nodes have to give follows from `models`, where there are any, too."""
    if "models" in sections:
        return _named(_planned(sections, catalog).pools, "gpuPools", name, "pool")
    settings, problems = validate({**NOTHING_SERVED, **_these(sections, POOL_SECTIONS)})
    pools = {}
    if settings is not None:
        images, of_images = judged(resolve_images, settings.images, settings.cluster.platform, catalog)
        pools, of_pools = judged(resolve_pools, settings, catalog, images)
        problems = problems + of_images + of_pools + judge(platform_problems, settings, catalog)
    if problems := [*problems, *own_problems(catalog)]:
        raise Refused(problems)
    return add_node_needs(_named(pools, "gpuPools", name, "pool"), [], catalog)


def plan_weights(sections: Sections, catalog: Catalog) -> WeightsPlan:
    """The checkpoints of all `models`, and how they get to where pods find them."""
    return _planned(sections, catalog).weights


def plan_server(sections: Sections, name: str, catalog: Catalog, *, canary: bool = False) -> ServerPlan:
    """The server of one of `models`, or its canary; what else is in its pool decides how it is updated."""
    servers = {server.model_name: server for server in _planned(sections, catalog).servers if server.canary == canary}
    return _named(servers, "models", name, "canary of a model" if canary else "model")


def plan_gateway(sections: Sections, catalog: Catalog) -> GatewayPlan:
    """The gateway in front of all `models`."""
    return _planned(sections, catalog, "gateway").gateway


def plan_observability(sections: Sections, catalog: Catalog) -> ObservabilityPlan:
    """Monitors, alerts and dashboards for all `models` and the gateway."""
    return _planned(sections, catalog, "gateway").observability


def _planned(sections: Sections, catalog: Catalog, *more: str) -> Plan:
    """The plan of these sections alone; one that is missing is refused under its name."""
    settings, problems = validate(_these(sections, (*SERVER_SECTIONS, *more)))
    return resolve_stack(settings, catalog, problems)


def _these(sections: Sections, keys: Sequence[str]) -> dict[str, Any]:
    return {key: sections[key] for key in keys if key in sections}


Part = TypeVar("Part")


def _named(parts: Mapping[str, Part], section: str, name: str, kind: str) -> Part:
    if name not in parts:
        raise Refused([Problem(f"{section}.{name}", f"no {kind} '{name}'{nearest(name, parts)}")])
    return parts[name]
