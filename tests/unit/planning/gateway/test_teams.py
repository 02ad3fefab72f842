"""Teams of a stack file as the gateway's Job is told of them, and everything that is refused.

Does not prove what LiteLLM makes of it: tests/gateway/test_teams.py asks it.
"""

from typing import Any

import pytest

from planning.gateway import teams
from planning.gateway.fallbacks import reached
from planning.gateway.teams import plan_file, team_key
from planning.plan.teams import ModelLimit, TeamKey, TeamPlan
from tests.unit.small_stack import A10, planned, refusals, stack

SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}
PRICED = {**A10, "pricePerNodeHourUsd": 2.84}
MODELS = {"m": {**SMALL, "fallbacks": ["n"]}, "n": {**SMALL, "fallbacks": ["o"]}, "o": SMALL}
SEARCH = {"models": ["m"], "keys": ["app"]}


def raw(said: dict[str, Any] | None, **gateway: Any) -> dict[str, Any]:
    """Three models, each falling back to the next, a database, and these teams."""
    base = {"database": {"existingSecret": "pg"}, **({} if said is None else {"teams": said}), **gateway}
    return stack(gpuPools={"a10": PRICED}, models=MODELS, gateway=base)


def refused(said: dict[str, Any], **gateway: Any) -> list[str]:
    """What is said against these teams."""
    return refusals(raw(said, **gateway))


def test_without_teams_nothing_follows():
    """A stack that says nothing of them is as it was; one that says there are none ends those there have been."""
    assert planned(raw(None)).gateway.teams is None
    none = planned(raw({})).gateway.teams
    assert none is not None
    assert (none.teams, none.file) == ((), {"teams": {}, "listed": {}, "keys": {}})


def test_a_team_with_everything():
    """Models with all that they fall back to, limits, a budget, a key per generation, and a Secret of ours."""
    said = {
        "search": {
            "models": ["m"],
            "requestsPerMinute": 600,
            "tokensPerMinute": 400_000,
            "monthlyBudgetUsd": 500,
            "perModel": {"n": {"tokensPerMinute": 7}, "m": {"requestsPerMinute": 100, "tokensPerMinute": 9}},
            "keys": {"batch": {}, "app": {"generations": [1, 3]}},
        }
    }
    plan = planned(raw(said)).gateway.teams
    assert plan is not None
    team = TeamPlan(
        name="search",
        models=("m", "n", "o"),
        added=("n", "o"),
        requests_per_minute=600,
        tokens_per_minute=400_000,
        per_model=(ModelLimit("m", 100, 9), ModelLimit("n", None, 7)),
        monthly_budget_usd=500,
        keys=(
            TeamKey("app", 1, "search-app-1", "app-1", "TEAM_KEY_SEARCH_APP_1", "team/search/app/1"),
            TeamKey("app", 3, "search-app-3", "app-3", "TEAM_KEY_SEARCH_APP_3", "team/search/app/3"),
            TeamKey("batch", 1, "search-batch-1", "batch-1", "TEAM_KEY_SEARCH_BATCH_1", "team/search/batch/1"),
        ),
        secret="llm-team-search",
        derived=True,
    )
    assert plan.teams == (team,)
    assert (
        plan.file
        == plan_file([team])
        == {
            "teams": {
                "search": {
                    "models": ["m", "n", "o"],
                    "rpm_limit": 600,
                    "tpm_limit": 400_000,
                    "max_budget": 500,
                    "budget_duration": "1mo",
                    "model_rpm_limit": {"m": 100},
                    "model_tpm_limit": {"m": 9, "n": 7},
                }
            },
            "listed": {"search": ["m", "n", "o"]},
            "keys": {
                f"search-{entry}": {
                    "team": "search",
                    "variable": f"TEAM_KEY_SEARCH_{entry.upper().replace('-', '_')}",
                    "from": f"llm-team-search/{entry}",
                }
                for entry in ("app-1", "app-3", "batch-1")
            },
        }
    )


