"""Every endpoint that is promised, through the real LiteLLM with a key of its own: answered, limited and charged.

Does not prove what a model answers: the fake has the forms of vLLM's answers. Servers of the one task there is answer
the first four; what others answer is shown for when there are such servers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from planning.gateway.surface import INFERENCE
from planning.tasks import GENERATE
from tests.gateway import stacks
from tests.gateway.client import Answer, at_once, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.test_database import KEYS, new_key

pytestmark = pytest.mark.gateway
REQUESTS, READ = 2, 1000
BOUNDARY = "a-boundary"
TEXT = "".join(Behaviour().chunks)


@dataclass(frozen=True)
class Ask:
    """One way to ask. `text`: where an answer has what the fake says; `charged`: its tokens are known."""

    path: str
    body: Any
    text: str
    charged: bool = True
    headers: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """Alias of the key that asks so."""
        return f"ask{self.path.replace('/', '-')}-{'stream' if b'stream' in repr(self.body).encode() else 'whole'}"

    def send(self, url: str, key: str) -> Answer:
        """One request."""
        return request(url, f"/v1{self.path}", self.body, key, dict(self.headers or {}))


def form(model: str) -> bytes:
    """A recording, as browsers and SDKs send files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n',
        (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
            f"Content-Type: audio/wav\r\n\r\nRIFFsound\r\n--{BOUNDARY}--\r\n"
        ),
    ]
    return "".join(parts).encode()


WRITING = {"chat/completions": TEXT, "completions": TEXT, "messages": TEXT, "responses": TEXT}
ASKS = [
    *(Ask(f"/{path}", {"model": "plain", **body}, WRITING[path]) for path, body in stacks.ANSWERING.items()),
    *(Ask(f"/{path}", {"model": "plain", "stream": True, **body}, "word0") for path, body in stacks.ANSWERING.items()),
    Ask("/embeddings", {"model": "plain", "input": "x"}, "0.1"),
    Ask("/rerank", {"model": "plain", "query": "x", "documents": ["x", "y"]}, "0.9", charged=False),
    Ask(
        "/audio/transcriptions",
        form("plain"),
        "word0",
        charged=False,
        headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
    ),
]  # fmt: skip
COUNT = Ask("/messages/count_tokens", {"model": "plain", **stacks.ANSWERING["messages"]}, "input_tokens")


def test_every_promised_endpoint_is_tried():
    """Those of the list, and no other; what a model of the task answers is among them."""
    assert {ask.path for ask in (*ASKS, COUNT)} | {"/models"} == {call.path for call in INFERENCE}
    assert set(GENERATE.calls) <= {call.path for call in INFERENCE}


def test_every_endpoint_answers_is_limited_and_charged(databased: Databased, fakes: Fakes):
    """A key of two requests a minute for each: two answers over two replicas, then 429; what is known is charged."""
    fakes.server("vllm-plain").behaviour = Behaviour(prompt_tokens=READ)
    keys = {ask.name: new_key(databased, ask.name, rpm_limit=REQUESTS) for ask in ASKS}
    urls = [proxy.url for proxy in databased.proxies]
    answers = at_once([partial(ask.send, url, keys[ask.name]) for ask in ASKS for url in urls])
    asks = [ask for ask in ASKS for _ in urls]
    wrong = {
        ask.name: (answer.status, answer.text[:300])
        for ask, answer in zip(asks, answers, strict=True)
        if answer.status != 200 or ask.text not in answer.text
    }
    assert wrong == {}
    refused = at_once([partial(ask.send, urls[0], keys[ask.name]) for ask in ASKS])
    statuses = {ask.name: answer.status for ask, answer in zip(ASKS, refused, strict=True)}
    assert statuses == dict.fromkeys(keys, 429)
    query = f"SELECT key_alias FROM {KEYS} WHERE key_alias LIKE 'ask-%' AND spend > 0"
    charged = {ask.name for ask in ASKS if ask.charged}
    wait_for(lambda: charged <= set(databased.postgres.sql(query).splitlines()), 45, f"spend of {charged}")


def test_tokens_are_counted_without_asking_a_server(databased: Databased, fakes: Fakes):
    """By the gateway itself, which has no tokenizer of the model: an estimate, for nothing."""
    key = new_key(databased, "counts")
    answer = COUNT.send(databased.proxies[0].url, key)
    assert (answer.status, answer.json["input_tokens"] > 0) == (200, True)
    assert fakes.server("vllm-plain").asked == []


def test_a_call_that_no_server_answers_says_so(databased: Databased, fakes: Fakes):
    """As a server of chat models does: 404, no fallback's answer, no address."""
    fakes.server("vllm-plain").behaviour = Behaviour(status=404, message="Not Found")
    key = new_key(databased, "unanswered")
    answers = at_once([partial(ask.send, databased.proxies[0].url, key) for ask in ASKS[-3:]])
    assert {answer.status for answer in answers} == {404}
    assert [answer.text for answer in answers if "127.0.0.1" in answer.text or "error" not in answer.json] == []


def test_a_key_of_another_model_is_refused_on_every_endpoint(databased: Databased, fakes: Fakes):
    """Whatever the endpoint, a key is held to its models."""
    key = new_key(databased, "elsewhere", models=["other"])
    answers = at_once([partial(ask.send, databased.proxies[0].url, key) for ask in ASKS])
    assert {answer.status for answer in answers} <= {401, 403}
    assert fakes.server("vllm-plain").asked == []
