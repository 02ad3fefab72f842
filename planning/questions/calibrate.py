"""What vLLM logged when it started, beside what this project computes for the same start.

The lines are those of vLLM 0.11 to 0.33: which figures a log has depends on version and log level, so each is optional.
Owns the reading of log lines and the comparison; opening the file is the command line's. Pure functions.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

from catalog.load import Catalog
from catalog.schema import Gpu, Model
from planning.capacity.asked import Asked
from planning.capacity.asked import workload as workload_of
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.memory import DEFAULT_UTILIZATION, GIB, Workload, visible_bytes
from planning.capacity.parallelism import Fit, try_fit
from planning.questions.calculator import hardware
from settings.problems import Problem, Refused, nearest

# vLLM's default for --gpu-memory-utilization before 0.19.
OLD_UTILIZATION, OLD_UTILIZATION_UNTIL = 0.9, (0, 19)
# What a reader who gave the wrong file is told to look for.
LOOKED_FOR = (
    "Model loading took … GiB",
    "Available KV cache memory: … GiB",
    "GPU KV cache size: … tokens",
    "Maximum concurrency for … tokens per request: …x",
    "To serve at least one request with the model's max seq len (…)",
    "No available memory for the cache blocks",
)
# Not from within another number, and without trying parts of it again: a line may be all digits.
NUMBER = r"(?<![\d,.])(-?(?:\d[\d,]*+(?:\.\d++)?+|\.\d++))"
# What no figure of a server reaches; more digits are damage.
LARGEST = 10**15
# Bytes of a log and characters of a line that are read, and of a value that is taken from it.
MOST_LOG_CHARACTERS, LONGEST_LINE, LONGEST_VALUE = 256 * 2**20, 16_384, 200
# Lines of interest, of which a start has some hundred.
MOST_LINES = 100_000
# Figure → every spelling of its line, newest first. With several ranks the fullest GPU decides: see WORST.
LINES: Mapping[str, tuple[str, ...]] = {
    # v1/worker/gpu/model_runner.py; 0.11–0.14 "… GiB and … seconds", 0.8 "… GB and …"
    "weights_gib": (rf"Model loading took {NUMBER} G", rf"Loading model weights took {NUMBER} G"),
    "load_s": (rf"Model loading took \S+ Gi?B(?: memory)? and {NUMBER} seconds",),
    "read_s": (rf"Loading weights took {NUMBER} seconds",),
    # v1/worker/gpu_worker.py
    "kv_gib": (rf"Available KV cache memory: {NUMBER} GiB",),
    "visible_gib": (
        rf"Free memory on device ?\S* ?\([\d.]+/{NUMBER} GiB\) on startup",
        rf"total capacity of {NUMBER} GiB",
    ),
    "utilization": (rf"[Dd]esired GPU memory utilization (?:is )?\({NUMBER},",),
    "consumed_gib": (rf"Actual usage is {NUMBER} GiB for consumed memory",),
    "activation_gib": (rf"{NUMBER} GiB for peak activation", rf"torch peak memory increase: {NUMBER} ?GiB"),
    "non_torch_gib": (rf"{NUMBER} GiB for non-torch memory", rf"non-torch forward increase memory: {NUMBER} ?GiB"),
    "profile_s": (rf"Memory profiling takes {NUMBER} seconds",),
    # v1/worker/gpu/cudagraph_utils.py
    "graphs_gib": (
        rf"CUDA graph pool memory: {NUMBER} GiB \(actual\)",
        rf"Graph capturing finished in \d+ secs, took {NUMBER} GiB",
    ),
    "estimated_graphs_gib": (
        rf"CUDA graph pool memory: .*actual\), {NUMBER} GiB \(estimated\)",
        rf"Estimated CUDA graph memory: {NUMBER} GiB total",
    ),
    "graphs_s": (rf"Graph capturing finished in {NUMBER} secs",),
    # v1/core/kv_cache_utils.py; one line since 0.3x, two before
    "kv_tokens": (rf"[GC]PU(?: \+ host)? KV cache size: {NUMBER} tokens",),
    "context_tokens": (rf"Maximum concurrency for {NUMBER} tokens per request",),
    "max_concurrency": (rf"Maximum concurrency for [\d,]+ tokens per request: {NUMBER}x",),
    # v1/core/kv_cache_planning.py; older versions write "models's"
    "refused_context": (rf"model's max seq len \({NUMBER}\)", rf"models's max seq len \({NUMBER}\)"),
    "needed_gib": (rf"max seq len \(\d+\), \(?{NUMBER} GiB KV cache is needed",),
    "left_gib": (rf"larger than the available KV cache memory \({NUMBER} GiB\)",),
    "estimated_context": (rf"estimated maximum model length is {NUMBER}",),
    "fitted_context": (
        rf"Auto-fit max_model_len: reduced from \d+ to {NUMBER}",
        rf"Auto-fit max_model_len: full model context length {NUMBER} fits",
    ),
    # config/scheduler.py
    "batched_tokens": (rf"Chunked prefill is enabled with max_num_batched_tokens={NUMBER}",),
    # compilation/monitor.py, v1/engine/core.py
    "compile_s": (rf"torch\.compile (?:took|takes) {NUMBER} s in total",),
    "init_s": (rf"init engine \(profile, create kv cache, warmup model\) took {NUMBER}",),
}
PATTERNS = {name: tuple(re.compile(line) for line in lines) for name, lines in LINES.items()}
# How figures of several ranks become one: vLLM takes the least KV cache of all, and the fullest GPU has most weights.
LEAST = frozenset({"kv_gib", "kv_tokens", "max_concurrency", "visible_gib", "left_gib", "estimated_context"})
# Figures that make a file a start-up log.
TELLING = ("weights_gib", "kv_gib", "kv_tokens", "max_concurrency", "refused_context")
FAILURES = (
    "No available memory for the cache blocks",
    "To serve at least one request",
    "exceeds available Mamba cache blocks",
    "less than desired GPU memory utilization",
    "CUDA out of memory",
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What every line of interest has; hours of serving are passed over quickly.
WORTH_READING = re.compile(
    r"GiB|GB|args|version|LLM engine|device_name|KV cache (?:size|memory|is)|concurrency for|cache blocks|max_|took"
    r"|takes|memory"
)
VERSION = re.compile(r"vLLM API server version v?(\d[\w.+]*)|V1 LLM engine \(v(\d[\w.+]*)\)|█.*\bversion v?(\d[\w.+]*)")
DEVICE = re.compile(r"device_name=([A-Za-z0-9_-]+)")
# The two lines that carry options: `non-default args: {...}` (or `args: Namespace(...)`), and the engine's own.
ARGUMENTS = re.compile(r"non-default args: \{|\bargs: Namespace\(")
ENGINE = "LLM engine (v"
# Option → its name in the engine's line, where it has another.
OPTIONS = {
    "model": "model",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "data_parallel_size": "data_parallel_size",
    "max_model_len": "max_seq_len",
    "kv_cache_dtype": "kv_cache_dtype",
    "enforce_eager": "enforce_eager",
    "dtype": "dtype",
    "gpu_memory_utilization": "",
    "max_num_seqs": "",
    "max_num_batched_tokens": "",
    "enable_expert_parallel": "",
    "language_model_only": "",
}


@dataclass
class Log:
    """What a log says. `options`: arguments of vLLM by their Python names, as texts; `complete` when all are known."""

    figures: dict[str, float] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    version: str | None = None
    device: str | None = None
    cpu: bool = False
    failure: str | None = None

    @property
    def telling(self) -> bool:
        """Whether anything in it is about memory."""
        return self.failure is not None or any(name in self.figures for name in TELLING)


@dataclass(frozen=True)
class Given:
    """What the command line says, for what the log leaves open."""

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
    """A log beside the plan for the same start."""

    log: Log
    model: str
    gpu: Gpu
    fit: Fit
    reasons: tuple[str, ...]
    workload: Workload
    assumed: tuple[str, ...]
    lines: tuple[Line, ...]


def read(lines: Iterable[str]) -> Log:
    """The last start a log has: a new line of arguments begins another one."""
    log = Log()
    for raw in islice(filter(WORTH_READING.search, lines), MOST_LINES):
        # what a terminal would obey is none of the log's figures
        line = "".join(c for c in COLOUR.sub("", raw) if c.isprintable() or c == "\t")
        if found := VERSION.search(line):
            log.version = next(group for group in found.groups() if group)[:LONGEST_VALUE]
        if found := ARGUMENTS.search(line):
            log = Log(version=log.version, options=dict(_options(line[found.start() :], engine=False)), complete=True)
        elif ENGINE in line:
            # it says the resolved value of what may have been left out
            for name, value in _options(line[line.index(ENGINE) :], engine=True):
                log.options.setdefault(name, value)
        if found := DEVICE.search(line):
            log.device = found[1].replace("_", "-")
        if "init_s" not in log.figures:
            # later on a failure is not one of the start
            log.failure = next((failure for failure in FAILURES if failure in line), log.failure)
        log.cpu = log.cpu or "CPU KV cache size" in line
        _figures(log, line)
    return log


def _options(text: str, *, engine: bool) -> Iterator[tuple[str, str]]:
    for option, name_in_engine in OPTIONS.items():
        name = name_in_engine if engine else option
        value = r"""\s*[:=]\s*(?:'([^']*)'|"([^"]*)"|([^\s,)}\]]+))"""
        if name and (found := re.search(rf"\b{name}['\"]?{value}", text)):
            said = next(group for group in found.groups() if group is not None)
            if said != "None":
                yield option, said[:LONGEST_VALUE]


