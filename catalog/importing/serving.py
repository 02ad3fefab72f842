"""Parsers by the architecture of a model, where all models of that architecture speak alike.

From the recipes in the vLLM 0.33.0 sdist. A family whose members differ (Qwen3: some think; DeepSeek: a parser per
release) has none here: the card of the model says it.
"""

from collections.abc import Mapping

# `model_type` of the language model → (reasoning parser, parser of tool calls).
PARSERS: Mapping[str, tuple[str | None, str | None]] = {
    "gemma4": ("gemma4", "gemma4"),
    "glm4_moe": ("glm45", "glm45"),
    "glm_moe_dsa": ("glm47", "glm47"),
    "gpt_oss": (None, "openai"),
    "kimi_k25": ("kimi_k2", "kimi_k2"),
    "llama4": (None, "llama4_pythonic"),
    "mimo_v2_flash": ("qwen3", "mimo"),
    "minimax_m2": ("minimax_m2", "minimax_m2"),
    "qwen3_5": ("qwen3", "qwen3_coder"),
    "qwen3_5_moe": ("qwen3", "qwen3_coder"),
}


def parsers(model_type: str) -> dict[str, str]:
    """Fields of `serving` for this `model_type`; empty: not sure."""
    reasoning, tools = PARSERS.get(model_type, (None, None))
    named = {"reasoningParser": reasoning, "toolCallParser": tools}
    return {field: parser for field, parser in named.items() if parser}
