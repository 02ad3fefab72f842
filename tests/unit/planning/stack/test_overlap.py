"""Pools that may find the same node: exact sentences, and every set of labels tried one by one.

Does not prove which labels nodes really have.
"""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.stack.overlap import Values, shared_nodes
from tests.unit.small_stack import A10, CATALOG, CPU, MODEL, planned, properties, stack

L4 = {"gpu": "nvidia-l4", "nodes": 2, "gpusPerNode": 1}
# Two product labels: found by affinity, not by a selector.
H100 = {"gpu": "nvidia-h100", "nodes": 1, "gpusPerNode": 8}
NAMED = {"kind": "existing", "nodeNames": ["a-1", "a-2"]}
KARPENTER = {"kind": "karpenter", "instanceTypes": ["x"]}
CLASS = {"kind": "computeClass", "machineTypes": ["x"]}
KEYS = "provisioning.labels of one key and different values would tell them apart"
MAY = "may find nodes of pool a too, because no label tells them apart"
OURS = "and in its provisioning.labels, would tell them apart"


def group(pool: dict[str, Any], **labels: str) -> dict[str, Any]:
    """The pool, found by these labels too."""
    return {**pool, "provisioning": {"kind": "labelled", "labels": labels}}


def said(**pools: dict[str, Any]) -> list[str]:
    """What is said of pools that are told nothing else of."""
    model = {**MODEL, "model": "Qwen/Qwen3-0.6B", "pool": next(iter(pools)), "contextTokens": 4096}
    return list(shared_nodes(planned(stack(gpuPools=pools, models={"m": model})).pools, CATALOG))


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        (A10, A10, f"pool b: finds the same nodes as pool a; {KEYS}"),
        (CPU, {**CPU, "nodes": 1}, f"pool b: finds the same nodes as pool a; {KEYS}"),
        (H100, H100, f"pool b: finds the same nodes as pool a; {KEYS}"),
        # one asks for less than the other
        (group(A10, team="x"), A10, f"pool b: finds all nodes of pool a too; {KEYS}"),
        (A10, group(A10, team="x"), f"pool b: has only nodes that pool a finds too; {KEYS}"),
        (group(CPU, team="x", zone="1"), group(CPU, zone="1"), f"pool b: finds all nodes of pool a too; {KEYS}"),
        # different labels, which one node may have together
        (
            group(A10, team="x"),
            group(A10, zone="1"),
            f"pool b: {MAY}; {KEYS}",
        ),
        (
            group(H100, team="x"),
            group(H100, zone="1"),
            f"pool b: {MAY}; {KEYS}",
        ),
        # named and bought nodes have the label of GPU feature discovery too
        (
            {**A10, "nodes": 2, "provisioning": NAMED},
            A10,
            f"pool b: finds all nodes of pool a too; label llm-stack.io/pool=b on the nodes of pool b, {OURS}",
        ),
        (
            A10,
            {**A10, "provisioning": KARPENTER},
            f"pool b: has only nodes that pool a finds too; label llm-stack.io/pool=a on the nodes of pool a, {OURS}",
        ),
        (
            {**L4, "provisioning": CLASS},
            L4,
            f"pool b: finds all nodes of pool a too; label llm-stack.io/pool=b on the nodes of pool b, {OURS}",
        ),
        (
            {**A10, "provisioning": KARPENTER},
            {**A10, "provisioning": {"kind": "labelled", "labels": {"topology.kubernetes.io/zone": "z"}}},
            f"pool b: {MAY}; label llm-stack.io/pool=b on the nodes of pool b, {OURS}",
        ),
        # pods without GPUs go where they are let
        (group(A10, team="x"), group(CPU, team="x"), f"pool b: finds the GPU nodes of pool a too; {KEYS}"),
        (group(CPU, team="x"), group(A10, team="x"), f"pool b: has GPU nodes that pool a finds too; {KEYS}"),
    ],
)
def test_pools_that_may_find_the_same_node_are_pointed_out(one, other, sentence):
    """By both names, by how much they share, and with what tells them apart."""
    assert said(a=one, b=other) == [sentence]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A10, L4),
        (A10, CPU),
        (group(A10, team="x"), group(A10, team="y")),
        (group(A10, team="x"), group(CPU, team="y")),
        # nobody knows that GPU nodes have the label of CPU nodes
        (A10, group(CPU, team="x")),
        ({**A10, "nodes": 2, "provisioning": NAMED}, L4),
        ({**A10, "nodes": 2, "provisioning": NAMED}, group(A10, **{"llm-stack.io/pool": "b"})),
        ({**A10, "provisioning": KARPENTER}, {**A10, "provisioning": KARPENTER}),
        # a bought node has no label that is neither the stack's nor the platform's
        ({**A10, "provisioning": KARPENTER}, group(A10, team="x")),
        ({**L4, "provisioning": CLASS}, {**L4, "provisioning": CLASS}),
        # the taint of bought and named GPU nodes keeps others off
        ({**A10, "provisioning": KARPENTER}, group(CPU, **{"node-role": "gpu-inference"})),
    ],
)
def test_pools_that_are_told_apart_are_not_pointed_out(one, other):
    """By a label, a product, a name or a taint."""
    assert said(a=one, b=other) == []


