"""One line for each request of a known key, whatever becomes of it, and none for strangers.

Does not prove what collects the lines of pods.
"""

import json
from typing import Any

import pytest

from tests.gateway import stacks
from tests.gateway.client import Answer, at_once, chat, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
# Said by a client, a server and the stack: what no line may hold.
ASKED, ANSWERED = "marker-asked-1f2e", "marker-answered-3d4c "
SECRETS = (*stacks.KEYS.values(), ASKED, ANSWERED.strip())
MADE_UP = "sk-made-up-0123456789abcdef"
# A line waits so long for tokens that never come.
WAIT_S = 15


@pytest.fixture(autouse=True)
def answers(fakes: Fakes, redis) -> None:
    """Servers say something to look for; what cooled down in another test is forgotten."""
    redis.command("FLUSHALL")
    fakes.server("vllm-plain").behaviour = Behaviour(chunks=(ANSWERED, "and more "), prompt_tokens=7)


def audited(proxy: Proxy) -> list[dict[str, Any]]:
    """All lines of one pod."""
    return [json.loads(line) for line in proxy.log.splitlines() if line.startswith('{"logger": "audit"')]


def line_of(proxy: Proxy, answer: Answer) -> dict[str, Any]:
    """The one line of an answer, by the id that the client has of it."""
    number = answer.headers["x-litellm-call-id"]

    def lines() -> list[dict[str, Any]]:
        return [line for line in audited(proxy) if line["request_id"] == number]

    wait_for(lines, WAIT_S, f"a line of {number}")
    (line,) = lines()
    return line


def new_lines(proxy: Proxy, before: int, count: int) -> list[dict[str, Any]]:
    """Those that were written since there were `before`, once there are so many."""
    wait_for(lambda: len(audited(proxy)) >= before + count, WAIT_S, f"{count} lines")
    return audited(proxy)[before:]


