"""The gateway: one route per served model, limits counted once for all replicas, timeouts that do not cut an answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.load import Catalog
from planning.gateway.additions import gateway_addition_problems, gateway_additions
from planning.gateway.at_zero import at_zero_problems, at_zero_reasons, holds_s, plan_at_zero
from planning.gateway.callbacks import callback_places, callback_problems, plan_callbacks
from planning.gateway.capacity import CPUS, plan_size
from planning.gateway.chat_ui import chat_ui_problems, chat_ui_warnings, plan_chat_ui
from planning.gateway.edges import EdgeTarget, edge_problems, edge_warnings, plan_exposure
from planning.gateway.fallbacks import fallbacks_of
from planning.gateway.names import public_name_problems
from planning.gateway.outside import plan_outside
from planning.gateway.prices import free_problems, free_warnings, price_reasons, second_price, token_price
from planning.gateway.providers import (
    plan_providers,
    provider_models,
    provider_places,
    provider_problems,
    provider_reasons,
    provider_warnings,
)
from planning.gateway.settings import setting_problems, setting_warnings
from planning.gateway.stores import (
    counted_in_memory,
    database_problems,
    database_warnings,
    plan_database,
    plan_redis,
    redis_problems,
)
from planning.gateway.surface import LIVELINESS
from planning.gateway.teams import plan_teams
from planning.gateway.times import Times, answer_problems, plan_times, silence_problems
from planning.plan.gateway import GATEWAY, AuditPlan, GatewayPlan, Route
from planning.plan.pods import ImagePlan
from planning.plan.providers import ProviderPlan
from planning.plan.servers import ServerPlan
from planning.stack.gateway_cpu import costs
from planning.stack.timing import (
    GATEWAY_AWAIT_TIMEOUT_S,
    GATEWAY_CLOSE_S,
    GATEWAY_PROBES,
    PRE_STOP_S,
    PROBE_GRACE_S,
    SHUTDOWN_MARGIN_S,
)
from planning.tasks import GENERATE, Task, unanswered
from settings.doubt import judge, judged
from settings.problems import Problem, nearest
from settings.schema import (
    ClusterOnly,
    IngressExposure,
    ModelSettings,
    NoRedis,
    StackSettings,
    public_names,
)

PORT = 4000
METRICS_PORT = 4002
# 4 GiB per worker at steady state; less ends in OOM kills (LiteLLM docs, proxy/prod, 2026-10).
MEMORY_GIB = 4
MEMORY_REASON = "LiteLLM asks for 4 GiB per worker; it took half a GiB under load"
# Tried: 0.46 GiB after 1,200 chats and after 3,200.
RESTART_REASON = "never: what it holds does not grow with what it serves, and a pod that starts anew is a pod less"


def plan_routes(servers: Sequence[ServerPlan], models: Mapping[str, ModelSettings]) -> tuple[Route, ...]:
    """A route per name of each server that gets traffic; a weight only where two servers share their names."""
    canaries = {server.model_name: server.weight for server in servers if server.canary}
    routes = []
    for server in servers:
        if server.weight == 0:
            continue
        model = models[server.model_name]
        price = token_price(server, model)
        part = _Part(canaries.get(server.model_name, 0), of_canary=server.canary)
        routes += [
            Route(
                model_name=name,
                model=f"{server.endpoint.provider}/{known}",
                id=server.name if known == server.model_name else f"{server.name}/{known}",
                server=server.name,
                weight=server.weight if part.shared else None,
                requests_per_minute=part.of(model.requests_per_minute),
                tokens_per_minute=part.of(model.tokens_per_minute),
                input_cost_per_token=price[0],
                output_cost_per_token=price[1],
                input_cost_per_second=second_price(server, model),
                task=server.task,
                priced_as=server.model_name,
            )
            for name, known in server.serves.items()
        ]
    return tuple(routes)


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
    settings: StackSettings, servers: Sequence[ServerPlan], images: Mapping[str, ImagePlan], catalog: Catalog
) -> tuple[GatewayPlan, list[Problem]]:
    """The whole gateway; a fallback that no server serves, or a timeout that cuts answers, is a problem."""
    gateway, planned = settings.gateway, plan_routes(servers, settings.models)
    asleep = plan_at_zero(settings.models, servers, planned)
    times = plan_times(settings, servers, holds_s(asleep))
    size, networks = plan_size(gateway, servers, costs(catalog)), catalog.networks
    fallbacks = fallbacks_of(settings.models)
    providers = plan_providers(settings)
    teams, of_teams = judged(plan_teams, settings, planned, fallbacks)
    termination_s = PRE_STOP_S + GATEWAY_CLOSE_S + times.drain_s + SHUTDOWN_MARGIN_S
    place = gateway_place(settings, times.route.s, termination_s)
    plan = GatewayPlan(
        name=GATEWAY,
        image=images["litellm"],
        size=size,
        server_ports=tuple(sorted({server.endpoint.port for server in servers})),
        routes=planned,
        fallbacks=fallbacks,
        larger_fallbacks=_larger(fallbacks, servers, providers),
        request_timeout_s=times.request.s,
        first_token_timeout_s=times.first_token.s,
        route_timeout_s=times.route.s,
        retries=gateway.retries,
        redis=plan_redis(settings, images, networks),
        database=plan_database(settings, images, catalog, size.most),
        existing_secret=gateway.existing_secret,
        exposure=plan_exposure(settings, catalog, place),
        cpus=CPUS,
        memory_gib=gateway.memory_gib or MEMORY_GIB,
        restart_after_requests=gateway.restart_after_requests,
        pre_stop_s=PRE_STOP_S,
        close_s=GATEWAY_CLOSE_S,
        drain_s=times.drain_s,
        termination_grace_s=termination_s,
        probe_grace_s=PROBE_GRACE_S,
        probes=GATEWAY_PROBES,
        await_timeout_s=GATEWAY_AWAIT_TIMEOUT_S,
        providers=providers,
        audit=AuditPlan(gateway.audit.prompts) if gateway.audit else None,
        outside=plan_outside({**provider_places(settings), **callback_places(settings)}, settings.cluster, networks),
        callbacks=plan_callbacks(settings),
        reasons={
            **size.reasons,
            **_reasons(settings, times, planned),
            **provider_reasons(settings, providers),
            **dict(at_zero_reasons(asleep)),
        },
        at_zero=asleep,
        teams=teams,
        chat_ui=plan_chat_ui(settings, teams, images, catalog, times.route.s),
        additions=gateway_additions(settings, networks),
    )
    return plan, [
        *_problems(settings, servers, planned, catalog),
        *gateway_addition_problems(settings, plan),
        *of_teams,
    ]


def _problems(
    settings: StackSettings, servers: Sequence[ServerPlan], planned: Sequence[Route], catalog: Catalog
) -> list[Problem]:
    """Problems of all that is planned above, each judged by itself."""
    gateway, networks = settings.gateway, catalog.networks
    tasks = {name: server.task for server in servers for name in server.serves}
    problems = [p for name in settings.models for p in judge(_fallback_problems, settings, name, tasks)]
    problems += judge(callback_problems, settings, networks)
    taken = {word for each in planned for word in (each.model_name, each.id)}
    problems += judge(provider_problems, settings, taken, networks)
    problems += judge(public_name_problems, settings.models, planned)
    problems += judge(answer_problems, gateway, servers) + judge(free_problems, settings, planned)
    problems += judge(silence_problems, gateway, servers)
    problems += [p for name in settings.models for p in at_zero_problems(settings, name, servers)]
    problems += chat_ui_problems(settings, networks) + judge(edge_problems, settings, catalog)
    problems += judge(setting_problems, settings, catalog.litellm)
    return problems + judge(redis_problems, gateway) + judge(database_problems, gateway)


def gateway_place(settings: StackSettings, timeout_s: int, drain_s: int) -> EdgeTarget | None:
    """The gateway, as an edge in front of it sees it; None: none is in front of it."""
    gateway = settings.gateway
    if isinstance(gateway.expose, ClusterOnly) or gateway.host is None:
        return None
    tls_secret = gateway.expose.tls_secret if isinstance(gateway.expose, IngressExposure) else None
    return EdgeTarget(GATEWAY, gateway.host, PORT, LIVELINESS, timeout_s, drain_s, tls_secret)


def gateway_warnings(settings: StackSettings, plan: GatewayPlan, catalog: Catalog) -> list[str]:
    """Sentences for a reviewer about a gateway that works."""
    place = gateway_place(settings, plan.route_timeout_s, plan.termination_grace_s)
    return [
        *edge_warnings(settings, catalog, place),
        *free_warnings(plan.routes),
        *plan.size.warnings,
        *database_warnings(settings.gateway),
        *provider_warnings(settings, plan.providers),
        *chat_ui_warnings(plan.chat_ui),
        *setting_warnings(settings),
    ]


def _reasons(settings: StackSettings, times: Times, planned: Sequence[Route]) -> dict[str, str]:
    gateway = settings.gateway
    return {
        "requestTimeoutS": times.request.reason,
        "memoryGib": "given" if gateway.memory_gib else MEMORY_REASON,
        "restartAfterRequests": "given" if gateway.restart_after_requests else RESTART_REASON,
        **price_reasons(settings, planned),
        "firstTokenTimeoutS": times.first_token.reason,
        "routeTimeoutS": times.route.reason,
        **({"redis": counted_in_memory(settings.models)} if isinstance(gateway.redis, NoRedis) else {}),
    }


def _larger(
    fallbacks: Sequence[tuple[str, tuple[str, ...]]], servers: Sequence[ServerPlan], providers: Sequence[ProviderPlan]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Fallbacks of each model, all of whose servers have more context than any of the model's own."""
    contexts = {model.name: [model.context_tokens] for provider in providers for model in provider.models}
    for server in servers:
        if server.weight > 0:
            for name in server.serves:
                contexts.setdefault(name, []).append(server.memory.context_tokens)
    pairs = []
    for name, names in fallbacks:
        own = max(contexts.get(name, [0]))
        larger = tuple(fallback for fallback in names if min(contexts.get(fallback, [0])) > own)
        if larger:
            pairs.append((name, larger))
    return tuple(pairs)


def _fallback_problems(settings: StackSettings, name: str, tasks: Mapping[str, Task]) -> Iterator[Problem]:
    """Problems of the fallbacks of one model; `tasks`: of the models that can be planned."""
    # what providers do, chat models do
    tasks = {**dict.fromkeys(provider_models(settings), GENERATE), **tasks}
    names = public_names(settings.models)
    known, own = [*names, *names.values(), *provider_models(settings)], names[name]
    for position, word in enumerate(settings.models[name].fallbacks):
        path, fallback = f"models.{name}.fallbacks[{position}]", names.get(word, word)
        if fallback == own:
            yield Problem(path, "a model cannot be its own fallback")
        elif word not in known:
            yield Problem(path, f"no model '{word}' is served{nearest(word, known)}")
        elif own in tasks and fallback in tasks and (missing := unanswered(tasks[own], tasks[fallback])):
            yield Problem(path, f"'{fallback}' does not answer {missing}, as '{own}' does")
