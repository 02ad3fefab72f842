"""Placement of one server on its pool: parallelism and memory on GPUs, memory on CPUs, and refusals that help.

A refusal names the nearest changes that fit, and each of them has been tried before it is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, floor

from catalog.schema import Gpu, KvProfile, Model, WeightFormat
from planning.capacity import flags, memory
from planning.capacity.asked import Asked, tuning_of
from planning.capacity.asked import workload as workload_of
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.cards import DEFAULT_UTILIZATION, RUNTIME_GIB
from planning.capacity.flags import decode_context, has, workload_flags
from planning.capacity.memory import GIB, Workload
from planning.capacity.parallelism import Fit, Hardware, rule_problems, try_fit
from planning.capacity.quantized import as_loaded
from planning.capacity.reason import Reason
from planning.plan.pools import PoolPlan
from planning.server import measured
from planning.server.fit import (
    Site,
    devices_of,
    explicit_parallelism,
    fit_as_asked,
    hardware_of,
    spread_problem,
    stretch_context,
)
from planning.server.fixes import nearest_fixes
from planning.server.parts_of_cards import part_problems
from planning.server.shares import as_shared, share_problems, share_reasons
from planning.server.speculative import with_draft
from settings.problems import Problem, nearest
from settings.schema import ModelSettings

# What vLLM takes by itself on small GPUs; its 1,024 on large ones costs 5–6 GiB for the sampler's trial run.
DEFAULT_MAX_NUM_SEQS = 256
# Fewer than this are not chosen for a user: the server would mostly queue.
FEWEST_MAX_NUM_SEQS = 16
# A CPU serves few at a time: 128 is vLLM's default per rank, which only queues inside the engine.
CPU_MAX_NUM_SEQS = 16
# KV cache of a CPU server: this many sequences of the wanted context, in whole GiB.
CPU_CONCURRENT_CONTEXTS = 4
# A context chosen for a CPU server: longer prompts take minutes there.
CPU_AUTO_CONTEXT = 8192
# Tokens of one engine step on a CPU, vLLM's default per rank (vllm/engine/arg_utils.py, 0.33.0).
CPU_BATCHED_TOKENS = 2048
# Share of a node's memory its servers may plan with; the rest is the system's.
NODE_MEMORY_SHARE = 0.9
CPU_FORMATS = (WeightFormat.BF16, WeightFormat.AWQ_INT4)


@dataclass(frozen=True)
class Placement:
    """Hardware share and spread of a replica, with why; `cpu_kv_cache_gib`: on CPUs, where vLLM is told."""

    parallelism: Parallelism
    memory: MemoryBudget
    workload: Workload
    reasons: Mapping[str, str]
    cpu_kv_cache_gib: int | None = None


Placed = tuple[Placement | None, list[Problem]]


def on_gpus(site: Site, path: str, settings: ModelSettings, model: Model, gpu: Gpu, pool: PoolPlan) -> Placed:
    """Parallelism and memory on a GPU pool; refusals name the nearest changes that fit."""
    if undivided := [*share_problems(settings, pool, path), *part_problems(settings, pool, path)]:
        return None, undivided
    settings = as_shared(settings, gpu)
    hardware = hardware_of(site, pool, gpu)
    kv_cache_dtype = settings.kv_cache_dtype or model.serving.kv_cache_dtype or "auto"
    known = site.catalog.vllm.kv_cache_dtypes
    if kv_cache_dtype not in known:
        message = f"vLLM has no KV cache dtype '{kv_cache_dtype}'{nearest(kv_cache_dtype, known)}"
        return None, [Problem(f"{path}.kvCacheDtype", message)]
    asked = Asked(
        context_tokens=settings.context_tokens,
        max_num_seqs=_sequences(settings, DEFAULT_MAX_NUM_SEQS),
        max_num_batched_tokens=settings.max_num_batched_tokens,
        kv_cache_dtype=kv_cache_dtype,
        utilization=settings.gpu_memory_utilization,
        concurrency=settings.concurrency,
        **workload_flags(settings.args),
    )
    workload = with_draft(site, settings, workload_of(asked, model, gpu, site.catalog.vllm))
    workload = replace(workload, devices=devices_of(site, settings, gpu))
    longer = as_loaded(stretch_context(model, settings), settings.args, site.catalog.vllm)
    if settings.measured is not None:
        return _as_measured(path, settings, longer, hardware, workload)
    if decode_context(settings.args) > 1 and settings.tensor_parallel is None:
        message = f"is missing: {flags.DECODE_CONTEXT_PARALLEL_SIZE} splits what it gives"
        return None, [Problem(f"{path}.tensorParallel", message)]
    fit, workload = _fewer_sequences(longer, hardware, settings, workload)
    if not fit.fits or fit.memory is None:
        fixes = nearest_fixes(site, settings, longer, hardware, workload, fit)
        return None, [_unfit(path, reason, fixes, pool) for reason in fit.reasons]
    reasons = _parallelism_reasons(longer, hardware, settings, workload, fit)
    reasons |= _context_reasons(settings, model, fit.memory) | _dtype_reasons(settings, workload)
    reasons |= share_reasons(settings)
    reasons |= _default_reasons(settings, reasons, workload, hardware.gpu)
    held = replace(workload, context_tokens=fit.memory.context_tokens)
    return Placement(fit.parallelism, fit.memory, held, reasons), []


def _unfit(path: str, reason: Reason, fixes: str, pool: PoolPlan) -> Problem:
    """The refusal of a model that does not fit, with changes that fit, or advice where nothing is computed."""
    message = measured.add_hint(reason, f"pool '{pool.name}'", path)
    joint = ", or " if reason.fix else "; use "
    return Problem(path, message + joint + fixes if fixes and reason.computable else message)


def _sequences(settings: ModelSettings, default: int) -> int:
    """Sequences that were asked for, or else `default`, but no more than vLLM's steps have tokens."""
    return settings.max_num_seqs or min(default, settings.max_num_batched_tokens or default)


