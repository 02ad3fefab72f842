"""Two real vLLM servers of one model that come late, remember prompts and die, behind the real LiteLLM and vllm-router.

A tiny random Qwen3 stands for the model. Does not prove that KEDA makes pods, that a cluster lets the router find them,
nor how much time a found prompt saves on GPUs.
"""

import random
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from tests.gateway.client import Answer, chat
from tests.gateway.fake_vllm import wait_for
from tests.local.compiling import tiny_model
from tests.local.replicas import MASTER, MODEL, Replica, Served, metric, serving
from tests.local.runs import eventually

pytestmark = pytest.mark.local
# Conversations, and questions of each; one token per byte.
CONVERSATIONS, QUESTIONS = 32, 8
# Clients at once, and tokens of an answer that takes a while.
CLIENTS, LONG = 8, 120
# Tokens that a CPU server keeps together (catalog/engines/vllm-0.33.0.yaml, block_size_cpu).
BLOCK = 128
# Tokens that held requests ask for: all of them were made once.
CHAT, STREAM = 5, 12
# Two looks of a router, and the time until it says so.
LEFT_S = 10
# Two cores may be busy with something else.
BUSY_S = 120


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


@dataclass(frozen=True)
class Asked:
    """A request while a replica dies; times on the clock of this test."""

    began: float
    ended: float
    stream: bool
    answer: Answer

    @property
    def is_whole(self) -> bool:
        """Whether it got all it asked for, and is told so."""
        reasons = re.findall(r'"finish_reason": ?"(\w+)"', self.answer.text)
        return (self.answer.status, reasons, self.says_error) == (200, ["length"], False)

    @property
    def says_error(self) -> bool:
        """Whether an event of a stream is an error."""
        return any("error" in event for event in self.answer.events if isinstance(event, dict))


@contextmanager
def load(served: Served) -> Iterator[list[Asked]]:
    """Clients that ask one request after another by the routers, half of them streams; none asks after the block."""
    asked: list[Asked] = []
    stop = threading.Event()

    def client(number: int) -> None:
        while not stop.is_set():
            began, stream = time.monotonic(), number % 2 == 0
            body = {"max_tokens": LONG, "stream": stream, "ignore_eos": True}
            answer = chat(served.gateways["prefix"].url, MODEL, MASTER, f"{number} " * 200, **body)
            asked.append(Asked(began, time.monotonic(), stream, answer))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            yield asked
        finally:
            stop.set()
        for one in clients:
            one.result()


def answered(replica: Replica) -> float:
    """Requests that it has answered since it was started."""
    return metric(f"{replica.url}/metrics", "vllm:request_success_total")


def test_only_streams_of_a_killed_replica_break(served: Served, capsys: pytest.CaptureFixture[str]):
    """Under load: chats are answered by the other, as is all that begins later; it comes back and is asked again."""

    def busy() -> Replica | None:
        running = [metric(f"{replica.url}/metrics", "vllm:num_requests_running") for replica in served.replicas]
        return served.replicas[running.index(max(running))] if max(running) >= CLIENTS / 2 else None

    with load(served) as asked:
        wait_for(lambda: len(asked) > CLIENTS, BUSY_S, "all are at work")
        victim = eventually(busy, BUSY_S)
        before = time.monotonic()
        victim.kill()
        after = time.monotonic()
        wait_for(lambda: [router.healthy() for router in served.routers] == [1, 1], LEFT_S, "it is asked no more")
        later = len(asked) + 3 * CLIENTS
        wait_for(lambda: len(asked) > later, BUSY_S, "all have asked again")
    broken = [one for one in asked if not one.is_whole]
    with capsys.disabled():
        print(f"\n{len(asked)} asked, {sum(one.ended > before for one in asked)} after the kill, {len(broken)} broke")  # noqa: T201
    assert {(one.stream, one.began < after and before < one.ended, one.says_error) for one in broken} <= {
        (True, True, True)
    }
    assert len(broken) <= CLIENTS / 2
    victim.start()
    victim.wait()
    wait_for(lambda: [router.healthy() for router in served.routers] == [2, 2], 30, "it is back")
    with load(served) as asked:
        wait_for(lambda: answered(victim) > 0, BUSY_S, "it is asked again")
    assert [one for one in asked if not one.is_whole] == []
