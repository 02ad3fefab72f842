"""Teams and keys of a stack file, told to two real replicas by the rendered Job: what each may ask, and how much.

Does not prove the Job's own pod: its script runs with the rendered files and variables, as a process of this machine.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway import stacks
from tests.gateway.client import Answer, at_once, chat, early_in_a_minute, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.teams_job import Between, job, value_of, with_teams

pytestmark = pytest.mark.gateway
DONE, LATER, REFUSED = 0, 10, 20
# As in test_limits.py: LiteLLM counts by the minute of the clock.
TAKES_S = 15
APP = value_of("search", "app")
TEAMS: dict[str, Any] = {
    "search": {"models": ["backed"], "requestsPerMinute": 500, "keys": ["app", "batch"]},
    "ads": {"models": ["plain"], "keys": ["web"], "monthlyBudgetUsd": 100},
}
# Nobody changes these: told once, under a mark of their own.
LIMITED: dict[str, Any] = {
    "few": {"models": ["plain", "other"], "requestsPerMinute": 10, "keys": ["a", "b"]},
    "burst": {"models": ["plain"], "requestsPerMinute": 10, "keys": ["a", "b"]},
    "words": {"models": ["plain"], "tokensPerMinute": 300, "keys": ["a", "b"]},
    "guessed": {"models": ["plain"], "tokensPerMinute": 300, "keys": ["a"]},
    "one-model": {"models": ["plain", "other"], "perModel": {"plain": {"requestsPerMinute": 5}}, "keys": ["a"]},
    "one-models-words": {"models": ["plain", "other"], "perModel": {"plain": {"tokensPerMinute": 300}}, "keys": ["a"]},
    "falls-back": {"models": ["backed"], "perModel": {"backed": {"requestsPerMinute": 5}}, "keys": ["a"]},
    "poor": {"models": ["plain"], "monthlyBudgetUsd": 0.00002, "keys": ["a", "b"]},
    "rich": {"models": ["plain"], "monthlyBudgetUsd": 1000, "keys": ["a"]},
}


def told(databased: Databased, teams: dict[str, Any], **values: str) -> str:
    """Runs the Job of a stack with these teams; what it said."""
    with job(with_teams(teams), **values) as found:
        status, said = found.run(databased.proxies[0].url)
    assert (status, "sk-value" in said) == (DONE, False), said
    return said


def refused(databased: Databased, teams: dict[str, Any], **values: str) -> list[str]:
    """What it says when it refuses."""
    with job(with_teams(teams), **values) as found:
        status, said = found.run(databased.proxies[0].url)
    assert (status, "sk-value" in said) == (REFUSED, False), said
    return said.splitlines()[1:]


@pytest.fixture
def clean(databased: Databased, fakes: Fakes) -> Iterator[Databased]:  # noqa: ARG001 - as new
    """The gateway without teams of the stack, before and after."""
    told(databased, {})
    yield databased
    told(databased, {})


@pytest.fixture(scope="module")
def limited(databased: Databased) -> Databased:
    """The gateway with teams that have limits."""
    told(databased, LIMITED, MANAGED_BY="llm-stack/limited")
    return databased


@pytest.fixture
def early(limited: Databased, fakes: Fakes) -> Databased:  # noqa: ARG001 - as new
    """The same, early in a minute."""
    early_in_a_minute(TAKES_S)
    return limited


def admin(databased: Databased, path: str, body: Any = None) -> Any:
    """What the master key gets."""
    answer = request(databased.proxies[0].url, path, body, stacks.MASTER)
    assert answer.status == 200, answer.text
    return answer.json


def rows(databased: Databased) -> dict[str, Any]:
    """Keys by alias."""
    found = admin(databased, "/key/list?return_full_object=true&size=100")["keys"]
    return {row["key_alias"]: row for row in found}


def ours(databased: Databased) -> list[str]:
    """Aliases of keys that carry the mark of the tested stack."""
    mark = "llm-stack/llm-stack-test"
    return sorted(name for name, row in rows(databased).items() if (row["metadata"] or {}).get("managed_by") == mark)


def team(databased: Databased, name: str) -> Any:
    """One team as the gateway has it; None without it."""
    found = admin(databased, f"/v2/team/list?page_size=100&team_id={name}")["teams"]
    return found[0] if found else None


def seen(databased: Databased, key: str) -> list[Any]:
    """Models that a key sees on each replica; the status where it sees none."""
    answers = [request(proxy.url, "/v1/models", key=key) for proxy in databased.proxies]
    return [
        sorted(item["id"] for item in answer.json["data"]) if answer.status == 200 else answer.status
        for answer in answers
    ]


def alternating(databased: Databased, times: int, *keys: str, model: str = "plain") -> list[Answer]:
    """So many requests one after the other, to one replica and the other, by one key and the next, in turn."""
    turns = [(databased.proxies[turn % 2].url, keys[turn // 2 % len(keys)]) for turn in range(times)]
    return [chat(url, model, key) for url, key in turns]


def statuses(answers: list[Answer]) -> list[int]:
    """What each got."""
    return [answer.status for answer in answers]


def test_teams_get_what_the_stack_says(clean: Databased):
    """Each key sees its team's models and their fallbacks, on every replica at once; a second run does nothing."""
    said = told(clean, TEAMS)
    assert ours(clean) == ["ads-web-1", "search-app-1", "search-batch-1"]
    assert seen(clean, APP) == [["backed", "other"]] * 2
    assert seen(clean, value_of("ads", "web")) == [["plain"]] * 2
    assert chat(clean.proxies[1].url, "plain", APP).status == 403
    assert said.splitlines() == [
        *("team ads: made", "team search: made"),
        *("key ads-web-1: made", "key search-app-1: made", "key search-batch-1: made"),
        "as planned: 2 teams with 3 keys",
    ]
    assert told(clean, TEAMS) == "as planned: 2 teams with 3 keys\n"


