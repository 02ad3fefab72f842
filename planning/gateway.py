"""The gateway: one route per served model, limits counted once for all replicas, timeouts that do not cut an answer."""

from collections.abc import Iterator, Mapping, Sequence

from catalog.schema import Networks
from planning import gateway_metrics
from planning.network import anywhere
from planning.plan import DatabasePlan, GatewayPlan, ImagePlan, RedisPlan, Route, ServerPlan
from planning.timing import DEFAULT_REQUEST_TIMEOUT_S, PRE_STOP_S, PROBE_GRACE_S, SHUTDOWN_MARGIN_S
from settings.problems import Problem, nearest
from settings.schema import DatabaseSettings, ExistingRedis, ModelSettings, NoRedis, StackSettings

NAME = "litellm"
REDIS_NAME = "litellm-redis"
PORT = 4000
METRICS_PORT = 4002
REDIS_PORT = 6379
# About one CPU and 4 GiB per worker at steady state; less ends in OOM kills (LiteLLM docs, proxy/prod, 2026-10).
CPUS = 1
MEMORY_GIB = 4
MEMORY_REASON = "LiteLLM asks for 4 GiB per worker; it took half a GiB under load"
# Tried: 0.46 GiB after 1,200 chats and after 3,200.
RESTART_REASON = "never: what it holds does not grow with what it serves, and a pod that starts anew is a pod less"
# LiteLLM's import takes 0.5 GiB, Prisma's Node program and schema engine beside it less.
MIGRATION_MEMORY_GIB = 2
# What is in front of the gateway waits this much longer, so that a client sees the gateway's own error.
ROUTE_MARGIN_S = 30
# A module beside the configuration file, and its function: components/pod_scripts/gateway_auth.py.
AUTH_MODULE = "gateway_auth"
AUTH_HOOK = f"{AUTH_MODULE}.check"
# The guard in front of LiteLLM: components/pod_scripts/gateway_surface.py, loaded as a logger, and its data.
SURFACE_MODULE = "gateway_surface"
SURFACE_GUARD = f"{SURFACE_MODULE}.guard"
SURFACE_FILE = "surface.json"
# What least-busy does not read: shares of traffic. Only this strategy honours `weight`.
WEIGHTED_STRATEGY = "simple-shuffle"


def routes(servers: Sequence[ServerPlan], models: Mapping[str, ModelSettings]) -> tuple[Route, ...]:
    """One route per server that gets traffic; a weight only where two servers share a name."""
    shared = {server.model_name: server.weight for server in servers if server.canary}
    found = []
    for server in servers:
        if server.weight == 0:
            continue
        model = models[server.model_name]
        price = _price(server, model)
        found.append(
            Route(
                model_name=server.model_name,
                server=server.name,
                weight=server.weight if 0 < shared.get(server.model_name, 0) < 100 else None,
                context_tokens=server.memory.context_tokens,
                requests_per_minute=_share(model.requests_per_minute, server.weight),
                tokens_per_minute=_share(model.tokens_per_minute, server.weight),
                input_cost_per_token=price[0],
                output_cost_per_token=price[1],
                timeout_s=server.timing.longest_request_s,
            )
        )
    return tuple(found)


def _price(server: ServerPlan, model: ModelSettings) -> tuple[float, float]:
    """USD per token of (prompt, answer): what is given for the model, else the estimate, else nothing."""
    if (given := model.price_usd_per_million_tokens) is not None:
        # as short as it was written: 0.1 / 1e6 is not 1e-07
        input_price, output_price = (float(f"{price / 1e6:.12g}") for price in (given.input, given.output))
        return input_price, output_price
    return (server.cost.usd_per_input_token, server.cost.usd_per_output_token) if server.cost else (0.0, 0.0)


def free_routes(planned: Sequence[Route]) -> list[Route]:
    """Routes whose tokens are charged at zero, so that no budget ever ends."""
    return [route for route in planned if not (route.input_cost_per_token and route.output_cost_per_token)]


def _free_problems(settings: StackSettings, planned: Sequence[Route]) -> Iterator[Problem]:
    """With a database keys may have budgets, which only prices can use up."""
    for name in dict.fromkeys(route.model_name for route in free_routes(planned)):
        if settings.gateway.database is not None:
            yield Problem(
                f"models.{name}.priceUsdPerMillionTokens",
                "is needed: keys of gateway.database may have budgets, and nothing is known to estimate what tokens "
                "cost, which at zero would never use one up; write e.g. {input: 0.1, output: 0.4}",
            )


