"""Who decides whether a prompt fits: the server, which has the tokenizer, and nobody before it.

Does not prove how many tokens a text has: the fake counts 0.44 per Chinese character, as Qwen's tokenizer does.
"""

import pytest

from tests.gateway import stacks
from tests.gateway.client import chat
from tests.gateway.fake_vllm import TOKENS_PER_WIDE_CHARACTER, Behaviour, Fakes
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
PROSE = "长城是中国古代伟大的防御工程"


def chinese(tokens: float) -> str:
    """Chinese prose of so many tokens."""
    characters = int(tokens / TOKENS_PER_WIDE_CHARACTER)
    return (PROSE * (characters // len(PROSE) + 1))[:characters]


@pytest.fixture(autouse=True)
def judges(fakes: Fakes) -> None:
    """Every server knows its context."""
    for name, context in (
        ("vllm-plain", stacks.CONTEXT),
        ("vllm-backed", stacks.CONTEXT),
        ("vllm-backed-smaller", stacks.LARGER_CONTEXT),
        ("vllm-larger", stacks.LARGER_CONTEXT),
    ):
        fakes.server(name).behaviour = Behaviour(context_tokens=context)


def asked(fakes: Fakes, *names: str) -> list[int]:
    """How many requests each server got."""
    return [len(fakes.server(name).asked) for name in names]


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_chinese_prose_that_fits_passes(pair: Pair, fakes: Fakes, share: float):
    """9 or 14 thousand characters, which another tokenizer counts twice, reach the server."""
    assert chat(pair[0].url, "plain", stacks.MASTER, chinese(stacks.CONTEXT * share)).status == 200
    assert asked(fakes, "vllm-plain") == [1]


@pytest.mark.parametrize("stream", [False, True])
def test_an_overlong_prompt_gets_the_servers_own_refusal(pair: Pair, fakes: Fakes, stream: bool):
    """400 with vLLM's words, asked once."""
    answer = chat(pair[0].url, "plain", stacks.MASTER, chinese(stacks.CONTEXT * 1.1), stream=stream)
    assert answer.status == 400
    assert "This model's maximum context length is 8192 tokens" in answer.error
    assert "your prompt contains 9012 input tokens" in answer.error
    assert asked(fakes, "vllm-plain") == [1]


def test_an_overlong_prompt_goes_to_a_fallback_with_more_context(pair: Pair, fakes: Fakes):
    """The fallback answers what the model could not."""
    answer = chat(pair[0].url, "backed", stacks.MASTER, chinese(stacks.CONTEXT * 1.5))
    assert (answer.status, answer.json["model"]) == (200, "larger")
    assert asked(fakes, "vllm-backed", "vllm-larger") == [1, 1]


def test_what_is_too_long_for_the_fallback_too_is_refused(pair: Pair, fakes: Fakes):
    """400, not an error of the gateway."""
    answer = chat(pair[0].url, "backed", stacks.MASTER, chinese(stacks.LARGER_CONTEXT * 1.5))
    assert answer.status == 400
    assert "This model's maximum context length is" in answer.error
    assert asked(fakes, "vllm-backed", "vllm-larger") == [1, 1]


def test_a_fallback_with_less_context_is_not_asked(pair: Pair, fakes: Fakes):
    """The refusal of the model itself arrives."""
    answer = chat(pair[0].url, "backed-smaller", stacks.MASTER, chinese(stacks.LARGER_CONTEXT * 1.1))
    assert answer.status == 400
    assert "This model's maximum context length is 16384 tokens" in answer.error
    assert asked(fakes, "vllm-backed-smaller", "vllm-plain") == [1, 0]


def test_a_wrong_request_is_not_tried_elsewhere(pair: Pair, fakes: Fakes):
    """A 400 of the server is the client's to mend: it arrives, and no fallback answers in its place."""
    fakes.server("vllm-backed").behaviour = Behaviour(status=400, message="temperature must be non-negative")
    answer = chat(pair[0].url, "backed", stacks.MASTER)
    assert answer.status == 400
    assert "temperature must be non-negative" in answer.error
    assert asked(fakes, "vllm-backed", "vllm-larger") == [1, 0]


def test_an_error_names_no_other_model_and_no_address(pair: Pair, fakes: Fakes):
    """What is configured besides the model that was asked for stays inside."""
    fakes.server("vllm-plain").behaviour = Behaviour(status=500)
    answer = chat(pair[0].url, "plain", stacks.MASTER)
    assert answer.status == 500
    assert [word for word in ("backed", "rpm", "fallback", "127.0.0.1", "api_base") if word in answer.text] == []
