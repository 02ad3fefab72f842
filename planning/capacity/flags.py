"""Options of vLLM: how each that we know of is written, and what those say of the memory that a user adds.

No other module spells one. What each takes is in the engine's file.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, TypedDict

from planning.capacity.tuning import Tuning

SERVED_MODEL_NAME = "--served-model-name"
LOAD_FORMAT = "--load-format"
LOADER_CONFIG = "--model-loader-extra-config"
TENSOR_PARALLEL_SIZE = "--tensor-parallel-size"
PIPELINE_PARALLEL_SIZE = "--pipeline-parallel-size"
DATA_PARALLEL_SIZE = "--data-parallel-size"
DECODE_CONTEXT_PARALLEL_SIZE = "--decode-context-parallel-size"
ENABLE_EXPERT_PARALLEL = "--enable-expert-parallel"
ALL2ALL_BACKEND = "--all2all-backend"
NNODES = "--nnodes"
NODE_RANK = "--node-rank"
MASTER_ADDR = "--master-addr"
HEADLESS = "--headless"
MAX_MODEL_LEN = "--max-model-len"
MAX_NUM_SEQS = "--max-num-seqs"
MAX_NUM_BATCHED_TOKENS = "--max-num-batched-tokens"
GPU_MEMORY_UTILIZATION = "--gpu-memory-utilization"
KV_CACHE_DTYPE = "--kv-cache-dtype"
DTYPE = "--dtype"
QUANTIZATION = "--quantization"
QUANTIZATION_CONFIG = "--quantization-config"
SPECULATIVE_CONFIG = "--speculative-config"
SPEC_METHOD = "--spec-method"
SPEC_MODEL = "--spec-model"
SPEC_TOKENS = "--spec-tokens"
DRAFT_MODEL = "draft_model"
ENFORCE_EAGER = "--enforce-eager"
OPTIMIZATION_LEVEL = "--optimization-level"
LANGUAGE_MODEL_ONLY = "--language-model-only"
ENABLE_LORA = "--enable-lora"
MAX_LORAS = "--max-loras"
MAX_LORA_RANK = "--max-lora-rank"
MAX_CPU_LORAS = "--max-cpu-loras"
NO_LORA = "--no-enable-lora"
LORA_MODULES = "--lora-modules"
ENABLE_PREFIX_CACHING = "--enable-prefix-caching"
NO_ENABLE_PREFIX_CACHING = "--no-enable-prefix-caching"
NO_PREFIX_CACHING = (NO_ENABLE_PREFIX_CACHING, "--disable-prefix-caching")
ENABLE_SCALE_OUT = "--enable-scale-out"
NO_SCALE_OUT = ("--disable-scale-out", "--no-enable-scale-out")
REASONING_PARSER = "--reasoning-parser"
ENABLE_AUTO_TOOL_CHOICE = "--enable-auto-tool-choice"
TOOL_CALL_PARSER = "--tool-call-parser"
TOKENIZER_MODE = "--tokenizer-mode"
STREAM_INTERVAL = "--stream-interval"
SHUTDOWN_TIMEOUT = "--shutdown-timeout"
KV_CACHE_MEMORY_BYTES = "--kv-cache-memory-bytes"
NUM_GPU_BLOCKS_OVERRIDE = "--num-gpu-blocks-override"
CPU_OFFLOAD_GB = "--cpu-offload-gb"
KV_OFFLOADING_SIZE = "--kv-offloading-size"
NO_CHUNKED_PREFILL = "--no-enable-chunked-prefill"
PERFORMANCE_MODE = "--performance-mode"
CUDAGRAPH_CAPTURE_SIZES = "--cudagraph-capture-sizes"
MAX_CUDAGRAPH_CAPTURE_SIZE = "--max-cudagraph-capture-size"
LIMIT_MM_PER_PROMPT = "--limit-mm-per-prompt"
HF_OVERRIDES = "--hf-overrides"
CHAT_TEMPLATE = "--chat-template"
HOST = "--host"
PORT = "--port"

# vLLM's own defaults of the two (vllm/config/lora.py, 0.33.0).
DEFAULT_MAX_LORAS, DEFAULT_MAX_LORA_RANK = 1, 16


# As many digits as a number of 64 bits has for certain; `\d` would take those of other scripts, too.
WHOLE = r"[0-9]{1,18}"
# As vLLM reads them (vllm/utils/argparse_utils.py): 1k is 1,000, 1K is 1,024, and of the latter there are no parts.
SIZE = rf"{WHOLE}[kmgtKMGT]?|{WHOLE}\.{WHOLE}[kmgt]"
# JSON that is read by a class, in which numbers may be sizes (vllm/engine/arg_utils.py).
WITH_SIZES = "json-units"


class WorkloadFlags(TypedDict):
    """The fields of `planning.capacity.memory.Workload` that arguments decide."""

    eager: bool
    language_model_only: bool
    max_loras: int
    max_lora_rank: int
    dtype: str
    quantization: str
    tuning: Tuning


def json_value(text: str) -> Any:
    """Value of a JSON argument. Raises ValueError for other text, and for JSON deeper or longer than Python reads."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def expanded(text: str) -> str:
    """JSON with the sizes in it written out, as vLLM has them: 80m is 80000000. Raises ValueError for parts of 1K."""

    def written_out(number: re.Match[str]) -> str:
        if re.fullmatch(SIZE, number[0]) is None:
            raise ValueError(f"{number[0]} is no size")
        return str(size_bytes(number[0]))

    # texts in quotes are what every second part is
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    numbers = r"\b[0-9]+(?:\.[0-9]+)?[kKmMgGtT]\b"
    return "".join(part if position % 2 else re.sub(numbers, written_out, part) for position, part in enumerate(parts))


