"""A request for a model without a replica: told so at once, answered by another model, or held until a server is there.

A server that refuses connections stands for a Service without endpoints. Does not prove KEDA, nor that an edge in front
of the gateway waits.
"""

import re
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from planning.gateway.at_zero import MOST_HELD
from tests.gateway import stacks
from tests.gateway.client import Answer, chat, request
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy
from tests.harness import stack

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
# Longer than a server may take for a whole answer, and for its first token.
LATE_S = stacks.REQUEST_TIMEOUT_S + 1.5
SLACK_S = 2.5
# What was seen of a server is believed for a second.
BELIEVED_S = 1.1
MANY = 200
CALLS: dict[str, dict[str, Any]] = {
    **{f"/v1/{path}": body for path, body in stacks.ANSWERING.items()},
    "/v1/embeddings": {"input": "x"},
}


@pytest.fixture(autouse=True)
def nothing_cools_down(fakes: Fakes, redis) -> None:  # noqa: ARG001 - fakes are as new
    """What servers did in another test is forgotten."""
    redis.command("FLUSHALL")


def sleep(fakes: Fakes, model: str) -> None:
    """Its server goes."""
    fakes.do(fakes.server(f"vllm-{model}").stop())


def wake(fakes: Fakes, model: str) -> None:
    """Its server comes."""
    fakes.do(fakes.server(f"vllm-{model}").listen())


def sample(pod: Proxy, name: str, model: str, more: str = "") -> float:
    """The value of a metric of this model, 0 where there is none."""
    text = request(pod.metrics_url.removesuffix("/metrics"), "/metrics").text
    values = re.findall(rf'^{name}\{{[^}}]*requested_model="{model}"[^}}]*{more}[^}}]*\}} (\S+)', text, re.MULTILINE)
    return sum(float(value) for value in values)


held = partial(sample, name="gateway_requests_held")
came = partial(sample, name="gateway_requests_at_zero_total")


def cpu_s(pod: Proxy) -> float:
    """Seconds of CPU that it has used."""
    total = 0.0
    for process in pod.processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


def test_held_requests_are_answered_once_by_the_server_that_comes(pair: Pair, fakes: Fakes):
    """On every endpoint, whole and as streams, though the wait is longer than an answer may take; counted meanwhile."""
    sleep(fakes, "held")
    before = came(pair[0], model="held")
    asks = [(path, {"model": "held", **body}) for path, body in CALLS.items()]
    asks += [(path, {**body, "stream": True}) for path, body in asks if "embeddings" not in path]
    with ThreadPoolExecutor(len(asks)) as pool:
        answers: list[Future[Answer]] = [
            pool.submit(request, pair[0].url, path, body, stacks.MASTER) for path, body in asks
        ]
        wait_for(lambda: held(pair[0], model="held") == len(asks), 5, "all wait")
        time.sleep(LATE_S)
        assert (held(pair[0], model="held"), came(pair[0], model="held") - before) == (len(asks), len(asks))
        wake(fakes, "held")
        statuses = [answer.result().status for answer in answers]
    assert (statuses, len(fakes.server("vllm-held").asked)) == ([200] * len(asks), len(asks))
    assert min(answer.result().took_s for answer in answers) > LATE_S
    assert held(pair[0], model="held") == 0


def test_a_held_stream_looks_alive(pair: Pair, fakes: Fakes):
    """A comment every 15 s while it waits, then the answer."""
    sleep(fakes, "held")
    threading.Timer(17, wake, (fakes, "held")).start()
    answer = chat(pair[1].url, "held", stacks.MASTER, stream=True)
    at, first = answer.lines[0]
    assert (answer.status, first[:1], 14 <= at <= 16.5) == (200, ":", True)
    assert answer.streamed == "".join(Behaviour().chunks)


