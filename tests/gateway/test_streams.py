"""Streams live, and new pods of a server get their share of the traffic.

The balancer of the fakes stands for kube-proxy: it chooses a pod for each connection. Does not prove kube-proxy itself.
"""

import threading
import time
from functools import partial
from itertools import pairwise

import pytest

from tests.gateway import stacks
from tests.gateway.client import at_once, chat, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
ALONE_S, TOGETHER_S = 1.5, 3
EQUAL = 500
# Longer than any idle timer that keep-alive comments are to outlive.
SILENT_S = 17


def test_equal_chunks_are_not_taken_for_a_loop(pair: Pair, fakes: Fakes):
    """500 times the same token, as in tables and padding, arrive whole."""
    fakes.server("vllm-plain").behaviour = Behaviour(chunks=("x",) * EQUAL)
    answer = chat(pair[0].url, "plain", stacks.MASTER, stream=True)
    assert (answer.status, answer.streamed, answer.events[-1]) == (200, "x" * EQUAL, "[DONE]")


def test_a_slow_first_token_does_not_look_like_a_dead_connection(databased: Databased, fakes: Fakes):
    """A comment after 15 s at the latest, which clients skip; then the answer."""
    fakes.server("vllm-plain").behaviour = Behaviour(first_after_s=17)
    answer = chat(databased.proxies[0].url, "plain", stacks.MASTER, stream=True)
    at, first = answer.lines[0]
    assert first.startswith(":")
    assert 14 <= at <= 16.5
    assert (answer.status, answer.streamed) == (200, "".join(Behaviour().chunks))


def test_a_stream_that_falls_silent_does_not_look_like_a_dead_connection(databased: Databased, fakes: Fakes):
    """Something every 15 s on each endpoint, before an answer and in the middle of it; clients read all of it."""
    fakes.server("vllm-plain").behaviour = Behaviour(chunks=("a ",), first_after_s=SILENT_S, between_s=SILENT_S)
    calls = {f"/v1/{path}": {"model": "plain", "stream": True, **body} for path, body in stacks.ANSWERING.items()}
    url = databased.proxies[0].url
    answers = at_once([partial(request, url, path, body, stacks.MASTER) for path, body in calls.items()])
    for path, answer in zip(calls, answers, strict=True):
        times = [0, *(at for at, _ in answer.lines), answer.took_s]
        longest = max(later - earlier for earlier, later in pairwise(times))
        assert (answer.status, "a " in answer.text, longest <= 16.5) == (200, True, True), (path, answer.lines)
        assert answer.took_s > SILENT_S


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": True}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/responses", {"input": "x"}),
    ],
)
def test_a_second_pod_gets_its_share_under_constant_load(pair: Pair, fakes: Fakes, path: str, body: dict):
    """Clients that never stop asking: as soon as there are two pods, each gets half, on every endpoint."""
    service, pods = fakes.service("vllm-spread"), [fakes.server("pod-1"), fakes.server("pod-2")]
    service.endpoints = pods[:1]
    end = time.monotonic() + ALONE_S + TOGETHER_S

    def ask() -> None:
        while time.monotonic() < end:
            request(pair[0].url, path, {"model": "spread", **body}, stacks.MASTER)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(ALONE_S)
    alone = len(pods[0].asked)
    service.endpoints = pods
    for client in clients:
        client.join()
    first, second = len(pods[0].asked) - alone, len(pods[1].asked)
    assert alone > 0
    assert second > 3
    assert 0.6 <= second / max(first, 1) <= 1.67
