"""Words for what pydantic says against a value: which value it is, which rule, and the nearest fix."""

import json
import re
from typing import Any

from settings.problems import nearest
from settings.scalars import LABEL, TO_WRITE


def worded(detail: Any) -> str:  # noqa: C901, PLR0911, PLR0912 - a table
    """The sentence for one detail of pydantic's; keys that are unknown or missing are the caller's own affair."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    shown = _shown(value)
    if value is None and kind != "invalid_key":
        return "is empty; give a value, or leave the key out"
    match kind:
        case "literal_error" | "enum":
            words = [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]
            return f"{shown} is not one of {', '.join(words)}{_only_guess(str(value), words)}"
        case "union_tag_invalid":
            words = [word.strip("' ") for word in context["expected_tags"].split(",")]
            return f"kind '{context['tag']}' is not one of {', '.join(words)}{_only_guess(context['tag'], words)}"
        case "greater_than_equal":
            return f"{shown} must be at least {context['ge']}"
        case "greater_than":
            return f"{shown} must be greater than {context['gt']}"
        case "less_than_equal":
            return f"{shown} must be at most {context['le']}"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"{shown} must be a whole number"
        case "float_parsing" | "float_type":
            return f"{shown} must be a number"
        case "bool_parsing" | "bool_type":
            return f"{shown} must be true or false"
        case "string_type":
            return f"{shown} must be text; put it in quotes"
        case "string_pattern_mismatch":
            return (
                f"{shown} is not well formed; it must match {context['pattern']}{_near(str(value), context['pattern'])}"
            )
        case "string_too_short":
            return "is empty; give a value, or leave the key out"
        case "string_too_long":
            return f"{shown} must have at most {context['max_length']} characters"
        case "too_long":
            return f"has {len(value or ()):,} entries; at most {context['max_length']:,}"
        case "too_short":
            return f"must have at least {context['min_length']} entry"
        case "value_error":
            return str(context["error"])
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{shown} must be a mapping of keys"
        case "invalid_key":
            return "the key must be text; put it in quotes"
        case "list_type":
            return f"{shown} must be a list"
        case "finite_number":
            return f"{shown} must be a finite number"
        case _:
            return f"{shown}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (str, int, float)) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}…"


def _only_guess(word: str, known: list[str]) -> str:
    guess = nearest(word, known)
    return guess if guess.startswith("; did") else ""


def _near(text: str, pattern: str) -> str:
    """The name that was probably meant, in lower case, with dashes where only they are; else what to write."""
    lower = text.lower()
    dashed = re.sub(r"[^a-z0-9]+", "-", lower).strip("-") if pattern == LABEL else lower
    for near in (text.rstrip("/"), dashed, dashed.rstrip("/"), lower.removeprefix("sha256:")):
        if near != text and re.fullmatch(pattern, near):
            return f"; did you mean '{near}'?"
    return f"; {TO_WRITE[pattern]}" if pattern in TO_WRITE else ""