def test_nobody_waits_longer_than_planned(pair: Pair, fakes: Fakes):
    """503 then, once: tries do not wait anew; a fallback answers where there is one."""
    for model in ("held-briefly", "held-backed"):
        sleep(fakes, model)
    with ThreadPoolExecutor(2) as pool:
        alone, backed = pool.map(lambda model: chat(pair[0].url, model, stacks.MASTER), ("held-briefly", "held-backed"))
    assert (alone.status, backed.status, backed.served_by) == (503, 200, "vllm-plain")
    for answer in (alone, backed):
        assert stacks.BRIEFLY_S - 0.2 <= answer.took_s <= stacks.BRIEFLY_S + 4 + SLACK_S


def test_who_leaves_waits_no_more(pair: Pair, fakes: Fakes):
    """The server that comes later is not asked; that somebody came is still counted, so that it comes."""
    sleep(fakes, "held")
    before = came(pair[0], model="held")
    for stream in (False, True):
        chat(pair[0].url, "held", stacks.MASTER, stream=stream, leave_after_s=1.5)
    wait_for(lambda: held(pair[0], model="held") == 0, 3, "nobody waits")
    assert came(pair[0], model="held") - before == 2
    wake(fakes, "held")
    time.sleep(2)
    assert fakes.server("vllm-held").asked == []


@pytest.mark.parametrize(
    ("path", "more", "key", "status"),
    [
        ("/v1/chat/completions", {"messages": 5}, stacks.MASTER, 400),
        ("/v1/chat/completions", {"messages": [], "stream": "yes"}, stacks.MASTER, 400),
        ("/v1/chat/completions", {}, stacks.MASTER, 400),
        ("/v1/completions", {}, stacks.MASTER, 400),
        ("/v1/embeddings", {}, stacks.MASTER, 400),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, "sk-wrong-0123456789abc", 401),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "x"}]}, stacks.MASTER, 200),
        ("/v1/responses/input_tokens", {"input": "x"}, stacks.MASTER, 200),
    ],
)
def test_what_needs_no_server_does_not_wait(
    pair: Pair, fakes: Fakes, path: str, more: dict[str, Any], key: str, status: int
):
    """Wrong requests and wrong keys are refused at once, tokens are counted at once, and nobody is woken for them."""
    sleep(fakes, "held")
    before = came(pair[0], model="held")
    answer = request(pair[0].url, path, {"model": "held", **more}, key)
    assert (answer.status, answer.took_s < SLACK_S, came(pair[0], model="held") - before) == (status, True, 0)


def test_a_server_that_fails_is_not_waited_for(pair: Pair, fakes: Fakes):
    """500 after the usual tries; 400 at once."""
    server = fakes.server("vllm-held")
    for status, asked in ((500, 3), (400, 1)):
        server.calls.clear()
        server.behaviour = Behaviour(status=status)
        answer = chat(pair[0].url, "held", stacks.MASTER)
        assert (answer.status, len(server.asked), answer.took_s < 8) == (status, asked, True)


def test_a_server_with_a_dead_engine_is_waited_for(pair: Pair, fakes: Fakes):
    """It takes connections and says 503 of itself; the request is sent when another has taken its place."""
    server = fakes.server("vllm-held")
    server.behaviour = Behaviour(dead=True, status=500)
    time.sleep(BELIEVED_S)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(chat, pair[0].url, "held", stacks.MASTER)
        wait_for(lambda: held(pair[0], model="held") == 1, 5, "it waits")
        server.behaviour = Behaviour()
        assert (answer.result().status, len(server.asked)) == (200, 1)


