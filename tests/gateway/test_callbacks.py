"""Callbacks of the real LiteLLM to collectors on loopback: what they hear, with which key, and what if they are away.

Does not prove what Langfuse or a collector makes of it.
"""

import base64

import pytest

from tests.gateway import stacks
from tests.gateway.client import chat
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
ASKED, ANSWERED = "marker-asked-9a8b", "marker-answered-7c6d "
# The exporter sends what it has every five seconds.
SENT_S = 25
PLACES = {"langfuse": "/api/public/otel/v1/traces", "otel": "/v1/traces"}


def traces(fakes: Fakes, name: str) -> str:
    """All that a collector was sent, as text."""
    return "".join(str(call.body) for call in fakes.server(name).calls)


@pytest.mark.parametrize("stream", [False, True])
def test_collectors_hear_of_a_request_and_not_what_was_said(pair: Pair, fakes: Fakes, stream: bool):
    """Model and tokens, by OTLP over HTTP; neither question nor answer, and no key of ours."""
    fakes.server("vllm-plain").behaviour = Behaviour(chunks=(ANSWERED, "and more "))
    assert chat(pair[0].url, "plain", stacks.MASTER, ASKED, stream=stream).status == 200
    for name, path in PLACES.items():
        wait_for(lambda name=name: "plain" in traces(fakes, name), SENT_S, f"{name} hears of it")
        assert {call.path for call in fakes.server(name).calls} == {path}
        secrets = [stacks.KEYS[key] for key in ("master-key", "redis-password", "openai-key")]
        told = [word for word in (ASKED, ANSWERED.strip(), *secrets) if word in traces(fakes, name)]
        assert told == []


def test_each_collector_gets_its_own_key(pair: Pair, fakes: Fakes):
    """From its Secret, as it wants it."""
    assert chat(pair[0].url, "plain", stacks.MASTER).status == 200
    for name in PLACES:
        wait_for(lambda name=name: fakes.server(name).calls, SENT_S, f"{name} hears of it")
    pair_of_keys = f"{stacks.KEYS['public-key']}:{stacks.KEYS['secret-key']}".encode()
    keys = {name: fakes.server(name).calls[-1].headers["authorization"] for name in PLACES}
    assert keys == {
        "langfuse": f"Basic {base64.b64encode(pair_of_keys).decode()}",
        "otel": "Bearer otel-marker-3",
    }


@pytest.mark.parametrize("behaviour", [Behaviour(status=500), Behaviour(hangs="before headers")])
def test_a_collector_that_is_away_is_nobodys_trouble(pair: Pair, fakes: Fakes, behaviour: Behaviour):
    """Requests are answered as fast as ever."""
    for name in PLACES:
        fakes.server(name).behaviour = behaviour
    answers = [chat(pair[1].url, "plain", stacks.MASTER) for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.took_s for answer in answers)[5] < 1