def _price_reasons(settings: StackSettings, planned: Sequence[Route]) -> dict[str, str]:
    """Where the prices of tokens are from."""
    free = [route.server for route in free_routes(planned)]
    given = [name for name, model in settings.models.items() if model.price_usd_per_million_tokens]
    said = []
    if len(given) < len(settings.models):
        said.append("estimated from the pools' prices")
    if given:
        said.append(f"given for {', '.join(given)}")
    if free:
        said.append(f"zero for {', '.join(free)}, of which nothing is known")
    return {"priceUsdPerMillionTokens": "; ".join(said)}


def _share(limit: int | None, weight: int) -> int | None:
    """A server's part of its model's limit, at least 1."""
    return None if limit is None else max(1, limit * weight // 100)


def gateway(
    settings: StackSettings,
    servers: Sequence[ServerPlan],
    images: Mapping[str, ImagePlan],
    networks: Networks,
    problems: list[Problem],
) -> GatewayPlan:
    """The whole gateway; a fallback that no server serves, or a timeout that cuts answers, is a problem."""
    wanted = settings.gateway
    fallbacks = _fallbacks(settings, problems)
    longest = max((server.timing.longest_request_s for server in servers), default=0)
    timeout = wanted.request_timeout_s or max(DEFAULT_REQUEST_TIMEOUT_S, longest)
    reasons = {
        "requestTimeoutS": "given"
        if wanted.request_timeout_s
        else f"the longest answer takes {longest} s at the slowest accepted speed; at least {DEFAULT_REQUEST_TIMEOUT_S}"
    }
    reasons["memoryGib"] = "given" if wanted.memory_gib else MEMORY_REASON
    reasons["restartAfterRequests"] = "given" if wanted.restart_after_requests else RESTART_REASON
    if timeout < longest:
        slowest = max(servers, key=lambda server: server.timing.longest_request_s)
        problems.append(
            Problem(
                "gateway.requestTimeoutS",
                f"{timeout} s would cut the longest answer of {slowest.model_name} ({longest} s); use at least "
                f"{longest}, or a smaller models.{slowest.model_name}.maxOutputTokens",
            )
        )
    planned = routes(servers, settings.models)
    problems.extend(_free_problems(settings, planned))
    reasons |= _price_reasons(settings, planned)
    strategy = wanted.routing_strategy
    if any(server.canary and server.weight < 100 for server in servers) and strategy != WEIGHTED_STRATEGY:
        reasons["routingStrategy"] = f"{WEIGHTED_STRATEGY} while a canary runs: {strategy} does not read weights"
        strategy = WEIGHTED_STRATEGY
    if isinstance(wanted.redis, NoRedis):
        reasons["redis"] = _counted_in_memory(settings, problems)
    return GatewayPlan(
        name=NAME,
        image=images["litellm"],
        replicas=wanted.replicas,
        routes=planned,
        fallbacks=fallbacks,
        routing_strategy=strategy,
        request_timeout_s=timeout,
        route_timeout_s=timeout + ROUTE_MARGIN_S,
        retries=wanted.retries,
        redis=_redis(settings, images, networks),
        database=_database(wanted.database, networks),
        existing_secret=wanted.existing_secret,
        exposure=wanted.expose.model_dump(exclude_none=True),
        host=wanted.host,
        cpus=CPUS,
        memory_gib=wanted.memory_gib or MEMORY_GIB,
        restart_after_requests=wanted.restart_after_requests,
        pre_stop_s=PRE_STOP_S,
        drain_s=timeout,
        termination_grace_s=PRE_STOP_S + timeout + SHUTDOWN_MARGIN_S,
        probe_grace_s=PROBE_GRACE_S,
        reasons=reasons,
    )


def _database(wanted: DatabaseSettings | None, networks: Networks) -> DatabasePlan | None:
    """Postgres, whose host only its Secret knows."""
    if wanted is None:
        return None
    return DatabasePlan(
        secret=wanted.existing_secret,
        port=wanted.port,
        migration_secret=wanted.migration_secret or wanted.existing_secret,
        migration_memory_gib=MIGRATION_MEMORY_GIB,
        egress=anywhere(networks, wanted.port),
    )


def _redis(settings: StackSettings, images: Mapping[str, ImagePlan], networks: Networks) -> RedisPlan | None:
    match settings.gateway.redis:
        case NoRedis():
            return None
        case ExistingRedis(host=host, port=port):
            return RedisPlan(host, port, None, anywhere(networks, port, host))
        case _:
            return RedisPlan(f"{REDIS_NAME}.{settings.cluster.namespace}.svc", REDIS_PORT, images["redis"])


def _counted_in_memory(settings: StackSettings, problems: list[Problem]) -> str:
    """What it means to have no Redis; more than one replica would each count for itself, and is a problem."""
    replicas = settings.gateway.replicas
    if replicas > 1:
        problems.append(
            Problem(
                "gateway.redis",
                f"kind none with {replicas} replicas: each would count limits, and requests for least-busy, for "
                "itself; use gateway.replicas: 1, or gateway.redis: {kind: bundled}",
            )
        )
    limited = [name for name, model in settings.models.items() if model.requests_per_minute or model.tokens_per_minute]
    if not limited:
        return "none: one replica shares its counts with nobody"
    return f"none: limits of {', '.join(limited)} are counted in the one replica's memory and start anew with its pod"


def _fallbacks(settings: StackSettings, problems: list[Problem]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for name, model in settings.models.items():
        for position, other in enumerate(model.fallbacks):
            path = f"models.{name}.fallbacks[{position}]"
            if other == name:
                problems.append(Problem(path, "a model cannot be its own fallback"))
            elif other not in settings.models:
                problems.append(Problem(path, f"no model '{other}' is served{nearest(other, settings.models)}"))
        if model.fallbacks:
            found.append((name, tuple(model.fallbacks)))
    return tuple(found)


def key_variable(server: str) -> str:
    """Name of the environment variable that holds a server's API key in the gateway."""
    return f"KEY_{server.upper().replace('-', '_')}"


def litellm_config(gateway_plan: GatewayPlan, urls: Mapping[str, str]) -> dict[str, object]:
    """LiteLLM's configuration file as data; secrets appear as `os.environ/NAME` only. `urls`: server → base URL."""
    model_list = []
    for route in gateway_plan.routes:
        params: dict[str, object] = {
            "model": f"hosted_vllm/{route.model_name}",
            "api_base": f"{urls[route.server]}/v1",
            "api_key": f"os.environ/{key_variable(route.server)}",
            "timeout": gateway_plan.request_timeout_s,
            "stream_timeout": gateway_plan.request_timeout_s,
        }
        optional = {"weight": route.weight, "rpm": route.requests_per_minute, "tpm": route.tokens_per_minute}
        params |= {key: value for key, value in optional.items() if value is not None}
        model_list.append(
            {
                "model_name": route.model_name,
                "litellm_params": params,
                "model_info": {
                    "id": route.server,
                    "mode": "chat",
                    "max_input_tokens": route.context_tokens,
                    "input_cost_per_token": route.input_cost_per_token,
                    "output_cost_per_token": route.output_cost_per_token,
                },
            }
        )
    general: dict[str, object] = {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    if gateway_plan.database:
        general |= {
            "database_url": "os.environ/DATABASE_URL",
            "database_connection_pool_limit": 10,
            "allow_requests_on_db_unavailable": True,
            "proxy_batch_write_at": 60,
        }
    else:
        # without it LiteLLM answers a wrong key with 400 when there is no database to look it up in
        general |= {"custom_auth": AUTH_HOOK, "custom_auth_run_common_checks": True}
    redis = {f"redis_{part}": f"os.environ/REDIS_{part.upper()}" for part in ("host", "port", "password")}
    return {
        "model_list": model_list,
        "router_settings": {
            "routing_strategy": gateway_plan.routing_strategy,
            "num_retries": gateway_plan.retries,
            "timeout": gateway_plan.request_timeout_s,
            "allowed_fails": 3,
            "cooldown_time": 10,
            "enable_pre_call_checks": True,
            "fallbacks": [{name: list(others)} for name, others in gateway_plan.fallbacks],
            **(redis if gateway_plan.redis else {}),
        },
        "litellm_settings": {
            "callbacks": ["prometheus", SURFACE_GUARD],
            **gateway_metrics.settings(),
            "drop_params": True,
            "json_logs": True,
            "request_timeout": gateway_plan.request_timeout_s,
            "set_verbose": False,
        },
        "general_settings": general,
    }
