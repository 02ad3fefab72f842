"""The gateway: one route per served model, limits counted once for all replicas, timeouts that do not cut an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.schema import Networks
from planning.gateway.prices import free_problems, price_reasons, token_price
from planning.gateway.stores import counted_in_memory, plan_database, plan_redis
from planning.plan import (
    GATEWAY,
    GatewayPlan,
    HttpRoute,
    ImagePlan,
    Ingress,
    Route,
    ServerPlan,
)
from planning.stack.timing import (
    DEFAULT_REQUEST_TIMEOUT_S,
    GATEWAY_AWAIT_TIMEOUT_S,
    GATEWAY_PROBES,
    PRE_STOP_S,
    PROBE_GRACE_S,
    SHUTDOWN_MARGIN_S,
    all_tries_s,
    first_token_timeout_s,
    gateway_drain_s,
)
from planning.tasks import Task, unanswered
from settings.problems import Problem, nearest
from settings.schema import (
    ClusterOnly,
    GatewayApiExposure,
    GatewaySettings,
    IngressExposure,
    ModelSettings,
    NoRedis,
    StackSettings,
)

PORT = 4000
METRICS_PORT = 4002
# About one CPU and 4 GiB per worker at steady state; less ends in OOM kills (LiteLLM docs, proxy/prod, 2026-10).
CPUS = 1
MEMORY_GIB = 4
MEMORY_REASON = "LiteLLM asks for 4 GiB per worker; it took half a GiB under load"
# Tried: 0.46 GiB after 1,200 chats and after 3,200.
RESTART_REASON = "never: what it holds does not grow with what it serves, and a pod that starts anew is a pod less"
# What is in front of the gateway waits this much longer, so that a client sees the gateway's own error.
ROUTE_MARGIN_S = 30


def plan_routes(servers: Sequence[ServerPlan], models: Mapping[str, ModelSettings]) -> tuple[Route, ...]:
    """One route per server that gets traffic; a weight only where two servers share a name."""
    canaries = {server.model_name: server.weight for server in servers if server.canary}
    found = []
    for server in servers:
        if server.weight == 0:
            continue
        model = models[server.model_name]
        price = token_price(server, model)
        part = _Part(canaries.get(server.model_name, 0), of_canary=server.canary)
        found.append(
            Route(
                model_name=server.model_name,
                model=f"{server.endpoint.provider}/{server.model_name}",
                server=server.name,
                weight=server.weight if part.shared else None,
                requests_per_minute=part.of(model.requests_per_minute),
                tokens_per_minute=part.of(model.tokens_per_minute),
                input_cost_per_token=price[0],
                output_cost_per_token=price[1],
                task=server.task,
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class _Part:
    """A server's part of its model's limits: all parts add up to the limit, whatever it is."""

    canary_weight: int
    of_canary: bool

    @property
    def shared(self) -> bool:
        """Whether two servers get traffic."""
        return 0 < self.canary_weight < 100

    def of(self, limit: int | None) -> int | None:
        """The part; 0 for the canary of a limit of 1, which its other server then has."""
        if limit is None or not self.shared:
            return limit
        canary = min(limit - 1, max(1, limit * self.canary_weight // 100))
        return canary if self.of_canary else limit - canary


def resolve_gateway(
    settings: StackSettings,
    servers: Sequence[ServerPlan],
    images: Mapping[str, ImagePlan],
    networks: Networks,
    problems: list[Problem],
) -> GatewayPlan:
    """The whole gateway; a fallback that no server serves, or a timeout that cuts answers, is a problem."""
    wanted = settings.gateway
    fallbacks = _fallbacks(settings, {server.model_name: server.task for server in servers}, problems)
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
    planned = plan_routes(servers, settings.models)
    problems.extend(free_problems(settings, planned))
    reasons |= price_reasons(settings, planned)
    silence = _silence(wanted, servers, timeout, reasons, problems)
    chain = max((_chain(name, servers, dict(fallbacks)) for name in settings.models), default=1)
    longest_s = all_tries_s(chain, wanted.retries, timeout_s=timeout, first_token_timeout_s=silence)
    drain = gateway_drain_s(longest_s, timeout)
    reasons["routeTimeoutS"] = (
        f"{chain} × {wanted.retries + 1} tries of {timeout} s, the pauses between them, and {ROUTE_MARGIN_S} s"
    )
    if isinstance(wanted.redis, NoRedis):
        reasons["redis"] = counted_in_memory(settings, problems)
    return GatewayPlan(
        name=GATEWAY,
        image=images["litellm"],
        replicas=wanted.replicas,
        server_ports=tuple(sorted({server.endpoint.port for server in servers})),
        routes=planned,
        fallbacks=fallbacks,
        larger_fallbacks=_larger(fallbacks, servers),
        request_timeout_s=timeout,
        first_token_timeout_s=silence,
        route_timeout_s=longest_s + ROUTE_MARGIN_S,
        retries=wanted.retries,
        redis=plan_redis(settings, images, networks),
        database=plan_database(wanted, networks, problems),
        existing_secret=wanted.existing_secret,
        exposure=_exposure(wanted),
        cpus=CPUS,
        memory_gib=wanted.memory_gib or MEMORY_GIB,
        restart_after_requests=wanted.restart_after_requests,
        pre_stop_s=PRE_STOP_S,
        drain_s=drain,
        termination_grace_s=PRE_STOP_S + drain + SHUTDOWN_MARGIN_S,
        probe_grace_s=PROBE_GRACE_S,
        probes=GATEWAY_PROBES,
        await_timeout_s=GATEWAY_AWAIT_TIMEOUT_S,
        reasons=reasons,
    )


def _silence(
    wanted: GatewaySettings,
    servers: Sequence[ServerPlan],
    timeout: int,
    reasons: dict[str, str],
    problems: list[Problem],
) -> int:
    """Seconds a stream may be silent; more than a whole answer may take is a problem."""
    given = wanted.first_token_timeout_s
    if given is not None:
        reasons["firstTokenTimeoutS"] = "given"
        if given > timeout:
            problems.append(
                Problem(
                    "gateway.firstTokenTimeoutS",
                    f"{given} s is longer than a whole answer may take ({timeout} s); use at most {timeout}, or a "
                    "longer gateway.requestTimeoutS",
                )
            )
        return given
    context = max((server.memory.context_tokens for server in servers), default=1)
    reasons["firstTokenTimeoutS"] = f"the longest prompt has {context} tokens; at most requestTimeoutS"
    return first_token_timeout_s(context, timeout)


def _chain(name: str, servers: Sequence[ServerPlan], fallbacks: Mapping[str, Sequence[str]]) -> int:
    """How many servers a request may ask one after the other: those of its model, then those of all fallbacks."""
    names = [name]
    for model in names:
        names += [other for other in fallbacks.get(model, ()) if other not in names]
    return max(1, sum(server.model_name in names and server.weight > 0 for server in servers))


def _larger(
    fallbacks: Sequence[tuple[str, tuple[str, ...]]], servers: Sequence[ServerPlan]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Of each model's fallbacks, those all of whose servers have more context than any of its own."""
    contexts: dict[str, list[int]] = {}
    for server in servers:
        if server.weight > 0:
            contexts.setdefault(server.model_name, []).append(server.memory.context_tokens)
    found = []
    for name, others in fallbacks:
        own = max(contexts.get(name, [0]))
        larger = tuple(other for other in others if min(contexts.get(other, [0])) > own)
        if larger:
            found.append((name, larger))
    return tuple(found)