def test_a_providers_model_comes_along_unseen():
    """As a fallback it is among what LiteLLM lets the team's keys ask, and in no list; by name only if it is direct."""
    prices = {"contextTokens": 8192, "priceUsdPerMillionTokens": {"input": 1, "output": 2}}
    models = {"far": {"model": "x", **prices}, "open": {"model": "y", "direct": True, **prices}}
    providers = {"openai": {"kind": "openAi", "existingSecret": "openai-key", "models": models}}
    config = raw({"search": {"models": ["m", "open"], "keys": ["app"]}}, providers=providers)
    config["models"] = {"m": {**SMALL, "fallbacks": ["far"], "dataPolicy": "mayLeave"}}
    plan = planned(config).gateway.teams
    assert plan is not None
    assert (plan.teams[0].models, plan.teams[0].added) == (("m", "open", "far"), ("far",))
    assert plan.file["listed"] == {"search": ["m", "open"]}
    config["gateway"]["teams"]["search"]["models"] = ["far"]
    assert refusals(config) == [
        (
            "gateway.teams.search.models[0]: 'far' of an external provider answers as a fallback only, and is added "
            "where it is one; leave it out, or make it direct"
        )
    ]
    config["gateway"]["teams"]["search"] = {"models": ["m"], "keys": ["app"], "existingSecret": "openai-key"}
    assert refusals(config) == [
        (
            "gateway.teams.search.existingSecret: 'openai-key' is a Secret of the stack for something else; give it "
            "one of its own"
        )
    ]


def test_both_spellings_of_keys_and_any_order_are_one_plan():
    """A list, a mapping, teams in another order: the same Job."""
    first = {"b": {"models": ["o"], "keys": ["x", "y"]}, "a": SEARCH}
    second = {
        "a": {**SEARCH, "keys": {"app": {"generations": [1]}}},
        "b": {"models": ["o"], "keys": {"y": {}, "x": {}}},
    }
    assert planned(raw(first)).gateway.teams == planned(raw(second)).gateway.teams


@pytest.mark.parametrize(
    "changed",
    [
        {"search": {**SEARCH, "requestsPerMinute": 1}},
        {"search": {**SEARCH, "keys": ["app", "batch"]}},
        {"search": {**SEARCH, "keys": {"app": {"generations": [2]}}}},
        {"search": {**SEARCH, "models": ["n"]}},
        {"search": {**SEARCH, "existingSecret": "search-keys"}},
        {"find": SEARCH},
        {},
    ],
)
def test_another_plan_is_another_job(changed: dict[str, Any]):
    """Whatever of it differs."""
    before, after = planned(raw({"search": SEARCH})).gateway.teams, planned(raw(changed)).gateway.teams
    assert before is not None
    assert after is not None
    assert before.digest != after.digest


def test_another_database_is_another_job():
    """It knows no team yet."""
    plans = [planned(raw({"search": SEARCH}, database={"existingSecret": name})).gateway.teams for name in ("a", "b")]
    assert len({plan.digest for plan in plans if plan}) == 2


def test_fallbacks_are_followed_to_their_end_and_back():
    """A circle ends, and nothing is added twice."""
    chains = {"a": ("b", "c"), "b": ("c", "a"), "c": ("d",)}
    assert reached(["a"], chains) == ["a", "b", "c", "d"]
    assert reached(["c", "b"], chains) == ["c", "b", "d", "a"]
    assert reached([], chains) == []


