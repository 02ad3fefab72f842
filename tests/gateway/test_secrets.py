"""Marker values: keys and prompts are in Secrets and in requests, and in nothing that the gateway writes unasked.

This stack asks for prompts in the lines of its audit, so that those are left out where prompts are looked for.
Looked through are its log, its files, its metrics and its database, after answers and after every kind of error.
"""

import pytest

from tests.gateway import stacks
from tests.gateway.client import chat, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.test_database import BUDGET_USD, new_key

pytestmark = pytest.mark.gateway
PROMPT = "marker-prompt-7f31c0"
ANSWER = "marker-answer-7f31c0 "
WRONG = "sk-marker-wrong-7f31c0"
FAILURES = (Behaviour(status=500, message="no"), Behaviour(status=400, message="no"), Behaviour(cut_after=1))


def ask(databased: Databased, key: str, path: str, **more: object) -> int:
    """One request with the marker in it, on any replica."""
    body = {"model": "plain", **stacks.ANSWERING[path], **more}
    for name in ("prompt", "input"):
        body |= {name: PROMPT} if name in body else {}
    if "messages" in body:
        body["messages"] = [{"role": "user", "content": PROMPT}]
    return request(databased.proxies[1].url, f"/v1/{path}", body, key).status


def without_audit(text: str) -> str:
    """A log without the lines that are asked to have prompts."""
    return "\n".join(line for line in text.splitlines() if not line.startswith('{"logger": "audit"'))


def test_no_key_and_no_prompt_is_written_anywhere(databased: Databased, fakes: Fakes):
    """Master key, keys of Redis, servers and clients, wrong ones too; what is asked and what is answered."""
    server, key = fakes.server("vllm-plain"), new_key(databased, "marker")
    poor = new_key(databased, "marker-poor", max_budget=BUDGET_USD)
    for behaviour in (Behaviour(chunks=(ANSWER,)), *FAILURES):
        server.behaviour = behaviour
        for path in stacks.ANSWERING:
            for stream in (False, True):
                ask(databased, key, path, stream=stream)
    server.behaviour = Behaviour(chunks=(ANSWER,))
    wait_for(lambda: ask(databased, poor, "chat/completions") == 429, 30, "a budget ends")
    assert ask(databased, WRONG, "chat/completions") == 401
    assert chat(databased.proxies[1].url, "marker-model", key).status >= 400
    spent = f"SELECT count(*) FROM \"LiteLLM_SpendLogs\" WHERE api_key = encode(sha256('{key}'), 'hex')"
    wait_for(lambda: int(databased.postgres.sql(spent)) > 0, 60, "spend is in the database")
    dump = databased.postgres.dump()
    written = {"database": dump}
    for number, proxy in enumerate(databased.proxies):
        written[f"log {number}"] = proxy.log
        with_text = [file for file in proxy.folder.rglob("*") if file.is_file()]
        written[f"files {number}"] = "".join(file.read_text("utf-8", "replace") for file in with_text)
        written[f"metrics {number}"] = request(proxy.metrics_url, "/metrics").text
    keys = {**stacks.KEYS, "key": key, "poor": poor, "wrong": WRONG}
    leaked = {(place, name) for place, text in written.items() for name, value in keys.items() if value in text}
    for marker in (PROMPT, ANSWER.strip()):
        leaked |= {(place, marker) for place, text in written.items() if marker in without_audit(text)}
    assert leaked == set()


def test_a_dump_would_show_what_is_in_the_database(databased: Databased):
    """Or the test above would prove nothing."""
    new_key(databased, "marker-alias-5521")
    assert "marker-alias-5521" in databased.postgres.dump()