def test_a_team_gets_the_fallbacks_of_its_models(clean: Databased, fakes: Fakes):
    """It named only the model whose server fails."""
    told(clean, TEAMS)
    fakes.server("vllm-backed").behaviour = Behaviour(status=500)
    answer = chat(clean.proxies[0].url, "backed", APP)
    assert (answer.status, answer.served_by) == (200, "vllm-other")


def test_a_public_name_is_a_model_like_any_other(clean: Databased, fakes: Fakes):
    """With slash, point and capitals: listed, asked, answered under it, denied, fallen back from, and paid for."""
    teams = {
        "named": {"models": ["named"], "keys": ["app"]},
        "poor": {"models": [stacks.PUBLIC], "monthlyBudgetUsd": 0.00002, "keys": ["app"]},
        "others": {"models": ["plain"], "keys": ["app"]},
    }
    told(clean, teams)
    key, poor, url = value_of("named", "app"), value_of("poor", "app"), clean.proxies[0].url
    assert seen(clean, key) == [[stacks.PUBLIC, "other"]] * 2
    answer = chat(url, stacks.PUBLIC, key)
    assert (answer.status, answer.served_by, answer.json["model"]) == (200, "vllm-named", stacks.PUBLIC)
    assert fakes.server("vllm-named").asked[-1].body["model"] == "named"
    streamed = chat(url, stacks.PUBLIC, key, stream=True)
    assert {event["model"] for event in streamed.events if event != "[DONE]"} == {stacks.PUBLIC}
    assert chat(url, stacks.PUBLIC, value_of("others", "app")).status == 403
    others = ("named", "hosted_vllm/named", "openai/other", "vllm-named", f"hosted_vllm/{stacks.PUBLIC}")
    assert {name: chat(url, name, key).status for name in others} == dict.fromkeys(others, 403)
    tries = [chat(url, stacks.PUBLIC, poor)]
    while tries[-1].status == 200 and len(tries) < 40:
        tries.append(chat(url, stacks.PUBLIC, poor))
    assert float(tries[0].headers["x-litellm-response-cost"]) > 0
    assert (tries[0].status, tries[-1].status) == (200, 429)
    fakes.server("vllm-named").behaviour = Behaviour(status=500)
    answer = chat(url, stacks.PUBLIC, key)
    assert (answer.status, answer.served_by) == (200, "vllm-other")


