"""The gateway: routes, weights, limits, fallbacks, timeouts, and LiteLLM's configuration as data.

Does not prove that LiteLLM takes it; the stack tests load it with LiteLLM's own loader, the local tier runs it.
"""

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.gateway import metrics as gateway_metrics
from planning.gateway.litellm import key_variable, litellm_config
from planning.gateway.routing import plan_routes
from planning.plan.gateway import HttpRoute, Ingress, Route
from planning.plan.pods import JobLimits
from planning.plan.stores import (
    BundledDatabase,
    BundledRedis,
    CloudNativePgDatabase,
    DatabasePlan,
    ExistingDatabase,
    ExistingRedis,
)
from planning.stack.network import anywhere
from planning.tasks import GENERATE
from tests.unit.small_stack import A10, CATALOG, H200, MODEL, checked, planned, properties, refusals, serving, stack

SENTINELS = {"kind": "sentinel", "sentinels": ["s"], "masterName": "m"}
SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}


def gateway(**wanted):
    """The planned gateway of the small stack with other settings."""
    return planned(stack(gateway={"existingSecret": "llm-keys", **wanted})).gateway


def test_every_server_has_a_route():
    """One name, one server, no weight; what a token costs comes from the plan."""
    plan = planned(serving({**A10, "pricePerNodeHourUsd": 2.84}, requestsPerMinute=60, tokensPerMinute=1000))
    cost = plan.servers[0].cost
    assert cost is not None
    assert plan.gateway.routes == (
        Route(
            model_name="m",
            model="hosted_vllm/m",
            id="vllm-m",
            server="vllm-m",
            weight=None,
            requests_per_minute=60,
            tokens_per_minute=1000,
            input_cost_per_token=cost.usd_per_input_token,
            output_cost_per_token=cost.usd_per_output_token,
            input_cost_per_second=None,
            task=GENERATE,
            priced_as="m",
        ),
    )


def test_a_server_has_a_route_per_name():
    """Each name is asked for as such, at the same price; no two deployments are one to LiteLLM."""
    raw = serving({**A10, "pricePerNodeHourUsd": 2.84})
    plan = planned(raw)
    both = replace(plan.servers[0], serves={"m": "m", "x": "x"})
    first, second = plan_routes([both], checked(raw).models)
    assert first == plan.gateway.routes[0]
    assert second == replace(first, model_name="x", model="hosted_vllm/x", id="vllm-m/x")
    found = litellm_config(replace(plan.gateway, routes=(first, second)), {"vllm-m": "http://vllm-m"})
    entries = cast("list[dict[str, dict[str, object]]]", found["model_list"])
    assert [entry["model_info"]["id"] for entry in entries] == ["vllm-m", "vllm-m/x"]
    assert {entry["litellm_params"]["api_key"] for entry in entries} == {"os.environ/KEY_VLLM_M"}


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (1, [("vllm-m", 99, 99), ("vllm-m-canary", 1, 1)]),
        (25, [("vllm-m", 75, 75), ("vllm-m-canary", 25, 25)]),
        (99, [("vllm-m", 1, 1), ("vllm-m-canary", 99, 99)]),
        # all of it: the model keeps running, but gets nothing
        (100, [("vllm-m-canary", None, 100)]),
    ],
)
def test_a_canary_gets_its_share_of_traffic_and_limits(weight, expected):
    """The weights add up to 100, and so do the limits."""
    plan = planned(serving(requestsPerMinute=100, canary={"weight": weight, "maxNumSeqs": 8}))
    assert [(route.server, route.weight, route.requests_per_minute) for route in plan.gateway.routes] == expected
    assert {route.model_name for route in plan.gateway.routes} == {"m"}


@given(st.integers(1, 10_000), st.integers(1, 99))
@properties(300)
def test_the_parts_of_a_limit_add_up_to_it(limit, weight):
    """Whatever the limit and the share: no more and no less in all, and something for each server that can have it."""
    plan = planned(serving(requestsPerMinute=limit, tokensPerMinute=limit, canary={"weight": weight, "maxNumSeqs": 8}))
    parts = [(route.requests_per_minute, route.tokens_per_minute) for route in plan.gateway.routes]
    assert [sum(part) for part in zip(*parts, strict=True)] == [limit, limit]
    assert min(parts) >= ((1, 1) if limit > 1 else (0, 0))