def _fewer_sequences(
    model: Model, hardware: Hardware, settings: ModelSettings, workload: Workload
) -> tuple[Fit, Workload]:
    """The fit with the sequences that were asked for, or else with as many of ours as let it fit."""
    fit = first = fit_as_asked(model, hardware, settings, workload)
    sequences = workload.max_num_seqs
    while not fit.fits and settings.max_num_seqs is None and sequences > FEWEST_MAX_NUM_SEQS:
        sequences //= 2
        fit = fit_as_asked(model, hardware, settings, replace(workload, max_num_seqs=sequences))
    return (fit, replace(workload, max_num_seqs=sequences)) if fit.fits else (first, workload)


def _as_measured(path: str, settings: ModelSettings, model: Model, hardware: Hardware, workload: Workload) -> Placed:
    """The placement that the user measured, in place of every sum; refused where it contradicts itself or the pool."""
    figures = settings.measured
    assert figures is not None, "the caller has checked"
    measured_workload = measured.workload_of(settings, figures, model, workload)
    parallelism = measured.spread(figures, expert=bool(settings.expert_parallel))
    problems = measured.problems(f"pool '{settings.pool}'", path, settings, figures, model, hardware, measured_workload)
    if not problems and (cut := spread_problem(parallelism, hardware)):
        problems = [Problem(f"{path}.measured", cut)]
    if problems:
        return None, problems
    reasons = measured.reasons(settings, figures, parallelism, measured_workload.context_tokens)
    reasons |= _default_reasons(settings, reasons, workload, hardware.gpu)
    return Placement(
        parallelism,
        measured.budget(figures, model, hardware.gpu, parallelism, measured_workload),
        measured_workload,
        reasons,
    ), []