def _figures(log: Log, line: str) -> None:
    for name, patterns in PATTERNS.items():
        for pattern in patterns:
            if found := pattern.search(line):
                value = float(found[1].replace(",", ""))
                if not abs(value) < LARGEST:
                    break
                worst = min if name in LEAST else max
                log.figures[name] = worst(value, log.figures.get(name, value))
                break


def compare(log: Log, given: Given, catalog: Catalog) -> Comparison:
    """The plan for what the log says was started; raises Refused when log and options leave something open."""
    if log.cpu:
        raise Refused([Problem("CPU KV cache size", "this is the log of a CPU server; only GPU servers are compared")])
    problems: list[Problem] = []
    model = _model(log, given, catalog, problems)
    gpu = _gpu(log, given, catalog, problems)
    parallelism = _parallelism(log, given, problems)
    if problems or model is None or gpu is None:
        raise Refused(problems)
    workload, assumed = _workload(log, given, catalog, catalog.models[model], catalog.gpus[gpu])
    place = hardware(catalog.gpus[gpu], parallelism.gpus)
    fit = try_fit(catalog.models[model], place, parallelism, workload)
    where = f"{parallelism.gpus} × {gpu}" if parallelism.gpus > 1 else gpu
    reasons = tuple(reason.at(where) for reason in fit.reasons)
    lines = tuple(_lines(log, fit, catalog.gpus[gpu], catalog.models[model]))
    return Comparison(log, model, catalog.gpus[gpu], fit, reasons, workload, assumed, lines)