# --- timeouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wanted", "timeout"),
    [
        ({}, None, 600),
        ({}, 410, 410),
        ({}, 3600, 3600),
        ({"maxOutputTokens": 20_000}, None, 1000),
        ({"maxOutputTokens": 100}, None, 600),
    ],
)
def test_no_timeout_cuts_an_answer(model, wanted, timeout):
    """600 s, or what the longest answer needs, or what is given; the route waits for all tries, a drain for an hour."""
    raw = serving(**model)
    raw["gateway"] |= {"requestTimeoutS": wanted} if wanted else {}
    plan = planned(raw)
    found = plan.gateway
    longest = 3 * timeout + 2 * 8
    drain = min(longest, 3600)
    assert (found.request_timeout_s, found.drain_s) == (timeout, drain)
    assert found.route_timeout_s == longest + 30
    assert found.termination_grace_s == 15 + 10 + drain + 15
    assert all(server.timing.longest_request_s <= found.request_timeout_s for server in plan.servers)


@pytest.mark.parametrize(("wanted", "refused"), [(409, True), (410, False)])
def test_a_timeout_may_be_as_short_as_the_longest_answer(wanted, refused):
    """8,192 tokens at 20 a second are 410 s; one second less would cut them."""
    raw = stack(gateway={"existingSecret": "k", "requestTimeoutS": wanted})
    assert (refusals(raw) != []) == refused


def test_a_timeout_that_would_cut_an_answer_is_refused():
    """The model with the longest answers is named, and both ways out."""
    models = {"long": {**SMALL, "maxOutputTokens": 40_000}, "short": SMALL}
    raw = stack(models=models, gateway={"existingSecret": "k", "requestTimeoutS": 600})
    cut = "600 s would cut the longest answer of long (2000 s)"
    assert refusals(raw) == [
        f"gateway.requestTimeoutS: {cut}; use at least 2000, or a smaller models.long.maxOutputTokens"
    ]


@pytest.mark.parametrize(
    ("context", "wanted", "silence"),
    [
        (32_768, {}, 120),
        (163_840, {}, 328),
        (163_840, {"requestTimeoutS": 410}, 328),
        (8192, {"requestTimeoutS": 60}, 60),
    ],
)
def test_a_stream_may_be_silent_for_as_long_as_the_longest_prompt_is_read(context, wanted, silence):
    """Two minutes, or the longest prompt at 500 tokens a second; never longer than a whole answer may take."""
    models = {
        "m": {"model": "deepseek-ai/DeepSeek-R1-0528", "pool": "h200", "contextTokens": context, "maxOutputTokens": 9}
    }
    raw = stack(gpuPools={"h200": H200}, models=models, gateway={"existingSecret": "k", **wanted})
    assert planned(raw).gateway.first_token_timeout_s == silence


def test_a_silence_longer_than_an_answer_is_refused():
    """With the number that would do, and the other way out."""
    raw = stack(gateway={"existingSecret": "k", "firstTokenTimeoutS": 601})
    longer = "601 s is longer than a whole answer may take (600 s)"
    assert refusals(raw) == [
        f"gateway.firstTokenTimeoutS: {longer}; use at most 600, or a longer gateway.requestTimeoutS"
    ]


CHAINS = st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from("abcdefg"), max_size=3, unique=True))


@given(CHAINS, st.sets(st.sampled_from("abcdefg")), st.integers(0, 5), st.integers(410, 4000), st.integers(1, 410))
@properties(60)
def test_all_tries_fit_into_the_time_of_the_route(chains, canaries, retries, timeout, silence):
    """Whatever hangs, whichever fallbacks there are: the last of them gives up before the route in front does."""
    models = {name: dict(SMALL) for name in "abcdefg"}
    for name, others in chains.items():
        models[name]["fallbacks"] = [other for other in others if other != name]  # pyright: ignore[reportArgumentType]
    for name in canaries:
        models[name]["canary"] = {"weight": 10, "maxNumSeqs": 8}  # pyright: ignore[reportArgumentType]
    times = {"retries": retries, "requestTimeoutS": timeout, "firstTokenTimeoutS": silence}
    raw = stack(gpuPools={"a10": {**A10, "nodes": 200}}, models=models, gateway={"existingSecret": "k", **times})
    found = planned(raw).gateway

    def servers(name, seen):
        """Servers that are asked from here on, depth first, as LiteLLM walks."""
        seen.add(name)
        asked = 2 if name in canaries else 1
        return asked + sum(servers(other, seen) for other in dict(found.fallbacks).get(name, ()) if other not in seen)

    for name in models:
        asked = servers(name, set())
        tries, pauses = asked * (retries + 1), asked * retries * 8
        assert tries * timeout + pauses < found.route_timeout_s
        assert tries * silence + timeout + pauses < found.route_timeout_s


