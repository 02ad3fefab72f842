"""Many at once and much at once: two hundred streams, bodies of ten megabytes, servers killed in a burst.

Does not prove how fast any of it is: `make benchmark` measures that.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway import stacks
from tests.gateway.client import at_once, chat
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
STREAMS = 200
# A picture of 8 MB as a client sends it, and a text of 10 MB.
PICTURE = "data:image/png;base64," + "A" * 10_666_668
TEXT = "long " * 2_000_000
BURST, KILLED_AFTER = 160, 40


def test_two_hundred_streams_at_once_arrive_whole(databased: Databased, fakes: Fakes):
    """A hundred for each replica, none refused, none cut, none mixed up with another."""
    fakes.server("vllm-plain").behaviour = Behaviour(between_s=0.1)
    urls = [databased.proxies[turn % 2].url for turn in range(STREAMS)]
    answers = at_once([lambda url=url: chat(url, "plain", stacks.MASTER, stream=True, timeout_s=120) for url in urls])
    whole = ("".join(Behaviour().chunks), "[DONE]")
    assert {(answer.status, answer.streamed, answer.events[-1]) for answer in answers} == {(200, *whole)}
    assert len({answer.events[0]["id"] for answer in answers}) == STREAMS


def test_a_large_picture_reaches_the_server_as_it_was_sent(pair: Pair, fakes: Fakes):
    """Ten megabytes in one message."""
    content = [{"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": "x"}]
    answer = chat(pair[0].url, "plain", stacks.MASTER, text=content)  # pyright: ignore[reportArgumentType] - parts
    assert answer.status == 200
    assert fakes.server("vllm-plain").asked[0].body["messages"][0]["content"] == content


def test_a_text_that_is_far_too_long_is_the_servers_to_refuse(pair: Pair, fakes: Fakes):
    """In its words, after one try, and others are answered meanwhile."""
    fakes.server("vllm-plain").behaviour = Behaviour(context_tokens=stacks.CONTEXT)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(chat, pair[0].url, "plain", stacks.MASTER, text=TEXT)
        assert [chat(pair[0].url, "last", stacks.MASTER).status for _ in range(10)] == [200] * 10
    assert (long.result().status, len(fakes.server("vllm-plain").asked)) == (400, 1)
    assert "maximum context length" in long.result().error


def test_a_server_killed_in_a_burst_costs_no_answer(pair: Pair, fakes: Fakes):
    """One of two pods of a server dies under requests: what was under way, and what comes, is asked of the other."""
    pods = [fakes.server("vllm-spread"), fakes.server("vllm-spread-2")]
    service = fakes.service("vllm-spread")
    before = service.endpoints
    for pod in pods:
        pod.behaviour = Behaviour(between_s=0.02)
    service.endpoints = pods
    try:
        with ThreadPoolExecutor(8) as pool:
            burst = [pool.submit(chat, pair[turn % 2].url, "spread", stacks.MASTER) for turn in range(BURST)]
            wait_for(lambda: len(pods[0].asked) >= KILLED_AFTER, 60, "the first pod has answered a while")
            fakes.do(pods[0].stop())
            # what kube-proxy does a moment later
            service.endpoints = pods[1:]
        assert [done.result().status for done in burst] == [200] * BURST
        assert len(pods[0].asked) < BURST < len(pods[0].asked) + len(pods[1].asked)
    finally:
        service.endpoints = before
