"""LiteLLM's configuration file, as data, for the gateway that was planned."""

import re
from collections.abc import Mapping

from planning.gateway import metrics as gateway_metrics
from planning.gateway.beside import AUTH_HOOK, callbacks
from planning.gateway.providers import provider_entries
from planning.plan.gateway import GatewayPlan, Route
from planning.plan.stores import BundledRedis, ExistingRedis, RedisPlan, SentinelRedis
from planning.tasks import VERSION

# Only this strategy reads `weight`, and servers of one name exist only while a canary runs: docs/adr/0006.
ROUTING_STRATEGY = "simple-shuffle"
# Proxies and load balancers cut connections that are silent for 60 s, some for 30 s.
KEEP_ALIVE_S = 15
# Equal chunks in a row that LiteLLM takes for a loop, and cuts: tables and padding have hundreds.
MOST_EQUAL_CHUNKS = 100_000
# Keys that were used in this time are still known while Postgres is away, by all replicas where they share a Redis.
# A key that is blocked or deleted is refused at once all the same.
KNOWN_KEYS_S = 300
# Connections of a replica to Postgres at most.
POOL_CONNECTIONS = 10
# How long a Redis that is frozen is waited for. A request waits so long for each thing it asks, which were four at most
# as far as was seen: LiteLLM leaves Redis alone after five seconds of nothing but that. A request that looks whether it
# is back must be done before the next one looks: components/_litellm_pod.py, REDIS_AWAY.
REDIS_WAIT = {"socket_timeout": 1, "socket_connect_timeout": 1}
# More fails of one kind in a minute than there can be.
NEVER = 10**9


# What fits into an HTTP header; a key read from a file may end in a line break.
STRONG_KEY = re.compile(r"sk-[!-~]{17,}")


def weak_key(key: str) -> str | None:
    """Reason why LiteLLM would refuse a master key, or no client could send it; None: it is none of these."""
    if STRONG_KEY.fullmatch(key):
        return None
    return (
        "gatewayMasterKey: must start with sk- and have at least 20 characters, all of them visible ASCII; run: "
        'pulumi config set --secret gatewayMasterKey "sk-$(openssl rand -hex 24)"'
    )


def key_variable(server: str) -> str:
    """Name of the environment variable that holds a server's API key in the gateway."""
    return f"KEY_{server.upper().replace('-', '_')}"


def litellm_config(gateway_plan: GatewayPlan, urls: Mapping[str, str]) -> dict[str, object]:
    """LiteLLM's configuration file as data; secrets appear as `os.environ/NAME` only. `urls`: server → base URL.

    What every key does is shown by a test with the real program: tests/gateway/test_every_key.py.
    """
    general: dict[str, object] = {"master_key": "os.environ/LITELLM_MASTER_KEY", "cancel_on_disconnect": True}
    auth: dict[str, object] = {}
    if gateway_plan.database:
        general |= {
            "database_url": "os.environ/DATABASE_URL",
            "database_connection_pool_limit": POOL_CONNECTIONS,
            "allow_requests_on_db_unavailable": gateway_plan.database.admits_everyone,
            "user_api_key_cache_ttl": KNOWN_KEYS_S,
        }
        auth = {"budget_exceeded_status_code": 429}
        if gateway_plan.redis:
            auth["enable_redis_auth_cache"] = True
    else:
        # without it LiteLLM answers a wrong key with 400 when there is no database to look it up in
        general |= {"custom_auth": AUTH_HOOK, "custom_auth_run_common_checks": True}
    general |= _shared_counts(gateway_plan.redis)
    redis = {f"redis_{part}": f"os.environ/REDIS_{part.upper()}" for part in ("host", "port", "password")}
    yours = gateway_plan.additions.settings
    return {
        "model_list": [
            *(_deployment(route, gateway_plan, urls) for route in gateway_plan.routes),
            *provider_entries(gateway_plan),
        ],
        "router_settings": {
            "routing_strategy": ROUTING_STRATEGY,
            "num_retries": gateway_plan.retries,
            "retry_policy": {"TimeoutErrorRetries": 0},
            "allowed_fails": 3,
            # neither a limit nor an endpoint the server does not have says that the server is ill
            "allowed_fails_policy": {"NotFoundErrorAllowedFails": NEVER, "RateLimitErrorAllowedFails": NEVER},
            "cooldown_time": 10,
            "optional_pre_call_checks": ["enforce_model_rate_limits"],
            # a canary that may not, or cannot, answer leaves the request to the other server of its name
            "enable_weighted_failover": True,
            "fallbacks": [{name: list(models)} for name, models in gateway_plan.fallbacks],
            # only these are asked when a prompt is too long, and none when a request is wrong
            "context_window_fallbacks": [{name: list(models)} for name, models in gateway_plan.larger_fallbacks],
            "fallback_on_unsupported_params": False,
            **(redis | {"cache_kwargs": REDIS_WAIT} if isinstance(gateway_plan.redis, BundledRedis) else {}),
            **yours.get("router_settings", {}),
        },
        "litellm_settings": {
            "callbacks": callbacks(gateway_plan),
            **gateway_metrics.metric_settings(),
            # names of models, servers and fallbacks are nobody's business who asks
            "expose_router_debug_in_errors": False,
            "json_logs": True,
            "sse_keepalive_ping_interval_seconds": KEEP_ALIVE_S,
            **({"turn_off_message_logging": True} if _silent(gateway_plan) else {}),
            **auth,
            **yours.get("litellm_settings", {}),
        },
        "general_settings": {**general, **yours.get("general_settings", {})},
    }


def _silent(gateway_plan: GatewayPlan) -> bool:
    """Whether callbacks hear of requests and not of what is in them."""
    return gateway_plan.callbacks is not None and not gateway_plan.callbacks.prompts


def _shared_counts(redis: RedisPlan | None) -> dict[str, object]:
    """The Redis that exists, by its kind; user, passwords and TLS are in the environment.

    Named here, because one of the environment alone is left out for ever by a proxy that starts while it is away.
    """
    match redis:
        case ExistingRedis(host=host, port=port):
            return {"coordination_redis": {"host": host, "port": port}}
        case SentinelRedis(sentinels=sentinels, master_name=name):
            nodes = [[host, port] for host, port in sentinels]
            return {"coordination_redis": {"sentinel_nodes": nodes, "service_name": name}}
        case BundledRedis() | None:
            return {}


def _deployment(route: Route, gateway_plan: GatewayPlan, urls: Mapping[str, str]) -> dict[str, object]:
    """One entry of the list of models. Among its parameters, limits would also cap what is in flight."""
    weight = {} if route.weight is None else {"weight": route.weight}
    limits = {"rpm": route.requests_per_minute, "tpm": route.tokens_per_minute}
    return {
        "model_name": route.model_name,
        "litellm_params": {
            "model": route.model,
            "api_base": f"{urls[route.server]}{VERSION}",
            "api_key": f"os.environ/{key_variable(route.server)}",
            "timeout": gateway_plan.request_timeout_s,
            "stream_timeout": gateway_plan.first_token_timeout_s,
            **weight,
        },
        "model_info": {
            "id": route.id,
            **(
                {
                    "input_cost_per_token": route.input_cost_per_token,
                    "output_cost_per_token": route.output_cost_per_token,
                }
                if route.input_cost_per_second is None
                else {"input_cost_per_second": route.input_cost_per_second}
            ),
            **({} if route.task.gateway_mode is None else {"mode": route.task.gateway_mode}),
            **{key: value for key, value in limits.items() if value is not None},
        },
    }
