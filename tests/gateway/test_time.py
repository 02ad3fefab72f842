"""One budget of time for all tries: hung servers, failing servers, clients that leave, chains of fallbacks.

The stack allows 6 s for a whole answer and 3 s of silence in a stream. Does not prove that these are good times.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, Literal

import pytest

from planning.stack.timing import LONGEST_BACK_OFF_S
from tests.gateway import stacks
from tests.gateway.client import Answer, chat, request
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy
from tests.harness import stack

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
# A busy machine's share in what is measured.
SLACK_S = 2.5
WHOLE_S, SILENCE_S = stacks.REQUEST_TIMEOUT_S, stacks.FIRST_TOKEN_TIMEOUT_S
TRIES = 3
COOLDOWN_S = 11
# What LiteLLM would hear from a client.
LONGER = {"timeout": 30, "stream_timeout": 30, "request_timeout": 30, "retry_policy": {"TimeoutErrorRetries": 3}}
LONGER_HEADERS = {"x-litellm-timeout": "30", "x-litellm-stream-timeout": "30", "x-litellm-num-retries": "3"}
MORE_TRIES: tuple[tuple[dict, dict], ...] = (
    ({"num_retries": 6, "max_retries": 6, "retry_policy": {"InternalServerErrorRetries": 6}}, {}),
    ({}, {"x-litellm-num-retries": "6"}),
    ({"fallbacks": ["larger"], "max_fallbacks": 9}, {}),
    ({"fallbacks": [{"plain": ["larger"]}]}, {}),
    ({"mock_response": "made up"}, {}),
    ({"router_settings_override": {"num_retries": 6, "fallbacks": [{"plain": ["larger"]}]}}, {}),
)
How = Literal["before headers", "after headers"]
CHAIN = ("chained", "middle", "last")


@pytest.fixture(autouse=True)
def nothing_cools_down(fakes: Fakes, redis) -> None:  # noqa: ARG001 - fakes are as new
    """What servers did in another test is forgotten: counts of failures by the minute, cooldowns with Redis."""
    redis.command("FLUSHALL")


def hang(fakes: Fakes, *models: str, how: How = "before headers") -> None:
    """Servers of these models hang."""
    for model in models:
        fakes.server(f"vllm-{model}").behaviour = Behaviour(hangs=how)


def asked(fakes: Fakes, *models: str) -> list[int]:
    """How many requests their servers got."""
    return [len(fakes.server(f"vllm-{model}").asked) for model in models]


def ended_within(answer: Answer, seconds: float) -> bool:
    """Whether it took that long, and not much longer."""
    return seconds - 0.2 <= answer.took_s <= seconds + SLACK_S


@pytest.mark.parametrize("how", ["before headers", "after headers"])
def test_a_hung_stream_reaches_the_fallback_in_time(pair: Pair, fakes: Fakes, how: How):
    """After 3 s of silence, whether the server had begun to answer or not."""
    hang(fakes, "backed", how=how)
    answer = chat(pair[0].url, "backed", stacks.MASTER, stream=True)
    assert (answer.status, answer.streamed, asked(fakes, "backed", "larger")) == (
        200,
        "".join(Behaviour().chunks),
        [1, 1],
    )
    assert ended_within(answer, SILENCE_S)
    assert fakes.server("vllm-backed").asked[0].left


def test_a_hung_answer_reaches_the_fallback_in_time(pair: Pair, fakes: Fakes):
    """A whole answer may take 6 s, once; then the fallback is asked."""
    hang(fakes, "chained")
    answer = chat(pair[1].url, "chained", stacks.MASTER)
    assert (answer.status, answer.served_by, asked(fakes, "chained", "middle")) == (200, "vllm-middle", [1, 1])
    assert ended_within(answer, WHOLE_S)


@pytest.mark.parametrize("path", stacks.ANSWERING)
@pytest.mark.parametrize("asks", [({}, {}), (LONGER, LONGER_HEADERS)], ids=["says nothing", "asks for more"])
def test_a_timeout_is_not_tried_again(pair: Pair, fakes: Fakes, path: str, asks: tuple[dict, dict]):
    """Told after one silence on every endpoint, whatever the client says of times; the server is asked once."""
    hang(fakes, "plain")
    body = {"model": "plain", "stream": True, **stacks.ANSWERING[path], **asks[0]}
    answer = request(pair[0].url, f"/v1/{path}", body, stacks.MASTER, asks[1])
    assert (answer.status, asked(fakes, "plain")) == (408, [1])
    assert ended_within(answer, SILENCE_S)


def test_a_chain_of_hung_fallbacks_ends_before_the_route(pair: Pair, fakes: Fakes):
    """Three servers hang one after the other: each has its time, nobody is asked twice, and the route waits longer."""
    hang(fakes, *CHAIN)
    answer = chat(pair[0].url, "chained", stacks.MASTER)
    assert (answer.status, asked(fakes, *CHAIN)) == (408, [1, 1, 1])
    assert ended_within(answer, 3 * WHOLE_S)
    assert answer.took_s < stack(stacks.everything()).plan.gateway.route_timeout_s


def test_a_chain_of_failing_fallbacks_is_tried_as_often_as_planned(pair: Pair, fakes: Fakes):
    """Three servers, three tries each, with pauses; the plan's longest time holds."""
    for model in CHAIN:
        fakes.server(f"vllm-{model}").behaviour = Behaviour(status=500)
    answer = chat(pair[0].url, "chained", stacks.MASTER)
    assert (answer.status, asked(fakes, *CHAIN)) == (500, [TRIES] * 3)
    assert answer.took_s < len(CHAIN) * (TRIES - 1) * LONGEST_BACK_OFF_S + SLACK_S