def parts(line: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """Some of its values."""
    return tuple(line.get(name) for name in names)


OUTCOME = ("team", "key", "model", "server", "status", "complete", "prompt_tokens", "completion_tokens", "error")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", stacks.ANSWERING)
def test_an_answer_leaves_a_line(pair: Pair, path: str, stream: bool):
    """Who asked for what, which server answered, and its tokens, on every endpoint, whole and as a stream."""
    body = {"model": "plain", "stream": stream, **stacks.ANSWERING[path]}
    answer = request(pair[0].url, f"/v1/{path}", body, stacks.MASTER)
    line = line_of(pair[0], answer)
    assert parts(line, *OUTCOME) == (None, "master", "plain", "vllm-plain", 200, True, 7, 2, None)
    assert parts(line, "method", "path") == ("POST", f"/v1/{path}")
    assert 0 < line["duration_s"] < 30


def test_other_calls_leave_one_too(pair: Pair):
    """Lists of models and counts of tokens."""
    before = len(audited(pair[0]))
    request(pair[0].url, "/v1/models", None, stacks.MASTER)
    body = {"model": "plain", "messages": [{"role": "user", "content": ASKED}]}
    request(pair[0].url, "/v1/messages/count_tokens", body, stacks.MASTER)
    lines = new_lines(pair[0], before, 2)
    assert [parts(line, "key", "path", "status") for line in lines] == [
        ("master", "/v1/models", 200),
        ("master", "/v1/messages/count_tokens", 200),
    ]


def test_tries_and_fallbacks_are_one_request(pair: Pair, fakes: Fakes):
    """Three tries of one server and an answer of the other: one line, of who answered."""
    fakes.server("vllm-backed").behaviour = Behaviour(status=500)
    line = line_of(pair[0], chat(pair[0].url, "backed", stacks.MASTER, ASKED))
    assert parts(line, "model", "server", "status", "completion_tokens") == ("backed", "vllm-larger", 200, 8)
    assert "error" not in line


@pytest.mark.parametrize("status", [400, 500])
def test_an_error_leaves_a_line(pair: Pair, fakes: Fakes, status: int):
    """With its status and kind, without its text."""
    fakes.server("vllm-plain").behaviour = Behaviour(status=status, message=f"cannot read {ASKED}")
    before = len(audited(pair[0]))
    assert chat(pair[0].url, "plain", stacks.MASTER, ASKED).status == status
    (line,) = new_lines(pair[0], before, 1)
    assert parts(line, "key", "model", "status", "complete", "prompt_tokens") == ("master", "plain", status, True, None)
    assert line["error"] in ("BadRequestError", "InternalServerError")


def test_a_refused_request_leaves_a_line(pair: Pair):
    """A limit that is used up, a model that nobody serves, a body that is none."""
    before = len(audited(pair[0]))
    limited = [chat(pair[0].url, "rpm", stacks.MASTER).status for _ in range(stacks.REQUESTS + 1)]
    assert limited == [200] * stacks.REQUESTS + [429]
    assert chat(pair[0].url, "nobody", stacks.MASTER).status == 400
    assert request(pair[0].url, "/v1/chat/completions", ["x"], stacks.MASTER).status >= 400
    lines = new_lines(pair[0], before, stacks.REQUESTS + 3)
    statuses = sorted((line["status"], line["model"]) for line in lines if line["model"])
    assert statuses[:2] == [(200, "rpm"), (200, "rpm")]
    assert statuses[-2:] == [(400, "nobody"), (429, "rpm")]
    assert len(lines) == stacks.REQUESTS + 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_leaves_a_line(pair: Pair, fakes: Fakes, stream: bool):
    """Not complete; what a stream had said by then is counted where LiteLLM counts it."""
    fakes.server("vllm-plain").behaviour = Behaviour(first_after_s=0.5, between_s=0.5, prompt_tokens=7)
    before = len(audited(pair[0]))
    chat(pair[0].url, "plain", stacks.MASTER, ASKED, stream=stream, leave_after_s=1.2)
    (line,) = new_lines(pair[0], before, 1)
    assert parts(line, "key", "model", "complete") == ("master", "plain", False)
    assert line["status"] == (200 if stream else 499)


def test_a_stream_that_breaks_says_so(pair: Pair, fakes: Fakes):
    """200 for the client, who had its headers; the line has the error."""
    fakes.server("vllm-plain").behaviour = Behaviour(cut_after=1, between_s=0.05)
    line = line_of(pair[0], chat(pair[0].url, "plain", stacks.MASTER, ASKED, stream=True))
    assert (line["status"], line["error"] is not None) == (200, True)


def test_strangers_leave_none(pair: Pair, databased: Databased):
    """No key, a made-up one, paths that are not there: nothing in the log grows by their number."""
    for proxy in (pair[0], databased.proxies[0]):
        before = len(audited(proxy))
        for key in (None, MADE_UP):
            for _ in range(20):
                assert chat(proxy.url, "plain", key or "").status in (401, 404)
                request(proxy.url, "/v1/models", None, key)
        line = line_of(proxy, chat(proxy.url, "plain", stacks.MASTER))
        assert (line["key"], audited(proxy)[before:]) == ("master", [line])


def test_no_line_holds_what_is_nobodys_business(pair: Pair):
    """Neither keys nor what was asked and answered, of all the requests of this file."""
    chat(pair[0].url, "plain", stacks.MASTER, ASKED)
    lines = json.dumps(audited(pair[0]))
    assert (len(lines) > 1000, [secret for secret in SECRETS if secret in lines]) == (True, [])


def test_each_request_has_one_line(pair: Pair):
    """Eighty at once, some of which fail and fall back."""
    before = len(audited(pair[1]))
    answers = at_once([lambda: chat(pair[1].url, "plain", stacks.MASTER, stream=True) for _ in range(40)])
    answers += at_once([lambda: chat(pair[1].url, "canary", stacks.MASTER) for _ in range(40)])
    lines = new_lines(pair[1], before, 80)
    assert {answer.status for answer in answers} == {200}
    assert sorted(line["request_id"] for line in lines) == sorted(a.headers["x-litellm-call-id"] for a in answers)


# --- teams and keys ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def team_key(databased: Databased) -> str:
    """A key with an alias, of a team with a budget that lasts for one request."""
    url = databased.proxies[0].url
    team = {"team_id": "audited", "team_alias": "audited", "models": ["plain"], "max_budget": 1e-9}
    assert request(url, "/team/new", team, stacks.MASTER).status == 200
    key = {"team_id": "audited", "key_alias": "audited-app", "models": ["all-team-models"]}
    return request(url, "/key/generate", key, stacks.MASTER).json["key"]


def test_a_key_is_named_by_its_aliases(databased: Databased, team_key: str):
    """In what it gets, and in what is refused before anything is called: a foreign model, a budget that is used up."""
    proxy = databased.proxies[0]
    before = len(audited(proxy))
    assert chat(proxy.url, "plain", team_key, ASKED).status == 200
    assert chat(proxy.url, "other", team_key, ASKED).status in (401, 403)
    wait_for(lambda: chat(proxy.url, "plain", team_key, ASKED).status == 429, 20, "the budget is used up")
    lines = new_lines(proxy, before, 3)
    assert {parts(line, "team", "key") for line in lines} == {("audited", "audited-app")}
    assert {parts(line, "model", "status") for line in lines} >= {("plain", 200), ("other", 403), ("plain", 429)}


def test_prompts_are_there_where_they_are_asked_for(databased: Databased, fakes: Fakes):
    """`prompts: true`: question and answer, still without keys."""
    fakes.server("vllm-plain").behaviour = Behaviour(chunks=(ANSWERED,))
    proxy = databased.proxies[1]
    line = line_of(proxy, chat(proxy.url, "plain", stacks.MASTER, ASKED))
    assert line["asked"] == {"messages": [{"role": "user", "content": ASKED}]}
    assert ANSWERED.strip() in json.dumps(line["answered"])
    assert [key for key in stacks.KEYS.values() if key in json.dumps(line)] == []
