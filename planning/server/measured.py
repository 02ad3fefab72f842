"""A profile somebody read in vLLM's start-up log, instead of the sum: `models.NAME.measured`.

Taken as it is. Checked is only what contradicts itself, the rest of the model's settings, or the pool. Pure functions.
"""

from dataclasses import replace

from catalog.schema import Gpu, Model
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.cards import visible_bytes
from planning.capacity.memory import GIB, Workload
from planning.capacity.parallelism import Hardware, rule_problems, whole_tokens
from planning.capacity.reason import Reason
from settings.problems import Problem
from settings.schema import MeasuredSettings, ModelSettings

# Logs round to hundredths of a GiB, and cards of one type differ by as much as their ECC reserves.
ROUNDING_GIB = 0.05
# Settings of a model that a measurement decides: (key, field of both).
DECIDED = (
    ("tensorParallel", "tensor_parallel"),
    ("pipelineParallel", "pipeline_parallel"),
    ("dataParallel", "data_parallel"),
    ("gpuMemoryUtilization", "gpu_memory_utilization"),
)


def hint(path: str) -> str:
    """Advice about a model that cannot be computed; `path` is that of its settings."""
    return (
        f"give {path}.measured: {{weightsGibPerGpu, kvTokens, gpus}}, "
        "read from a start-up log with python -m planning calibrate"
    )


def add_hint(reason: Reason, place: str, path: str) -> str:
    """A reason as a sentence; where nothing can be computed, with what to do about it."""
    return reason.at(place) if reason.computable else f"{reason.at(place)}; {hint(path)}"


