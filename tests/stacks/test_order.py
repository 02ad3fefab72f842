"""No update takes anything from a pod that still needs it: every order of the engine's steps, replayed.

Proves nothing about time, packets, or a network plug-in; `tests/engine` compares the steps with the real engine's.
"""

from itertools import permutations
from typing import Any

import pytest

from tests.harness import VARIANTS, Deployed, merged, minimal, own_keys, stack
from tests.reachability import replay
from tests.steps import Op, Update

DRAWS = 1
SMALL = {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 8192}
ROOMY = minimal(gpuPools={"l4": {"nodes": 4}})


def canary(weight: int) -> Any:
    """`ROOMY` with a twin that gets so many percent."""
    return changed("models", small={"canary": {"weight": weight, "contextTokens": 4096}})


def redis(port: int) -> Any:
    """`ROOMY` with a Redis that exists elsewhere."""
    return changed("gateway", redis={"kind": "existing", "host": "redis.example.com", "port": port})


RENAMED = merged(ROOMY, {"models": {"small": None, "other": SMALL}})
IN_ITS_PLACE = merged(RENAMED, {"models": {"other": {"replaces": "small"}}})
ONE = merged(ROOMY, {"gateway": {"replicas": 1}})
NO_REDIS = merged(ONE, {"gateway": {"redis": {"kind": "none"}}})
WITH_DATABASE = merged(ROOMY, {"gateway": {"database": {"existingSecret": "llm-database"}}})
BUNDLED = merged(ROOMY, {"gateway": {"database": {"kind": "bundled"}}})
STANDBYS = merged(ROOMY, {"gateway": {"database": {"kind": "cloudNativePg", "passwordSecret": "llm-postgres"}}})
ANOTHER_KEY = "sk-another-7d41c2aa90e35b66f1"
WATCHED = {"install": False, "namespace": "watch", "prometheusUrl": "http://prometheus.watch:9090"}
ON_DISK = {"storageClass": None, "kind": "existingClaim", "claimName": "disk"}


def changed(key: str, **fields: Any) -> Any:
    """`ROOMY` with fields of one top-level key changed."""
    return merged(ROOMY, {key: fields})


# change → stack file before and after
CHANGES: dict[str, tuple[Any, Any]] = {
    "nothing": (ROOMY, ROOMY),
    "a canary": (ROOMY, canary(10)),
    "more for a canary": (canary(10), canary(50)),
    "all for a canary": (canary(50), canary(100)),
    "a canary promoted": (canary(100), merged(canary(100), {"models": {"small": {"contextTokens": 4096}}})),
    "a canary of 100 that goes": (canary(100), ROOMY),
    "a canary of 10 that goes": (canary(10), ROOMY),
    "another name": (ROOMY, RENAMED),
    "another name in its place": (ROOMY, IN_ITS_PLACE),
    "replaces taken out": (IN_ITS_PLACE, RENAMED),
    "a model more": (ROOMY, changed("models", other=SMALL)),
    "a model less": (changed("models", other=SMALL), ROOMY),
    "another image": (ROOMY, changed("models", small={"image": "docker.io/vllm/vllm-openai:v0.33.1"})),
    "another revision": (ROOMY, changed("models", small={"revision": "1" * 40})),
    "another master key": (own_keys(), own_keys(gatewayMasterKey=ANOTHER_KEY)),
    "keys in a Secret": (own_keys(), minimal()),
    "keys of its own": (minimal(), own_keys()),
    "no Redis": (ONE, NO_REDIS),
    "a Redis": (NO_REDIS, ONE),
    "a Redis elsewhere": (ROOMY, redis(6380)),
    "a Redis on another port": (redis(6380), redis(6381)),
    "a Redis of its own": (redis(6380), ROOMY),
    "a database": (ROOMY, WITH_DATABASE),
    "no database": (WITH_DATABASE, ROOMY),
    "standbys for a database": (BUNDLED, STANDBYS),
    "standbys": (ROOMY, STANDBYS),
    "no standbys": (STANDBYS, BUNDLED),
    "standbys that somebody else runs": (STANDBYS, WITH_DATABASE),
    "a database on another port": (WITH_DATABASE, merged(WITH_DATABASE, {"gateway": {"database": {"port": 6432}}})),
    "another Prometheus": (ROOMY, changed("observability", **WATCHED)),
    "another namespace": (ROOMY, changed("cluster", namespace="other")),
    "another script image": (ROOMY, changed("images", overrides={"python": {"version": "3.14.6-slim-trixie"}})),
    "another port of the hub": (ROOMY, changed("weights", hub={"endpoint": "https://hub.example.com:8443"})),
    "weights on a disk": (ROOMY, changed("weights", **ON_DISK)),
}


