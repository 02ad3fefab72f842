"""Can this model run on these GPUs? The question without a stack around it, answered by the same functions.

Where a stack is careful (256 sequences), this answers for vLLM as it starts by itself: its own defaults for the GPU,
and the whole context of the checkpoint unless another is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog.load import Catalog
from catalog.schema import Gpu, KvProfile, Model
from planning.capacity.budget import Parallelism
from planning.capacity.memory import DEFAULT_UTILIZATION, Workload
from planning.capacity.parallelism import PLACE, Fit, Hardware, choose, try_fit, with_longest_context
from planning.server import measured
from planning.server.placement import default_batch

USUAL_NODE_GPUS, SMALL_NODE_GPUS = 8, 4
CONTEXT_STEP = 1024


@dataclass(frozen=True)
class Question:
    """What is asked. None: vLLM's default; `context_tokens` 0: as long as fits. `parallelism` None: ours to choose."""

    model: str
    gpu: str
    gpus: int
    context_tokens: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    utilization: float = DEFAULT_UTILIZATION
    kv_cache_dtype: str | None = None
    parallelism: Parallelism | None = None
    expert_parallel: bool = False
    gpu_memory_gib: float | None = None
    concurrency: int = 1
    eager: bool = False
    language_model_only: bool = False


@dataclass(frozen=True)
class Answer:
    """What follows: the fit, the workload it was asked for, and for a refusal the nearest changes that fit."""

    model: Model
    gpu: Gpu
    fit: Fit
    workload: Workload
    reasons: tuple[str, ...]
    fixes: tuple[str, ...]


def hardware(gpu: Gpu, gpus: int) -> Hardware:
    """`gpus` GPUs: one node up to eight (or what a board has), beyond that nodes of eight, four, or what divides."""
    most = gpu.gpus_per_node or USUAL_NODE_GPUS
    sizes = [gpus] if gpus <= most else [most, SMALL_NODE_GPUS, *range(most, 0, -1)]
    per_node = next(size for size in sizes if size <= most and gpus % size == 0)
    return Hardware(gpu, per_node, gpus // per_node, nvlink=gpu.nvlink_gb_per_s > 0)


def answer(question: Question, catalog: Catalog) -> Answer:
    """Answers for a model and GPU of the catalogue; raises KeyError for ids that are not in it."""
    model, gpu = catalog.models[question.model], catalog.gpus[question.gpu]
    if question.gpu_memory_gib is not None:
        gpu = gpu.model_copy(update={"cuda_gib": question.gpu_memory_gib})
    seqs, tokens = default_batch(catalog, gpu, question.max_num_batched_tokens)
    workload = Workload(
        context_tokens=question.context_tokens or model.context.config_tokens,
        max_num_seqs=question.max_num_seqs or seqs,
        max_num_batched_tokens=tokens,
        kv_cache_dtype=question.kv_cache_dtype or model.serving.kv_cache_dtype or "auto",
        utilization=question.utilization,
        concurrency=question.concurrency,
        eager=question.eager,
        language_model_only=question.language_model_only or model.serving.language_model_only,
    )
    fit = _fit(model, hardware(gpu, question.gpus), workload, question)
    place = f"{question.gpus} × {question.gpu}" if question.gpus > 1 else question.gpu
    reasons = tuple(reason.replace(PLACE, place) for reason in fit.reasons)
    fixes = () if fit.fits else tuple(_fixes(question, catalog, model, gpu, workload, fit))
    if model.kv_profile is KvProfile.UNKNOWN:
        reasons = tuple(f"{reason}; {measured.hint('models.NAME')}" if "kvProfile" in reason else reason
                        for reason in reasons)  # fmt: skip
    asked = replace(workload, context_tokens=fit.memory.context_tokens) if fit.memory else workload
    return Answer(model, gpu, fit, asked, reasons, fixes)


def _fit(model: Model, where: Hardware, workload: Workload, question: Question) -> Fit:
    longest = question.context_tokens == 0
    if question.parallelism is None:
        return choose(model, where, workload, auto_context=longest, expert=question.expert_parallel)
    if longest:
        return with_longest_context(model, where, question.parallelism, workload)
    return try_fit(model, where, question.parallelism, workload)


def _fixes(
    question: Question, catalog: Catalog, model: Model, gpu: Gpu, workload: Workload, failed: Fit
) -> Iterator[str]:
    """Changes of one thing each, tried before they are named."""
    here = hardware(gpu, question.gpus)
    if failed.memory is not None and 0 < failed.memory.max_context_tokens < workload.context_tokens:
        longest = max(failed.memory.max_context_tokens // CONTEXT_STEP * CONTEXT_STEP, CONTEXT_STEP)
        if try_fit(model, here, failed.parallelism, replace(workload, context_tokens=longest)).fits:
            yield f"--context {longest}"
    if question.parallelism is not None:
        other = choose(model, here, workload, expert=question.expert_parallel)
        if other.fits:
            yield _as_options(other.parallelism, question.parallelism)
    for gpus in (1, 2, 4, 8, 16, 24, 32):
        more = hardware(gpu, gpus)
        if question.parallelism is None and gpus > question.gpus and _fit(model, more, workload, question).fits:
            yield f"--gpus {gpus}"
            break
    for repository, sibling in catalog.models.items():
        same = (sibling.family, sibling.parameters, sibling.context) == (model.family, model.parameters, model.context)
        if same and repository.startswith(f"{question.model}-") and _fit(sibling, here, workload, question).fits:
            yield repository


def _as_options(parallelism: Parallelism, asked: Parallelism) -> str:
    """What to write for it: the tensor-parallel size, and what differs from 1 here or in the question."""
    parts = [f"--tensor-parallel {parallelism.tensor}"]
    if {parallelism.pipeline, asked.pipeline} != {1}:
        parts.append(f"--pipeline-parallel {parallelism.pipeline}")
    if {parallelism.data, asked.data} != {1}:
        parts.append(f"--data-parallel {parallelism.data}")
    return " ".join(parts)
