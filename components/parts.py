"""Parts of a plan for programs that put components together by hand, from the sections of a stack file.

What `planning.parts` says, with the catalogue of this project. What is wrong ends a program as a list, without a
traceback.
"""

from collections.abc import Callable
from typing import TypeVar

import catalog
from catalog.load import Catalog
from planning import parts
from planning.own_catalog import own_catalog
from planning.parts import Sections
from planning.plan.gateway import GatewayPlan
from planning.plan.observe import ObservabilityPlan
from planning.plan.pods import DnsPlan
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.plan.weights import WeightsPlan
from settings import Refused
from settings.catalog_files import read_own
from settings.load import ConfigError, project_folder

Planned = TypeVar("Planned")


def plan_from_catalog(sections: Sections, plan: Callable[[Sections, Catalog], Planned]) -> Planned:
    """The part that `plan` makes of the sections and the catalogue, with the entries that the sections have for it.

    Raises `ConfigError`, which lists everything that is wrong.
    """
    own = read_own(sections, project_folder())
    try:
        return plan(own.sections, own_catalog(catalog.load_catalog(), own))
    except Refused as refused:
        raise ConfigError(refused.problems) from None


def plan_dns(sections: Sections) -> DnsPlan:
    """The place where pods of `cluster` ask for names, for `serving_namespace`."""
    return plan_from_catalog(sections, parts.plan_dns)


def dns_of_any_cluster() -> DnsPlan:
    """The same of a cluster of which nothing is said."""
    return parts.dns_of_any_cluster(catalog.load_catalog())


def plan_pool(sections: Sections, name: str) -> PoolPlan:
    """One pool of `gpuPools`, for `GpuNodePool`, and for the servers on it."""
    return plan_from_catalog(sections, lambda named, known: parts.plan_pool(named, name, known))


def plan_weights(sections: Sections) -> WeightsPlan:
    """The weights of all `models`, for `ModelWeights`, and for their servers."""
    return plan_from_catalog(sections, parts.plan_weights)


def plan_server(sections: Sections, name: str, *, canary: bool = False) -> ServerPlan:
    """The server of one of `models`, or its canary, for `VllmServer`."""
    return plan_from_catalog(sections, lambda named, known: parts.plan_server(named, name, known, canary=canary))


def plan_gateway(sections: Sections) -> GatewayPlan:
    """The gateway in front of all `models`, for `LlmGateway`."""
    return plan_from_catalog(sections, parts.plan_gateway)


def plan_observability(sections: Sections) -> ObservabilityPlan:
    """Monitors, alerts and dashboards of all of them, for `Observability`."""
    return plan_from_catalog(sections, parts.plan_observability)
