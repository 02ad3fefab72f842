"""Tokens that come together: where that pays, where nobody sees it, and where no parser loses anything by it.

What the first token does, and what parsers make of several, is asked of the real vLLM in tests/vllm.
"""

import pytest

from planning.plan.servers import StreamInterval
from planning.stack.gateway_cpu import costs
from tests.unit.small_stack import A10, CATALOG, H100, H200, planned, server, serving

FAST = {"model": "Qwen/Qwen3-32B", "contextTokens": 32768}
R1 = {"model": "deepseek-ai/DeepSeek-R1-0528", "contextTokens": 32768}
OPTION = "--stream-interval"


def spared(tokens_per_s):
    """Cores of pods that three quarters of so many chunks take."""
    return f"{tokens_per_s * 3 / 4 * costs(CATALOG).plain.chunk_ms / 1000 / 0.6:.1f}"


def written(found):
    """What the server is started with."""
    return [item for item in found.args if item.startswith(OPTION)]


def test_a_fast_server_puts_four_tokens_together():
    """Its 44 tokens a second come in eleven steps, and the gateway has a quarter of the chunks."""
    found = server(serving(H200, **FAST))
    assert (found.stream_interval.tokens, written(found)) == (4, [f"{OPTION}=4"])
    assert found.pace is not None
    cores = spared(found.pace.busy)
    assert found.reasons["streamInterval"] == (
        f"4: spares the gateway {cores} cores for each busy replica; the first token comes at once, and at 44 tokens/s "
        "no step is seen; --stream-interval in args says otherwise"
    )
    assert planned(serving(H200, **FAST)).gateway.size.load.chunks == pytest.approx(
        planned(serving(H200, **FAST)).gateway.size.load.tokens / 4
    )


def test_a_slow_server_is_left_as_it_is():
    """Less than a core of the gateway is no reason, and nothing is said; yet the lever is known."""
    found = server(serving(A10))
    assert (found.stream_interval, written(found), "streamInterval" in found.reasons) == (
        StreamInterval(smooth=2),
        [],
        False,
    )


@pytest.mark.parametrize(
    ("args", "tokens", "reason"),
    [
        ([f"{OPTION}=1"], 1, "1: given in args"),
        ([OPTION, "16"], 16, "16: given in args"),
        (["--stream_interval=8"], 8, "8: given in args"),
        ([f"{OPTION}=0"], 1, "0: given in args"),
    ],
)
def test_a_user_has_the_last_word(args, tokens, reason):
    """The plan writes none beside it, and counts with it."""
    found = server(serving(H200, **FAST, args=args))
    assert (found.stream_interval.tokens, found.reasons["streamInterval"]) == (tokens, reason)
    assert found.args[-len(args) :] == tuple(args)
    assert [item for item in found.args if item.replace("_", "-").startswith(OPTION)] == args[:1]


def test_parsers_that_lose_calls_are_spared():
    """deepseek_v3 loses tool calls whose tokens come together; the preview says so, and what that costs."""
    found = server(serving(H200, **R1))
    assert (found.stream_interval.tokens, found.stream_interval.smooth, written(found)) == (1, 1, [])
    assert found.reasons["streamInterval"] == (
        f"1: --stream-interval=4 in args would spare the gateway {spared(32 * 150)} cores for each busy replica, but "
        "its parser of tool calls, deepseek_v3, may lose what comes in steps of several tokens"
    )
    asked = planned(serving(H200, **R1, args=[f"{OPTION}=1"]))
    assert (asked.servers[0].stream_interval.smooth, OPTION in asked.gateway.size.reason) == (1, False)
    brave = server(serving(H200, **R1, args=[f"{OPTION}=4"]))
    assert brave.reasons["streamInterval"] == (
        "4: given in args, though its parser of tool calls, deepseek_v3, may lose what comes in steps of several tokens"
    )


def test_the_parser_that_is_asked_for_counts():
    """Another parser in args is the one that reads; one that nobody has tried is not trusted."""
    fast = serving(H200, **FAST, args=["--tool-call-parser=xlam"])
    assert "parser of tool calls, xlam" in server(fast).reasons["streamInterval"]
    thinking = serving(H200, **FAST, args=["--reasoning-parser", "granite"])
    assert "parser of reasoning, granite" in server(thinking).reasons["streamInterval"]


def test_no_other_model_and_no_gateway_changes_a_server():
    """What is chosen follows from the server alone: a number of replicas that is changed must not restart it."""
    alone = serving(H200, **FAST)
    beside = serving(H200, **FAST)
    beside["gpuPools"]["h100"] = H100
    beside["models"]["other"] = {**FAST, "pool": "h100", "replicas": {"min": 1, "max": 4}}
    keyed = serving(H200, **FAST)
    keyed["gateway"] |= {
        "replicas": 9,
        "database": {"existingSecret": "db"},
        "capacity": {"chatsPerSecond": 500, "cpuMs": {"chat": 1, "stream": 1, "chunk": 0.001}},
    }
    keyed["models"]["m"]["priceUsdPerMillionTokens"] = {"input": 1, "output": 2}
    assert server(alone).args == server(beside).args == server(keyed).args