def test_a_canary_answers_while_its_model_is_away(pair: Pair, fakes: Fakes):
    """All requests at once, none waits; without either of them they wait, and whoever comes first answers."""
    sleep(fakes, "held-canary")
    answers = [chat(pair[0].url, "held-canary", stacks.MASTER) for _ in range(20)]
    assert {(answer.status, answer.served_by) for answer in answers} == {(200, "vllm-held-canary-canary")}
    assert max(answer.took_s for answer in answers) < SLACK_S
    sleep(fakes, "held-canary-canary")
    time.sleep(BELIEVED_S)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(chat, pair[0].url, "held-canary", stacks.MASTER)
        wait_for(lambda: held(pair[0], model="held-canary") == 1, 5, "it waits")
        wake(fakes, "held-canary")
        assert answer.result().served_by == "vllm-held-canary"


@pytest.mark.parametrize("model", ["told", "told-backed"])
@pytest.mark.parametrize("stream", [False, True])
def test_who_is_told_is_told_at_once(pair: Pair, fakes: Fakes, model: str, stream: bool):
    """503, when to come back, and counted by what wakes the server; also where it has fallbacks for other errors."""
    sleep(fakes, model)
    counter = partial(sample, pair[0], "litellm_proxy_total_requests_metric_total", model, more='status_code="503"')
    before = counter()
    answer = chat(pair[0].url, model, stacks.MASTER, stream=stream)
    (planned,) = (plan for plan in stack(stacks.everything()).plan.gateway.at_zero if plan.model_name == model)
    assert (answer.status, answer.headers["retry-after"], answer.took_s < 1 + SLACK_S) == (
        503, str(planned.start_s), True,
    )  # fmt: skip
    assert model in answer.error
    wait_for(lambda: counter() == before + 1, 5, "it is counted")
    wake(fakes, model)
    time.sleep(BELIEVED_S)
    assert chat(pair[0].url, model, stacks.MASTER).served_by == f"vllm-{model}"


def test_who_falls_back_is_answered_by_another_model(pair: Pair, fakes: Fakes):
    """As on any error, and counted under the name that was asked for."""
    sleep(fakes, "falls")
    counter = partial(sample, pair[0], "litellm_proxy_total_requests_metric_total", "falls")
    before = counter()
    answer = chat(pair[0].url, "falls", stacks.MASTER)
    assert (answer.status, answer.served_by) == (200, "vllm-plain")
    wait_for(lambda: counter() == before + 1, 5, "it is counted")


def test_many_wait_and_the_gateway_serves_others(pair: Pair, fakes: Fakes):
    """200 wait at the cost of a fraction of a core; others are answered; when the server comes, all have an answer."""
    sleep(fakes, "held")
    fakes.server("vllm-held").behaviour = Behaviour(first_after_s=0.2)
    ask = partial(chat, pair[0].url, "held", stacks.MASTER)
    with ThreadPoolExecutor(MANY) as pool:
        answers = [pool.submit(ask) for _ in range(MANY)]
        wait_for(lambda: held(pair[0], model="held") == MANY, 30, "all wait")
        begun, at = cpu_s(pair[0]), time.monotonic()
        time.sleep(5)
        share = (cpu_s(pair[0]) - begun) / (time.monotonic() - at)
        other = chat(pair[0].url, "plain", stacks.MASTER)
        wake(fakes, "held")
        statuses = Counter(answer.result().status for answer in answers)
    assert (statuses, other.status, share < 0.2) == ({200: MANY}, 200, True), share


def test_no_more_wait_than_a_pod_can_hold(pair: Pair, fakes: Fakes):
    """Those beyond get 503 at once, instead of taking the gateway's memory."""
    sleep(fakes, "held")
    beyond = 8
    with ThreadPoolExecutor(MOST_HELD + beyond) as pool:
        answers = [pool.submit(chat, pair[1].url, "held", stacks.MASTER) for _ in range(MOST_HELD + beyond)]
        wait_for(lambda: sum(answer.done() for answer in answers) == beyond, 40, "those beyond are told")
        assert held(pair[1], model="held") == MOST_HELD
        wake(fakes, "held")
        statuses = Counter(answer.result().status for answer in answers)
    assert statuses == {200: MOST_HELD, 503: beyond}
