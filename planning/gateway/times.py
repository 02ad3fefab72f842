"""Times that the gateway waits for an answer, for its first token and for all tries together, with reasons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planning.gateway.fallbacks import chains_of
from planning.gateway.providers import provider_models
from planning.plan.servers import ServerPlan
from planning.stack.timing import DEFAULT_REQUEST_TIMEOUT_S, all_tries_s, first_token_timeout_s, gateway_drain_s
from settings.problems import Problem
from settings.schema import GatewaySettings, StackSettings

# What is in front of the gateway waits this much longer, so that a client sees the gateway's own error.
ROUTE_MARGIN_S = 30


@dataclass(frozen=True)
class Wait:
    """Seconds, and why so many."""

    s: int
    reason: str


@dataclass(frozen=True)
class Times:
    """Limits of a request: one answer, silence before and between its tokens, all tries, and what is drained."""

    request: Wait
    first_token: Wait
    route: Wait
    drain_s: int


def plan_times(settings: StackSettings, servers: Sequence[ServerPlan], holds_s: Mapping[str, int]) -> Times:
    """The settings' times, or as long as the longest answer of these servers takes at the slowest accepted speed.

    `holds_s`: model → how long it makes a request wait for a server, before any try.
    """
    gateway = settings.gateway
    request, first_token = _request(gateway, servers), _first_token(gateway, servers)
    servers_of = Counter([*provider_models(settings)])
    servers_of.update(name for server in servers if server.weight > 0 for name in server.serves)

    def longest(names: Sequence[str]) -> tuple[int, int, int]:
        tried, held_s = (
            max(1, sum(servers_of.get(name, 0) for name in names)),
            sum(holds_s.get(name, 0) for name in names),
        )
        tries_s = all_tries_s(tried, gateway.retries, timeout_s=request.s, first_token_timeout_s=first_token.s)
        return held_s + tries_s, held_s, tried

    longest_s, held_s, tried = max(
        (longest((name, *chain)) for name, chain in chains_of(settings.models).items()), default=longest(())
    )
    why = f"{tried} × {gateway.retries + 1} tries of {request.s} s, the pauses between them, and {ROUTE_MARGIN_S} s"
    why += f"; before them {held_s} s for a server to start" if held_s else ""
    drain_s = gateway_drain_s(longest_s, held_s + request.s)
    return Times(request, first_token, Wait(longest_s + ROUTE_MARGIN_S, why), drain_s)


def answer_problems(settings: GatewaySettings, servers: Sequence[ServerPlan]) -> list[Problem]:
    """A timeout that would cut the longest answer of a server."""
    timeout = _request(settings, servers).s
    slowest = max(servers, key=lambda server: server.timing.longest_request_s, default=None)
    if slowest is None or timeout >= (longest := slowest.timing.longest_request_s):
        return []
    writes = slowest.task.writes
    return [
        Problem(
            "gateway.requestTimeoutS",
            f"{timeout} s would cut the longest answer of {slowest.model_name} ({longest} s); use at least "
            f"{longest}, or a smaller models.{slowest.model_name}.{'maxOutputTokens' if writes else 'contextTokens'}",
        )
    ]


def silence_problems(settings: GatewaySettings, servers: Sequence[ServerPlan]) -> list[Problem]:
    """A silence that would be longer than the whole answer may be."""
    first_token, timeout = settings.first_token_timeout_s, _request(settings, servers).s
    if first_token is None or first_token <= timeout:
        return []
    return [
        Problem(
            "gateway.firstTokenTimeoutS",
            f"{first_token} s is longer than a whole answer may take ({timeout} s); use at most {timeout}, or a "
            "longer gateway.requestTimeoutS",
        )
    ]


def _request(gateway: GatewaySettings, servers: Sequence[ServerPlan]) -> Wait:
    if gateway.request_timeout_s:
        return Wait(gateway.request_timeout_s, "given")
    longest, least = max((server.timing.longest_request_s for server in servers), default=0), DEFAULT_REQUEST_TIMEOUT_S
    why = f"the longest answer takes {longest} s at the slowest accepted speed; at least {least}"
    return Wait(max(least, longest), why)


def _first_token(gateway: GatewaySettings, servers: Sequence[ServerPlan]) -> Wait:
    if gateway.first_token_timeout_s is not None:
        return Wait(gateway.first_token_timeout_s, "given")
    context = max((server.memory.context_tokens for server in servers), default=1)
    why = f"the longest prompt has {context} tokens; at most requestTimeoutS"
    return Wait(first_token_timeout_s(context, _request(gateway, servers).s), why)
