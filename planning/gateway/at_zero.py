"""Requests for a model without a replica: which are told so at once, which wait for a server, and how long.

Those that fall back need nothing here: a server that is not there is one that fails.
"""

from collections.abc import Iterator, Mapping, Sequence

from planning.plan.at_zero import AtZero
from planning.plan.gateway import GatewayPlan, Route
from planning.plan.servers import ServerPlan
from planning.stack.at_zero import at_zero, held_s, to_zero
from settings.doubt import follows_from, judge
from settings.problems import Problem
from settings.schema import ModelSettings, StackSettings

# A module beside LiteLLM's configuration, its object and its data: components/pod_scripts/gateway_at_zero.py.
AT_ZERO_MODULE = "gateway_at_zero"
AT_ZERO_CALLBACK = f"{AT_ZERO_MODULE}.at_zero"
AT_ZERO_FILE = "at_zero.json"
# Of one gateway pod, all models together. 200 that waited took 40 MiB and 3 % of a core (LiteLLM 1.109.1, tried); a
# body of several images is larger, and everything that waits is let go at the same moment.
MOST_HELD = 256


def plan_at_zero(
    models: Mapping[str, ModelSettings], servers: Sequence[ServerPlan], routes: Sequence[Route]
) -> tuple[AtZero, ...]:
    """One entry per public name that fails at once or waits; a canary answers for its model while that is away."""
    by_name = {server.name: server for server in servers}
    kept = [route for route in routes if at_zero(models[by_name[route.server].model_name]) in ("fail", "hold")]
    planned = []
    for name in dict.fromkeys(route.model_name for route in kept):
        own = {route.id: route.server for route in kept if route.model_name == name}
        server = next(by_name[server] for server in own.values())
        hold_s = held_s(models[server.model_name], server.timing)
        # a router answers for its servers as soon as it knows one
        path = server.router.ready_path if server.router else server.endpoint.health_path
        planned.append(AtZero(name, own, path, hold_s, server.timing.cold_start_s))
    return tuple(planned)


def holds_s(plans: Sequence[AtZero]) -> Mapping[str, int]:
    """Public name → how long it makes a request wait."""
    return {plan.model_name: plan.hold_s for plan in plans if plan.hold_s is not None}


def at_zero_problems(settings: StackSettings, name: str, servers: Sequence[ServerPlan]) -> list[Problem]:
    """Words about a model without a replica that cannot come true, or that would answer nobody."""
    return judge(_word_problems, settings, name) + judge(_hold_problems, settings, name, servers)


def _word_problems(settings: StackSettings, name: str) -> Iterator[Problem]:
    model = settings.models[name]
    asked, path = model.scaling.at_zero, f"models.{name}.scaling"
    if asked is not None and not to_zero(model):
        yield Problem(
            f"{path}.atZero",
            f"{asked}, but it always has {model.replicas.min} or more; leave it out, or use replicas.min: 0",
        )
    if asked == "fallback" and not model.fallbacks:
        yield Problem(f"{path}.atZero", f"fallback needs models.{name}.fallbacks; give one, or use hold or fail")
    if model.scaling.hold_s is not None and asked != "hold":
        yield Problem(f"{path}.holdS", "nothing is held; leave it out, or use atZero: hold")


def _hold_problems(settings: StackSettings, name: str, servers: Sequence[ServerPlan]) -> Iterator[Problem]:
    """A wait that is over before anybody can answer."""
    model = settings.models[name]
    # the time of a start has been made of the rates at which weights are read
    follows_from(model.weights or settings.weights)
    start = next((each.timing.cold_start_s for each in servers if each.model_name == name and not each.canary), 0)
    if model.scaling.at_zero == "hold" and (held := model.scaling.hold_s) is not None and held < start:
        yield Problem(
            f"models.{name}.scaling.holdS",
            f"{held} s are over before the {start} s that a start takes, and nobody would be answered; use at least "
            f"{start}, or leave it out",
        )


def at_zero_reasons(plans: Sequence[AtZero]) -> Iterator[tuple[str, str]]:
    """Sentences about each name, for the preview."""
    for plan in plans:
        if plan.hold_s is None:
            yield f"{plan.model_name} at zero", f"503 at once, with retry-after {plan.start_s} s"
        else:
            yield (
                f"{plan.model_name} at zero",
                f"requests wait for up to {plan.hold_s} s, {MOST_HELD} per gateway pod; those beyond get 503",
            )


def at_zero_file(gateway: GatewayPlan, urls: Mapping[str, str]) -> Mapping[str, object]:
    """Data for the script beside LiteLLM's configuration; `urls`: server → base URL."""
    return {
        "most_held": MOST_HELD,
        "models": {
            plan.model_name: {
                "hold_s": plan.hold_s,
                "start_s": plan.start_s,
                "servers": {route: f"{urls[server]}{plan.health_path}" for route, server in plan.routes.items()},
            }
            for plan in gateway.at_zero
        },
    }
