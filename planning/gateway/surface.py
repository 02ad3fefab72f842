"""Paths of LiteLLM that clients may call: its inference API. All else is for the operator, or for nobody.

LiteLLM 1.109.1 serves 620 routes on one port: keys, spend, files, batches, agents, MCP servers and their sign-in pages.
The list is used three times: for the route from outside, by the guard in front of LiteLLM in its own process
(components/pod_scripts/gateway_surface.py), and for the role of clients without a database (gateway_auth.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from planning.plan.gateway import GatewayPlan
from planning.tasks import VERSION

# What outside monitors may ask: a constant, so it costs nothing. Readiness asks Postgres and stays inside.
LIVELINESS = "/health/liveliness"
# A pod that starts anew is asked for readiness three times in 30 s before the Service forgets it, and proxies in front
# need a moment to hear of it; it answers so long.
LEAVE_S = 60
# What an Ingress lets through: several images in a chat.
LARGEST_BODY_MIB = 64


@dataclass(frozen=True)
class Call:
    """One path of the API below `/v1`, with its methods.

    `below`: how many further segments may follow, with `below_methods`; 0 for none.
    """

    path: str
    methods: tuple[str, ...] = ("POST",)
    below: int = 0
    below_methods: tuple[str, ...] = ()


# The calls that vLLM serves (routes of the app of LiteLLM 1.109.1; a test compares them with the app's own).
INFERENCE = (
    Call("/chat/completions"),
    Call("/completions"),
    Call("/embeddings"),
    Call("/rerank"),
    Call("/messages"),
    Call("/messages/count_tokens"),
    Call("/audio/transcriptions"),
    # below: an answer by its id, its cancel and input_items, input_tokens and compact
    Call("/responses", below=2, below_methods=("GET", "POST", "DELETE")),
    # below: one model by its name
    Call("/models", ("GET",), below=1, below_methods=("GET",)),
)


def routed() -> tuple[tuple[str, bool], ...]:
    """(path, whether with everything below it) of all that is reached from outside."""
    return (*((f"{VERSION}{call.path}", call.below > 0) for call in INFERENCE), (LIVELINESS, False))


def surface_file(gateway: GatewayPlan) -> Mapping[str, object]:
    """Data for the two scripts beside LiteLLM's configuration.

    Calls are there with and without `/v1`: LiteLLM serves both, and clients in the cluster use both. `admin`: whether
    the master key opens everything else, which only a database gives a meaning. `restart_after_requests`: None, never;
    `leave_s`: how long it goes on answering then. `close_s`: how long it asks clients to close, once it is told to end.
    """
    exact: dict[str, list[str]] = {}
    below: dict[str, object] = {}
    for call in INFERENCE:
        for path in (f"{VERSION}{call.path}", call.path):
            exact[path] = list(call.methods)
            if call.below:
                below[f"{path}/"] = {"segments": call.below, "methods": list(call.below_methods)}
    return {
        "exact": exact,
        "below": below,
        "admin": gateway.database is not None,
        "restart_after_requests": gateway.restart_after_requests,
        "leave_s": LEAVE_S,
        "close_s": gateway.close_s,
    }