def value_of(args: Sequence[str], name: str) -> str | None:
    """The value of the last `--name=VALUE` or `--name VALUE`; None when it is not there. Underscores are dashes."""
    latest = None
    for position, argument in enumerate(args):
        option, has_value, value = argument.partition("=")
        if option.replace("_", "-") == name:
            latest = value if has_value else args[position + 1] if position + 1 < len(args) else None
    return latest


def has(args: Sequence[str], name: str) -> bool:
    """Whether the option is there, with a value or without."""
    return any(argument.partition("=")[0].replace("_", "-") == name for argument in args)


def number(args: Sequence[str], name: str, default: int) -> int:
    """The whole number an option has; the default where it is absent or not a number, which is reported elsewhere."""
    text = value_of(args, name) or ""
    return int(text) if re.fullmatch(WHOLE, text) else default


def workload_flags(args: Sequence[str], *, language_model_only: bool = False) -> WorkloadFlags:
    """Flags for eager mode, towers, LoRA slots, dtype and prefixes; `language_model_only`: the catalogue says so.

    `args` have one spelling of each option (`planning.capacity.options.plain`).
    """
    loras = has(args, ENABLE_LORA)
    return {
        "eager": has(args, ENFORCE_EAGER) or value_of(args, OPTIMIZATION_LEVEL) == "0",
        "language_model_only": language_model_only or has(args, LANGUAGE_MODEL_ONLY) or _takes_no_media(args),
        "max_loras": number(args, MAX_LORAS, DEFAULT_MAX_LORAS) if loras else 0,
        "max_lora_rank": number(args, MAX_LORA_RANK, DEFAULT_MAX_LORA_RANK),
        "dtype": value_of(args, DTYPE) or "auto",
        "quantization": value_of(args, QUANTIZATION) or "",
        "tuning": tuning(args),
    }


def tuning(args: Sequence[str]) -> Tuning:
    """Options of memory; `args` have one spelling of each option. What is no number is reported elsewhere."""
    draft, sizes = _draft(args), (value_of(args, CUDAGRAPH_CAPTURE_SIZES) or "").split()
    return Tuning(
        prefix_caching=has(args, ENABLE_PREFIX_CACHING),
        kv_cache_bytes=size_bytes(value_of(args, KV_CACHE_MEMORY_BYTES) or ""),
        kv_cache_blocks=number(args, NUM_GPU_BLOCKS_OVERRIDE, 0),
        draft_tokens=draft.get("num_speculative_tokens", 0),
        draft_head=str(draft.get("method")).endswith("mtp"),
        draft_reads_tokens=draft.get("method") == DRAFT_MODEL,
        offloaded_bytes=_gib(args, CPU_OFFLOAD_GB) * 2**30,
        kv_offload_gib=_gib(args, KV_OFFLOADING_SIZE),
        whole_prompts=has(args, NO_CHUNKED_PREFILL),
        performance=value_of(args, PERFORMANCE_MODE) or "balanced",
        graph_batches=tuple(int(word) for word in sizes if re.fullmatch(WHOLE, word)),
        largest_graph_batch=number(args, MAX_CUDAGRAPH_CAPTURE_SIZE, 0),
    )


def _draft(args: Sequence[str]) -> dict[str, Any]:
    """The speculative configuration, as far as it is one that is counted."""
    try:
        draft = json_value(value_of(args, SPECULATIVE_CONFIG) or "{}")
    except ValueError:
        return {}
    return draft if isinstance(draft, dict) and type(draft.get("num_speculative_tokens")) is int else {}


def _gib(args: Sequence[str], name: str) -> float:
    text = value_of(args, name) or ""
    return float(text) if re.fullmatch(rf"{WHOLE}|[0-9]{{0,18}}\.[0-9]{{1,18}}", text) else 0


def size_bytes(text: str) -> int:
    """Bytes of a size; 0 for others."""
    if re.fullmatch(SIZE, text) is None:
        return 0
    digits, unit = text.rstrip("kmgtKMGT"), text[-1]
    power = "0kmgt".find(unit.lower()) if unit.isalpha() else 0
    return int(float(digits) * 1000**power) if unit.islower() else int(digits) * 1024**power


def _takes_no_media(args: Sequence[str]) -> bool:
    """Whether prompts may have neither pictures nor films, so that the tower is not loaded (MultiModalConfig)."""
    try:
        limits = json_value(value_of(args, LIMIT_MM_PER_PROMPT) or "{}")
    except ValueError:
        return False
    return isinstance(limits, dict) and limits.get("image") == limits.get("video") == 0


def prefix_cache_is_off(args: Sequence[str]) -> bool:
    """Whether the last word about the cache of prompts is that there is none."""
    return _is_off(args, ENABLE_PREFIX_CACHING, NO_PREFIX_CACHING)


def scale_out_is_off(args: Sequence[str]) -> bool:
    """Whether the last word about the paths that say a prompt's tokens is that there are none."""
    return _is_off(args, ENABLE_SCALE_OUT, NO_SCALE_OUT)


def _is_off(args: Sequence[str], on: str, off: Sequence[str]) -> bool:
    words = [argument.partition("=")[0].replace("_", "-") for argument in args]
    known = [name for name in words if name in (on, *off)]
    return bool(known) and known[-1] in off


def decode_context(args: Sequence[str]) -> int:
    """Ranks the KV cache is split over while decoding."""
    return number(args, DECODE_CONTEXT_PARALLEL_SIZE, 1)
