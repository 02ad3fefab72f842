"""Parts of a plan from some sections of a stack file, beside those of the whole plan.

What follows from the sections is proved with each part.
"""

from collections.abc import Callable
from typing import Any

import pytest

from planning.near import ADD_GPU
from planning.parts import (
    plan_dns,
    plan_gateway,
    plan_observability,
    plan_pool,
    plan_server,
    plan_stack,
    plan_weights,
)
from settings import Refused
from tests.unit.small_stack import A10, CATALOG, CPU, MODEL, stack

CANARY = {**MODEL, "canary": {"weight": 10, "contextTokens": 4096}}
NODES = {"a10": {**A10, "nodes": 8}, "cpu": CPU}
SECTIONS = stack(gpuPools=NODES, models={"m": CANARY, "n": {**MODEL, "replicas": {"min": 1, "max": 2}}})
ON_GKEE = {"context": "c", "identifier": "i", "platform": "gkee"}
NO_GKEE = "cluster.platform: unknown platform 'gkee'; did you mean 'gke'?"
OTHERS = ("gateway", "autoscaling", "charts")


def without(*keys: str) -> dict[str, Any]:
    """The sections but these."""
    return {key: value for key, value in SECTIONS.items() if key not in keys}


def test_every_part_is_that_of_the_whole_plan():
    """Pools, weights, servers, canaries, gateway and monitoring: alone they are what they are in the stack."""
    whole = plan_stack(SECTIONS, CATALOG)
    assert {name: plan_pool(without(*OTHERS), name, CATALOG) for name in NODES} == whole.pools
    assert plan_weights(without(*OTHERS), CATALOG) == whole.weights
    servers = [("m", False), ("m", True), ("n", False)]
    assert (
        tuple(plan_server(without(*OTHERS), name, CATALOG, canary=canary) for name, canary in servers) == whole.servers
    )
    assert plan_gateway(SECTIONS, CATALOG) == whole.gateway
    assert plan_observability(SECTIONS, CATALOG) == whole.observability


def test_a_pool_needs_no_servers():
    """Without models its nodes have to give what was promised of them, and it is the same pool otherwise."""
    alone, whole = plan_pool(without("models", "weights"), "cpu", CATALOG), plan_pool(SECTIONS, "cpu", CATALOG)
    assert (alone.node_selector, alone.verification, alone.needed.cpus) == (
        whole.node_selector,
        whole.verification,
        whole.needed.cpus,
    )


def refusal(plan: Callable[[], object]) -> list[str]:
    """Everything that is said against it."""
    with pytest.raises(Refused) as caught:
        plan()
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            lambda: plan_server(without("weights", "cluster"), "m", CATALOG),
            [
                "weights: is missing: how model weights reach the pods; a sharedClaim unless kind says otherwise",
                "cluster: is missing: which cluster",
            ],
        ),
        (
            lambda: plan_pool(without("gpuPools", "models"), "a10", CATALOG),
            ["gpuPools: is missing: groups of nodes, by name"],
        ),
        (lambda: plan_pool(SECTIONS, "a11", CATALOG), ["gpuPools.a11: no pool 'a11'; did you mean 'a10'?"]),
        (lambda: plan_server(SECTIONS, "x", CATALOG), ["models.x: no model 'x'; known: m, n"]),
        (
            lambda: plan_server(SECTIONS, "n", CATALOG, canary=True),
            ["models.n: no canary of a model 'n'; known: m"],
        ),
        (
            lambda: plan_pool({**without("models"), "gpuPools": {"p": {**A10, "gpu": "nvidia-a1"}}}, "p", CATALOG),
            [f"gpuPools.p.gpu: unknown GPU 'nvidia-a1'{ADD_GPU}"],
        ),
        (lambda: plan_pool({**without("models"), "cluster": ON_GKEE}, "a10", CATALOG), [NO_GKEE]),
        (lambda: plan_dns({**without("models"), "cluster": ON_GKEE}, CATALOG), [NO_GKEE]),
    ],
)  # fmt: skip
def test_what_is_missing_has_its_path(plan: Callable[[], object], said: list[str]):
    """A section that a part follows from, a name that is not there, and what is wrong in it."""
    assert sorted(refusal(plan)) == sorted(said)


def test_what_a_part_does_not_follow_from_is_not_looked_at():
    """A gateway that is refused keeps nobody from a server."""
    broken = {**SECTIONS, "gateway": {"replicas": 0}}
    assert plan_server(broken, "n", CATALOG) == plan_server(SECTIONS, "n", CATALOG)