def gaps(before: Deployed, after: Deployed, seed: int) -> dict[str, str]:
    """What any order of the steps leaves out of reach → when."""
    found: dict[str, str] = {}
    update = Update.between(before, after)
    for order in update.orders(seed, DRAWS):
        found |= replay(update, order, before.plan, after.plan)
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_takes_what_a_living_pod_needs(name: str):
    """At every step all that a pod asks, mounts or takes from a Secret is there, for old pods and for new ones."""
    before, after = CHANGES[name]
    assert gaps(stack(before), stack(after), seed=1) == {}


@pytest.mark.parametrize("seed", range(8))
def test_no_change_between_any_two_stacks_does(seed: int):
    """The same from each variant to each other, with everything changed at once."""
    # one that serves the whole catalogue differs from the others in nothing but numbers
    names = [name for name in VARIANTS if name != "every-dialect"]
    pairs = list(permutations(names, 2))[seed::8]
    found = {pair: gaps(stack(VARIANTS[pair[0]]), stack(VARIANTS[pair[1]]), seed) for pair in pairs}
    assert {pair: gap for pair, gap in found.items() if gap} == {}


def test_a_canary_that_goes_is_deleted_last():
    """The gateway is told first; then the server goes with its pods, and only then what led to them."""
    update = Update.between(stack(canary(100)), stack(ROOMY))
    assert {step.title: step.op for step in update.steps.values() if step.op is not Op.SAME} == {
        "ConfigMap/gateway-config": Op.REPLACE,
        "Deployment/gateway": Op.UPDATE,
        "PrometheusRule/observability-alerts": Op.UPDATE,
    }
    layer = {step.title: number for number, layer in enumerate(update.deletions) for step in layer}
    led = {layer[f"{kind}/vllm-small-canary"] for kind in ("Service", "NetworkPolicy", "ServiceAccount")}
    assert led == {layer["Deployment/vllm-small-canary"] + 1}


def test_what_only_gets_other_labels_keeps_its_drawn_name():
    """The script of a server in another's place is updated under its name; what has a fixed name is replaced."""
    update = Update.between(stack(ROOMY), stack(IN_ITS_PLACE))
    fixed = ("ServiceAccount", "NetworkPolicy", "Service", "Deployment", "PodDisruptionBudget")
    assert {step.title: step.op for step in update.steps.values() if step.op is not Op.SAME} == {
        **{f"{kind}/vllm-other": Op.REPLACE for kind in fixed},
        "ConfigMap/vllm-other-prewarm": Op.UPDATE,
        "ConfigMap/gateway-config": Op.REPLACE,
        "Deployment/gateway": Op.UPDATE,
        "PrometheusRule/observability-alerts": Op.UPDATE,
    }
    (script,) = (step for step in update.steps.values() if step.title == "ConfigMap/vllm-other-prewarm")
    assert script.old
    assert script.new
    assert script.new.key == script.old.key


def test_the_replay_sees_what_an_order_takes_away():
    """Were a rule, a Service or a script deleted before the gateway is told, it would be said."""
    before, after = stack(canary(100)), stack(ROOMY)
    update = Update.between(before, after)
    order = next(update.orders(1, 0))
    for title, said in (
        ("NetworkPolicy/vllm-small-canary", "Deployment litellm may not reach Deployment vllm-small-canary"),
        ("Service/vllm-small-canary", "Deployment litellm lacks Service vllm-small-canary"),
        ("ConfigMap/vllm-small-canary-prewarm", "Deployment vllm-small-canary lacks ConfigMap llm-serving vllm-small"),
    ):
        early = next(step for step in order if step.title == title and step.op is Op.DELETE)
        found = replay(update, [early, *(step for step in order if step is not early)], before.plan, after.plan)
        assert [gap for gap in found if gap.startswith(said)] != []