def test_pools_are_compared_two_by_two():
    """Named, labelled and bought pools side by side, and one that is like none of them but finds what another names."""
    gpus = {"a": {**A10, "nodes": 2, "provisioning": NAMED}, "b": H100, "c": {**L4, "provisioning": CLASS}}
    named = {**CPU, "provisioning": {"kind": "existing", "nodeNames": ["c-1", "c-2"]}}
    assert said(**gpus, d=CPU) == []
    assert said(**gpus, d=CPU, e=named) == [
        f"pool e: has only nodes that pool d finds too; label llm-stack.io/pool=d on the nodes of pool d, {OURS}"
    ]


LABELS = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["1", "2"]))
POOLS = st.sampled_from([A10, L4, CPU])


@given(POOLS, LABELS, POOLS, LABELS)
@properties(200)
def test_every_set_of_labels_was_tried(one, ours, other, theirs):
    """Pools of one kind are pointed out where some node would be found by both, and only there."""
    if bool(one["gpu"] == "none") != bool(other["gpu"] == "none"):
        return
    pools = planned(
        stack(
            gpuPools={"a": group(one, **ours), "b": group(other, **theirs)},
            models={"m": {**MODEL, "model": "Qwen/Qwen3-0.6B", "pool": "a", "contextTokens": 4096}},
        )
    ).pools
    products = [None, "NVIDIA-A10", "NVIDIA-L4"]
    nodes = [
        {"k": k, "l": l_, "nvidia.com/gpu.product": name, "nvidia.com/gpu.present": name and "true"}
        for k, l_, name in product([None, "1", "2"], [None, "1", "2"], products)
    ]

    def finds(pool, node) -> bool:
        chosen = all(node.get(key) == value for key, value in pool.node_selector.items())
        ways = {"In": lambda word, words: word in words, "NotIn": lambda word, words: word not in words}
        return chosen and all(ways[way](node.get(key), words) for key, way, words in pool.node_affinity)

    both = any(all(finds(pool, node) for pool in pools.values()) for node in nodes)
    assert bool(list(shared_nodes(pools, CATALOG))) == both


VALUES = st.builds(Values, st.frozensets(st.sampled_from("123"), max_size=3), st.booleans())


@given(VALUES, VALUES, st.sampled_from(["1", "2", "3", "4", None]))
@properties(300)
def test_what_satisfies_both_satisfies_each(one, other, word):
    """Of labels that are there, and of one that is missing."""

    def allows(values: Values) -> bool:
        return (word in values.words) != values.but

    assert allows(one.both(other)) == (allows(one) and allows(other))