def _exposure(wanted: GatewaySettings) -> HttpRoute | Ingress | None:
    if isinstance(wanted.expose, ClusterOnly):
        return None
    assert wanted.host is not None, "settings demand one"
    match wanted.expose:
        case GatewayApiExposure(gateway_name=name, gateway_namespace=namespace, section_name=section):
            return HttpRoute(wanted.host, name, namespace, section)
        case IngressExposure(class_name=name, tls_secret=secret, annotations=annotations):
            return Ingress(wanted.host, name, secret, annotations)


def _fallbacks(
    settings: StackSettings, tasks: Mapping[str, Task], problems: list[Problem]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Those of each model; `tasks`: of the models that can be planned."""
    found = []
    for name, model in settings.models.items():
        for position, other in enumerate(model.fallbacks):
            path = f"models.{name}.fallbacks[{position}]"
            if other == name:
                problems.append(Problem(path, "a model cannot be its own fallback"))
            elif other not in settings.models:
                problems.append(Problem(path, f"no model '{other}' is served{nearest(other, settings.models)}"))
            elif name in tasks and other in tasks and (missing := unanswered(tasks[name], tasks[other])):
                problems.append(Problem(path, f"'{other}' does not answer {missing}, as '{name}' does"))
        if model.fallbacks:
            found.append((name, tuple(model.fallbacks)))
    return tuple(found)