def test_what_goes_from_the_stack_goes_from_every_replica_at_once(clean: Databased):
    """A key, a model, a team, and in the end all of them."""
    told(clean, TEAMS)
    batch, web = value_of("search", "batch"), value_of("ads", "web")
    assert [seen(clean, key) for key in (batch, web)] == [[["backed", "other"]] * 2, [["plain"]] * 2]
    fewer = {"search": {**TEAMS["search"], "keys": ["app"]}, "ads": {**TEAMS["ads"], "models": ["other"]}}
    assert told(clean, fewer).splitlines()[:-1] == ["team ads: changed", "key search-batch-1: ended"]
    assert [seen(clean, key) for key in (batch, web)] == [[401] * 2, [["other"]] * 2]
    assert chat(clean.proxies[1].url, "plain", web).status == 403
    told(clean, {"search": fewer["search"]})
    assert [seen(clean, key) for key in (APP, web)] == [[["backed", "other"]] * 2, [401] * 2]
    assert team(clean, "ads") is None
    assert told(clean, {}).splitlines() == [
        *("key search-app-1: ended", "team search: ended", "as planned: 0 teams with 0 keys")
    ]
    assert seen(clean, APP) == [401] * 2


def test_limits_follow_the_stack(clean: Databased):
    """Given, changed and taken away again; what somebody has noted beside them stays."""
    told(clean, {"search": {**TEAMS["search"], "perModel": {"other": {"tokensPerMinute": 7}}}})
    found = team(clean, "search")
    metadata = {"managed_by": "llm-stack/llm-stack-test", "model_tpm_limit": {"other": 7}}
    assert (found["rpm_limit"], found["metadata"]) == (500, metadata)
    admin(clean, "/team/update", {"team_id": "search", "metadata": {**metadata, "cost_center": "7"}, "rpm_limit": 1})
    plain = {"models": ["backed"], "keys": ["app", "batch"], "monthlyBudgetUsd": 5}
    assert told(clean, {"search": plain}).splitlines()[0] == "team search: changed"
    found = team(clean, "search")
    assert (found["rpm_limit"], found["tpm_limit"], found["max_budget"]) == (None, None, 5)
    assert found["metadata"] == {"managed_by": "llm-stack/llm-stack-test", "cost_center": "7"}
    reset = found["budget_reset_at"]
    told(clean, {"search": {**plain, "monthlyBudgetUsd": 6}})
    found = team(clean, "search")
    assert (found["max_budget"], found["budget_reset_at"], reset[8:19]) == (6, reset, "01T00:00:00")
    told(clean, {"search": TEAMS["search"]})
    assert (team(clean, "search")["max_budget"], team(clean, "search")["rpm_limit"]) == (None, 500)


def during(work: Callable[[], object], ask: Callable[[], Answer]) -> list[int]:
    """What a client that asks again and again gets meanwhile."""
    answers: list[int] = []
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            answers.append(ask().status)

    thread = threading.Thread(target=client)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    return answers


def test_a_key_is_rotated_without_a_gap(clean: Databased):
    """The first generation until the second is there, then either, then the second; a client is never refused."""
    plans = [{"search": {**TEAMS["search"], "keys": {"app": {"generations": found}}}} for found in ([1], [1, 2], [2])]
    first, second = (value_of("search", "app", generation) for generation in (1, 2))
    told(clean, plans[0])
    asked = during(lambda: told(clean, plans[1]), lambda: chat(clean.proxies[1].url, "backed", first))
    assert (set(asked), len(asked) > 3) == ({200}, True)
    assert [seen(clean, key) for key in (first, second)] == [[["backed", "other"]] * 2] * 2
    asked = during(lambda: told(clean, plans[2]), lambda: chat(clean.proxies[1].url, "backed", second))
    assert (set(asked), len(asked) > 3) == ({200}, True)
    assert [seen(clean, key) for key in (first, second)] == [[401] * 2, [["backed", "other"]] * 2]


