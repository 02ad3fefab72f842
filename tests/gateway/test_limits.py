"""Limits of models over two replicas of the gateway that share a Redis.

Does not prove limits while Redis is away: each replica then counts for itself.
"""

import pytest

from tests.gateway import stacks
from tests.gateway.backing import Redis
from tests.gateway.client import Answer, at_once, chat, early_in_a_minute, request
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
# Far more than any test here.
TAKES_S = 15


@pytest.fixture(autouse=True)
def early(pair: Pair, fakes: Fakes, redis: Redis) -> None:  # noqa: ARG001 - both are there before
    """All requests of a test are of one minute, in which nothing was asked before."""
    early_in_a_minute(TAKES_S)
    redis.command("FLUSHALL")


def alternating(pair: Pair, model: str, times: int, **more) -> list[Answer]:
    """So many requests one after the other, to one replica and the other in turn."""
    return [chat(pair[turn % 2].url, model, stacks.MASTER, **more) for turn in range(times)]


def statuses(answers: list[Answer]) -> list[int]:
    """What each got."""
    return [answer.status for answer in answers]


def test_an_answer_comes_from_the_server(pair: Pair, fakes: Fakes):
    """The request reaches the model's server with that server's key."""
    answer = chat(pair[0].url, "plain", stacks.MASTER)
    assert (answer.status, answer.served_by) == (200, "vllm-plain")
    assert [call.headers["authorization"] for call in fakes.server("vllm-plain").asked] == ["Bearer sk-vllm-plain-key"]


def test_requests_per_minute_are_exact_over_both_replicas(pair: Pair, fakes: Fakes):
    """The first 5 of 8 pass, whichever replica they ask; the others are told so and when to come again."""
    answers = alternating(pair, "rpm", stacks.REQUESTS + 3)
    assert statuses(answers) == [200] * stacks.REQUESTS + [429] * 3
    assert len(fakes.server("vllm-rpm").asked) == stacks.REQUESTS
    assert {answer.headers.get("retry-after") for answer in answers[-3:]} == {"60"}
    refused = "litellm.RateLimitError: Model rate limit exceeded. RPM limit=5, current usage=6"
    assert {answer.error for answer in answers[-3:]} == {refused}


@pytest.mark.parametrize("stream", [False, True])
def test_a_burst_gets_no_more(pair: Pair, fakes: Fakes, stream: bool):
    """Of 30 at once, half to each replica, 10 pass, as streams or not."""
    urls = [pair[0].url, pair[1].url] * 15
    answers = at_once([lambda url=url: chat(url, "rpm-burst", stacks.MASTER, stream=stream) for url in urls])
    assert sorted(statuses(answers)) == [200] * stacks.SHARED_REQUESTS + [429] * 20
    assert len(fakes.server("vllm-rpm-burst").asked) == stacks.SHARED_REQUESTS


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_every_endpoint_counts(pair: Pair, path: str, body: dict):
    """A limit is the model's, not an endpoint's."""
    answers = [request(pair[turn % 2].url, path, {"model": "rpm", **body}, stacks.MASTER) for turn in range(7)]
    assert statuses(answers) == [200] * stacks.REQUESTS + [429] * 2


def test_a_canary_and_its_model_share_one_limit(pair: Pair, fakes: Fakes):
    """Exactly 10 of 25, and nobody is refused before: a side that has had its part leaves requests to the other."""
    answers = alternating(pair, "rpm-canary", 25)
    assert statuses(answers) == [200] * stacks.SHARED_REQUESTS + [429] * 15
    asked = {name: len(fakes.server(name).asked) for name in ("vllm-rpm-canary", "vllm-rpm-canary-canary")}
    assert asked == {"vllm-rpm-canary": 8, "vllm-rpm-canary-canary": 2}
    assert {answer.headers.get("retry-after") for answer in answers[10:]} == {"60"}


def test_a_limit_of_one_is_one_with_a_canary_too(pair: Pair):
    """One of six."""
    assert statuses(alternating(pair, "rpm-once-canary", 6)) == [200] + [429] * 5


@pytest.mark.parametrize("model", ["tpm", "tpm-canary"])
def test_tokens_per_minute_bind_within_a_requests_worth(pair: Pair, fakes: Fakes, model: str):
    """300 tokens are 10 requests of 30 tokens, and one more that comes before the last of them is counted."""
    for name in (f"vllm-{model}", f"vllm-{model}-canary"):
        if name in fakes.servers:
            fakes.server(name).behaviour = Behaviour(prompt_tokens=20, completion_tokens=10)
    found = statuses(alternating(pair, model, 16))
    passed = found.count(200)
    assert (passed in (10, 11), found) == (True, [200] * passed + [429] * (16 - passed))


@pytest.mark.parametrize("path", stacks.ANSWERING)
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_of_every_kind_of_answer_count(pair: Pair, fakes: Fakes, path: str, stream: bool):
    """Whole or as a stream that nobody asked the usage of: what uses up the limit is the last, on any replica."""
    model = stacks.tokens_of(path, stream)
    server = fakes.server(f"vllm-{model}")
    server.behaviour = Behaviour(prompt_tokens=200, completion_tokens=100)
    body = {"model": model, "stream": stream, **stacks.ANSWERING[path]}
    assert request(pair[0].url, f"/v1/{path}", body, stacks.MASTER).status == 200
    # tokens of a stream are counted just after its end
    wait_for(lambda: request(pair[1].url, f"/v1/{path}", body, stacks.MASTER).status == 429, 5, "429")
    assert len(server.asked) <= 3


def test_a_limit_does_not_cap_what_is_in_flight(pair: Pair, fakes: Fakes):
    """Ten requests that are allowed reach the server at the same time, through one replica."""
    server = fakes.server("vllm-rpm-burst")
    server.behaviour = Behaviour(first_after_s=2)
    works = [lambda: chat(pair[0].url, "rpm-burst", stacks.MASTER)] * stacks.SHARED_REQUESTS
    assert statuses(at_once(works)) == [200] * stacks.SHARED_REQUESTS
    assert server.most_at_once == stacks.SHARED_REQUESTS


def test_with_a_fallback_what_exceeds_the_limit_goes_there(pair: Pair):
    """The limit is that of the model's servers; who asks gets an answer all the same, and sees from whom."""
    answers = alternating(pair, "rpm-fallback", 8)
    assert [(answer.status, answer.served_by) for answer in answers] == [
        *[(200, "vllm-rpm-fallback")] * stacks.REQUESTS,
        *[(200, "vllm-plain")] * 3,
    ]


def test_a_limit_does_not_make_a_server_ill(pair: Pair, redis: Redis):
    """After fifty refusals the next minute begins with nothing held back: neither of both servers cools down."""
    alternating(pair, "rpm-canary", 60)
    # as the next minute does
    redis.command("FLUSHALL")
    assert statuses(alternating(pair, "rpm-canary", stacks.SHARED_REQUESTS)) == [200] * stacks.SHARED_REQUESTS