def _parallelism_reasons(
    model: Model, hardware: Hardware, settings: ModelSettings, workload: Workload, fit: Fit
) -> dict[str, str]:
    if explicit_parallelism(settings) is not None:
        return {"tensorParallel": "given"}
    if fit.parallelism.gpus == 1:
        return {"tensorParallel": "1: one GPU is enough"}
    fitted = replace(workload, context_tokens=fit.memory.context_tokens if fit.memory else 1)
    alone = try_fit(model, hardware, Parallelism(), fitted)
    why = alone.reasons[0].at("one") if alone.reasons else "fewer GPUs hold too little KV cache"
    return {"tensorParallel": f"{fit.parallelism}: {why}"}


def _context_reasons(settings: ModelSettings, model: Model, budget: MemoryBudget) -> dict[str, str]:
    if settings.context_tokens is not None:
        return {}
    if budget.context_tokens == model.context.config_tokens:
        return {"contextTokens": f"{budget.context_tokens}: all the checkpoint has"}
    return {"contextTokens": f"{budget.context_tokens}: the longest that fits"}


def _dtype_reasons(settings: ModelSettings, workload: Workload) -> dict[str, str]:
    """Reasons that a dtype among the arguments gives for memory."""
    if not has(settings.args, flags.DTYPE):
        return {}
    return {"dtype": f"{workload.dtype}, given in args: {workload.model_bytes} bytes per number that is not quantised"}


def _default_reasons(
    settings: ModelSettings, present: Mapping[str, str], workload: Workload, gpu: Gpu
) -> dict[str, str]:
    """Reasons of the defaults that every GPU server has, unless there is one already."""
    reasons, sequences = {}, workload.max_num_seqs
    if settings.max_num_seqs is None:
        why = "vLLM's own default on small GPUs"
        if workload.samples:
            why = "vLLM's own default may spend GiBs on its sampler's trial run"
        if sequences < DEFAULT_MAX_NUM_SEQS:
            small = sequences == settings.max_num_batched_tokens
            why = "one per token of a step" if small else f"{DEFAULT_MAX_NUM_SEQS} leave too little memory"
        reasons["maxNumSeqs"] = f"{sequences}: {why}"
    if settings.gpu_memory_utilization is None and "gpuMemoryUtilization" not in present:
        usual = workload.utilization == DEFAULT_UTILIZATION
        rest = "is the system's, whose memory is the same" if gpu.unified_memory else "is for the CUDA context"
        why = "vLLM's default, written out" if usual else f"the rest {rest}"
        reasons["gpuMemoryUtilization"] = f"{workload.utilization:g}: {why}"
    return reasons


