"""Comparison of what vLLM logged when it started with what this project computes for the same start.

Owns the comparison; what the log says is read by `startup_log`. Pure functions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from catalog.load import Catalog
from catalog.schema import Checkpoint, Context, Gpu, KvProfile, Model, WeightFormat
from planning.capacity.asked import Asked
from planning.capacity.asked import workload as workload_of
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.cards import DEFAULT_UTILIZATION, visible_bytes
from planning.capacity.memory import GIB, Workload
from planning.capacity.parallelism import Fit, try_fit
from planning.near import near_gpu, near_model
from planning.questions.calculator import hardware
from planning.questions.startup_log import Log
from planning.stack.timing import COMPILE_AGAIN_S, COMPILE_S, ENGINE_START_S
from planning.stack.versions import is_older
from settings.problems import Problem, Refused

# vLLM's default for --gpu-memory-utilization before 0.19.
OLD_UTILIZATION, OLD_UTILIZATION_UNTIL = 0.9, "0.19"


@dataclass(frozen=True)
class Given:
    """Options of the command line, for what the log leaves open."""

    model: str | None = None
    gpu: str | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    asked: Asked = field(default_factory=Asked)


@dataclass(frozen=True)
class Line:
    """One figure of both sides; None: this side does not say. `unit` GiB, s, tokens or ×."""

    name: str
    unit: str
    predicted: float | None
    logged: float | None


@dataclass(frozen=True)
class Comparison:
    """A log beside the plan for the same start; `known`: there is a plan, for the catalogue has the model."""

    log: Log
    model: str
    gpu: Gpu
    fit: Fit
    reasons: tuple[str, ...]
    workload: Workload
    assumed: tuple[str, ...]
    lines: tuple[Line, ...]
    known: bool = True


def compare(log: Log, options: Given, catalog: Catalog) -> Comparison:
    """The plan for what the log says was started; raises Refused when log and options leave something open."""
    if log.cpu:
        raise Refused([Problem("CPU KV cache size", "this is the log of a CPU server; only GPU servers are compared")])
    name, of_model = _model(log, options, catalog)
    gpu, of_gpu = _gpu(log, options, catalog)
    parallelism, of_parallelism = _parallelism(log, options)
    problems = of_model + of_gpu + of_parallelism
    if problems or name is None or gpu is None:
        raise Refused(problems)
    known = name in catalog.models
    model = catalog.models[name] if known else _of_the_log(log, parallelism)
    workload, assumed = _workload(log, options, catalog, model, catalog.gpus[gpu])
    place = hardware(catalog.gpus[gpu], parallelism.gpus)
    fit = try_fit(model, place, parallelism, workload)
    where = f"{parallelism.gpus} × {gpu}" if parallelism.gpus > 1 else gpu
    reasons = tuple(reason.at(where) for reason in fit.reasons) if known else ()
    lines = tuple(_lines(log, fit, catalog.gpus[gpu], model))
    return Comparison(log, name, catalog.gpus[gpu], fit, reasons, workload, assumed, lines, known)


def _of_the_log(log: Log, parallelism: Parallelism) -> Model:
    """A model of which only its log is known: nothing is computed for it."""
    served = log.figures.get("context_tokens") or log.figures.get("fitted_context") or _whole(log, "max_model_len")
    weights = max(1, round(log.figures.get("weights_gib", 0) * GIB * parallelism.gpus))
    return Model(
        family="unknown",
        license="unknown",
        kv_profile=KvProfile.UNKNOWN,
        context=Context(native_tokens=max(1, int(served or 1)), config_tokens=max(1, int(served or 1))),
        checkpoint=Checkpoint(format=WeightFormat.MIXED, loaded_bytes=weights),
        sources=["its start-up log"],
    )


def _model(log: Log, options: Given, catalog: Catalog) -> tuple[str | None, list[Problem]]:
    logged = log.options.get("model")
    known = _known(logged, catalog) if logged else None
    problems = []
    if options.model is not None and options.model not in catalog.models:
        hint = near_model(options.model, catalog.models)
        problems.append(Problem("--model", f"'{options.model}' is not in the catalogue{hint}"))
    elif options.model is not None and known is not None and options.model != known:
        problems.append(Problem("--model", f"'{options.model}' is not what the log says, {known}; leave it out"))
    elif options.model is None and logged is None:
        why = "the log does not say which it is"
        problems.append(Problem("--model", f"{why}; give the repository id of a catalogue entry"))
    return options.model or known or logged, problems


def _known(argument: str, catalog: Catalog) -> str | None:
    """The catalogue entry a model argument means: its id, or a folder named after it as hubs and this project do."""
    words = argument.replace("--", "/").split("/")
    pairs = [f"{first}/{second}" for first, second in pairwise(words)]
    return next((name for name in (argument, *pairs) if name in catalog.models), None)


def _gpu(log: Log, options: Given, catalog: Catalog) -> tuple[str | None, list[Problem]]:
    problems = []
    known = next((key for key, gpu in catalog.gpus.items() if log.device in gpu.product_labels), None)
    if options.gpu is not None and options.gpu not in catalog.gpus:
        problems.append(
            Problem("--gpu", f"'{options.gpu}' is not in the catalogue{near_gpu(options.gpu, catalog.gpus)}")
        )
    elif options.gpu is not None and known is not None and options.gpu != known:
        problems.append(Problem("--gpu", f"'{options.gpu}' is not what the log says, {known}; leave it out"))
    elif options.gpu is None and known is None:
        why = f"the log says '{log.device}', which is not in the catalogue" if log.device else "the log does not say"
        visible = log.figures.get("visible_gib")
        close = _close(visible, catalog) if visible else []
        hint = f"; {visible:g} GiB were visible, as on {', '.join(close)}" if close else ""
        problems.append(Problem("--gpu", f"{why}; give the id of a catalogue entry{hint}"))
    return options.gpu or known, problems


def _close(visible_gib: float, catalog: Catalog) -> list[str]:
    """GPUs that show about so much memory."""
    return [
        key for key, gpu in catalog.gpus.items() if abs(visible_bytes(gpu) / GIB - visible_gib) < 0.01 * visible_gib
    ]


def _parallelism(log: Log, options: Given) -> tuple[Parallelism, list[Problem]]:
    sizes, problems = [], []
    for option, name, value in (
        ("--tensor-parallel", "tensor_parallel_size", options.tensor),
        ("--pipeline-parallel", "pipeline_parallel_size", options.pipeline),
        ("--data-parallel", "data_parallel_size", options.data),
    ):
        logged = _whole(log, name)
        if value is not None and logged is not None and value != logged:
            problems.append(Problem(option, f"{value} is not what the log says, {logged}; leave it out"))
        sizes.append(value or logged or 1)
    if options.tensor is None and not log.complete and "tensor_parallel_size" not in log.options:
        problems.append(Problem("--tensor-parallel", "the log has neither arguments nor the engine's configuration; "
                                "say how many GPUs shared each layer"))  # fmt: skip
    return Parallelism(*sizes, expert=log.options.get("enable_expert_parallel") == "True"), problems


def _whole(log: Log, name: str) -> int | None:
    value = log.options.get(name, "")
    return int(value) or None if re.fullmatch(r"[0-9]{1,9}", value) else None


def _workload(log: Log, options: Given, catalog: Catalog, model: Model, gpu: Gpu) -> tuple[Workload, tuple[str, ...]]:
    """The workload of that start, and what neither log nor options say: vLLM's defaults are taken for it."""
    figures = log.figures
    served = figures.get("context_tokens") or figures.get("fitted_context") or figures.get("refused_context")
    context = (
        options.asked.context_tokens or (served if served and served >= 1 else None) or _whole(log, "max_model_len")
    )
    chosen_seqs = options.asked.max_num_seqs or _whole(log, "max_num_seqs")
    chosen_tokens = options.asked.max_num_batched_tokens or figures.get("batched_tokens")
    chosen_tokens = chosen_tokens or _whole(log, "max_num_batched_tokens")
    option = log.options.get("gpu_memory_utilization")
    share = options.asked.utilization or _share(figures.get("utilization")) or _share(option)
    dtype = options.asked.kv_cache_dtype or log.options.get("kv_cache_dtype")
    if dtype not in (None, *catalog.vllm.kv_cache_dtypes):
        raise Refused([Problem("--kv-cache-dtype", f"the log says '{dtype}', which no vLLM of the catalogue has")])
    asked = Asked(
        context_tokens=int(context) if context else None,
        max_num_seqs=chosen_seqs,
        max_num_batched_tokens=int(chosen_tokens) if chosen_tokens else None,
        # what the catalogue advises was not asked for
        kv_cache_dtype=dtype or "auto",
        utilization=share or _default_utilization(log.version),
        eager=log.options.get("enforce_eager") == "True",
        dtype=log.options.get("dtype", "auto").removeprefix("torch."),
    )
    workload = replace(
        workload_of(asked, model, gpu, catalog.vllm),
        language_model_only=log.options.get("language_model_only") == "True",
    )
    guesses = [
        ("context", context, f"{workload.context_tokens:,} tokens"),
        ("max_num_seqs", chosen_seqs, workload.max_num_seqs),
        ("max_num_batched_tokens", chosen_tokens, workload.max_num_batched_tokens),
        ("gpu_memory_utilization", share, f"{workload.utilization:g}"),
        ("kv_cache_dtype", dtype, workload.kv_cache_dtype),
    ]
    # with the line of arguments there, what it leaves out has vLLM's default
    assumed = tuple(f"{name} {value}" for name, known, value in guesses if known is None and not log.complete)
    return workload, assumed


