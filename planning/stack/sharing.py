"""Cards that several servers share: what nodes and device plugin are told, and pools where nobody could keep it.

Each card is offered as equal slices by time slicing (k8s-device-plugin, README, "Shared Access to GPUs"), under another
name, so that who asks for a whole card never gets one that is shared.
"""

import json

from catalog.load import Catalog
from catalog.schema import VendorName
from planning.plan.pools import SHARED
from settings.problems import Problem
from settings.schema import LabelledNodes, PoolSettings, SharedNodes, StackSettings

# The label by which the GPU Operator tells a node's device plugin how to offer its cards.
SHARING_LABEL = "nvidia.com/device-plugin.config"
# How nodes offer theirs that are not shared, beside others that are.
WHOLE = "whole-cards"


def slices_of(pool: PoolSettings) -> int:
    """Slices of each card of a pool; 0: they are not shared."""
    return pool.gpu_share.slices if pool.gpu_share else 0


def shared_name(resource: str) -> str:
    """The name under which slices of this resource are offered."""
    return f"{resource}{SHARED}"


def sharing_labels(slices: int) -> dict[str, str]:
    """Labels of nodes whose cards are offered as so many slices."""
    return {SHARING_LABEL: _way(slices)} if slices else {}


def sharing_problems(name: str, pool: PoolSettings, settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """Cards whose device plugin has no slices, and nodes whose plugin could not know that theirs are shared."""
    slices, gpu = slices_of(pool), catalog.gpus.get(pool.gpu)
    if not slices:
        return []
    if gpu is None or gpu.vendor is not VendorName.NVIDIA:
        fix = "leave it out, and give each server GPUs of its own"
        return [Problem(f"gpuPools.{name}.gpuShare", f"is for NVIDIA's device plugin, which {pool.gpu} has not; {fix}")]
    if not settings.gpu_operator.install or _everywhere(settings):
        return []
    nodes = pool.provisioning
    if not isinstance(nodes, LabelledNodes | SharedNodes) or nodes.labels.get(SHARING_LABEL) == _way(slices):
        return []
    return [
        Problem(
            f"gpuPools.{name}.provisioning.labels",
            "other pools have whole cards, so the nodes of this one must say that theirs are shared: label them "
            f"{SHARING_LABEL}={_way(slices)}, and write it here",
        )
    ]


def plugin_config(settings: StackSettings, mig_strategy: str) -> dict[str, object]:
    """Values of the GPU Operator for its device plugin: the ways to offer cards, by label or the same everywhere.

    A request for several slices is one for a larger part of a card, and no mistake.
    """
    ways = {slices for pool in settings.gpu_pools.values() if (slices := slices_of(pool))}
    if not ways:
        return {}
    whole = {"version": "v1", "flags": {"migStrategy": mig_strategy}}

    def shared(slices: int) -> dict[str, object]:
        cards = [{"name": "nvidia.com/gpu", "replicas": slices}]
        slicing = {"renameByDefault": True, "failRequestsGreaterThanOne": False, "resources": cards}
        return {**whole, "sharing": {"timeSlicing": slicing}}

    configs = {WHOLE: whole, **{_way(slices): shared(slices) for slices in sorted(ways)}}
    everywhere = _everywhere(settings)
    return {
        "create": True,
        "name": "llm-stack-device-plugin",
        "default": _way(everywhere) if everywhere else WHOLE,
        "data": {name: json.dumps(config) for name, config in configs.items()},
    }


def _way(slices: int) -> str:
    return f"slices-{slices}"


def _everywhere(settings: StackSettings) -> int:
    """Slices of each card, where the pools all share theirs alike; 0: where they do not."""
    ways = {slices_of(pool) for pool in settings.gpu_pools.values() if pool.gpu != "none"}
    return ways.pop() if len(ways) == 1 else 0