# --- fallbacks --------------------------------------------------------------------------------------------------------


def test_fallbacks_are_asked_in_order():
    """Each model with its own, in the order that was written."""
    models = {name: dict(SMALL) for name in ("a", "b", "c")}
    models["a"]["fallbacks"] = ["c", "b"]  # pyright: ignore[reportArgumentType]
    models["b"]["fallbacks"] = ["a"]  # pyright: ignore[reportArgumentType]
    assert planned(stack(models=models)).gateway.fallbacks == (("a", ("c", "b")), ("b", ("a",)))


def test_fallbacks_that_nobody_serves_are_refused():
    """An unknown name with the nearest, and a model that is its own fallback."""
    models = {"qwen": {**SMALL, "fallbacks": ["qwen", "qwen-larg", "x"]}, "qwen-large": SMALL}
    assert refusals(stack(models=models)) == [
        "models.qwen.fallbacks[0]: a model cannot be its own fallback",
        "models.qwen.fallbacks[1]: no model 'qwen-larg' is served; did you mean 'qwen-large'?",
        "models.qwen.fallbacks[2]: no model 'x' is served; known: qwen, qwen-large",
    ]


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_redis_and_postgres_are_where_they_are_said_to_be():
    """A small Redis of our own unless somebody else's is named; Postgres only where it is asked for."""
    own, other = gateway(), gateway(redis={"kind": "existing", "host": "redis.corp", "port": 6380})
    assert isinstance(own.redis, BundledRedis)
    assert (own.redis.host, own.redis.port, own.database) == ("litellm-redis.llm-serving.svc", 6379, None)
    assert own.redis.image.name == "redis"
    networks = CATALOG.networks
    assert other.redis == ExistingRedis("redis.corp", 6380, {6380: anywhere(networks, 6380)}, "llm-keys")
    limits = 2, JobLimits(4, 780, 900), 10, False
    there = ExistingDatabase("pg", "pg", anywhere(networks, 5432))
    assert gateway(database={"existingSecret": "pg"}).database == DatabasePlan(there, 5432, *limits)
    owner = {"existingSecret": "pg", "migrationSecret": "owner", "port": 6432}
    there = ExistingDatabase("pg", "owner", anywhere(networks, 6432))
    assert gateway(database=owner).database == DatabasePlan(there, 6432, *limits)


@pytest.mark.parametrize(
    ("redis", "problems"),
    [
        ({"kind": "existing", "host": "r"}, True),
        ({"kind": "existing", "host": "r", "passwordSecret": "redis"}, False),
        ({"kind": "existing", "host": "r", "passwordless": True}, False),
        (SENTINELS, True),
        ({**SENTINELS, "passwordless": True}, False),
        ({**SENTINELS, "passwordless": True, "sentinelsAskPassword": True}, True),
        ({"kind": "bundled"}, False),
    ],
)
def test_the_password_of_a_redis_that_exists_is_never_made_up(redis: dict[str, object], problems: bool):
    """Without a Secret of all keys it has one of its own, or it is said that there is none."""
    raw = stack(gateway={"redis": redis})
    raw["gateway"].pop("existingSecret", None)
    wanted = "gateway.redis.passwordSecret: is missing: the password of a Redis that exists is nobody's to make up; "
    found = [text for text in refusals(raw) if text.startswith("gateway.redis")] if problems else []
    assert [text.startswith(wanted) for text in found] == [True] * problems
    if not problems:
        assert planned(raw).gateway.redis is not None