def test_a_failing_model_and_its_canary_are_tried_as_often_as_planned(pair: Pair, fakes: Fakes):
    """Both servers of a name: no more than three tries for each."""
    for name in ("canary", "canary-canary"):
        fakes.server(f"vllm-{name}").behaviour = Behaviour(status=500)
    answer = chat(pair[0].url, "canary", stacks.MASTER)
    assert answer.status == 500
    assert sum(asked(fakes, "canary", "canary-canary")) <= 2 * TRIES


def test_a_failing_main_server_is_asked_no_more(pair: Pair, fakes: Fakes):
    """The canary answers for it, every time; after a few failures it rests for 10 s, and then gets its share again."""
    main = fakes.server("vllm-canary")
    main.behaviour = Behaviour(status=500)
    assert {chat(pair[0].url, "canary", stacks.MASTER).status for _ in range(20)} == {200}
    failed = len(main.asked)
    assert {chat(pair[0].url, "canary", stacks.MASTER).status for _ in range(20)} == {200}
    assert 4 <= failed == len(main.asked)
    main.behaviour = Behaviour()
    time.sleep(COOLDOWN_S)
    for _ in range(20):
        chat(pair[0].url, "canary", stacks.MASTER)
    assert len(main.asked) - failed >= 10


def test_a_canary_gets_its_share(pair: Pair, fakes: Fakes):
    """10 % of 200, within what chance allows (1 in 10,000 falls outside)."""
    for turn in range(200):
        assert chat(pair[turn % 2].url, "canary", stacks.MASTER).status == 200
    assert 5 <= asked(fakes, "canary-canary")[0] <= 38


@pytest.mark.parametrize("failure", [Behaviour(status=503), Behaviour(resets=True)])
def test_a_failing_server_is_tried_again(pair: Pair, fakes: Fakes, failure: Behaviour):
    """Errors that another try may mend: three in all."""
    fakes.server("vllm-plain").behaviour = failure
    answer = chat(pair[0].url, "plain", stacks.MASTER)
    assert (answer.status >= 500, asked(fakes, "plain")) == (True, [TRIES])


@pytest.mark.parametrize(("body", "headers"), MORE_TRIES)
def test_a_client_gets_no_more_tries_than_the_stack_says(pair: Pair, fakes: Fakes, body: dict, headers: dict):
    """Neither of the same server nor of another, and no answer that no server gave."""
    fakes.server("vllm-plain").behaviour = Behaviour(status=500)
    answer = chat(pair[0].url, "plain", stacks.MASTER, headers=headers, **body)
    assert (answer.status, asked(fakes, "plain", "larger")) == (500, [TRIES, 0])


def test_endpoints_a_server_does_not_have_do_not_take_it_away_from_others(pair: Pair, fakes: Fakes):
    """Ten 404s of one client, and chats of the others still reach the model itself."""
    server = fakes.server("vllm-backed")
    server.behaviour = Behaviour(status=404)
    for _ in range(10):
        request(pair[0].url, "/v1/embeddings", {"model": "backed", "input": "x"}, stacks.MASTER)
    server.behaviour = Behaviour()
    assert chat(pair[0].url, "backed", stacks.MASTER).served_by == "vllm-backed"