def test_another_value_takes_the_place_of_the_former(clean: Databased):
    """Of a Secret that somebody has changed; two that have changed places come out right too."""
    told(clean, TEAMS)
    fresh = "sk-another-value-0123456789"
    assert told(clean, TEAMS, TEAM_KEY_SEARCH_APP_1=fresh).splitlines()[:2] == [
        *("key search-app-1: ended", "key search-app-1: made")
    ]
    assert [seen(clean, key) for key in (APP, fresh)] == [[401] * 2, [["backed", "other"]] * 2]
    told(clean, TEAMS, TEAM_KEY_SEARCH_APP_1=value_of("ads", "web"), TEAM_KEY_ADS_WEB_1=fresh)
    assert [seen(clean, key) for key in (value_of("ads", "web"), fresh)] == [[["backed", "other"]] * 2, [["plain"]] * 2]


def test_what_is_somebody_elses_stays(clean: Databased):
    """Teams and keys without the stack's mark, also those of another stack, and a team of ours with such a key."""
    admin(clean, "/team/new", {"team_id": "handmade", "models": ["plain"]})
    admin(clean, "/key/generate", {"key_alias": "handmade-key", "team_id": "handmade", "key": "sk-handmade-0123456789"})
    told(clean, {"theirs": {"models": ["other"], "keys": ["a"]}}, MANAGED_BY="llm-stack/another")
    told(clean, TEAMS)
    admin(clean, "/key/generate", {"key_alias": "guest", "team_id": "ads", "key": "sk-guest-0123456789012345"})
    assert "team ads: stays, because 1 of its keys are not this stack's" in told(clean, {}).splitlines()
    assert [seen(clean, key) for key in ("sk-handmade-0123456789", value_of("theirs", "a"))] == [
        *([["plain"]] * 2, [["other"]] * 2)
    ]
    assert seen(clean, "sk-guest-0123456789012345") == [["plain"]] * 2
    clash = {
        "handmade": {"models": ["plain"], "keys": ["key"]},
        "theirs": {"models": ["plain"], "keys": ["a"]},
        "ads": {"models": ["plain"], "keys": ["web"]},
    }
    nobodys, anothers = (
        f"is not this stack's (metadata.managed_by is {mark}, not 'llm-stack/llm-stack-test')"
        for mark in (None, "'llm-stack/another'")
    )
    to_mend = "rename one, or give that mark to it by /team/update"
    assert refused(clean, clash, TEAM_KEY_ADS_WEB_1="sk-guest-0123456789012345") == [
        f"team handmade is there and {nobodys}; {to_mend}",
        f"team theirs is there and {anothers}; {to_mend}",
        f"the value of ads-web-1 (ads-keys/web-1) is that of key guest, which {nobodys}; use another",
        f"key theirs-a-1 is there and {anothers}; rename one of the two, or delete it",
    ]
    assert ours(clean) == []
    admin(clean, "/key/delete", {"key_aliases": ["handmade-key", "guest"]})
    admin(clean, "/team/delete", {"team_ids": ["handmade"]})
    told(clean, {}, MANAGED_BY="llm-stack/another")


