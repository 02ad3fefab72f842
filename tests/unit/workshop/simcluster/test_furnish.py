"""What is written of a node that exists, and which nodes go; that an API server takes it is for the cluster tests."""

from typing import Any

from workshop.simcluster.bodies import STAND_IN
from workshop.simcluster.furnish import labelled, tainted, unwanted
from workshop.simcluster.programs import MANAGED

OURS: dict[str, Any] = {"annotations": {STAND_IN: "kubelet"}}
GPU = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
LOST = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def node(name: str = "n", **metadata: Any) -> dict[str, Any]:
    """A node with this metadata."""
    return {"metadata": {"name": name, **metadata}}


def test_the_label_of_a_lost_node():
    """Only a node of ours that has lost its kubelet stays without one: not a new node, nor one we take over."""
    wanted = node(labels={"a": "b", MANAGED[0]: MANAGED[1]}, **OURS)
    present = [None, node(labels={MANAGED[0]: MANAGED[1]}, **OURS), node(labels={}), node(labels={}, **OURS)]
    assert [labelled(wanted, item)["metadata"]["labels"] for item in present] == [
        {"a": "b", MANAGED[0]: MANAGED[1]},
        {"a": "b", MANAGED[0]: MANAGED[1]},
        {"a": "b", MANAGED[0]: MANAGED[1]},
        {"a": "b"},
    ]


def test_taints_of_others():
    """The GPU taint comes, changes and goes; a taint with any other key stays as it is."""
    old = {**GPU, "effect": "NoExecute"}
    assert [tainted([GPU], [LOST]), tainted([GPU], [old, LOST]), tainted([], [GPU, LOST])] == [
        [LOST, GPU],
        [LOST, GPU],
        [LOST],
    ]


def test_nodes_that_go():
    """Ours that no pool has any more; never one that is wanted, or anybody else's."""
    gone, theirs = node("gone", **OURS), node("theirs")
    assert unwanted([node("kept", **OURS), gone, theirs], [node("kept")]) == [gone]