def _model(log: Log, given: Given, catalog: Catalog, problems: list[Problem]) -> str | None:
    said = log.options.get("model")
    known = _known(said, catalog) if said else None
    if given.model is not None and given.model not in catalog.models:
        hint = nearest(given.model, catalog.models)
        problems.append(Problem("--model", f"'{given.model}' is not in the catalogue{hint}"))
    elif given.model is not None and known is not None and given.model != known:
        problems.append(Problem("--model", f"'{given.model}' is not what the log says, {known}; leave it out"))
    elif given.model is None and known is None:
        why = f"the log says '{said}', which is not in the catalogue" if said else "the log does not say which it is"
        problems.append(Problem("--model", f"{why}; give the repository id of a catalogue entry"))
    return given.model or known


def _known(said: str, catalog: Catalog) -> str | None:
    """The catalogue entry a model argument means: its id, or a folder named after it as hubs and this project do."""
    words = said.replace("--", "/").split("/")
    pairs = [f"{first}/{second}" for first, second in pairwise(words)]
    return next((name for name in (said, *pairs) if name in catalog.models), None)


def _gpu(log: Log, given: Given, catalog: Catalog, problems: list[Problem]) -> str | None:
    known = next((key for key, gpu in catalog.gpus.items() if log.device in gpu.product_labels), None)
    if given.gpu is not None and given.gpu not in catalog.gpus:
        problems.append(Problem("--gpu", f"'{given.gpu}' is not in the catalogue{nearest(given.gpu, catalog.gpus)}"))
    elif given.gpu is not None and known is not None and given.gpu != known:
        problems.append(Problem("--gpu", f"'{given.gpu}' is not what the log says, {known}; leave it out"))
    elif given.gpu is None and known is None:
        why = f"the log says '{log.device}', which is not in the catalogue" if log.device else "the log does not say"
        visible = log.figures.get("visible_gib")
        close = _close(visible, catalog) if visible else []
        hint = f"; {visible:g} GiB were visible, as on {', '.join(close)}" if close else ""
        problems.append(Problem("--gpu", f"{why}; give the id of a catalogue entry{hint}"))
    return given.gpu or known


def _close(visible_gib: float, catalog: Catalog) -> list[str]:
    """GPUs that show about so much memory."""
    return [
        key for key, gpu in catalog.gpus.items() if abs(visible_bytes(gpu) / GIB - visible_gib) < 0.01 * visible_gib
    ]


