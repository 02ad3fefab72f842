"""Shares of one card: what a server with `gpuShare` may take of it, and what cannot be kept.

A pool with `gpuShare` has one card per node, which the device plugin offers as so many slices of equal size. A server
asks for as many as its share has, so the scheduler itself keeps the sum on every card. Several slices are of one card
only where there is one: of several cards, the plugin spreads them (NVIDIA/k8s-device-plugin, issue 491).

vLLM looks at its start whether so much is free, and would count what its neighbours take while it measures itself; so
the size of its cache is said to it, and nothing is measured (vllm/v1/worker/gpu_worker.py).
"""

from math import floor

from catalog.schema import Gpu, KvProfile, Model
from planning.capacity import flags
from planning.capacity.budget import MemoryBudget
from planning.capacity.cards import CONTEXT_BYTES, GIB, visible_bytes
from planning.plan.pools import PoolPlan
from settings.problems import Problem
from settings.schema import ModelSettings

# Utilisation is told in hundredths; a part of a number of slices is a float.
STEPS, ROUNDING = 100, 1e-6
# Part of the planned cache that is there for certain: predictions are at most a few per cent above what vLLM measures.
CERTAIN = 0.95


def share_problems(settings: ModelSettings, pool: PoolPlan, path: str) -> list[Problem]:
    """Problems of a share of a card, and of its absence where cards are shared."""
    where, share = f"{path}.gpuShare", settings.gpu_share
    if not pool.slices:
        if share is None:
            return []
        fix = f"give gpuPools.{pool.name}.gpuShare, e.g. {{slices: 10}}, or leave it out"
        if pool.mig:
            fix = f"each server has a part of its own, {pool.mig.profile}; leave it out"
        return [Problem(where, f"pool '{pool.name}' does not share its cards; {fix}")]
    if share is None:
        return [Problem(where, f"is missing: pool '{pool.name}' shares its cards; give a part of one, e.g. 0.3")]
    problems = []
    slices = share * pool.slices
    if abs(slices - round(slices)) > ROUNDING:
        least, most = max(1, floor(slices)), floor(slices) + 1
        fits = " or ".join(f"{count / pool.slices:g}" for count in dict.fromkeys((least, most)))
        problems.append(Problem(where, f"{share:g} is no whole number of the {pool.slices} slices; use {fits}"))
    spread = (settings.tensor_parallel, settings.pipeline_parallel, settings.data_parallel)
    if any(value not in (None, 1) for value in spread):
        problems.append(Problem(where, "is of one card, and this server asks for several; leave parallelism out"))
    for key, value in (
        ("gpuMemoryUtilization", settings.gpu_memory_utilization),
        ("measured", settings.measured),
    ):
        if value is not None:
            problems.append(Problem(f"{path}.{key}", "follows from gpuShare; leave it out"))
    if flags.has(settings.args, flags.KV_CACHE_MEMORY_BYTES):
        problems.append(Problem(f"{path}.args", f"{flags.KV_CACHE_MEMORY_BYTES} follows from gpuShare; leave it out"))
    return problems


def as_shared(settings: ModelSettings, gpu: Gpu | None) -> ModelSettings:
    """The settings with what the share means for vLLM: its part of the memory, less what CUDA takes for itself."""
    if settings.gpu_share is None or gpu is None:
        return settings
    return settings.model_copy(
        update={"gpu_memory_utilization": utilization(settings.gpu_share, gpu), "tensor_parallel": 1}
    )


def utilization(share: float, gpu: Gpu) -> float:
    """Utilisation of a server whose memory, with that of its CUDA context, is no more than its share."""
    visible = visible_bytes(gpu)
    return max(1, floor((share - CONTEXT_BYTES / visible) * STEPS + ROUNDING)) / STEPS


def slices_of(settings: ModelSettings, pool: PoolPlan) -> int:
    """Slices that a pod asks for; 0: whole cards."""
    return round((settings.gpu_share or 0) * pool.slices)


def cache_args(settings: ModelSettings, model: Model, memory: MemoryBudget) -> tuple[str, ...]:
    """The size of the cache of a server that has neighbours: a little less than is planned, but no less than it needs.

    Nobody measures whether so much is there.
    """
    if settings.gpu_share is None or model.kv_profile is KvProfile.NONE:
        return ()
    told_gib = max(CERTAIN * memory.kv_cache_gib, min(memory.kv_cache_gib, memory.needed_gib * 1.01))
    return (f"{flags.KV_CACHE_MEMORY_BYTES}={int(told_gib * GIB)}",)


def share_reasons(settings: ModelSettings) -> dict[str, str]:
    """The reason for the utilisation of a server that has a share."""
    if settings.gpu_share is None:
        return {}
    why = f"gpuShare {settings.gpu_share:g}, less {CONTEXT_BYTES / GIB:g} GiB that CUDA takes beside it"
    return {"gpuMemoryUtilization": f"{settings.gpu_memory_utilization:g}: {why}"}