@pytest.mark.parametrize(("replicas", "connections"), [(1, 500), (24, 500), (25, 1000), (60, 1500)])
def test_a_postgres_of_our_own_has_connections_for_all_replicas_and_one_more(replicas: int, connections: int):
    """Twice what a replica's pool takes, since it looks at its schema beside it; in steps that are seldom left."""
    database = gateway(database={"kind": "bundled", "gib": 7, "storageClass": "ssd"}, replicas=replicas).database
    assert database is not None
    assert isinstance(database.source, BundledDatabase)
    source = database.source
    assert (source.host, database.port) == ("litellm-postgres.llm-serving.svc", 5432)
    assert (source.image.name, source.storage_class, source.gib) == ("postgres", "ssd", 7)
    assert source.connections == connections


@pytest.mark.parametrize(
    ("replicas", "instances", "connections", "copies", "wait_s"),
    [(1, 1, 500, 0, 900), (25, 2, 1000, 1, 1200), (4, 5, 500, 1, 2100)],
)
def test_a_postgres_with_standbys(replicas: int, instances: int, connections: int, copies: int, wait_s: int):
    """One copy is waited for where there is one; the wait for all of them grows with their number."""
    settings = {"kind": "cloudNativePg", "instances": instances, "passwordSecret": "pg"}
    database = gateway(database=settings, replicas=replicas).database
    assert database is not None
    assert isinstance(database.source, CloudNativePgDatabase)
    source = database.source
    assert (source.host, database.port) == ("litellm-database-rw.llm-serving.svc", 5432)
    assert (source.image.name, source.storage_class, source.gib) == ("cloudnative-pg-postgres", None, 20)
    assert (source.connections, source.copies, source.await_timeout_s) == (connections, copies, wait_s)


@pytest.mark.parametrize(
    ("instances", "warnings"),
    [
        (3, ["gateway: its Postgres has no backups until you declare them, and a standby repeats every mistake "]),
        (
            1,
            [
                "gateway: its Postgres has no backups until you declare them, and a standby repeats every mistake ",
                "gateway: its Postgres is one instance, so keys that are not known from before are refused while it ",
            ],
        ),
    ],
)
def test_what_a_postgres_with_standbys_lacks_is_said(instances: int, warnings: list[str]):
    """Backups always, and standbys where there are none; what is kept is counted by instance."""
    settings = {"kind": "cloudNativePg", "instances": instances, "gib": 30, "passwordSecret": "pg"}
    plan = planned(stack(gateway={"database": settings}))
    heard = [line for line in plan.warnings if "Postgres" in line]
    assert [line[: len(start)] for line, start in zip(heard, warnings, strict=True)] == warnings
    (kept,) = [item for item in plan.storage if item.what == "keys and spend"]
    assert (kept.gib, kept.fewest, kept.most, kept.place) == (30, instances, instances, "the default class")


def test_what_a_postgres_of_our_own_lacks_is_said():
    """Neither a standby nor backups, where somebody else's has whatever it has."""
    ours, theirs = (
        stack(gateway={"database": {"kind": "bundled"}}),
        stack(gateway={"database": {"existingSecret": "pg"}}),
    )
    warning = (
        "gateway: its Postgres is one pod, without a standby and without backups; keys and spend are lost with its "
    )
    assert [line.startswith(warning) for line in planned(ours).warnings if "Postgres" in line] == [True]
    assert [line for line in planned(theirs).warnings if "Postgres" in line] == []


def test_one_replica_may_do_without_redis():
    """No Redis in the plan, no image of it, no key of it in the configuration of LiteLLM; nothing else changes."""
    with_redis, without = gateway(replicas=1), gateway(replicas=1, redis={"kind": "none"})
    assert without == replace(with_redis, redis=None, reasons=without.reasons)
    plan = planned(stack(gateway={"existingSecret": "k", "replicas": 1, "redis": {"kind": "none"}}))
    assert "redis" not in {image.name for image in plan.images}
    urls = {"vllm-m": "http://vllm-m"}
    removed = {"redis_host", "redis_port", "redis_password", "cache_kwargs"}
    config, bare = litellm_config(with_redis, urls), litellm_config(without, urls)
    router, bare_router = config["router_settings"], bare["router_settings"]
    assert isinstance(router, dict)
    assert bare_router == {key: value for key, value in router.items() if key not in removed}
    assert {**bare, "router_settings": None} == {**config, "router_settings": None}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, "none: one replica shares its counts with nobody"),
        (
            {"requestsPerMinute": 60},
            "none: limits of m are counted in the one replica's memory and start anew with its pod",
        ),
        (
            {"tokensPerMinute": 60},
            "none: limits of m are counted in the one replica's memory and start anew with its pod",
        ),
    ],
)
def test_without_redis_the_preview_says_where_limits_are_counted(limits, reason):
    """The reason names the models whose limits are kept in memory; with a Redis there is nothing to say."""
    none = {"existingSecret": "k", "replicas": 1, "redis": {"kind": "none"}}
    raw = {**serving(**limits), "gateway": none}
    assert planned(raw).gateway.reasons["redis"] == reason
    assert "redis" not in planned(serving(**limits)).gateway.reasons