def _parallelism(log: Log, given: Given, problems: list[Problem]) -> Parallelism:
    sizes = []
    for option, name, value in (
        ("--tensor-parallel", "tensor_parallel_size", given.tensor),
        ("--pipeline-parallel", "pipeline_parallel_size", given.pipeline),
        ("--data-parallel", "data_parallel_size", given.data),
    ):
        said = _whole(log, name)
        if value is not None and said is not None and value != said:
            problems.append(Problem(option, f"{value} is not what the log says, {said}; leave it out"))
        sizes.append(value or said or 1)
    if given.tensor is None and not log.complete and "tensor_parallel_size" not in log.options:
        problems.append(Problem("--tensor-parallel", "the log has neither arguments nor the engine's configuration; "
                                "say how many GPUs shared each layer"))  # fmt: skip
    return Parallelism(*sizes, expert=log.options.get("enable_expert_parallel") == "True")


def _whole(log: Log, name: str) -> int | None:
    value = log.options.get(name, "")
    return int(value) or None if re.fullmatch(r"[0-9]{1,9}", value) else None


def _workload(log: Log, given: Given, catalog: Catalog, model: Model, gpu: Gpu) -> tuple[Workload, tuple[str, ...]]:
    """The workload of that start, and what neither log nor options say: vLLM's defaults are taken for it."""
    figures = log.figures
    served = figures.get("context_tokens") or figures.get("fitted_context") or figures.get("refused_context")
    context = given.asked.context_tokens or (served if served and served >= 1 else None) or _whole(log, "max_model_len")
    chosen_seqs = given.asked.max_num_seqs or _whole(log, "max_num_seqs")
    chosen_tokens = given.asked.max_num_batched_tokens or figures.get("batched_tokens")
    chosen_tokens = chosen_tokens or _whole(log, "max_num_batched_tokens")
    option = log.options.get("gpu_memory_utilization")
    share = given.asked.utilization or _share(figures.get("utilization")) or _share(option)
    dtype = given.asked.kv_cache_dtype or log.options.get("kv_cache_dtype")
    if dtype not in (None, *catalog.engines["vllm"].kv_cache_dtypes):
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
        workload_of(asked, model, gpu, catalog.engines["vllm"]),
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


def _share(said: float | str | None) -> float | None:
    """A share of memory; None for what is none."""
    try:
        share = float(said or 0)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


def _default_utilization(version: str | None) -> float:
    numbers = re.match(r"([0-9]{1,6})\.([0-9]{1,6})", version or "")
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < OLD_UTILIZATION_UNTIL
    return OLD_UTILIZATION if old else DEFAULT_UTILIZATION


def _lines(log: Log, fit: Fit, gpu: Gpu, model: Model) -> Iterator[Line]:
    """Every figure the log has, and those it should have, beside ours."""
    said, memory, data = log.figures.get, fit.memory, fit.parallelism.data
    yield Line("visible memory", "GiB", visible_bytes(gpu) / GIB, said("visible_gib"))
    yield Line("weights", "GiB", memory and memory.weights_gib, said("weights_gib"))
    if "consumed_gib" in log.figures:
        # since 0.2x the log adds up: weights with what else stays, and the activation peak with the graphs
        yield Line("weights, NCCL, context", "GiB", _sum(memory, "weights_gib", "non_torch_gib"), said("consumed_gib"))
        both = _sum(memory, "activation_gib", "cuda_graphs_gib")
        yield Line("activation, CUDA graphs", "GiB", both, said("activation_gib"))
    else:
        yield Line("activation", "GiB", memory and memory.activation_gib, said("activation_gib"))
        yield Line("NCCL, context", "GiB", memory and memory.non_torch_gib, said("non_torch_gib"))
    graphs = said("estimated_graphs_gib", said("graphs_gib"))
    yield Line("CUDA graphs", "GiB", memory and memory.cuda_graphs_gib, graphs)
    yield Line("KV cache", "GiB", memory and memory.kv_cache_gib, said("kv_gib", said("left_gib")))
    # each data-parallel rank logs its own
    yield Line("KV cache tokens", "tokens", memory and memory.kv_cache_tokens / data, said("kv_tokens"))
    yield Line("concurrency", "×", memory and memory.max_concurrency / data, said("max_concurrency"))
    if "needed_gib" in log.figures:
        yield Line("KV cache needed", "GiB", memory and memory.needed_gib, said("needed_gib"))
        longest = memory and min(memory.max_context_tokens, model.context.config_tokens)
        yield Line("longest context", "tokens", longest, said("estimated_context"))
    for name, figure in (
        ("loading", "load_s"),
        ("of it, reading weights", "read_s"),
        ("compiling", "compile_s"),
        ("profiling", "profile_s"),
        ("capturing graphs", "graphs_s"),
        ("from profile to ready", "init_s"),
    ):
        if figure in log.figures:
            yield Line(name, "s", None, said(figure))