def _share(value: float | str | None) -> float | None:
    """A share of memory; None for what is none."""
    try:
        share = float(value or 0)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


def _default_utilization(version: str | None) -> float:
    return OLD_UTILIZATION if is_older(version or "", OLD_UTILIZATION_UNTIL) else DEFAULT_UTILIZATION


def _lines(log: Log, fit: Fit, gpu: Gpu, model: Model) -> Iterator[Line]:
    """Every figure the log has, and those it should have, beside ours."""
    logged, memory, data = log.figures.get, fit.memory, fit.parallelism.data
    yield Line("visible memory", "GiB", visible_bytes(gpu) / GIB, logged("visible_gib"))
    yield Line("weights", "GiB", memory and memory.weights_gib, logged("weights_gib"))
    if "consumed_gib" in log.figures:
        # since 0.2x the log adds up: weights with what else stays, and the activation peak with the graphs
        yield Line(
            "weights, NCCL, context", "GiB", _sum(memory, "weights_gib", "non_torch_gib"), logged("consumed_gib")
        )
        both = _sum(memory, "activation_gib", "cuda_graphs_gib")
        yield Line("activation, CUDA graphs", "GiB", both, logged("activation_gib"))
    else:
        yield Line("activation", "GiB", memory and memory.activation_gib, logged("activation_gib"))
        yield Line("NCCL, context", "GiB", memory and memory.non_torch_gib, logged("non_torch_gib"))
    graphs = logged("estimated_graphs_gib", logged("graphs_gib"))
    yield Line("CUDA graphs", "GiB", memory and memory.cuda_graphs_gib, graphs)
    yield Line("KV cache", "GiB", memory and memory.kv_cache_gib, logged("kv_gib", logged("left_gib")))
    # each data-parallel rank logs its own
    yield Line("KV cache tokens", "tokens", memory and memory.kv_cache_tokens / data, logged("kv_tokens"))
    yield Line("concurrency", "×", memory and memory.max_concurrency / data, logged("max_concurrency"))
    if "needed_gib" in log.figures:
        yield Line("KV cache needed", "GiB", memory and memory.needed_gib, logged("needed_gib"))
        longest = memory and min(memory.max_context_tokens, model.context.config_tokens)
        yield Line("longest context", "tokens", longest, logged("estimated_context"))
    again = log.found_compiled
    for name, planned_s, logged_s in (
        ("loading", None, logged("load_s")),
        ("of it, reading weights", None, logged("read_s")),
        (
            "compiling, kept before" if again else "compiling",
            COMPILE_AGAIN_S if again else COMPILE_S,
            logged("compile_s"),
        ),
        ("profiling", None, logged("profile_s")),
        ("capturing graphs", None, logged("graphs_s")),
        ("from profile to ready", None, logged("init_s")),
        ("engine, beside those two", ENGINE_START_S, log.engine_s),
    ):
        if logged_s is not None:
            yield Line(name, "s", planned_s, logged_s)


def _sum(memory: MemoryBudget | None, *names: str) -> float | None:
    return sum(getattr(memory, name) for name in names) if memory else None
