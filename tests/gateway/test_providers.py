"""External providers behind the real LiteLLM: who is asked, when, with which key, and by whom never.

Does not prove what the providers themselves take, nor a network rule: fakes on loopback stand for them.
"""

from functools import partial
from itertools import product
from typing import Any

import pytest

from tests.gateway import stacks
from tests.gateway.client import Answer, at_once, chat, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Call, Fakes
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
# A timeout, which is not tried again, and an error, which is.
DOWN, FAILING = Behaviour(status=408), Behaviour(status=500)
TEXT = "".join(Behaviour().chunks)
# Headers and bodies in which a provider would see a key or a name that is none of its business.
OURS = (stacks.MASTER, "redis-test-password", "-key-of-ours")


@pytest.fixture(autouse=True)
def nothing_cools_down(fakes: Fakes, redis) -> None:  # noqa: ARG001 - fakes are as new
    """What servers did in another test is forgotten."""
    redis.command("FLUSHALL")


def asked(fakes: Fakes) -> dict[str, int]:
    """How many requests each provider got."""
    return {name: len(fakes.server(name).calls) for name in ("openai", "anthropic")}


def down(fakes: Fakes, *names: str, behaviour: Behaviour = DOWN) -> None:
    """These answer with an error."""
    for name in names:
        fakes.server(name).behaviour = behaviour


def text_of(call: Call) -> str:
    """All that a request holds."""
    return f"{call.headers} {call.body}"


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_provider_answers_when_the_server_is_down(pair: Pair, fakes: Fakes, stream: bool):
    """Whole and as a stream, with the provider's own key, and under the name of its model."""
    down(fakes, "vllm-leaving")
    answer = chat(pair[0].url, "leaving", stacks.MASTER, stream=stream)
    text = answer.streamed if stream else answer.json["choices"][0]["message"]["content"]
    assert (answer.status, text, asked(fakes)) == (200, TEXT, {"openai": 1, "anthropic": 0})
    call = fakes.server("openai").calls[0]
    assert (call.path, call.headers["authorization"]) == ("/v1/chat/completions", "Bearer sk-openai-marker-77aa")
    assert (call.body["model"], [word for word in (*OURS, "sk-ant-marker") if word in text_of(call)]) == (
        "gpt-5-mini",
        [],
    )


@pytest.mark.parametrize("stream", [False, True])
def test_the_next_provider_answers_when_the_first_is_down_too(pair: Pair, fakes: Fakes, stream: bool):
    """In the order of the list; each sees its own key alone."""
    down(fakes, "vllm-leaving", "openai")
    answer = chat(pair[0].url, "leaving", stacks.MASTER, stream=stream)
    text = answer.streamed if stream else answer.json["choices"][0]["message"]["content"]
    assert (answer.status, text, asked(fakes)) == (200, TEXT, {"openai": 1, "anthropic": 1})
    call = fakes.server("anthropic").calls[0]
    assert (call.path, call.headers["x-api-key"]) == ("/v1/messages", "sk-ant-marker-88bb")
    assert [word for word in (*OURS, "sk-openai-marker") if word in text_of(call)] == []


def test_a_server_of_our_own_that_stands_first_is_asked_first(pair: Pair, fakes: Fakes):
    """The order of the list, and nobody outside while one of ours answers."""
    down(fakes, "vllm-leaving-last")
    answer = chat(pair[0].url, "leaving-last", stacks.MASTER)
    assert (answer.served_by, asked(fakes)) == ("vllm-larger", {"openai": 0, "anthropic": 0})
    down(fakes, "vllm-leaving-last", "vllm-larger")
    answer = chat(pair[0].url, "leaving-last", stacks.MASTER)
    assert (answer.status, answer.served_by, asked(fakes)) == (
        200,
        "claude-x",
        {"openai": 0, "anthropic": 1},
    )


def test_a_chain_ends(pair: Pair, fakes: Fakes):
    """When all are down: an error, each asked as often as planned."""
    down(fakes, "vllm-leaving", "openai", "anthropic", behaviour=FAILING)
    answer = chat(pair[0].url, "leaving", stacks.MASTER)
    assert (answer.status >= 500, asked(fakes)) == (True, {"openai": 3, "anthropic": 3})
    assert [word for word in ("marker", "api.openai", "claude", "127.0.0.1") if word in answer.text] == []


def test_what_stays_never_reaches_a_provider(pair: Pair, fakes: Fakes):
    """Models without mayLeave, with all their servers and fallbacks down, on any endpoint, whatever they ask."""
    down(fakes, *(f"vllm-{name}" for name in ("plain", "backed", "larger", "chained", "middle", "last")))
    asks = [
        {},
        {"fallbacks": ["gpt-x"]},
        {"metadata": {"attempted_fallbacks": 1}, "litellm_metadata": {"model_group": "leaving"}, "fallback_depth": 1},
    ]
    works = [
        partial(request, pair[0].url, f"/v1/{path}", {"model": model, **body, **more}, stacks.MASTER)
        for model, (path, body), more in product(("plain", "backed", "chained"), stacks.ANSWERING.items(), asks)
    ]
    assert {answer.status >= 400 for answer in at_once(works)} == {True}
    assert asked(fakes) == {"openai": 0, "anthropic": 0}


