"""Can this model run on these GPUs? The question without a stack around it, answered by the same functions.

Where a stack is careful (256 sequences), this answers for vLLM as it starts by itself: its own defaults for the GPU,
and the whole context of the checkpoint unless another is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from catalog.load import Catalog
from catalog.schema import Gpu, Model
from planning.capacity.asked import Asked, workload
from planning.capacity.budget import Parallelism
from planning.capacity.changes import respreads, shorter_context, siblings
from planning.capacity.memory import Workload
from planning.capacity.parallelism import (
    Fit,
    Hardware,
    choose,
    try_fit,
    with_longest_context,
)
from planning.server import measured

USUAL_NODE_GPUS, SMALL_NODE_GPUS = 8, 4


@dataclass(frozen=True)
class FitQuestion:
    """A question of fit. `parallelism` None: ours to choose; `gpu_memory_gib`: of this card, where it differs."""

    model: str
    gpu: str
    gpus: int
    asked: Asked = field(default_factory=Asked)
    parallelism: Parallelism | None = None
    expert_parallel: bool = False
    gpu_memory_gib: float | None = None


@dataclass(frozen=True)
class Answer:
    """The answer: the fit, the workload it is of, and for a refusal the nearest changes that fit."""

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


def answer(question: FitQuestion, catalog: Catalog) -> Answer:
    """Answers for a model and GPU of the catalogue; raises KeyError for ids that are not in it."""
    model, gpu = catalog.models[question.model], catalog.gpus[question.gpu]
    if question.gpu_memory_gib is not None:
        gpu = gpu.model_copy(update={"cuda_gib": question.gpu_memory_gib})
    needed = workload(question.asked, model, gpu, catalog.vllm)
    fit = _fit(model, hardware(gpu, question.gpus), needed, question)
    place = f"{question.gpus} × {question.gpu}" if question.gpus > 1 else question.gpu
    reasons = tuple(measured.add_hint(reason, place, "models.NAME") for reason in fit.reasons)
    fixes = () if fit.fits else tuple(_fixes(question, catalog, model, gpu, needed, fit))
    held_workload = replace(needed, context_tokens=fit.memory.context_tokens) if fit.memory else needed
    return Answer(model, gpu, fit, held_workload, reasons, fixes)


def _fit(model: Model, where: Hardware, workload: Workload, question: FitQuestion) -> Fit:
    longest = question.asked.context_tokens == 0
    if question.parallelism is None:
        return choose(model, where, workload, auto_context=longest, expert=question.expert_parallel)
    if longest:
        return with_longest_context(model, where, question.parallelism, workload)
    return try_fit(model, where, question.parallelism, workload)


def _fixes(
    question: FitQuestion, catalog: Catalog, model: Model, gpu: Gpu, workload: Workload, failed: Fit
) -> Iterator[str]:
    """Single changes that fit, each tried before it is suggested."""
    here = hardware(gpu, question.gpus)
    if tokens := shorter_context(model, here, workload, failed):
        yield f"--context {tokens}"
    if question.parallelism is not None:

        def fits(spread: Parallelism) -> bool:
            return _fit(model, here, workload, replace(question, parallelism=spread)).fits

        longest = question.asked.context_tokens == 0
        for spread in respreads(model, here, workload, failed.parallelism, fits, auto_context=longest):
            yield _as_options(spread, question.parallelism)
    for gpus in (1, 2, 4, 8, 16, 24, 32):
        more = hardware(gpu, gpus)
        if question.parallelism is None and gpus > question.gpus and _fit(model, more, workload, question).fits:
            yield f"--gpus {gpus}"
            break
    yield from siblings(catalog.models, question.model, lambda sibling: _fit(sibling, here, workload, question).fits)


def _as_options(parallelism: Parallelism, in_question: Parallelism) -> str:
    """Options to write for it: the tensor-parallel size, and what differs from 1 here or in the question."""
    parts = [f"--tensor-parallel {parallelism.tensor}"]
    if {parallelism.pipeline, in_question.pipeline} != {1}:
        parts.append(f"--pipeline-parallel {parallelism.pipeline}")
    if {parallelism.data, in_question.data} != {1}:
        parts.append(f"--data-parallel {parallelism.data}")
    if parallelism.expert and not in_question.expert:
        parts.append("--expert-parallel")
    return " ".join(parts)
