"""Arguments a user adds to vLLM that change what fits: read from the command line they are written in."""

import json
import re
from collections.abc import Sequence
from typing import Any, TypedDict

# vLLM's own defaults of the two (vllm/config/lora.py, 0.33.0).
DEFAULT_MAX_LORAS, DEFAULT_MAX_LORA_RANK = 1, 16


# As many digits as a number of 64 bits has for certain; `\d` would take those of other scripts, too.
WHOLE = r"[0-9]{1,18}"


class WorkloadFlags(TypedDict):
    """The fields of `planning.capacity.memory.Workload` that arguments decide."""

    eager: bool
    language_model_only: bool
    max_loras: int
    max_lora_rank: int
    dtype: str


def json_value(text: str) -> Any:
    """What a JSON argument says. Raises ValueError for other text, and for JSON deeper or longer than Python reads."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def value_of(args: Sequence[str], name: str) -> str | None:
    """The value of the last `--name=VALUE` or `--name VALUE`; None when it is not there. Underscores are dashes."""
    found = None
    for position, argument in enumerate(args):
        option, has_value, value = argument.partition("=")
        if option.replace("_", "-") == name:
            found = value if has_value else args[position + 1] if position + 1 < len(args) else None
    return found


def has(args: Sequence[str], name: str) -> bool:
    """Whether the option is there, with a value or without."""
    return any(argument.partition("=")[0].replace("_", "-") == name for argument in args)


def _number(args: Sequence[str], name: str, default: int) -> int:
    """The whole number an option has; the default where it is absent or not a number, which is reported elsewhere."""
    text = value_of(args, name) or ""
    return int(text) if re.fullmatch(WHOLE, text) else default


def workload_flags(args: Sequence[str], *, language_model_only: bool = False) -> WorkloadFlags:
    """What arguments say of eager mode, towers, LoRA slots and dtype; `language_model_only`: the catalogue says so."""
    loras = has(args, "--enable-lora")
    return {
        "eager": has(args, "--enforce-eager"),
        "language_model_only": language_model_only or has(args, "--language-model-only"),
        "max_loras": _number(args, "--max-loras", DEFAULT_MAX_LORAS) if loras else 0,
        "max_lora_rank": _number(args, "--max-lora-rank", DEFAULT_MAX_LORA_RANK),
        "dtype": value_of(args, "--dtype") or "auto",
    }


def decode_context(args: Sequence[str]) -> int:
    """Ranks the KV cache is split over while decoding."""
    return _number(args, "--decode-context-parallel-size", 1)