@pytest.mark.parametrize(
    ("replicas", "most"), [(2, 2), (5, 5), ({"min": 2}, 2), ({"max": 3}, 3), ({"min": 1, "max": 4}, 4)]
)
def test_replicas_that_would_count_apart_are_refused(replicas, most):
    """Two replicas without Redis would allow twice the limit."""
    raw = stack(gateway={"existingSecret": "k", "redis": {"kind": "none"}, "replicas": replicas})
    assert refusals(raw) == [
        (
            f"gateway.redis: kind none with {most} replicas: each would count limits for "
            "itself; use gateway.replicas: 1, or gateway.redis: {kind: bundled}"
        )
    ]


def test_settings_of_the_gateway_reach_its_plan():
    """Replicas, retries, host, exposure and Secret."""
    expose = {"kind": "gatewayApi", "gatewayName": "public"}
    found = gateway(host="llm.example.com", expose=expose, replicas=3, retries=0)
    assert (found.replicas, found.retries, found.existing_secret) == (3, 0, "llm-keys")
    assert found.exposure == HttpRoute("llm.example.com", "public", None, None)
    assert gateway(host="llm.example.com").exposure is None
    assert (found.cpus, found.memory_gib, found.restart_after_requests) == (1, 4, None)
    found = gateway(memoryGib=6, restartAfterRequests=1000)
    assert (found.memory_gib, found.restart_after_requests) == (6, 1000)


@pytest.mark.parametrize(
    ("expose", "secret", "url"),
    [
        ({"tlsSecret": "tls"}, "tls", "https://llm.example.com"),
        ({"annotations": {"a": "b"}}, None, "http://llm.example.com"),
    ],
)
def test_an_ingress_without_tls_is_reached_in_clear(expose: dict[str, Any], secret: str | None, url: str):
    """Clients are told the scheme that the Ingress really speaks."""
    found = gateway(host="llm.example.com", expose={"kind": "ingress", "className": "nginx", **expose}).exposure
    assert isinstance(found, Ingress)
    assert (found.class_name, found.tls_secret, found.url) == ("nginx", secret, url)


def test_key_variables_of_different_servers_differ():
    """A dash becomes an underscore, which names do not have."""
    assert [key_variable(name) for name in ("vllm-a-b", "vllm-a", "vllm-a-canary")] == [
        "KEY_VLLM_A_B",
        "KEY_VLLM_A",
        "KEY_VLLM_A_CANARY",
    ]


def test_litellms_configuration_is_exact():
    """The whole file for one model, with secrets as references only."""
    plan = planned(serving(requestsPerMinute=60))
    assert litellm_config(plan.gateway, {"vllm-m": "http://vllm-m.llm-serving.svc:8000"}) == {
        "model_list": [
            {
                "model_name": "m",
                "litellm_params": {
                    "model": "hosted_vllm/m",
                    "api_base": "http://vllm-m.llm-serving.svc:8000/v1",
                    "api_key": "os.environ/KEY_VLLM_M",
                    "timeout": 600,
                    "stream_timeout": 120,
                },
                "model_info": {
                    "id": "vllm-m",
                    "input_cost_per_token": 1.651e-07,
                    "output_cost_per_token": 1.65e-06,
                    "rpm": 60,
                },
            }
        ],
        "router_settings": {
            "routing_strategy": "simple-shuffle",
            "num_retries": 2,
            "retry_policy": {"TimeoutErrorRetries": 0},
            "allowed_fails": 3,
            "allowed_fails_policy": {"NotFoundErrorAllowedFails": 10**9, "RateLimitErrorAllowedFails": 10**9},
            "cooldown_time": 10,
            "optional_pre_call_checks": ["enforce_model_rate_limits"],
            "enable_weighted_failover": True,
            "fallbacks": [],
            "context_window_fallbacks": [],
            "fallback_on_unsupported_params": False,
            "redis_host": "os.environ/REDIS_HOST",
            "redis_port": "os.environ/REDIS_PORT",
            "redis_password": "os.environ/REDIS_PASSWORD",
            "cache_kwargs": {"socket_timeout": 1, "socket_connect_timeout": 1},
        },
        "litellm_settings": {
            "callbacks": ["prometheus", "gateway_surface.guard", "gateway_hooks.hooks"],
            **gateway_metrics.metric_settings(),
            "expose_router_debug_in_errors": False,
            "json_logs": True,
            "sse_keepalive_ping_interval_seconds": 15,
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "cancel_on_disconnect": True,
            "custom_auth": "gateway_auth.check",
            "custom_auth_run_common_checks": True,
        },
    }


