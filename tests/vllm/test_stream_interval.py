"""What `--stream-interval` does in the real vLLM: to the first token, and to parsers that get several tokens at once.

The parsers are those of the installed release, driven as its API server drives them; no model and no tokenizer of one.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from catalog import load_catalog
from tests.vllm.conftest import Vllm

pytestmark = [pytest.mark.vllm, pytest.mark.sample]

SCRIPT = Path(__file__).with_name("deltas.py")
TOGETHER = (1, 2, 3, 4, 5, 8, 16, 1000)
KNOWN = load_catalog().vllm.any_delta
CITY = {"city": "San Francisco, CA", "days": 3}
THOUGHT = "<think>I think so.</think>\n\n"
QWEN = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
DEEPSEEK = ["<think>", "</think>"] + [
    f"<｜tool▁{word}｜>" for word in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep")
]
HERMES = "".join(
    f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>\n"
    for name, arguments in (("get_weather", CITY), ("now", {}))
)
CODER = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nSan Francisco, CA\n</parameter>\n<parameter=days>\n3\n"
    "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>"
)
V3 = "<｜tool▁calls▁begin｜>{}<｜tool▁calls▁end｜>".format(
    "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{json.dumps(arguments)}\n```<｜tool▁call▁end｜>"
        for name, arguments in (("get_weather", CITY), ("now", {}))
    )
)
# Parser of tool calls → special tokens, an answer with calls, and how many.
DIALECTS: dict[str | None, tuple[list[str], str, int]] = {
    None: (["<think>", "</think>"], "Let me look.", 0),
    "hermes": (QWEN, f"Let me look.\n{HERMES}", 2),
    "qwen3_coder": (QWEN, f"Let me look.\n{CODER}", 2),
    "llama3_json": (["<|python_tag|>"], json.dumps({"name": "get_weather", "parameters": CITY}), 1),
    "deepseek_v3": (DEEPSEEK, f"Let me look.{V3}", 2),
}
PAIRS = [
    ("hermes", "qwen3"),
    ("hermes", None),
    ("qwen3_coder", "qwen3"),
    ("qwen3_coder", None),
    ("llama3_json", None),
    (None, "deepseek_r1"),
    ("deepseek_v3", None),
]


@pytest.fixture(scope="module")
def asked(vllm: Vllm) -> dict[str, Any]:
    """(tools, reasoning, tokens together) → what a client got; and the chunks of streams by interval."""
    keys = list(product(PAIRS, TOGETHER))
    cases = [
        {
            "tools": tools,
            "reasoning": reasoning,
            "special": DIALECTS[tools][0],
            "text": (THOUGHT if reasoning else "") + DIALECTS[tools][1],
            "together": together,
        }
        for (tools, reasoning), together in keys
    ]
    found = json.loads(vllm.run(SCRIPT, text=json.dumps(cases))[-1])
    return {"answers": dict(zip(keys, found["answers"], strict=True)), "chunks": found["chunks"]}


def test_the_first_token_comes_at_once_and_none_is_lost(asked):
    """Then so many at a time, and what is left with the end."""
    assert asked["chunks"] == {
        "1": [1] * 12,
        "4": [1, 4, 4, 3],
        "5": [1, 5, 5, 1],
        "100": [1, 11],
    }


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[0] != "deepseek_v3"], ids=str)
def test_parsers_of_the_catalogue_lose_nothing(asked, pair):
    """However many tokens come together, a client gets the same thought, words and calls."""
    tools, reasoning = pair
    assert tools is None or tools in KNOWN.tool_call_parsers
    assert reasoning is None or reasoning in KNOWN.reasoning_parsers
    answers = [asked["answers"][pair, together] for together in TOGETHER]
    assert answers == [answers[0]] * len(TOGETHER)
    calls = {"0": ["get_weather", json.dumps(CITY)], "1": ["now", "{}"]}
    assert answers[0]["calls"] == dict(list(calls.items())[: DIALECTS[tools][2]])
    assert answers[0]["reasoning"] == ("I think so." if reasoning else "")


def test_every_parser_of_the_catalogue_is_tried():
    """What is listed there is listed here."""
    assert {tools for tools, _ in PAIRS if tools} - {"deepseek_v3"} == KNOWN.tool_call_parsers
    assert {reasoning for _, reasoning in PAIRS if reasoning} == KNOWN.reasoning_parsers


def test_one_that_loses_calls_is_found(asked):
    """deepseek_v3 is right token by token, and not with sixteen at once: when this fails, it can be listed."""
    single, many = (asked["answers"][("deepseek_v3", None), together] for together in (1, 16))
    assert single["calls"] == {"0": ["get_weather", json.dumps(CITY)], "1": ["now", "{}"]}
    assert many.get("calls") != single["calls"]