# What LiteLLM's own calls read of a body, and what it would trip over itself: (field, value).
WRONG: tuple[tuple[str, Any], ...] = (
    ("stream", "yes"), ("stream", "maybe"), ("stream", 1), ("stream", []),
    ("extra_body", 5), ("extra_body", {"stream": True}), ("extra_body", {"model": "other"}),
    ("messages", 5), ("messages", "x"), ("messages", [5]),
    ("messages", [{"role": 5, "content": {}}]), ("messages", []),
    ("tools", 5), ("max_tokens", "many"), ("timeout", 0.001), ("timeout", "soon"), ("response_format", "x"),
    ("deployment_id", "x"), ("azure", True), ("allowed_openai_params", 5), ("additional_drop_params", ["messages"]),
    ("extra_headers", {"authorization": "Bearer x"}), ("headers", {"authorization": "Bearer x"}),
    ("api_version", "x"), ("text_completion", True), ("original_function", 5), ("model_info", {"id": "x"}),
    ("custom_llm_provider", "openai"), ("optional_params", 5), ("client", 5), ("cache", 5), ("force_timeout", 0.001),
)  # fmt: skip


# The first of them are refused by the gateway itself.
REFUSED, AT_ONCE = 10, 8
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5},
}


@pytest.mark.parametrize(("model", "path"), [("backed", "/v1/chat/completions"), *product(["canary"], ASKED)])
def test_a_client_with_wrong_requests_takes_no_server_away_from_others(pair: Pair, fakes: Fakes, model: str, path: str):
    """Four of each, eight kinds at a time, and then a chat of others still reaches the model's own servers at once."""
    taken = {}
    for some in range(0, len(WRONG), AT_ONCE):
        kinds = WRONG[some : some + AT_ONCE]
        bodies = [{"model": model, **ASKED[path], name: value} for name, value in kinds for _ in range(4)]
        with ThreadPoolExecutor(len(bodies)) as pool:
            statuses = list(pool.map(lambda body: request(pair[0].url, path, body, stacks.MASTER).status, bodies))
        answer = chat(pair[0].url, model, stacks.MASTER)
        if answer.status != 200 or answer.served_by not in (f"vllm-{model}", f"vllm-{model}-canary"):
            taken[str(kinds)] = (statuses, answer.status, answer.served_by)
    assert taken == {}
    assert fakes.server(f"vllm-{model}").asked


@pytest.mark.parametrize(("name", "value"), WRONG[:REFUSED], ids=str)
@pytest.mark.parametrize("path", ASKED)
def test_what_proxy_and_server_would_read_differently_is_refused(
    pair: Pair, fakes: Fakes, path: str, name: str, value: Any
):
    """By the gateway, with the name of the field, before any server sees it."""
    answer = request(pair[0].url, path, {"model": "plain", **ASKED[path], name: value}, stacks.MASTER)
    assert (answer.status, name in answer.text, fakes.server("vllm-plain").asked) == (400, True, [])


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_the_server(pair: Pair, fakes: Fakes, stream: bool):
    """The server sees the client go at once, and the request is not tried again anywhere."""
    fakes.server("vllm-backed").behaviour = Behaviour(first_after_s=2, between_s=0.5)
    chat(pair[0].url, "backed", stacks.MASTER, stream=stream, leave_after_s=1)
    server = fakes.server("vllm-backed")
    wait_for(lambda: server.asked and server.asked[0].left, 3, "the server sees that the client has gone")
    time.sleep(1)
    assert asked(fakes, "backed", "larger") == [1, 0]


def test_a_stream_that_breaks_says_so(pair: Pair, fakes: Fakes):
    """What came arrives, then an error, then the end; no fallback begins anew in the middle of a text."""
    fakes.server("vllm-backed").behaviour = Behaviour(cut_after=3, between_s=0.05)
    answer = chat(pair[0].url, "backed", stacks.MASTER, stream=True)
    assert answer.streamed == "word0 word1 word2 "
    assert (answer.events[-2]["error"]["code"], answer.events[-1]) == ("500", "[DONE]")
    assert asked(fakes, "backed", "larger") == [1, 0]