# Every word by which LiteLLM would find the deployment of a provider.
WORDS = (
    *("gpt-x", "vllm-leaving-gpt-x", "openai/gpt-5-mini", "gpt-5-mini", "claude-x", "claude-x "),
    *("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "gpt-x,plain", "plain,gpt-x", " gpt-x", "openai/gpt-x"),
)
PATHS: dict[str, dict[str, Any]] = {
    **stacks.ANSWERING,
    "messages/count_tokens": {"messages": [{"role": "user", "content": "x"}]},
    "embeddings": {"input": "x"},
    "rerank": {"query": "x", "documents": ["x"]},
    "responses/compact": {"input": "x"},
    "responses/input_tokens": {"input": "x"},
}


@pytest.mark.parametrize("path", PATHS)
def test_a_fallback_cannot_be_asked_by_any_word(pair: Pair, fakes: Fakes, path: str):
    """On every endpoint: what LiteLLM would serve to every key is a model that nobody serves."""
    bodies = [{"model": word, **PATHS[path]} for word in WORDS]
    answers = at_once([partial(request, pair[0].url, f"/v1/{path}", body, stacks.MASTER) for body in bodies])
    found = {word: answer.status for word, answer in zip(WORDS, answers, strict=True)}
    assert asked(fakes) == {"openai": 0, "anthropic": 0}
    # tokens are counted in the gateway itself, for any word
    counts = path.endswith("_tokens")
    assert counts or {word for word, status in found.items() if status < 400} == set()


def test_lists_of_models_have_what_clients_may_ask(pair: Pair):
    """A fallback outside is in none of them; one that may be asked is."""
    answers = [request(pair[0].url, path, None, stacks.MASTER) for path in ("/v1/models", "/v1/models?scope=expand")]
    for answer in answers:
        names = {model["id"] for model in answer.json["data"]}
        assert {"leaving", "gpt-direct"} <= names
        assert names.isdisjoint({"gpt-x", "claude-x"})
    assert request(pair[0].url, "/v1/models/gpt-x", None, stacks.MASTER).status == 404


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_what_may_be_asked_directly_is(pair: Pair, fakes: Fakes, path: str):
    """By its name, with `direct: true`."""
    answer = request(pair[0].url, f"/v1/{path}", {"model": "gpt-direct", **stacks.ANSWERING[path]}, stacks.MASTER)
    assert (answer.status, asked(fakes)) == (200, {"openai": 1, "anthropic": 0})
    assert fakes.server("openai").calls[0].body["model"] == "gpt-5"


@pytest.mark.parametrize("path", stacks.ANSWERING)
def test_a_wrong_request_does_not_leave(pair: Pair, fakes: Fakes, path: str):
    """What the server refuses is the client's to mend."""
    fakes.server("vllm-leaving").behaviour = Behaviour(status=400, message="temperature must be non-negative")
    answer = request(pair[0].url, f"/v1/{path}", {"model": "leaving", **stacks.ANSWERING[path]}, stacks.MASTER)
    assert (answer.status, asked(fakes)) == (400, {"openai": 0, "anthropic": 0})


def test_an_overlong_prompt_leaves_for_more_context(pair: Pair, fakes: Fakes):
    """Providers' contexts are known: 8,192 tokens at ours, 400,000 there."""
    fakes.server("vllm-leaving").behaviour = Behaviour(context_tokens=10)
    assert chat(pair[0].url, "leaving", stacks.MASTER, "word " * 100).status == 200
    assert asked(fakes) == {"openai": 1, "anthropic": 0}


def test_a_provider_is_asked_as_it_can_be(pair: Pair, fakes: Fakes):
    """Parameters of OpenAI arrive, translated where that API has others; what only vLLM knows does not."""
    down(fakes, "vllm-leaving", "vllm-leaving-last", "vllm-larger")
    more: dict[str, Any] = {
        "temperature": 0.5, "stop": ["x"], "top_k": 5, "priority": 1, "max_tokens": 7,
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    answers: list[Answer] = [chat(pair[0].url, name, stacks.MASTER, **more) for name in ("leaving", "leaving-last")]
    assert [answer.status for answer in answers] == [200, 200]
    openai, anthropic = (fakes.server(name).calls[0].body for name in ("openai", "anthropic"))
    assert [name for body in (openai, anthropic) for name in ("priority", "chat_template_kwargs") if name in body] == []
    assert (anthropic["temperature"], anthropic["stop_sequences"], anthropic["max_tokens"]) == (0.5, ["x"], 7)
    assert (openai.get("stop", ["x"]), "top_k" in openai) == (["x"], False)


def test_an_answer_of_a_provider_costs_what_it_charges(pair: Pair, fakes: Fakes):
    """The stack file's price, not LiteLLM's own list."""
    down(fakes, "vllm-leaving")
    fakes.server("openai").behaviour = Behaviour(prompt_tokens=1000, completion_tokens=100)
    answer = chat(pair[0].url, "leaving", stacks.MASTER)
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx((1000 * 2 + 100 * 8) / 1e6)


# --- keys of teams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [["leaving"], ["leaving", "gpt-x"]], ids=["without", "with"])
def test_a_request_leaves_only_where_its_key_may_ask(databased: Databased, fakes: Fakes, models: list[str]):
    """A team has the fallback among its models, as its Job gives it, or no failover; by its name it never asks it."""
    url, team = databased.proxies[0].url, f"leaves-{len(models)}"
    body = {"team_id": team, "team_alias": team, "models": models}
    assert request(url, "/team/new", body, stacks.MASTER).status == 200
    key = request(url, "/key/generate", {"team_id": team, "models": ["all-team-models"]}, stacks.MASTER).json["key"]
    down(fakes, "vllm-leaving")
    answer = chat(url, "leaving", key)
    leaves = "gpt-x" in models
    assert (answer.status == 200, asked(fakes)["openai"]) == (leaves, int(leaves))
    assert chat(url, "gpt-x", key).status in (400, 401, 403)
    assert [model["id"] for model in request(url, "/v1/models", None, key).json["data"]] == ["leaving"]
    assert asked(fakes)["openai"] == int(leaves)
