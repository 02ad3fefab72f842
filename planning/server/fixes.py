"""The nearest changes that let a model fit: each is a single change, and is tried before it is suggested."""

from collections.abc import Iterator
from dataclasses import replace

from catalog.schema import Model, WeightFormat
from planning.capacity import flags
from planning.capacity.asked import default_batch
from planning.capacity.budget import Parallelism
from planning.capacity.cache_dtypes import AUTO, FP8, cache_dtype_problems
from planning.capacity.changes import respreads, shorter_context, siblings
from planning.capacity.memory import Workload
from planning.capacity.mig import Slice, larger_parts
from planning.capacity.parallelism import Fit, Hardware
from planning.capacity.quantized import as_loaded, quantization_problem
from planning.plan.pools import PoolPlan
from planning.server.fit import (
    Site,
    devices_of,
    explicit_parallelism,
    fit_as_asked,
    hardware_of,
    spread_as_asked,
    stretch_context,
)
from planning.server.shares import slices_of, utilization
from settings.schema import ModelSettings

# A refusal looks for up to this many times the nodes of a pool.
MOST_MORE_NODES = 4


def nearest_fixes(
    site: Site, settings: ModelSettings, model: Model, hardware: Hardware, workload: Workload, failed: Fit
) -> str:
    """The nearest single changes that fit; each has been tried, so none of them would be refused again."""
    fixes = [
        *_changes_here(settings, model, hardware, workload, failed),
        *_larger_share(site.pools[settings.pool], settings, model, hardware, workload),
        *_larger_part(site, settings, model, workload),
        *_more_nodes(site.pools[settings.pool], settings, model, hardware, workload),
        *siblings(
            site.catalog.models,
            settings.model,
            lambda sibling: (
                fit_as_asked(
                    as_loaded(stretch_context(sibling, settings), settings.args, site.catalog.vllm),
                    hardware,
                    settings,
                    workload,
                ).fits
                and not quantization_problem(sibling, settings.args, site.catalog.vllm)
            ),
        ),
        *(
            f"pool '{pool.name}'"
            for pool in site.pools.values()
            if pool.name != settings.pool and _fits_pool(site, pool, settings, model, workload)
        ),
    ]
    return ", or ".join(fixes)


def _larger_share(
    pool: PoolPlan, settings: ModelSettings, model: Model, hardware: Hardware, workload: Workload
) -> Iterator[str]:
    """The smallest part of a card that is enough."""
    for slices in range(slices_of(settings, pool) + 1, pool.slices) if settings.gpu_share else ():
        share = slices / pool.slices
        larger = replace(workload, utilization=utilization(share, hardware.gpu))
        if fit_as_asked(model, hardware, settings, larger).fits:
            yield f"gpuShare: {share:g}"
            return


def _larger_part(site: Site, settings: ModelSettings, model: Model, workload: Workload) -> Iterator[str]:
    """The smallest profile of the card that is enough, or the whole card."""
    pool = site.pools[settings.pool]
    part = site.catalog.gpus.get(pool.gpu)
    if pool.mig is None or not isinstance(part, Slice):
        return
    for name, larger in larger_parts(part):
        moved = replace(workload, devices=devices_of(site, settings, larger))
        if fit_as_asked(model, Hardware(larger, 1, 1, nvlink=False), settings, moved).fits:
            yield f"gpuPools.{pool.name}.mig.profile: {name}"
            return
    whole = replace(pool, mig=None, gpus_per_node=pool.cards)
    if _fits_hardware(site, hardware_of(site, whole, part.card), settings, model, workload):
        yield f"gpuPools.{pool.name} without mig"


def _changes_here(
    settings: ModelSettings, model: Model, hardware: Hardware, workload: Workload, failed: Fit
) -> Iterator[str]:
    """Another parallelism on the same pool, a shorter context with the same one, another dtype of weights or cache."""
    auto = settings.context_tokens is None

    def fits(spread: Parallelism) -> bool:
        return spread_as_asked(model, hardware, spread, workload, auto_context=auto).fits

    for spread in respreads(model, hardware, workload, failed.parallelism, fits, auto_context=auto):
        yield _as_settings(spread, settings)
    if not auto and (longest := shorter_context(model, hardware, workload, failed)):
        yield f"contextTokens: {longest}"
    # of other formats the refusal itself says so
    wide = workload.model_bytes != 2 and model.checkpoint.format is WeightFormat.BF16
    if wide and fit_as_asked(model, hardware, settings, replace(workload, dtype="bfloat16")).fits:
        yield f"{flags.DTYPE}=bfloat16"
    if cache_dtype_problems(model, hardware.gpu, failed.parallelism, workload):
        for dtype in (FP8, AUTO):
            if fit_as_asked(model, hardware, settings, replace(workload, kv_cache_dtype=dtype)).fits:
                yield f"kvCacheDtype: {dtype}"


def _more_nodes(
    pool: PoolPlan, settings: ModelSettings, model: Model, hardware: Hardware, workload: Workload
) -> Iterator[str]:
    """The fewest nodes of the same kind that hold it, when the parallelism is ours to choose."""
    if explicit_parallelism(settings) is not None or pool.mig:
        return
    # more stages than layers are no use, so neither are more nodes
    layers = model.architecture.layers if model.architecture else 0
    for nodes in range(hardware.nodes + 1, min(hardware.nodes * MOST_MORE_NODES, layers) + 1):
        if fit_as_asked(model, replace(hardware, nodes=nodes), settings, workload).fits:
            yield f"gpuPools.{settings.pool}.nodes: {nodes}"
            return


def _fits_pool(site: Site, pool: PoolPlan, settings: ModelSettings, model: Model, workload: Workload) -> bool:
    gpu = site.catalog.gpus.get(pool.gpu)
    if gpu is None or pool.slices or settings.gpu_share is not None:
        return False
    return _fits_hardware(site, hardware_of(site, pool, gpu), settings, model, workload)


def _fits_hardware(site: Site, there: Hardware, settings: ModelSettings, model: Model, workload: Workload) -> bool:
    gpu = there.gpu
    doubled = 2 if workload.tuning.performance == "throughput" else 1
    tokens = settings.max_num_batched_tokens or default_batch(site.catalog.vllm, gpu)[1] * doubled
    moved = replace(workload, max_num_batched_tokens=tokens, devices=devices_of(site, settings, gpu))
    return fit_as_asked(model, there, settings, moved).fits


def _as_settings(parallelism: Parallelism, settings: ModelSettings) -> str:
    """Settings to write for it: tensorParallel, and what differs from 1 or from off here or in the settings."""
    parts = [f"tensorParallel: {parallelism.tensor}"]
    if {parallelism.pipeline, settings.pipeline_parallel} - {None, 1}:
        parts.append(f"pipelineParallel: {parallelism.pipeline}")
    if {parallelism.data, settings.data_parallel} - {None, 1}:
        parts.append(f"dataParallel: {parallelism.data}")
    if parallelism.expert and not settings.expert_parallel:
        parts.append("expertParallel: true")
    return " with ".join(parts)
