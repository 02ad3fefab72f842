"""The gateway: routes, weights, limits, fallbacks, timeouts, and LiteLLM's configuration as data.

Does not prove that LiteLLM takes it; the stack tests load it with LiteLLM's own loader, the local tier runs it.
"""

import json
from dataclasses import replace

import pytest

from planning import gateway_metrics
from planning.gateway import key_variable, litellm_config
from planning.network import anywhere
from planning.plan import DatabasePlan, RedisPlan, Route
from tests.unit.small_stack import A10, CATALOG, H200, MODEL, planned, refusals, serving, stack

SHUFFLED = "simple-shuffle while a canary runs: least-busy does not read weights"
SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}


def gateway(**wanted):
    """The planned gateway of the small stack with other settings."""
    return planned(stack(gateway={"existingSecret": "llm-keys", **wanted})).gateway


def test_every_server_has_a_route():
    """One name, one server, no weight; what a token costs and how long an answer may take come from the plan."""
    plan = planned(serving({**A10, "pricePerNodeHourUsd": 2.84}, requestsPerMinute=60, tokensPerMinute=1000))
    found, cost = plan.servers[0], plan.servers[0].cost
    assert cost is not None
    assert plan.gateway.routes == (
        Route(
            model_name="m",
            server="vllm-m",
            weight=None,
            context_tokens=32_768,
            requests_per_minute=60,
            tokens_per_minute=1000,
            input_cost_per_token=cost.usd_per_input_token,
            output_cost_per_token=cost.usd_per_output_token,
            timeout_s=found.timing.longest_request_s,
        ),
    )


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


def test_a_small_share_of_a_small_limit_is_one():
    """No server is shut out by rounding."""
    plan = planned(serving(requestsPerMinute=1, canary={"weight": 1, "maxNumSeqs": 8}))
    assert [route.requests_per_minute for route in plan.gateway.routes] == [1, 1]


@pytest.mark.parametrize(
    ("canary", "strategy", "said"),
    [
        (None, "least-busy", None),
        ({"weight": 10, "maxNumSeqs": 8}, "simple-shuffle", SHUFFLED),
        ({"weight": 100, "maxNumSeqs": 8}, "least-busy", None),
    ],
)
def test_weights_need_the_strategy_that_reads_them(canary, strategy, said):
    """While a canary shares a name, requests are spread by weight, and the plan says so."""
    found = planned(serving(**({"canary": canary} if canary else {}))).gateway
    assert (found.routing_strategy, found.reasons.get("routingStrategy")) == (strategy, said)


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
    """600 s, or what the longest answer needs, or what is given; draining and the route in front of it wait longer."""
    raw = serving(**model)
    raw["gateway"] |= {"requestTimeoutS": wanted} if wanted else {}
    plan = planned(raw)
    found = plan.gateway
    assert (found.request_timeout_s, found.drain_s) == (timeout, timeout)
    assert found.route_timeout_s == timeout + 30
    assert found.termination_grace_s == 15 + timeout + 15
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
    """A small Redis of our own unless somebody else's is named; Postgres only where its Secret is."""
    own, other = gateway(), gateway(redis={"kind": "existing", "host": "redis.corp", "port": 6380})
    assert own.redis is not None
    assert (own.redis.host, own.redis.port, own.database) == ("litellm-redis.llm-serving.svc", 6379, None)
    assert own.redis.image is not None
    networks = CATALOG.networks
    assert other.redis == RedisPlan("redis.corp", 6380, None, anywhere(networks, 6380))
    found = gateway(database={"existingSecret": "pg"}).database
    assert found == DatabasePlan("pg", 5432, "pg", 2, anywhere(networks, 5432))
    owner = {"existingSecret": "pg", "migrationSecret": "owner", "port": 6432}
    assert gateway(database=owner).database == DatabasePlan("pg", 6432, "owner", 2, anywhere(networks, 6432))


def test_one_replica_may_do_without_redis():
    """No Redis in the plan, no image of it, no key of it in the configuration of LiteLLM; nothing else changes."""
    with_redis, without = gateway(replicas=1), gateway(replicas=1, redis={"kind": "none"})
    assert without == replace(with_redis, redis=None, reasons=without.reasons)
    plan = planned(stack(gateway={"existingSecret": "k", "replicas": 1, "redis": {"kind": "none"}}))
    assert "redis" not in {image.name for image in plan.images}
    urls = {"vllm-m": "http://vllm-m"}
    removed = {"redis_host", "redis_port", "redis_password"}
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


@pytest.mark.parametrize("replicas", [{}, {"replicas": 2}, {"replicas": 5}])
def test_replicas_that_would_count_apart_are_refused(replicas):
    """Two replicas without Redis, which is the default number, would allow twice the limit."""
    raw = stack(gateway={"existingSecret": "k", "redis": {"kind": "none"}, **replicas})
    assert refusals(raw) == [
        (
            f"gateway.redis: kind none with {replicas.get('replicas', 2)} replicas: each would count limits, and "
            "requests for least-busy, for itself; use gateway.replicas: 1, or gateway.redis: {kind: bundled}"
        )
    ]


def test_settings_of_the_gateway_reach_its_plan():
    """Replicas, retries, host, exposure and Secret."""
    expose = {"kind": "gatewayApi", "gatewayName": "public"}
    found = gateway(host="llm.example.com", expose=expose, replicas=3, retries=0)
    assert (found.host, found.replicas, found.retries, found.existing_secret) == ("llm.example.com", 3, 0, "llm-keys")
    assert found.exposure == {"kind": "gatewayApi", "gateway_name": "public"}
    assert (found.cpus, found.memory_gib, found.restart_after_requests) == (1, 4, None)
    found = gateway(memoryGib=6, restartAfterRequests=1000)
    assert (found.memory_gib, found.restart_after_requests) == (6, 1000)


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
                    "stream_timeout": 600,
                    "rpm": 60,
                },
                "model_info": {
                    "id": "vllm-m",
                    "mode": "chat",
                    "max_input_tokens": 32_768,
                    "input_cost_per_token": 1.651e-07,
                    "output_cost_per_token": 1.742e-06,
                },
            }
        ],
        "router_settings": {
            "routing_strategy": "least-busy",
            "num_retries": 2,
            "timeout": 600,
            "allowed_fails": 3,
            "cooldown_time": 10,
            "enable_pre_call_checks": True,
            "fallbacks": [],
            "redis_host": "os.environ/REDIS_HOST",
            "redis_port": "os.environ/REDIS_PORT",
            "redis_password": "os.environ/REDIS_PASSWORD",
        },
        "litellm_settings": {
            "callbacks": ["prometheus", "gateway_surface.guard"],
            **gateway_metrics.settings(),
            "drop_params": True,
            "json_logs": True,
            "request_timeout": 600,
            "set_verbose": False,
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
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
        "database_url": "os.environ/DATABASE_URL",
        "database_connection_pool_limit": 10,
        "allow_requests_on_db_unavailable": True,
        "proxy_batch_write_at": 60,
    }