def _sum(memory: MemoryBudget | None, *names: str) -> float | None:
    return sum(getattr(memory, name) for name in names) if memory else None


def as_text(found: Comparison) -> str:
    """The comparison for a person, and the block to paste below the model."""
    version = f", vLLM {found.log.version}" if found.log.version else ""
    workload = found.workload
    lines = [
        f"{found.model} on {found.fit.parallelism.gpus} × {found.gpu.name}, {found.fit.parallelism}{version}",
        (
            f"  {workload.context_tokens:,} tokens, max_num_seqs {workload.max_num_seqs}, max_num_batched_tokens "
            f"{workload.max_num_batched_tokens}, utilisation {workload.utilization:g}, "
            f"KV cache {workload.kv_cache_dtype}"
        ),
    ]
    if found.assumed:
        lines.append(f"  assumed, because the log does not say: {', '.join(found.assumed)}")
    lines.append(f"\n  {'per GPU':<24}{'predicted':>16}{'logged':>16}{'logged − predicted':>24}")
    lines += [f"  {line.name:<24}{_value(line.predicted, line.unit):>16}{_value(line.logged, line.unit):>16}"
              f"{_difference(line):>24}".rstrip() for line in found.lines]  # fmt: skip
    lines += [f"  predicted: refused, {reason}" for reason in found.reasons]
    if found.log.failure:
        lines.append(f"  logged: vLLM did not start, “{found.log.failure}”")
    return "\n".join([*lines, "", *_block(found)])


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "×":
        return f"{value:,.2f} ×"
    return f"{value:,.0f} {unit}" if unit == "tokens" else f"{value:,.2f} {unit}"


def _difference(line: Line) -> str:
    """In the unit of the line, and as a share of what was predicted."""
    if line.predicted is None or line.logged is None:
        return "–"
    difference = line.logged - line.predicted
    number = f"{difference:+,.0f}" if line.unit == "tokens" else f"{difference:+,.2f}"
    share = f"{difference / line.predicted:+.1%}" if line.predicted > 0 else "–"
    return f"{number} ({share})"


def _block(found: Comparison) -> Iterator[str]:
    """The `measured:` block, and the settings that were measured with it."""
    figures, spread, options = found.log.figures, found.fit.parallelism, found.log.options
    missing = [
        line for name, line in (("weights_gib", LOOKED_FOR[0]), ("kv_tokens", LOOKED_FOR[2])) if name not in figures
    ]
    if missing:
        yield f"no measured: block, because the log has no line “{'” and no line “'.join(missing)}”"
        return
    if found.log.failure:
        yield "no measured: block, because vLLM did not start with these settings"
        return
    yield "Below the model in the stack file:"
    yield ""
    beside = {
        "maxNumSeqs": options.get("max_num_seqs"),
        "maxNumBatchedTokens": options.get("max_num_batched_tokens"),
        "kvCacheDtype": options.get("kv_cache_dtype") if options.get("kv_cache_dtype") != "auto" else None,
        "expertParallel": "true" if spread.expert else None,
    }
    yield from (f"{key}: {value}" for key, value in beside.items() if value)
    yield "measured:"
    concurrency = figures.get("max_concurrency")
    fields = {
        "weightsGibPerGpu": figures["weights_gib"],
        "kvTokens": int(figures["kv_tokens"]) * spread.data,
        "gpus": spread.gpus,
        "tensorParallel": spread.tensor,
        "pipelineParallel": spread.pipeline if spread.pipeline > 1 else None,
        "dataParallel": spread.data if spread.data > 1 else None,
        "contextTokens": int(figures["context_tokens"]) if "context_tokens" in figures else None,
        "maxConcurrency": round(concurrency * spread.data, 2) if concurrency else None,
        "kvGibPerGpu": figures.get("kv_gib"),
        "gpuMemoryUtilization": found.workload.utilization,
        "vllm": json.dumps(found.log.version) if found.log.version else None,
    }
    yield from (f"  {key}: {value}" for key, value in fields.items() if value is not None)
