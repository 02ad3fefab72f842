"""Two real vLLM servers of one model that come late and remember prompts, behind the real LiteLLM and vllm-router.

A tiny random Qwen3 stands for the model. Does not prove that KEDA makes pods, that a cluster lets the router find them,
nor how much time a found prompt saves on GPUs.
"""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from tests.gateway.client import Answer, chat
from tests.gateway.fake_vllm import wait_for
from tests.local.compiling import tiny_model
from tests.local.replicas import MASTER, MODEL, Served, metric, serving

pytestmark = pytest.mark.local
# Conversations, and questions of each; one token per byte.
CONVERSATIONS, QUESTIONS = 32, 8
# Clients at once.
CLIENTS = 8
# Tokens that a CPU server keeps together (catalog/engines/vllm-0.33.0.yaml, block_size_cpu).
BLOCK = 128
# Tokens that held requests ask for: all of them were made once.
CHAT, STREAM = 5, 12


@dataclass(frozen=True)
class Late:
    """What was held and for how long, and what the replicas had counted then."""

    served: Served
    answers: dict[str, Answer]
    counted: dict[str, float]


def waiting(served: Served) -> list[float]:
    """Requests that each gateway holds."""
    return [metric(gateway.metrics_url, "gateway_requests_held") for gateway in served.gateways.values()]


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Late]:
    """Both replicas, started when a chat has come by the routers, and a stream by the Service."""
    folder = tmp_path_factory.mktemp("replicas")
    with serving(folder, tiny_model(folder)) as served, ThreadPoolExecutor(2) as pool:
        ask = {"prefix": {"max_tokens": CHAT}, "service": {"max_tokens": STREAM, "stream": True}}
        asked = {
            way: pool.submit(chat, served.gateways[way].url, MODEL, MASTER, timeout_s=400, ignore_eos=True, **body)
            for way, body in ask.items()
        }
        wait_for(lambda: waiting(served) == [1, 1], 60, "both wait")
        served.wake()
        answers = {way: future.result() for way, future in asked.items()}
        names = ("vllm:request_success_total", "vllm:generation_tokens_total")
        yield Late(served, answers, {name: served.total(name) for name in names})


@pytest.fixture
def served(late: Late) -> Served:
    """Both replicas."""
    wait_for(lambda: [router.healthy() for router in late.served.routers] == [2, 2], 30, "both are known")
    return late.served


def test_who_asks_a_model_at_zero_gets_one_answer(late: Late, capsys: pytest.CaptureFixture[str]):
    """By the routers and by the Service: it waits for the start of the real server, which answers it once."""
    chatted, streamed = late.answers["prefix"], late.answers["service"]
    with capsys.disabled():
        print(f"\nheld: {chatted.took_s:.1f} s a chat, {streamed.took_s:.1f} s a stream")  # noqa: T201
    assert (chatted.status, chatted.json["usage"]["completion_tokens"]) == (200, CHAT)
    assert (streamed.status, streamed.events[-1]) == (200, "[DONE]")
    assert late.counted == {"vllm:request_success_total": 2, "vllm:generation_tokens_total": CHAT + STREAM}
    assert waiting(late.served) == [0, 0]


def computed(served: Served, way: str) -> float:
    """How often each beginning of a prompt was computed, of conversations that are new; many ask at once."""
    before = served.total("vllm:prefix_cache_hits_total")
    order = random.Random(0)
    ask = partial(chat, served.gateways[way].url, MODEL, MASTER, max_tokens=1)
    beginnings = [f"{way} {number}: " + f"house {number} has rule {number}. " * 60 for number in range(CONVERSATIONS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for question in range(QUESTIONS):
            order.shuffle(beginnings)
            answers = pool.map(ask, [f"{beginning} Question {question}?" for beginning in beginnings])
            assert {answer.status for answer in answers} == {200}
    found = served.total("vllm:prefix_cache_hits_total") - before
    # whole blocks before the number of a question; of the template before it, the mark is one token
    shared = [len(f"?user\n{beginning} Question ") for beginning in beginnings]
    whole = sum(tokens // BLOCK * BLOCK for tokens in shared)
    return QUESTIONS - found / whole


def test_routers_find_more_of_what_was_read(served: Served, capsys: pytest.CaptureFixture[str]):
    """By the Service both replicas compute each beginning; by two routers, those whose routers differ about it."""
    times = {way: computed(served, way) for way in ("service", "prefix")}
    with capsys.disabled():
        print(f"\neach beginning was computed {times} times")  # noqa: T201
    assert (1.8 < times["service"] < 2.2, 0.9 < times["prefix"] < times["service"] - 0.2) == (True, True), times