def on_cpu(path: str, settings: ModelSettings, model: Model, pool: PoolPlan) -> Placed:
    """Memory of a CPU server: weights and KV cache in the node's memory."""
    problems = _for_gpus_only(path, settings, model, pool)
    if model.checkpoint.format not in CPU_FORMATS:
        formats = " or ".join(CPU_FORMATS)
        message = f"{model.checkpoint.format} weights do not run on CPUs; use a {formats} checkpoint"
        return None, [*problems, Problem(path, message)]
    shape, node_gib = model.architecture, pool.memory_gib_per_node or 0
    if shape is None or model.kv_profile is KvProfile.UNKNOWN:
        message = "its KV cache cannot be computed (kvProfile: unknown), and nothing is sized automatically on CPUs"
        return None, [*problems, Problem(path, f"{message}; use a GPU pool, and {measured.hint(path)}")]
    tokens = settings.context_tokens or min(model.context.config_tokens, CPU_AUTO_CONTEXT)
    asked = workload_flags(settings.args)
    workload = Workload(
        tokens,
        _sequences(settings, CPU_MAX_NUM_SEQS),
        settings.max_num_batched_tokens or CPU_BATCHED_TOKENS,
        utilization=NODE_MEMORY_SHARE,
        max_loras=asked["max_loras"],
        max_lora_rank=asked["max_lora_rank"],
        dtype=asked["dtype"],
        tuning=tuning_of(model, asked["tuning"]),
        tokens_given=settings.max_num_batched_tokens is not None,
    )
    rules = rule_problems(stretch_context(model, settings), None, Parallelism(), workload)
    problems += [Problem(path, rule.at(f"pool '{pool.name}'")) for rule in rules]
    cut, keeps = memory.kv_layout(shape, None, Parallelism(), workload), model.kv_profile is not KvProfile.NONE
    per_context = cut.blocks_needed(tokens) * cut.block_bytes if keeps else 0
    weights_gib = memory.weight_bytes(model, Parallelism(), model_bytes=workload.model_bytes)[0] / GIB
    weights_gib += memory.slot_bytes(shape, workload, Parallelism()) / GIB
    room = node_gib * NODE_MEMORY_SHARE - weights_gib - RUNTIME_GIB
    kv_gib = min(ceil(CPU_CONCURRENT_CONTEXTS * per_context / GIB), floor(room))
    # one block is held back
    if kv_gib * GIB < per_context + (cut.block_bytes if keeps else 0):
        needs = f"needs {weights_gib:.1f} GiB of weights and {per_context / GIB:.1f} GiB of KV cache"
        gives = f"{node_gib * NODE_MEMORY_SHARE:.1f} GiB ({node_gib} × {NODE_MEMORY_SHARE:g})"
        return None, [*problems, Problem(path, f"{needs}, a node of pool '{pool.name}' gives {gives}")]
    budget = memory.cpu_budget(model, node_gib, kv_gib, workload)
    reasons = {"kvCache": f"{kv_gib} GiB: {CPU_CONCURRENT_CONTEXTS} sequences of {tokens} tokens"} if keeps else {}
    if settings.context_tokens is None:
        reasons["contextTokens"] = f"{tokens}: prompts are slow on CPUs"
    reasons |= _dtype_reasons(settings, workload)
    return Placement(Parallelism(), budget, workload, reasons, kv_gib), problems


def _for_gpus_only(path: str, settings: ModelSettings, model: Model, pool: PoolPlan) -> list[Problem]:
    """Settings that mean nothing without GPUs."""
    none = f"pool '{pool.name}' has no GPUs"
    parallel = (settings.tensor_parallel, settings.pipeline_parallel, settings.data_parallel)
    problems, guesses = [], settings.speculative
    if any(value not in (None, 1) for value in parallel) or settings.expert_parallel:
        problems.append(Problem(path, f"{none}; leave parallelism out"))
    for key, value in (
        ("gpuMemoryUtilization", settings.gpu_memory_utilization),
        ("gpuShare", settings.gpu_share),
        ("kvCacheDtype", settings.kv_cache_dtype),
        ("measured", settings.measured),
        ("kvOffload", settings.kv_offload),
        ("speculative", guesses if guesses and guesses.method != "ngram" else None),
    ):
        if value is not None:
            problems.append(Problem(f"{path}.{key}", f"{none}; leave it out"))
    tuning = flags.tuning(settings.args)
    for option, value in (
        (flags.KV_CACHE_MEMORY_BYTES, tuning.kv_cache_bytes),
        (flags.NUM_GPU_BLOCKS_OVERRIDE, tuning.kv_cache_blocks),
        (flags.CPU_OFFLOAD_GB, tuning.offloaded_bytes),
        (flags.KV_OFFLOADING_SIZE, tuning.kv_offload_gib and not settings.kv_offload),
        (flags.SPECULATIVE_CONFIG, tuning.draft_head and not guesses),
        (flags.QUANTIZATION, has(settings.args, flags.QUANTIZATION) and model.checkpoint.format is WeightFormat.BF16),
    ):
        if value:
            problems.append(Problem(f"{path}.args", f"{none}, and {option} is for those; leave it out"))
    return problems
