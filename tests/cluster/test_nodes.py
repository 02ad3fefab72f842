"""Nodes of a cluster that exists follow the stack's pools: other, more, fewer; lost and foreign ones are let be.

Does not prove what a cloud would do meanwhile: nodes come and go here at once.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import faults
from tests.cluster.world import SCALE, SOON_S, World, names, stack, variant
from workshop.kubernetes import is_ready
from workshop.simcluster.api import wait_until
from workshop.simcluster.furnish import furnish
from workshop.simcluster.programs import MANAGED

PRODUCT = "nvidia.com/gpu.product"
GPU = "nvidia.com/gpu"
UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.fixture(scope="module")
def bare() -> Iterator[World]:
    """The nodes of the stack `dev`, and nothing deployed; each test begins with them as that stack wants them."""
    world = World.begin("nodes", stack("dev"))
    yield world
    world.cluster.down()
    shutil.rmtree(world.cluster.paths.root)


@pytest.fixture
def dev_nodes(bare: World) -> Iterator[World]:
    """The same, as it was before."""
    yield bare
    furnish(bare.api, bare.stack, SCALE)


def other_pool(config: dict[str, Any]) -> None:
    """Two nodes with two L4 each instead of one with one A10."""
    config["llm-stack:gpuPools"] = {"a10": {"gpu": "nvidia-l4", "nodes": 2, "gpusPerNode": 2}}


def gpus(world: World) -> dict[str, tuple[str, str]]:
    """Node → (product label, GPUs it offers) of all that have either."""
    found = {
        node["metadata"]["name"]: (node["metadata"]["labels"].get(PRODUCT), node["status"]["allocatable"].get(GPU))
        for node in world.nodes()
    }
    return {name: pair for name, pair in found.items() if any(pair)}


def said(node: Any) -> list[Any]:
    """Everything of a node but its heartbeats, and who wrote it when."""
    written = [item for item in node["metadata"]["managedFields"] if item["operation"] == "Apply"]
    metadata = node["metadata"]
    return [metadata["labels"], metadata.get("annotations"), node["spec"], node["status"]["capacity"], written]


def test_nodes_follow_their_pool(dev_nodes: World, tmp_path: Path):
    """Other GPUs, more of them and more nodes; back again the surplus node goes with its pods, a foreign one stays."""
    api = dev_nodes.api
    foreign = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "foreign", "labels": {"theirs": "stays"}}}
    api.create({**foreign, "status": {"allocatable": {"pods": "1"}}})
    before = gpus(dev_nodes)
    furnish(api, variant("dev", tmp_path, other_pool), SCALE)
    other = gpus(dev_nodes)
    # made by a controller, a moment after its namespace
    wait_until(lambda: api.get("v1", "ServiceAccount", "default", "default"), SOON_S, "pods may be made")
    pod = {"nodeName": "a10-2", "tolerations": [{"operator": "Exists"}], "containers": [{"name": "c", "image": "x"}]}
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": pod})
    furnish(api, dev_nodes.stack, SCALE)
    assert (before, other, gpus(dev_nodes)) == (
        {"a10-1": ("NVIDIA-A10", "1")},
        {"a10-1": ("NVIDIA-L4", "2"), "a10-2": ("NVIDIA-L4", "2")},
        before,
    )
    assert names(dev_nodes.nodes()) == ["a10-1", "foreign", "system-1", "system-2"]
    assert api.items("v1", "Pod", "default") == []
    api.delete(foreign)


def test_the_same_again_writes_nothing(dev_nodes: World):
    """A second time with the same pools leaves every node as it was written."""
    before = {node["metadata"]["name"]: said(node) for node in dev_nodes.nodes()}
    furnish(dev_nodes.api, dev_nodes.stack, SCALE)
    assert before == {node["metadata"]["name"]: said(node) for node in dev_nodes.nodes()}


def test_a_lost_node_stays_lost(dev_nodes: World, tmp_path: Path):
    """A node whose kubelet is silent, cordoned and labelled by others, gets other GPUs, and all of that stays."""
    api = dev_nodes.api

    def node() -> Any:
        return next(item for item in dev_nodes.nodes() if item["metadata"]["name"] == "a10-1")

    def lost() -> bool:
        # one forbids to come, one to stay; they are written one after the other
        return len([taint for taint in node()["spec"]["taints"] if taint["key"] == UNREACHABLE]) == 2

    api.patch(node(), {"metadata": {"labels": {"theirs": "stays"}}, "spec": {"unschedulable": True}})
    faults.lose_node(api, "a10-1")
    wait_until(lost, SOON_S, "the node is lost")
    before = sorted(taint["key"] for taint in node()["spec"]["taints"])
    furnish(api, variant("dev", tmp_path, other_pool), SCALE)
    found = node()
    assert (
        found["metadata"]["labels"][PRODUCT],
        found["metadata"]["labels"]["theirs"],
        MANAGED[0] in found["metadata"]["labels"],
        found["spec"]["unschedulable"],
        sorted(taint["key"] for taint in found["spec"]["taints"]),
    ) == ("NVIDIA-L4", "stays", False, True, before)
    faults.return_node(api, "a10-1")
    api.patch(node(), {"spec": {"unschedulable": None}})
    wait_until(lambda: is_ready(node()), SOON_S, "the node is back")