def test_names_of_a_key_are_its_own():
    """Dashes of team, key and generation cannot be told apart in an alias, so such a pair is refused."""
    assert team_key("a-b", "c", 1).alias == team_key("a", "b-c", 1).alias == "a-b-c-1"
    said = {"a-b": {"models": ["o"], "keys": ["c"]}, "a": {"models": ["o"], "keys": {"b-c": {"generations": [1, 2]}}}}
    assert refused(said) == [
        (
            "gateway.teams.a-b.keys.c: would be called a-b-c-1 in LiteLLM, as gateway.teams.a.keys.b-c is; rename one "
            "of the two"
        )
    ]
    assert refused({"a": {"models": ["o"], "keys": {"b-1": {"generations": [2]}, "b": {"generations": [1, 2]}}}}) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"models": ["Qwen/Qwen3-8B"]},
            "gateway.teams.search.models[0]: no model 'Qwen/Qwen3-8B' is served; known: m, n, o",
        ),
        ({"models": ["M"]}, "gateway.teams.search.models[0]: no model 'M' is served; did you mean 'm'?"),
        ({"models": ["n", "m", "n"]}, "gateway.teams.search.models[2]: 'n' is named before"),
        (
            {"models": ["all-proxy-models"]},
            ("gateway.teams.search.models[0]: 'all-proxy-models' means more models than one to LiteLLM; name each of "
            "them"),
        ),
        ({"models": []}, "gateway.teams.search.models: must have at least 1 entry"),
        ({"models": None}, "gateway.teams.search.models: is empty; give a value, or leave the key out"),
        (
            {"models": ["o"], "perModel": {"n": {"requestsPerMinute": 1}}},
            "gateway.teams.search.perModel.n: 'n' is no model of the team; known: o",
        ),
        (
            {"perModel": {"m": {}}},
            ("gateway.teams.search.perModel.m: limits nothing; give requestsPerMinute or tokensPerMinute, or leave it "
            "out"),
        ),
        ({"requestsPerMinute": 0}, "gateway.teams.search.requestsPerMinute: 0 must be at least 1"),
        ({"tokensPerMinute": -1}, "gateway.teams.search.tokensPerMinute: -1 must be at least 1"),
        ({"monthlyBudgetUsd": 0}, "gateway.teams.search.monthlyBudgetUsd: 0 must be greater than 0"),
        ({"monthlyBudgetUsd": "500 EUR"}, 'gateway.teams.search.monthlyBudgetUsd: "500 EUR" must be a number'),
        ({"keys": []}, "gateway.teams.search.keys: must have at least 1 entry"),
        ({"keys": {}}, "gateway.teams.search.keys: must have at least 1 entry"),
        ({"keys": "app"}, "gateway.teams.search.keys: must be a list, e.g. [app, batch]"),
        ({"keys": ["app", "app"]}, "gateway.teams.search.keys: app is named twice"),
        (
            {"keys": {"app": {"generations": []}}},
            "gateway.teams.search.keys.app.generations: must have at least 1 entry",
        ),
        (
            {"keys": {"app": {"generations": [2, 1, 2]}}},
            "gateway.teams.search.keys.app.generations: [2, 1, 2] must rise, each named once, e.g. [1, 2]",
        ),
        ({"keys": {"app": {"generation": 2}}}, ("gateway.teams.search.keys.app.generation: unknown key; did you mean "
         "'generations'?")),
        ({"rpm": 5}, ("gateway.teams.search.rpm: unknown key; known: existingSecret, keys, models, monthlyBudgetUsd, "
         "perModel, requestsPerMinute, tokensPerMinute")),
        (
            {"existingSecret": "pg"},
            ("gateway.teams.search.existingSecret: 'pg' is a Secret of the stack for something else; give it one of "
            "its own"),
        ),
    ],
)  # fmt: skip
def test_what_is_refused(said: dict[str, Any], message: str):
    """Path, value, rule, nearest fix."""
    assert refused({"search": {**SEARCH, **said}}) == [message]


def test_a_value_in_place_of_a_name_is_refused_and_not_shown():
    """A key is named in the stack file; whoever writes its value there is told where that belongs."""
    assert refused({"search": {**SEARCH, "keys": ["sk-abcdefghijklmnopqrstuvwx"]}})[0] == (
        "gateway.teams.search.keys[0]: holds an API key, which everybody who reads the stack would see; keys are only "
        "named here; their values are derived from gatewayMasterKey, or entries of the team's Secret"
    )


@pytest.mark.parametrize(
    ("name", "fix"), [("Search", "; did you mean 'search'?"), ("search_1", "; did you mean 'search-1'?"), ("-", "")]
)
def test_names_are_those_of_kubernetes(name: str, fix: str):
    """Of teams and keys: they become names of Secrets, entries and aliases."""
    rule = f'"{name}" is not well formed; it must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?${fix}'
    assert refused({name: SEARCH}) == [f"gateway.teams.{name}: {rule}"]
    assert refused({"search": {**SEARCH, "keys": {name: {}}}}) == [f"gateway.teams.search.keys.{name}: {rule}"]
    assert refused({"search": {**SEARCH, "keys": [name]}}) == [f"gateway.teams.search.keys[0]: {rule}"]


def test_a_name_of_litellms_own_is_refused():
    """It would make the team's keys sessions of the administration."""
    assert refused({"litellm-dashboard": SEARCH}) == [
        "gateway.teams.litellm-dashboard: is the name of LiteLLM's own sessions; use another"
    ]


@pytest.mark.parametrize("said", [{"search": SEARCH}, {}])
def test_teams_need_a_database(said: dict[str, Any]):
    """Nothing else keeps keys."""
    without = stack(gpuPools={"a10": PRICED}, models=MODELS, gateway={"teams": said})
    assert refusals(without) == [
        (
            "gateway.teams: need gateway.database, where their keys and what they have spent are kept; add database: "
            "{kind: bundled}, or one that exists"
        )
    ]