def test_a_blocked_key_stays_blocked(clean: Databased):
    """Somebody had a reason; the Job says so, and does not fail for it."""
    told(clean, TEAMS)
    admin(clean, "/key/block", {"key": APP})
    admin(clean, "/team/block", {"team_id": "ads"})
    said = told(clean, {**TEAMS, "ads": {**TEAMS["ads"], "models": ["other"]}})
    assert [line for line in said.splitlines() if "not looked at" in line] == [
        f"key {name}: somebody has blocked it, or lets it expire; not looked at"
        for name in ("ads-web-1", "search-app-1")
    ]
    assert [200 in statuses(alternating(clean, 2, key)) for key in (APP, value_of("ads", "web"))] == [False, False]
    admin(clean, "/team/unblock", {"team_id": "ads"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"TEAM_KEY_ADS_WEB_1": "sk-short"},
            (
                "ads-keys/web-1: must start with sk- and have at least 20 characters, all of them visible ASCII, "
                "without a line break at its end"
            ),
        ),
        (
            {"TEAM_KEY_ADS_WEB_1": APP},
            "search-keys/app-1: is the same as ads-keys/web-1; every key has a value of its own",
        ),
        (
            {"TEAM_KEY_ADS_WEB_1": stacks.MASTER},
            "ads-keys/web-1: is the same as the master key; every key has a value of its own",
        ),
        ({"LITELLM_MASTER_KEY": "sk-value-not-the-masters"}, "/key/list was answered with 404"),
    ],
)
def test_what_no_try_helps_is_refused(clean: Databased, values: dict[str, str], message: str):
    """With the place of the value, and without the value; nothing has changed."""
    assert message in "\n".join(refused(clean, TEAMS, **values))
    assert ours(clean) == []


def test_a_job_may_be_killed_at_every_request(clean: Databased):
    """The gateway has answered, and the pod never learns it: the next one goes on, and all is as planned."""
    after = {"search": {"models": ["plain"], "keys": ["app"]}, "ads": {"models": ["plain"], "keys": ["web"]}}
    before = {"search": {"models": ["other"], "keys": ["app", "batch"]}, "old": {"models": ["plain"], "keys": ["x"]}}
    keys = [APP, value_of("ads", "web"), value_of("search", "batch"), value_of("old", "x")]
    url = clean.proxies[0].url
    between = Between(url)
    ends: list[int] = []
    try:
        with job(with_teams(after)) as first, job(with_teams(before)) as last:
            while DONE not in ends:
                assert last.run(url)[0] == DONE
                between.requests, between.cut_at = 0, len(ends) + 1
                between.pod = first.start(between.url)
                between.pod.communicate()
                ends.append(between.pod.returncode)
                assert first.run(url)[0] == DONE
                found = [request(clean.proxies[1].url, "/v1/models", key=key).status for key in keys]
                assert (ours(clean), found) == (["ads-web-1", "search-app-1"], [200, 200, 401, 401]), len(ends)
    finally:
        between.close()
    # readiness and two lists; two teams and a key to make or change, three to end; two lists and two keys to look at
    assert ends == [-signal.SIGKILL] * 13 + [DONE]


def test_two_jobs_at_once_end_as_one(clean: Databased):
    """Each finds what the other has made, and both are done."""
    many = {f"t{number}": {"models": ["plain"], "keys": ["a", "b"]} for number in range(6)}
    with job(with_teams(many)) as found:
        pods = [found.start(proxy.url) for proxy in clean.proxies]
        said = [pod.communicate()[1] for pod in pods]
    assert [pod.returncode for pod in pods] == [DONE] * 2, said
    assert ours(clean) == sorted(f"t{number}-{key}-1" for number in range(6) for key in "ab")


def test_a_job_waits_for_the_gateway_and_its_database(clean: Databased):
    """While nobody listens, or Postgres is away, another try is asked for; one that goes on gets there."""
    with job(with_teams(TEAMS)) as found:
        status, said = found.run("http://127.0.0.1:9", PATIENCE_S="1")
        assert (status, "/health/readiness: <urlopen error [Errno 111] Connection refused>" in said) == (LATER, True)
        clean.postgres.stop()
        try:
            assert found.run(clean.proxies[0].url, PATIENCE_S="0")[0] == LATER
            pod = found.start(clean.proxies[0].url)
        finally:
            clean.postgres.start()
        said = pod.communicate()[1]
        assert pod.returncode == DONE, said
    wait_for(lambda: seen(clean, APP) == [["backed", "other"]] * 2, 120, "both replicas see the database again")


