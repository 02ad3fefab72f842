"""Nodes of a simulated cluster: as many as the pools promise, with the labels, taints and GPUs their pods look for.

Does not prove that a scheduler puts pods there; the cluster tests do.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.pools import Existing, PoolPlan
from tests.unit.small_stack import planned, properties, serving, stack_file
from workshop.simcluster.bodies import STAND_IN
from workshop.simcluster.nodes import machine, nodes_of


def fits(node: dict[str, Any], pool: PoolPlan) -> bool:
    """Whether the pool's pods may go to a node, by the labels it has when the stack has labelled the nodes it names."""
    labels = dict(node["metadata"]["labels"])
    named = pool.provisioning.node_names if isinstance(pool.provisioning, Existing) else ()
    if node["metadata"]["name"] in named:
        labels |= pool.node_selector
    found = all(labels.get(key) == value for key, value in pool.node_selector.items())
    return found and all((labels.get(key) in values) == (sign == "In") for key, sign, values in pool.node_affinity)


@pytest.mark.parametrize("name", ["dev", "prod", "sim"])
def test_every_pool_finds_its_nodes(name: str):
    """As many nodes as a pool promises have its labels, and those with its GPUs offer them all."""
    plan = planned(stack_file(name))
    nodes = nodes_of(plan)
    for pool in plan.pools.values():
        found = [node for node in nodes if fits(node, pool)]
        offered = [int(node["status"]["allocatable"].get("nvidia.com/gpu", "0")) for node in found]
        if pool.gpus_per_node:
            assert [pool.gpus_per_node] * pool.nodes == offered
        else:
            # system nodes have no GPU either; a CPU server is too big for them
            assert [0] * (pool.nodes + 2) == offered


def test_named_nodes_are_bare_and_others_tainted():
    """A stack taints the nodes it names; all other GPU nodes come with the taint, CPU nodes without one."""
    taints = {
        node["metadata"]["name"]: [taint["key"] for taint in node["spec"].get("taints", [])]
        for node in nodes_of(planned(stack_file("sim")))
    }
    bare: list[str] = []
    tainted = ["nvidia.com/gpu"]
    assert {
        "sim-gpu-1": bare,
        "sim-gpu-2": bare,
        "sim-gpu-3": bare,
        "h100-1": tainted,
        "h100-2": tainted,
        "h200-1": tainted,
        "l4-1": tainted,
        "l4-2": tainted,
        "cpu-1": bare,
        "system-1": bare,
        "system-2": bare,
    } == taints


def test_every_node_says_for_whom_it_stands_in():
    """Bought nodes name who would buy them, GPU nodes the operator that would label them, all others the kubelet."""
    found = Counter(node["metadata"]["annotations"][STAND_IN] for node in nodes_of(planned(stack_file("sim"))))
    assert found == {"gpu-operator": 5, "karpenter, gpu-operator": 1, "gke, gpu-operator": 2, "kubelet": 3}


@pytest.mark.parametrize(
    ("name", "pool", "expected"),
    [
        ("prod", "cpu", (32, 128)),  # as the stack says
        ("sim", "h200", (192, 2048)),  # p5en.48xlarge
        ("prod", "a10", (24, 128)),  # no size is known: 12 cores and at least 64 GiB per GPU
    ],
)
def test_size_of_a_machine(name: str, pool: str, expected: tuple[int, int]):
    """From the stack, from its machine type, or from the rule."""
    assert expected == machine(planned(stack_file(name)).pools[pool])


@properties(50)
@given(nodes=st.integers(1, 40), gpus=st.integers(2, 16))
def test_names_and_zones(nodes: int, gpus: int):
    """Names never repeat, and zones differ by at most one node."""
    plan = planned(serving({"gpu": "nvidia-a10", "nodes": nodes, "gpusPerNode": gpus}))
    plan = replace(plan, pools=dict(plan.pools))
    found = nodes_of(plan)
    names = Counter(node["metadata"]["name"] for node in found)
    zones = Counter(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in found[:nodes])
    assert (nodes + 2, {1}) == (len(found), set(names.values()))
    assert max(zones.values()) - min(zones.values()) <= 1 or nodes < 3