def test_several_replicas_need_redis():
    """Or each would count for itself."""
    assert refused({"search": SEARCH}, redis={"kind": "none"}, replicas=2) == [
        (
            "gateway.redis: kind none with 2 replicas: each would count limits for itself; use gateway.replicas: 1, or "
            "gateway.redis: {kind: bundled}"
        )
    ]


def test_a_budget_needs_prices(monkeypatch: pytest.MonkeyPatch):
    """Of every model that the team may ask, its fallbacks included: at zero it would never end."""
    monkeypatch.setattr("planning.gateway.routing.token_price", lambda *_: (0.0, 0.0))
    paths = [line.partition(":")[0] for line in refused({"search": {**SEARCH, "monthlyBudgetUsd": 5}})]
    assert paths == [f"models.{name}.priceUsdPerMillionTokens" for name in ("m", "n", "o")]


def test_with_an_existing_secret_of_the_gateway_each_team_names_its_own():
    """The program knows no master key then."""
    said = {"search": {**SEARCH, "keys": {"app": {"generations": [1, 2]}, "batch": {}}}}
    assert refused(said, existingSecret="llm-keys") == [
        (
            "gateway.teams.search.existingSecret: is needed: with gateway.existingSecret nothing knows the master key "
            "that keys are derived from; name a Secret with the entries app-1, app-2, batch-1, e.g. search-keys"
        )
    ]
    said["search"]["existingSecret"] = "llm-keys"
    assert refused(said, existingSecret="llm-keys") == [
        (
            "gateway.teams.search.existingSecret: 'llm-keys' is a Secret of the stack for something else; give it "
            "one of its own"
        )
    ]


def test_a_secret_is_one_teams():
    """Whoever may read it has every key in it; a name of ours that somebody else's has is refused too."""
    first, second = {**SEARCH, "existingSecret": "keys"}, {**SEARCH, "existingSecret": "keys"}
    assert refused({"a": first, "b": second}) == [
        f"gateway.teams.{team}.existingSecret: 'keys' is that of {other} too; give each team one of its own"
        for team, other in (("a", "b"), ("b", "a"))
    ]
    assert refused({"a": SEARCH, "b": {**SEARCH, "existingSecret": "llm-team-a"}}) == [
        f"gateway.teams.{team}.existingSecret: 'llm-team-a' is that of {other} too; give each team one of its own"
        for team, other in (("a", "b"), ("b", "a"))
    ]
    assert refused({"a": SEARCH}, database={"existingSecret": "llm-team-a"}) == [
        (
            "gateway.teams.a.existingSecret: 'llm-team-a' is a Secret of the stack for something else; give it one of "
            "its own"
        )
    ]


def test_what_kubernetes_cannot_hold_is_refused():
    """Too many keys for a pod's variables, too many teams, a plan that is larger than a ConfigMap."""
    keys = [f"k{number}" for number in range(100)]
    assert refused({f"t{number}": {"models": ["o"], "keys": keys} for number in range(21)}) == [
        "gateway.teams: have 2,100 keys in all, with their generations; at most 2,000"
    ]
    assert refused({f"t{number}": {"models": ["o"], "keys": ["k"]} for number in range(1001)}) == [
        "gateway.teams: has 1,001 entries; at most 1,000"
    ]
    assert refused({"t": {"models": ["o"], "keys": [f"k{number}" for number in range(101)]}}) == [
        "gateway.teams.t.keys: has 101 entries; at most 100"
    ]


def test_a_plan_is_no_larger_than_a_config_map(monkeypatch: pytest.MonkeyPatch):
    """Many models times many teams."""
    monkeypatch.setattr(teams, "MOST_FILE_BYTES", 300)
    (message,) = refused({"a": SEARCH, "b": SEARCH})
    assert message.startswith("gateway.teams: take 575 bytes with all models and limits; ")
    assert message.endswith("at most 300, which is what one ConfigMap holds; name fewer models, or put teams together")


def test_the_job_gets_time_for_every_team_and_key():
    """And the engine waits longer than it does."""
    few = planned(raw({"search": SEARCH})).gateway.teams
    many = planned(raw({f"t{n}": {"models": ["o"], "keys": ["x", "y"]} for n in range(200)})).gateway.teams
    assert few is not None
    assert many is not None
    assert (few.job.deadline_s, few.job.await_timeout_s) == (602, 900)
    assert (many.job.deadline_s, many.job.await_timeout_s) == (1200, 1320)
