"""Figures and options in a vLLM start-up log: the lines of vLLM 0.11 to 0.33.

Which figures a log has depends on version and log level, so each is optional. Pure functions; opening the file is the
command line's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

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
    r"|takes|memory|Directly load"
)
# Every line of vLLM's own has a month, a day and a time, to the second.
WHEN = re.compile(r"\b(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\b")
# The graphs of an earlier start were found (compilation/backends.py, compilation/decorators.py).
FOUND_COMPILED = "Directly load"
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
    """Content of a log. `options`: arguments of vLLM by their Python names, as texts; `complete` when all are known.

    `began`: when its first line was written; `found_compiled`: it compiled little, because an earlier start had.
    """

    figures: dict[str, float] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    version: str | None = None
    device: str | None = None
    cpu: bool = False
    failure: str | None = None
    began: datetime | None = None
    found_compiled: bool = False

    @property
    def engine_s(self) -> float | None:
        """Seconds that a start took beside loading and compiling; without times, the engine's own part of that."""
        whole, compiled = self.figures.get("start_s"), self.figures.get("compile_s", 0)
        if whole is None:
            whole, loaded = self.figures.get("init_s"), 0.0
        else:
            loaded = self.figures.get("load_s", self.figures.get("read_s", 0))
        return None if whole is None else max(0.0, whole - loaded - compiled)

    @property
    def telling(self) -> bool:
        """Whether anything in it is about memory."""
        return self.failure is not None or any(name in self.figures for name in TELLING)


def read(lines: Iterable[str]) -> Log:
    """The last start a log has: a new line of arguments begins another one."""
    log = Log()
    for raw in islice(filter(WORTH_READING.search, lines), MOST_LINES):
        # what a terminal would obey is none of the log's figures
        line = "".join(c for c in COLOUR.sub("", raw) if c.isprintable() or c == "\t")
        if match := VERSION.search(line):
            log.version = next(group for group in match.groups() if group)[:LONGEST_VALUE]
        if match := ARGUMENTS.search(line):
            options = dict(_options(line[match.start() :], engine=False))
            log = Log(version=log.version, options=options, complete=True, began=_when(line))
        elif ENGINE in line:
            # it says the resolved value of what may have been left out
            for name, value in _options(line[line.index(ENGINE) :], engine=True):
                log.options.setdefault(name, value)
        if match := DEVICE.search(line):
            log.device = match[1].replace("_", "-")
        if "init_s" not in log.figures:
            # later on a failure is not one of the start
            log.failure = next((failure for failure in FAILURES if failure in line), log.failure)
        log.cpu = log.cpu or "CPU KV cache size" in line
        log.found_compiled = log.found_compiled or FOUND_COMPILED in line
        before = log.figures.get("init_s")
        _figures(log, line)
        if before is None and "init_s" in log.figures:
            _started(log, line)
    return log


def _when(line: str) -> datetime | None:
    """Time when a line was written, in some year; None where it does not say."""
    match = WHEN.search(line)
    try:
        # of a leap year, which has every day
        return datetime(2024, *map(int, match.groups()), tzinfo=UTC) if match else None
    except ValueError:
        return None


def _started(log: Log, line: str) -> None:
    """Seconds of the whole start, from the line of its arguments to that of its engine."""
    ready = _when(line)
    if log.began and ready:
        # the year may have turned
        log.figures["start_s"] = float((ready - log.began).total_seconds() % timedelta(days=366).total_seconds())


def _options(text: str, *, engine: bool) -> Iterator[tuple[str, str]]:
    for option, name_in_engine in OPTIONS.items():
        name = name_in_engine if engine else option
        value = r"""\s*[:=]\s*(?:'([^']*)'|"([^"]*)"|([^\s,)}\]]+))"""
        if name and (match := re.search(rf"\b{name}['\"]?{value}", text)):
            value_text = next(group for group in match.groups() if group is not None)
            if value_text != "None":
                yield option, value_text[:LONGEST_VALUE]


def _figures(log: Log, line: str) -> None:
    for name, patterns in PATTERNS.items():
        for pattern in patterns:
            if match := pattern.search(line):
                value = float(match[1].replace(",", ""))
                if not abs(value) < LARGEST:
                    break
                worst = min if name in LEAST else max
                log.figures[name] = worst(value, log.figures.get(name, value))
                break
