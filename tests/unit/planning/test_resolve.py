"""The whole plan: capacity of pools, warnings, and the stacks of this repository; it can be deployed or is refused."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import KvProfile
from planning import resolve_stack
from planning.plan import Plan
from settings import Problem, Refused
from tests.unit.small_stack import (
    A10,
    CATALOG,
    CPU,
    H200,
    MODEL,
    checked,
    planned,
    properties,
    refusals,
    serving,
    stack,
    stack_file,
)

AWQ = {"model": "Qwen/Qwen3-8B-AWQ", "contextTokens": 8192}
SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}
PRICED = {**A10, "pricePerNodeHourUsd": 2.84}


def pair(first: int, second: int, **model: Any) -> dict[str, Any]:
    """Two models with these floors on one pool of eight GPUs."""
    floors = {"a": first, "b": second}
    models = {name: {**SMALL, **model, "replicas": {"min": least, "max": least}} for name, least in floors.items()}
    return stack(models=models)


# --- the stacks of this repository ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "servers"),
    [
        ("dev", {"vllm-qwen3-8b": ("TP 1", 8192, 1)}),
        (
            "prod",
            {
                "vllm-deepseek-r1": ("TP 8", 163_840, 1),
                "vllm-qwen3-14b": ("TP 2", 32_768, 4),
                "vllm-qwen3-8b-cpu": ("TP 1", 8192, 1),
            },
        ),
    ],
)
def test_the_stacks_of_the_repository_are_planned(name, servers):
    """Every server with its parallelism, context and most replicas."""
    plan = planned(stack_file(name))
    assert {
        item.name: (str(item.parallelism), item.memory.context_tokens, item.max_replicas) for item in plan.servers
    } == servers


def test_a_plan_cannot_be_changed():
    """Components declare it; nobody corrects it."""
    plan = planned(serving())
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.namespace = "other"  # pyright: ignore[reportAttributeAccessIssue] - this is the point


def test_where_to_deploy_is_what_the_stack_says():
    """Context, identity, version and namespace of the cluster."""
    cluster = {"context": "c", "identifier": "i", "kubernetes": "1.35", "namespace": "ns"}
    plan = planned(stack(cluster=cluster))
    assert (plan.context, plan.cluster_identifier, plan.kubernetes, plan.namespace) == ("c", "i", "1.35", "ns")


def test_the_order_of_the_stack_file_changes_nothing():
    """Models in another order make the same plan."""
    models = dict.fromkeys(("a", "b", "c"), SMALL)
    first, second = stack(models=models), stack(models=dict(reversed(models.items())))
    assert planned(first) == planned(second)


# --- capacity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (serving(replicas={"min": 1, "max": 4}), []),
        (
            serving(replicas={"min": 1, "max": 5}),
            [("models.m.replicas.max: 5 replicas of 2 GPUs do not fit pool 'a10' (8 GPUs, room for 4); use at most 4, "
             "or more nodes")],
        ),
        # three GPUs per node hold one pair each
        (serving({**A10, "gpusPerNode": 3}, tensorParallel=2, replicas={"min": 1, "max": 4}), []),
        (
            serving({**A10, "gpusPerNode": 3}, tensorParallel=2, replicas={"min": 1, "max": 5}),
            [("models.m.replicas.max: 5 replicas of 2 GPUs do not fit pool 'a10' (12 GPUs, room for 4); use at most 4, "
             "or more nodes")],
        ),
        # a replica takes two nodes
        (
            serving({**H200, "gpu": "nvidia-h100", "nodes": 3}, model="deepseek-ai/DeepSeek-R1", replicas={"max": 2}),
            [("models.m.replicas.max: 2 replicas of 16 GPUs do not fit pool 'a10' (24 GPUs, room for 1); use at most "
             "1, or more nodes")],
        ),
        (
            serving(canary={"weight": 10, "maxNumSeqs": 8, "replicas": 5}),
            [("models.m.canary.replicas: 5 replicas of 2 GPUs do not fit pool 'a10' (8 GPUs, room for 4); use at most "
             "4, or more nodes"),
             "gpuPools.a10.nodes: 12 GPUs are needed at least (vllm-m 1 × 2, vllm-m-canary 5 × 2), 4 nodes give 8"],
        ),
        # CPU pods do not span nodes either: 30 cores of each node hold one pod of 20
        (serving(CPU, **AWQ, cpus=20, replicas={"min": 1, "max": 2}), []),
        (
            serving(CPU, **AWQ, cpus=20, replicas={"min": 1, "max": 3}),
            [("models.m.replicas.max: 3 replicas of 20 CPU cores do not fit pool 'a10' (60 CPU cores, room for 2); use "
             "at most 2, or more nodes")],
        ),
        # memory counts as well: eight pods of 15 GiB
        (
            serving({**CPU, "cpusPerNode": 92}, **AWQ, cpus=5, replicas={"max": 17}),
            [("models.m.replicas.max: 17 replicas of 5 CPU cores do not fit pool 'a10' (180 CPU cores, room for 16); "
             "use at most 16, or more nodes")],
        ),
    ],
)  # fmt: skip
def test_more_replicas_than_the_pool_holds_are_refused(raw, said):
    """Need, room, and the most that can be: pods are placed on nodes, not on the sum of them."""
    assert refusals(raw) == said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            serving({**A10, "cpusPerNode": 64}, cpus=65),
            "a pod of 2 GPUs, 65 CPU cores, 20 GiB does not fit a node of pool 'a10' (2 GPUs, 64 CPU cores)",
        ),
        (
            serving({**A10, "memoryGibPerNode": 64}, memoryGib=65),
            "a pod of 2 GPUs, 4 CPU cores, 65 GiB does not fit a node of pool 'a10' (2 GPUs, 64 GiB)",
        ),
        (
            serving(CPU, **AWQ, cpus=31),
            "a pod of 31 CPU cores, 15 GiB does not fit a node of pool 'a10' (30 CPU cores, 128 GiB)",
        ),
        (
            serving({**CPU, "cpusPerNode": 2}, **AWQ),
            "a pod of 1 CPU cores, 15 GiB does not fit a node of pool 'a10' (0 CPU cores, 128 GiB)",
        ),
    ],
)
def test_a_pod_that_no_node_holds_is_refused(raw, said):
    """Cores and memory of one pod against those of one node, where they are known."""
    assert refusals(raw) == [f"models.m: {said}"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (pair(4, 4), []),
        (pair(4, 5), ["gpuPools.a10.nodes: 9 GPUs are needed at least (vllm-a 4 × 1, vllm-b 5 × 1), 4 nodes give 8"]),
        (
            serving(replicas={"min": 4, "max": 4}, canary={"weight": 10, "maxNumSeqs": 8}),
            ["gpuPools.a10.nodes: 10 GPUs are needed at least (vllm-m 4 × 2, vllm-m-canary 1 × 2), 4 nodes give 8"],
        ),
    ],
)
def test_floors_that_exceed_the_pool_are_refused(raw, said):
    """What must run at the same time, canaries included."""
    assert refusals(raw) == said


def test_a_server_that_scales_to_zero_still_starts_with_one():
    """Its first deployment needs a place."""
    models = {"a": {**SMALL, "replicas": {"min": 8, "max": 8}}, "b": {**SMALL, "replicas": {"min": 0, "max": 1}}}
    assert refusals(stack(models=models)) == [
        "gpuPools.a10.nodes: 9 GPUs are needed at least (vllm-a 8 × 1, vllm-b 1 × 1), 4 nodes give 8"
    ]


# --- everything at once -----------------------------------------------------------------------------------------------


def test_two_mistakes_are_two_refusals():
    """Of different models, in the order of their names."""
    models = {"a": {**MODEL, "tensorParallel": 1}, "b": {**MODEL, "model": "Qwen/Qwen3-14b"}}
    assert [text.partition(":")[0] for text in refusals(stack(models=models))] == ["models.a", "models.b.model"]


def test_mistakes_of_every_part_come_together():
    """Images, pools, models, gateway and alerts in one refusal; charts where their release is."""
    raw = stack(
        gpuPools={"a10": A10, "x": {**A10, "gpu": "nvidia-a11"}},
        models={"m": {**MODEL, "kvCacheDtype": "fp9", "fallbacks": ["n"]}, "n": {**SMALL, "pool": "y"}},
        images={"overrides": {"redis": {"version": "latest"}}},
        observability={"alerts": {"timeToFirstTokenS": 2}},
        charts={"gpu-operator": {"version": "26.x"}},
    )
    assert [text.partition(":")[0] for text in refusals(raw)] == [
        "images.overrides.redis",
        "gpuPools.x.gpu",
        "models.m.kvCacheDtype",
        "models.n.pool",
        "observability.alerts.timeToFirstTokenS",
        "charts.gpu-operator.version",
    ]


def test_problems_come_in_the_order_of_the_stations():
    """One of each: images, pools, models, their room and scaling, gateway, alerts, releases, cluster, hub, digests."""
    raw = stack(
        cluster={"context": "c", "identifier": "i", "kubernetes": "1.99", "namespace": "monitoring"},
        gpuPools={"a10": A10, "x": {**A10, "gpu": "nvidia-a11"}},
        images={"requireDigests": True, "overrides": {"redis": {"version": "latest"}}},
        charts={"prometheus-adapter": {"version": "4"}},
        autoscaling={"driver": "hpa"},
        weights={"storageClass": "nfs", "hub": {"endpoint": "http://localhost"}},
        observability={"alerts": {"timeToFirstTokenS": 3.1}},
        gateway={
            "existingSecret": "k",
            "requestTimeoutS": 10,
            "firstTokenTimeoutS": 20,
            "replicas": 2,
            "redis": {"kind": "none"},
            "database": {"existingSecret": "db", "whenAway": "admitEveryone"},
            "host": "llm.corp",
            "expose": {"kind": "gatewayApi", "gatewayName": "public"},
        },
        models={
            "a": {**MODEL, "pool": "y"},
            "m": {**MODEL, "replicas": {"min": 0, "max": 9}, "fallbacks": ["m"]},
        },
    )
    assert list(dict.fromkeys(text.partition(": ")[0] for text in refusals(raw))) == [
        "images.overrides.redis",
        "gpuPools.x.gpu",
        "models.a.pool",
        "models.m.replicas.max",
        "models.m.replicas.min",
        "models.m.fallbacks[0]",
        "gateway.requestTimeoutS",
        "gateway.firstTokenTimeoutS",
        "gateway.redis",
        "gateway.database.whenAway",
        "observability.alerts.timeToFirstTokenS",
        "charts.prometheus-adapter.version",
        "cluster.namespace",
        "cluster.kubernetes",
        "weights.hub.endpoint",
        "images.requireDigests",
    ]


def test_thresholds_of_alerts_are_edges_of_the_histogram():
    """Another value would be alerted at the next edge."""
    (said,) = refusals(stack(observability={"alerts": {"timeToFirstTokenS": 3}}))
    path, _, message = said.partition(": ")
    assert path == "observability.alerts.timeToFirstTokenS"
    assert message.startswith("3 is no bucket edge of vllm:time_to_first_token_seconds; edges: [0.001, 0.005, ")


def test_problems_found_before_are_refused_with_those_of_the_plan():
    """What the settings said comes first; without settings it is all there is."""
    first = Problem("gateway.x", "unknown key")
    with pytest.raises(Refused) as caught:
        resolve_stack(checked(serving(pool="x")), CATALOG, [first])
    assert caught.value.problems == (first, Problem("models.m.pool", "no pool 'x'; known: a10"))
    with pytest.raises(Refused) as caught:
        resolve_stack(None, CATALOG, [first])
    assert caught.value.problems == (first,)


# --- warnings ---------------------------------------------------------------------------------------------------------

LOADED = "until it is loaded, about 6 min later"
INGRESS = {"kind": "ingress", "className": "nginx"}
GAP = "an update stops it for about 6 min (no GPUs are spare: pods are replaced in place, one at a time)"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (serving(PRICED), ()),
        (serving({**PRICED, "nodes": 1}), (f"vllm-m: {GAP}",)),
        (
            serving(PRICED, replicas={"min": 0, "max": 1}),
            (
                (f"vllm-m: a request that finds it at zero fails {LOADED}; clients must retry, or give it fallbacks, "
                "or use scaling.atZero: hold"),
            ),
        ),
        (
            serving(PRICED, replicas={"min": 0, "max": 1}, scaling={"atZero": "hold"}),
            (
                (f"vllm-m: a request that finds it at zero waits {LOADED}, and at most 24 min; its client must wait as "
                "long, and nothing before the gateway may cut a silent connection: streams get a comment every 15 s, "
                "other answers nothing"),
            ),
        ),
        (
            {
                **stack(gpuPools={"a10": PRICED}),
                "models": {"a": {**SMALL, "replicas": {"min": 0, "max": 1}, "fallbacks": ["b"]}, "b": SMALL},
            },
            (f"vllm-a: a request that finds it at zero is answered by b {LOADED}",),
        ),
        (serving(), ()),
        (
            serving({**PRICED, "provisioning": {"kind": "karpenter", "instanceTypes": ["x"]}}),
            ("pool a10: provisioning.amiAlias al2023@latest moves; name a version",),
        ),
        (
            serving({**PRICED, "provisioning": {"kind": "karpenter", "instanceTypes": ["x"], "amiAlias": "al2023@v1"}}),
            (),
        ),
        (
            {**serving(PRICED), "gateway": {"existingSecret": "k", "host": "h", "expose": INGRESS}},
            (
                ("gateway: the Ingress declares no TLS; give expose.tlsSecret or expose.tls: {kind: issuer}, or end "
                "TLS in front of it"),
            ),
        ),
        (
            {**serving(PRICED), "gateway": {"existingSecret": "k", "host": "llm.corp"}},
            ("gateway: nothing leads from host llm.corp to it; give expose, or leave host out",),
        ),
    ],
)  # fmt: skip
def test_what_works_but_should_be_known_is_said(raw, said):
    """Gaps, requests that fail, prices that are missing, images and nodes that move, endpoints without TLS."""
    assert planned(raw).warnings == said


def test_servers_that_may_ask_for_more_than_the_pool_has_are_named():
    """The floors fit, the most does not: autoscaling will find the pool full."""
    models = {name: {**SMALL, "replicas": {"min": 1, "max": 5}} for name in ("a", "b")}
    plan = planned(stack(gpuPools={"a10": PRICED}, models=models))
    assert plan.warnings[-1] == "pool a10: its servers may ask for 10 GPUs at their most, it has 8"


# --- whatever is asked ------------------------------------------------------------------------------------------------

MODELS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(sorted(CATALOG.models)),
        "pool": st.sampled_from(["a10", "h200", "cpu"]),
    },
    optional={
        "contextTokens": st.integers(1, 300_000),
        "maxNumSeqs": st.integers(1, 2000),
        "gpuMemoryUtilization": st.floats(0.3, 1),
        "tensorParallel": st.integers(1, 16),
        "pipelineParallel": st.integers(1, 8),
        "dataParallel": st.integers(1, 4),
        "expertParallel": st.booleans(),
        "kvCacheDtype": st.sampled_from(["auto", "fp8", "bfloat16"]),
        "replicas": st.fixed_dictionaries({"min": st.integers(0, 2), "max": st.integers(2, 4)}),
        "maxOutputTokens": st.integers(1, 10**6),
        "cpus": st.integers(1, 64),
        "memoryGib": st.integers(1, 600),
        "canary": st.fixed_dictionaries({"weight": st.integers(1, 100), "maxNumSeqs": st.integers(1, 64)}),
        "fallbacks": st.lists(st.sampled_from(["one", "two"]), max_size=2),
    },
)
POOLS = {
    "a10": {**A10, "memoryGibPerNode": 128, "cpusPerNode": 48},
    "h200": {**H200, "nodes": 4},
    "cpu": {**CPU, "nodes": 4},
}


def holds(plan: Plan) -> None:
    """What is true of every plan."""
    names = [server.name for server in plan.servers]
    assert len(names) == len(set(names))
    assert all(server.timing.longest_request_s <= plan.gateway.request_timeout_s for server in plan.servers)
    for server in plan.servers:
        pool = plan.pools[server.pool]
        assert 1 <= server.replicas <= max(server.max_replicas, 1)
        cached = CATALOG.models[server.model].kv_profile is not KvProfile.NONE
        assert (server.memory.kv_cache_gib > 0) == (server.memory.kv_cache_tokens > 0) == cached
        assert server.memory.max_concurrency >= 1
        # a context may end inside of a block of 16 tokens
        assert server.memory.context_tokens < server.memory.max_context_tokens + 16
        assert server.resources.memory_gib <= server.resources.memory_limit_gib
        if server.cpu:
            assert server.resources.gpus == 0
        else:
            # the pods of a replica have exactly its GPUs, and each has room on a node
            assert server.resources.gpus * server.nodes_per_replica == server.parallelism.gpus
            assert server.resources.gpus <= pool.gpus_per_node
            assert server.nodes_per_replica <= pool.nodes
    for name, pool in plan.pools.items():
        inside = [server for server in plan.servers if server.pool == name and not server.cpu]
        assert sum(server.replicas * server.parallelism.gpus for server in inside) <= pool.gpus


@given(st.dictionaries(st.sampled_from(["one", "two"]), MODELS, min_size=1))
@properties(200)
def test_whatever_is_asked_is_sound_or_refused(models):
    """Any combination of settings is a plan that holds together, or refusals that name a model or a pool."""
    said = refusals(stack(gpuPools=POOLS, models=models))
    if not said:
        holds(planned(stack(gpuPools=POOLS, models=models)))
    assert [text for text in said if not text.startswith(("models.", "gpuPools."))] == []