def test_requests_of_a_team_count_over_keys_and_replicas(early: Databased):
    """The first 10 of 14, whichever key and replica; the others are told when to come again."""
    answers = alternating(early, 14, value_of("few", "a"), value_of("few", "b"))
    assert statuses(answers) == [200] * 10 + [429] * 4
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in answers[10:])
    # of any model
    assert statuses(alternating(early, 2, value_of("few", "a"), model="other")) == [429] * 2


def test_a_burst_of_a_team_gets_no_more(early: Databased):
    """Exactly 10 of 40 at once."""
    urls = [early.proxies[turn % 2].url for turn in range(40)]
    keys = [value_of("burst", "ab"[turn // 2 % 2]) for turn in range(40)]
    works = [lambda url=url, key=key: chat(url, "plain", key) for url, key in zip(urls, keys, strict=True)]
    assert sorted(statuses(at_once(works))) == [200] * 10 + [429] * 30


@pytest.mark.parametrize("name", ["words", "one-models-words"])
def test_tokens_of_a_team_bind_within_a_requests_worth(early: Databased, fakes: Fakes, name: str):
    """300 tokens are 10 requests of 30; each is counted by what it may take until what it took is known."""
    fakes.server("vllm-plain").behaviour = Behaviour(prompt_tokens=20, completion_tokens=10)
    keys = [value_of(name, key) for key in LIMITED[name]["keys"]]
    turns = [(early.proxies[turn % 2].url, keys[turn // 2 % len(keys)]) for turn in range(18)]
    found = statuses([chat(url, "plain", key, max_tokens=10) for url, key in turns])
    passed = found.count(200)
    assert (found, 10 <= passed <= 12) == ([200] * passed + [429] * (18 - passed), True)


def test_a_request_that_names_no_maximum_is_guessed(early: Databased, fakes: Fakes):
    """By a quarter of a small limit, until its answer is there: never more than the limit, but less may pass."""
    fakes.server("vllm-plain").behaviour = Behaviour(prompt_tokens=20, completion_tokens=10)
    found = statuses(alternating(early, 16, value_of("guessed", "a")))
    assert (4 <= found.count(200) <= 10, found[-4:]) == (True, [429] * 4)


def test_a_limit_on_one_model_leaves_the_others(early: Databased):
    """Five requests to the one, and to the other as many as come."""
    key = value_of("one-model", "a")
    assert statuses(alternating(early, 8, key)) == [200] * 5 + [429] * 3
    assert statuses(alternating(early, 8, key, model="other")) == [200] * 8


def test_with_a_fallback_what_exceeds_a_teams_limit_on_a_model_goes_there(early: Databased):
    """As with a limit of the model itself."""
    answers = alternating(early, 8, value_of("falls-back", "a"), model="backed")
    assert [(answer.status, answer.served_by) for answer in answers] == [
        *[(200, "vllm-backed")] * 5,
        *[(200, "vllm-other")] * 3,
    ]


def test_a_budget_is_the_teams(limited: Databased, fakes: Fakes):  # noqa: ARG001 - as new
    """What its keys use up on any replica counts; then all of them get 429 for good, and another team does not.

    While a request runs, what its longest answer may cost is held back, so others may be refused before the end.
    """
    keys = [value_of("poor", key) for key in "ab"]
    found: list[Answer] = []
    while len(found) < 40 and statuses(found)[-6:] != [429] * 6:
        found.append(chat(limited.proxies[len(found) % 2].url, "plain", keys[len(found) // 2 % 2]))
    costs = [float(answer.headers["x-litellm-response-cost"]) for answer in found if answer.status == 200]
    assert (found[-1].status, found[-1].json["error"]["type"]) == (429, "budget_exceeded")
    assert 0.00002 <= sum(costs) < 0.00002 + costs[0]
    assert statuses(alternating(limited, 2, value_of("rich", "a"))) == [200] * 2