def spread(measured: MeasuredSettings, *, expert: bool) -> Parallelism:
    """Spread of the measured replica; what is left out is 1, and TP is what remains."""
    pipeline, data = measured.pipeline_parallel or 1, measured.data_parallel or 1
    return Parallelism(measured.tensor_parallel or measured.gpus // (pipeline * data), pipeline, data, expert)


def workload_of(settings: ModelSettings, measured: MeasuredSettings, model: Model, workload: Workload) -> Workload:
    """The workload with the measured utilisation, and with the longest context measured unless one is wanted."""
    held = measured.kv_tokens // (measured.data_parallel or 1)
    longest = measured.context_tokens or min(model.context.config_tokens, _whole(held))
    return replace(
        workload,
        context_tokens=settings.context_tokens or longest,
        utilization=measured.gpu_memory_utilization or workload.utilization,
    )


def problems(
    place: str,
    path: str,
    settings: ModelSettings,
    measured: MeasuredSettings,
    model: Model,
    hardware: Hardware,
    workload: Workload,
) -> list[Problem]:
    """Every contradiction; `workload` is that of `workload_of`, `place` the name of the pool."""
    parallelism = spread(measured, expert=bool(settings.expert_parallel))
    held = measured.kv_tokens // parallelism.data
    contradictions = [
        Problem(f"{path}.{key}", f"{value:g} differs from the {figure:g} that was measured; leave {key} out")
        for key, field in DECIDED
        if (value := getattr(settings, field)) is not None
        and (figure := _measured(measured, parallelism, field)) is not None
        and value != figure
    ]
    context_tokens, known = settings.context_tokens, measured.context_tokens
    if context_tokens is not None and context_tokens > held:
        message = f"{context_tokens} exceeds the {held} tokens of KV cache that were measured for one sequence"
        contradictions.append(Problem(f"{path}.contextTokens", f"{message}; use contextTokens: {_whole(held)}"))
    elif context_tokens is not None and known is not None and context_tokens > known:
        message = f"{context_tokens} exceeds the {known} it was measured with"
        contradictions.append(
            Problem(f"{path}.contextTokens", f"{message}; use contextTokens: {known}, or measure again")
        )
    if parallelism.gpus > hardware.gpus:
        nodes = -(-parallelism.gpus // hardware.gpus_per_node)
        message = f"{parallelism.gpus} GPUs are needed, {place} has {hardware.gpus}"
        contradictions.append(
            Problem(f"{path}.measured.gpus", f"{message}; use gpuPools.{settings.pool}.nodes: {nodes}")
        )
    visible = visible_bytes(hardware.gpu) / GIB
    budget = visible * workload.utilization
    gives = f"{place} gives {budget:.1f} GiB ({visible:.1f} × {workload.utilization:.2f})"
    if measured.weights_gib_per_gpu > budget + ROUNDING_GIB:
        message = f"{measured.weights_gib_per_gpu:g} GiB of weights per GPU cannot have been measured here: {gives}"
        contradictions.append(Problem(f"{path}.measured.weightsGibPerGpu", f"{message}; use the figures of this GPU"))
    elif measured.weights_gib_per_gpu + (measured.kv_gib_per_gpu or 0) > budget + ROUNDING_GIB:
        message = (
            f"{measured.weights_gib_per_gpu:g} GiB of weights and {measured.kv_gib_per_gpu:g} GiB of KV cache per GPU"
        )
        contradictions.append(
            Problem(f"{path}.measured.kvGibPerGpu", f"{message} cannot have been measured here: {gives}")
        )
    return contradictions + [
        Problem(path, rule.at(place)) for rule in rule_problems(model, hardware.gpu, parallelism, workload)
    ]


def budget(
    measured: MeasuredSettings, model: Model, gpu: Gpu, parallelism: Parallelism, workload: Workload
) -> MemoryBudget:
    """The measured figures as a budget; what is neither weights nor KV cache counts as activation.

    Where the log's KV GiB were not given, all that the weights leave is called KV cache.
    """
    visible = visible_bytes(gpu) / GIB
    left = visible * workload.utilization - measured.weights_gib_per_gpu
    kv = left if measured.kv_gib_per_gpu is None else measured.kv_gib_per_gpu
    concurrency = measured.kv_tokens / workload.context_tokens
    if measured.max_concurrency is not None and workload.context_tokens == measured.context_tokens:
        concurrency = measured.max_concurrency
    held = measured.kv_tokens // parallelism.data
    return MemoryBudget(
        visible_gib=visible,
        utilization=workload.utilization,
        weights_gib=measured.weights_gib_per_gpu,
        activation_gib=max(0.0, left - kv),
        cuda_graphs_gib=0.0,
        non_torch_gib=0.0,
        kv_cache_gib=max(0.0, kv),
        kv_cache_tokens=measured.kv_tokens,
        # the block size of a model nobody has computed is not known either
        kv_cache_blocks=0,
        needed_gib=max(0.0, kv) * parallelism.data / concurrency,
        fits=True,
        context_tokens=workload.context_tokens,
        max_context_tokens=measured.context_tokens or min(model.context.config_tokens, held),
        max_concurrency=concurrency,
    )


def reasons(
    settings: ModelSettings, measured: MeasuredSettings, parallelism: Parallelism, tokens: int
) -> dict[str, str]:
    """Reasons of the plan's figures; the key `measured` tells readers that nothing here was computed."""
    sources = ["given, not computed", f"vLLM {measured.vllm}" if measured.vllm else "", measured.source or ""]
    sentences = {
        "measured": ", ".join(part for part in sources if part),
        "tensorParallel": f"{parallelism}: as measured",
    }
    if settings.context_tokens is None:
        why = (
            "as measured" if measured.context_tokens else "what the measured KV cache holds, or all the checkpoint has"
        )
        sentences["contextTokens"] = f"{tokens}: {why}"
    if settings.gpu_memory_utilization is None and measured.gpu_memory_utilization is not None:
        sentences["gpuMemoryUtilization"] = f"{measured.gpu_memory_utilization:g}: as measured"
    return sentences


def _whole(tokens: int) -> int:
    """Whole thousands (1,024) of tokens, or what there is below one."""
    return whole_tokens(tokens) or tokens


def _measured(measured: MeasuredSettings, parallelism: Parallelism, field: str) -> float | None:
    sizes = {
        "tensor_parallel": parallelism.tensor,
        "pipeline_parallel": parallelism.pipeline,
        "data_parallel": parallelism.data,
    }
    return sizes.get(field, measured.gpu_memory_utilization)