def test_weights_fallbacks_and_a_database_are_written_where_they_are():
    """A canary's weight, the fallbacks as LiteLLM wants them, and Postgres with its limits."""
    models = {"m": {**MODEL, "canary": {"weight": 20, "maxNumSeqs": 8}, "fallbacks": ["r1"]}, "r1": {
        "model": "deepseek-ai/DeepSeek-R1-0528", "pool": "h200", "contextTokens": 32_768,
    }}  # fmt: skip
    raw = stack(
        gpuPools={"a10": A10, "h200": H200},
        models=models,
        gateway={"existingSecret": "k", "database": {"existingSecret": "pg"}},
    )
    plan = planned(raw)
    found = json.loads(json.dumps(litellm_config(plan.gateway, {s.name: f"http://{s.name}" for s in plan.servers})))
    assert [(item["model_info"]["id"], item["litellm_params"].get("weight")) for item in found["model_list"]] == [
        ("vllm-m", 80),
        ("vllm-m-canary", 20),
        ("vllm-r1", None),
    ]
    assert found["router_settings"]["fallbacks"] == [{"m": ["r1"]}]
    assert found["general_settings"] == {
        "master_key": "os.environ/LITELLM_MASTER_KEY",
        "cancel_on_disconnect": True,
        "database_url": "os.environ/DATABASE_URL",
        "database_connection_pool_limit": 10,
        "allow_requests_on_db_unavailable": False,
        "user_api_key_cache_ttl": 300,
    }


EVERYONE = "admitEveryone would let anybody in through llm.example.com while Postgres is away"


@pytest.mark.parametrize(
    ("expose", "refused"),
    [
        ({}, []),
        (
            {"host": "llm.example.com", "expose": {"kind": "gatewayApi", "gatewayName": "public"}},
            [f"gateway.database.whenAway: {EVERYONE}; use refuse, or gateway.expose: {{kind: none}}"],
        ),
    ],
)
def test_everyone_is_admitted_only_from_inside_the_cluster(expose, refused):
    """The setting says what it means, and is refused where the gateway is reached from outside."""
    database = {"existingSecret": "pg", "whenAway": "admitEveryone"}
    raw = stack(gateway={"existingSecret": "k", "database": database, **expose})
    assert refusals(raw) == refused
    if not refused:
        plan = planned(raw).gateway
        general = litellm_config(plan, {"vllm-m": "http://vllm-m"})["general_settings"]
        assert isinstance(general, dict)
        assert general["allow_requests_on_db_unavailable"] is True


def test_an_overlong_prompt_goes_to_larger_contexts_only():
    """Of two fallbacks, the one with more context than any server of the model; a smaller one is never asked."""
    models = {
        "m": {**SMALL, "fallbacks": ["small", "large"], "canary": {"weight": 10, "contextTokens": 9000}},
        "small": {**SMALL, "contextTokens": 8800},
        "large": {**SMALL, "contextTokens": 9001},
    }
    raw = stack(gpuPools={"a10": {**A10, "nodes": 20}}, models=models)
    plan = planned(raw).gateway
    assert (plan.fallbacks, plan.larger_fallbacks) == ((("m", ("small", "large")),), (("m", ("large",)),))
