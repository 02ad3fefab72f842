"""Every parameter that vLLM reads reaches it, or is refused; none is forgotten in silence.

The names are those of the installed vLLM's requests, read from its source. Does not prove what vLLM does with them.
"""

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import stacks
from tests.gateway.client import request
from tests.gateway.fake_vllm import Fakes
from tests.gateway.proxies import Proxy
from workshop.local.toolchain import VENV

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
# Values where any text would not do; all others get a text of their own, which only a server would judge.
VALUES: dict[str, Any] = {
    "allowed_token_ids": [4], "add_generation_prompt": False, "add_special_tokens": True, "bad_words": ["no"],
    "background": False, "chat_template_kwargs": {"enable_thinking": False}, "continue_final_message": True,
    "documents": [{"title": "t", "text": "x"}], "echo": True, "enable_response_messages": True,
    "frequency_penalty": 0.1, "ignore_eos": True, "include": ["message.output_text.logprobs"],
    "include_reasoning": False, "include_stop_str_in_output": True, "length_penalty": 1.2, "logit_bias": {"5": 1},
    "logprob_token_ids": [3], "logprobs": True, "max_completion_tokens": 9, "max_output_tokens": 16,
    "max_tokens": 7, "max_tool_calls": 2, "media_io_kwargs": {"video": {"n": 1}}, "min_p": 0.1, "min_tokens": 2,
    "mm_processor_kwargs": {"a": 1}, "n": 2, "parallel_tool_calls": False, "presence_penalty": 0.2, "priority": 5,
    "prompt_logprobs": 1, "reasoning": {"effort": "low"}, "reasoning_effort": "low", "repetition_penalty": 1.1,
    "response_format": {"type": "json_object"}, "seed": 3, "service_tier": "auto", "skip_special_tokens": False,
    "spaces_between_special_tokens": False, "stop": ["x"], "stop_token_ids": [1], "store": False,
    "stream_interval": 4, "stream_options": {"include_usage": True}, "structured_outputs": {"regex": "a"},
    "temperature": 0.5, "text": {"format": {"type": "text"}}, "thinking_token_budget": 44, "tool_choice": "required",
    "tools": TOOLS, "top_k": 4, "top_logprobs": 2, "top_p": 0.9, "truncate_prompt_tokens": 11, "truncation": "auto",
    "truncation_side": "left", "use_beam_search": True, "watermarking": True, "previous_input_messages": [],
}  # fmt: skip
# What is asked, and what LiteLLM uses itself: users are counted by it, and vLLM ignores the name.
OURS = {"messages", "input", "prompt", "model", "stream", "user", "metadata"}
ENDPOINTS = [
    (
        "chat_completion",
        "ChatCompletionRequest",
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "x"}]},
    ),
    ("completion", "CompletionRequest", "/v1/completions", {"prompt": "x"}),
    ("responses", "ResponsesRequest", "/v1/responses", {"input": "x"}),
]


def fields(module: str, name: str) -> list[str]:
    """The fields of one of vLLM's requests."""
    source: Path = next(VENV.glob(f"lib/python3*/site-packages/vllm/entrypoints/openai/{module}/protocol.py"))
    tree = ast.parse(source.read_text("utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    names = [
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return [name for name in names if not name.startswith("_") and name not in OURS]


@pytest.mark.parametrize(("module", "name", "path", "base"), ENDPOINTS)
def test_every_parameter_of_vllm_arrives_or_is_refused(
    pair: Pair, fakes: Fakes, module: str, name: str, path: str, base: dict[str, Any]
):
    """One request for each: at the server it has the value it was sent with, or the client gets a 4xx."""
    server, lost = fakes.server("vllm-plain"), {}
    names = fields(module, name)
    for field in names:
        server.calls = []
        value = VALUES.get(field, f"value of {field}")
        answer = request(pair[0].url, path, {"model": "plain", **base, field: value}, stacks.MASTER)
        arrived = server.asked[0].body.get(field) if server.asked else None
        if not 400 <= answer.status < 500 and arrived != value:
            lost[field] = (answer.status, arrived)
    assert len(names) > 40
    assert lost == {}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 100}, {"type": "disabled"}, True, "deep"])
def test_thinking_arrives_as_it_was_sent(pair: Pair, fakes: Fakes, thinking: Any, stream: bool):
    """A parameter of Anthropic's that some servers read: never only translated, never forgotten."""
    body = {"model": "plain", **ENDPOINTS[0][3], "thinking": thinking, "stream": stream}
    assert request(pair[0].url, "/v1/chat/completions", body, stacks.MASTER).status == 200
    assert fakes.server("vllm-plain").asked[0].body["thinking"] == thinking


def test_priority_is_not_taken_for_a_queue_of_the_gateway(pair: Pair, fakes: Fakes):
    """With a body of its own beside it, in a stream: both arrive."""
    body = {"model": "plain", **ENDPOINTS[0][3], "priority": -3, "top_k": 7, "stream": True}
    assert request(pair[0].url, "/v1/chat/completions", body, stacks.MASTER).status == 200
    sent = fakes.server("vllm-plain").asked[0].body
    assert (sent["priority"], sent["top_k"]) == (-3, 7)


@pytest.mark.parametrize("choice", ["none", "auto", "required", {"type": "function", "function": {"name": "f"}}])
@pytest.mark.parametrize("tools", [{}, {"tools": TOOLS}])
def test_a_choice_of_tools_arrives_with_and_without_tools(pair: Pair, fakes: Fakes, choice: Any, tools: dict):
    """Whether it makes sense is for the server to say."""
    body = {"model": "plain", **ENDPOINTS[0][3], "tool_choice": choice, **tools}
    assert request(pair[0].url, "/v1/chat/completions", body, stacks.MASTER).status == 200
    assert fakes.server("vllm-plain").asked[0].body["tool_choice"] == choice
