"""Room on pools: who is refused, who is warned about, and how many replicas surely find a place.

The arithmetic below it is in test_packing.py. Does not prove what a scheduler does.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.pools import NodeOffer
from planning.server.resources import least_memory_mib
from tests.unit.small_stack import A10, CPU, H100, planned, properties, refusals, server, stack

LARGE = {"model": "Qwen/Qwen3-14B", "pool": "a10", "tensorParallel": 4, "contextTokens": 4096}
SMALL = {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 4096}
TWO = {**LARGE, "tensorParallel": 2}
L4 = {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1}
GROUP = {"model": "deepseek-ai/DeepSeek-R1", "pool": "a10"}
TRIPLE = {**H100, "nodes": 3}
QUADS = {**A10, "nodes": 2, "gpusPerNode": 4}


def on(pool: dict[str, Any], **models: dict[str, Any]) -> dict[str, Any]:
    """These models on one pool named `a10`, whatever it has."""
    return stack(gpuPools={"a10": pool}, models=models)


def crowded(raw: dict[str, Any]) -> list[str]:
    """What is said of pods that may find no node."""
    return [line for line in planned(raw).warnings if "may find no node" in line]


def up_to(most: int, model: dict[str, Any]) -> dict[str, Any]:
    """The model with one replica, and up to so many."""
    return {**model, "replicas": {"min": 1, "max": most}}


AT_MOST = " when its servers have their most replicas"
ROOMY_CPU = {**CPU, "memoryGibPerNode": 64}
HALF = {**SMALL, "cpus": 4, "memoryGib": 20, "replicas": {"min": 2, "max": 2}}


@pytest.mark.parametrize(
    ("raw", "what", "others", "nodes", "enough"),
    [
        (on(QUADS, large=LARGE, a=SMALL, b=SMALL), "(4 GPUs) may find no node", "vllm-a and vllm-b", 2, 3),
        (on(QUADS, large=LARGE, a=up_to(2, SMALL)), f"(4 GPUs) may find no node{AT_MOST}", "vllm-a", 2, 3),
        # a group needs two whole nodes of three
        (on(TRIPLE, large=GROUP, a=SMALL, b=SMALL), "(8 GPUs) may find no node", "vllm-a and vllm-b", 3, 4),
        # nothing but memory is short
        (
            on(ROOMY_CPU, large={**SMALL, "cpus": 4, "memoryGib": 50}, a=HALF),
            "(4 CPU cores) may find no node",
            "vllm-a",
            2,
            3,
        ),
    ],
)
def test_a_pod_that_may_find_no_node_is_warned_about(raw, what, others, nodes, enough):
    """By its server, by whose pods may be there first, and with what helps."""
    first = f"pods of {others} can be spread over all {nodes} first"
    helps = f"give it a pool of its own, or use gpuPools.a10.nodes: {enough}"
    assert crowded(raw) == [f"pool a10: a pod of vllm-large {what}: {first}; {helps}"]


@pytest.mark.parametrize(
    "raw",
    [
        on({**QUADS, "nodes": 3}, large=LARGE, a=SMALL, b=SMALL),
        on(QUADS, large=LARGE, a=SMALL),
        on(QUADS, a=up_to(2, TWO), b=up_to(2, TWO)),
        on(QUADS, m=up_to(2, LARGE)),
        on(ROOMY_CPU, a={**SMALL, "cpus": 4}, b={**SMALL, "cpus": 4}),
    ],
)
def test_pods_that_fit_in_every_order_are_not_warned_about(raw):
    """Enough nodes, too few small pods, pods of one size, one server alone."""
    assert crowded(raw) == []


def test_what_helps_does_help():
    """With the nodes that the warning names it is silent."""
    assert crowded(on({**QUADS, "nodes": 3}, large=LARGE, a=up_to(2, SMALL))) == []


def test_floors_that_no_order_brings_onto_the_nodes_are_refused():
    """Three pods of two GPUs are six GPUs, but two nodes of three hold one each; the number of nodes is tried."""
    trio = {**A10, "nodes": 2, "gpusPerNode": 3}
    pods = "1 × 2 GPUs of vllm-a, 1 × 2 GPUs of vllm-b, 1 × 2 GPUs of vllm-c"
    said = f"2 nodes (3 GPUs each) hold the pods of its servers in no order ({pods})"
    assert refusals(on(trio, a=TWO, b=TWO, c=TWO)) == [
        f"gpuPools.a10.nodes: {said}; use 3 nodes, or another pool for one of them"
    ]
    assert refusals(on({**trio, "nodes": 3}, a=TWO, b=TWO, c=TWO)) == []


@pytest.mark.parametrize(
    ("small", "nodes", "expected"),
    [
        # ten of twelve GPUs are not the small ones', but these and the pod that serves may be on all three nodes
        (up_to(2, SMALL), 3, (0, 1)),
        (up_to(1, SMALL), 3, (1, 0)),
        (up_to(2, SMALL), 4, (1, 0)),
    ],
)
def test_an_update_waits_for_no_node_that_small_pods_may_fill(small, nodes, expected):
    """A new pod starts first only where one surely finds a node: by the sum alone the first of these would wait."""
    found = server(on({**QUADS, "nodes": nodes}, large=LARGE, a=small), "vllm-large").rollout
    assert (found.max_surge, found.max_unavailable) == expected


@pytest.mark.parametrize(
    ("pool", "model", "needed"),
    [
        # of the node nothing is said: what its largest pod asks for
        (QUADS, LARGE, NodeOffer(6, (8 + 8 + 8) * 1024, 22592)),
        # 32 cores less 2; of 128 GiB a twenty-fifth is the kernel's, 1 + 0.8 + 0.8 + 6.72 GiB and 750 MiB the kubelet's
        (CPU, {**SMALL, "cpus": 4}, NodeOffer(30, 115535, 12352)),
        ({**CPU, "cpusPerNode": 8, "memoryGibPerNode": 16}, SMALL, NodeOffer(6, 12316, 12352)),
        ({**QUADS, "cpusPerNode": 48, "memoryGibPerNode": 192}, LARGE, NodeOffer(46, 177139, 22592)),
    ],
)
def test_every_node_has_to_give_what_was_promised_and_what_the_largest_pod_asks_for(pool, model, needed):
    """Less what the kubelet keeps for the system wherever the node runs."""
    assert planned(on(pool, m=model)).pools["a10"].needed == needed


def test_a_pool_that_nobody_uses_still_has_to_give_what_was_promised():
    """Its cores and memory; no pod, no disk."""
    raw = stack(gpuPools={"a10": A10, "cpu": {**CPU, "cpusPerNode": 8, "memoryGibPerNode": 16}, "l4": L4})
    found = planned(raw).pools
    assert (found["cpu"].needed, found["l4"].needed) == (NodeOffer(6, 12316, 0), NodeOffer())


@given(st.integers(1, 4096))
@properties(300)
def test_pods_have_most_of_a_nodes_memory(memory_gib):
    """Never more than planning lets one pod have of it but a little, and more of a larger node."""
    found = least_memory_mib(memory_gib)
    assert 0 <= found <= least_memory_mib(memory_gib + 1) <= (memory_gib + 1) * 1024 * 0.96
    assert memory_gib < 32 or found > memory_gib * 1024 * 0.8
