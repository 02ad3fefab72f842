"""The router before replicas: when there is one, what the preview says of it, and where it would be of no use.

What it does is shown with the real one in tests/gateway/test_prefix.py and tests/local/test_replicas.py.
"""

import pytest

from planning.capacity.flags import prefix_cache_is_off
from tests.unit.small_stack import planned, refusals, server, serving

TWO = {"min": 1, "max": 2}


def test_only_prefix_has_a_router():
    """Two pods on the port of their own, whose images are pulled too; a canary is reached by its Service."""
    plan = planned(serving(replicas=TWO, routing="prefix", canary={"weight": 10, "maxNumSeqs": 8}))
    found, canary = (one.router for one in plan.servers)
    assert found is not None
    assert (found.name, found.replicas, found.port, canary) == ("vllm-m-router", 2, 8080, None)
    assert found.image in plan.images
    assert server(serving(replicas=TWO)).router is None


@pytest.mark.parametrize(("model", "asked"), [({"routing": "prefix"}, True), ({}, False)])
def test_servers_say_tokens_to_a_router(model, asked):
    """Which the engine refuses unless it is told to; without a router nobody asks."""
    assert ("--enable-scale-out" in server(serving(replicas=TWO, **model)).args) == asked


@pytest.mark.parametrize(("sequences", "apart"), [(1, 1), (7, 1), (8, 2), (16, 4), (256, 64), (512, 64)])
def test_replicas_are_not_far_apart(sequences, apart):
    """A quarter of what one computes at once, and no more than the router's own figure."""
    router = server(serving(replicas=TWO, routing="prefix", maxNumSeqs=sequences)).router
    assert router is not None
    assert f"--balance-abs-threshold={apart}" in router.args


def test_a_router_has_the_time_of_its_server():
    """Whoever streams through it when it stops may end."""
    found = server(serving(replicas=TWO, routing="prefix"))
    assert found.router is not None
    assert found.router.termination_grace_s == found.timing.termination_grace_s


def test_a_request_at_zero_waits_for_what_the_router_knows():
    """It says so itself."""
    scaling = {"atZero": "hold"}
    (found,) = planned(serving(replicas={"min": 0, "max": 2}, routing="prefix", scaling=scaling)).gateway.at_zero
    assert found.health_path == "/readiness"


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        ({"replicas": TWO, "routing": "prefix"}, "prefix: 2 routers"),
        ({"replicas": TWO}, "service: any replica; prefix pays where"),
        ({}, None),
    ],
)
def test_the_preview_says_when_it_pays(model, begins):
    """Where there is a choice of replicas."""
    reason = server(serving(**model)).reasons.get("routing")
    assert (reason or "").startswith(begins) if begins else reason is None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "prefix has one replica to choose from; use replicas.max: 2 or more, or routing: service"),
        (
            {"replicas": TWO, "args": ["--no-enable-prefix-caching"]},
            "prefix needs the prefix cache, which args turn off; use routing: service",
        ),
        (
            {"replicas": TWO, "args": ["--disable-scale-out"]},
            "prefix asks servers for tokens, which args turn off; use routing: service",
        ),
    ],
)
def test_a_router_of_no_use_is_refused(model, said):
    """With what to write instead."""
    assert refusals(serving(routing="prefix", **model)) == [f"models.m.routing: {said}"]


@pytest.mark.parametrize(
    ("args", "off"),
    [
        ([], False),
        (["--enable-prefix-caching"], False),
        (["--no-enable-prefix-caching"], True),
        (["--no_enable_prefix_caching"], True),
        (["--enable-prefix-caching", "--disable-prefix-caching"], True),
        (["--no-enable-prefix-caching", "--enable-prefix-caching"], False),
        (["--prefix-caching-hash-algo=sha256"], False),
    ],
)
def test_the_last_word_about_the_cache_counts(args, off):
    """As in the engine's parser."""
    assert prefix_cache_is_off(args) is off
