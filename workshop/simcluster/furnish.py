"""The nodes of a stack's pools on a cluster, and how they behave; kubelets, controllers and the stack share them."""

from collections.abc import Iterable, Mapping
from typing import Any

from workshop.simcluster.api import CONFLICT, Api, unless
from workshop.simcluster.bodies import STAND_IN
from workshop.simcluster.nodes import Node, nodes_of
from workshop.simcluster.programs import MANAGED
from workshop.simcluster.rendered import Stack
from workshop.simcluster.stages import TIME_SCALE, behaviour_of, stages

Taint = dict[str, str]


def furnish(api: Api, stack: Stack, scale: float = TIME_SCALE) -> None:
    """Stages and nodes as the stack wants them; when nothing has changed, nothing is written."""
    for stage in stages(behaviour_of(stack.plan, scale)):
        api.apply(stage)
    nodes = nodes_of(stack.plan)
    present = {node["metadata"]["name"]: node for node in api.items("v1", "Node")}
    for node in nodes:
        # without capacity until it is labelled and tainted: no pod may slip in before
        api.apply(labelled(node, present.get(node["metadata"]["name"])))
        _taint(api, node)
        api.apply({**_named(node), "status": node["status"]}, "status")
    for node in unwanted(present.values(), nodes):
        _remove(api, node)


def labelled(node: Node, present: Mapping[str, Any] | None) -> Node:
    """The metadata to apply to a node: without the label that would bring the kubelet of a lost node back."""
    metadata = node["metadata"]
    labels = dict(metadata["labels"])
    if present is not None and _ours(present) and MANAGED[0] not in present["metadata"].get("labels", {}):
        del labels[MANAGED[0]]
    named = _named(node)
    return {**named, "metadata": {**named["metadata"], "labels": labels, "annotations": metadata["annotations"]}}


def tainted(wanted_taints: Iterable[Taint], present: Iterable[Taint]) -> list[Taint]:
    """A node's taints: the GPU taint as wanted, and all others, which say that a node is lost or cordoned, as found."""
    return [*(taint for taint in present if not taint["key"].endswith(".com/gpu")), *wanted_taints]


def unwanted(present: Iterable[Mapping[str, Any]], nodes: Iterable[Node]) -> list[Mapping[str, Any]]:
    """Nodes that stand in for one that no pool has any more; nodes of anybody else are theirs."""
    names = {node["metadata"]["name"] for node in nodes}
    return [node for node in present if _ours(node) and node["metadata"]["name"] not in names]


def _ours(node: Mapping[str, Any]) -> bool:
    return STAND_IN in node["metadata"].get("annotations", {})


def _named(node: Node) -> Node:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node["metadata"]["name"]}}


def _taint(api: Api, node: Node) -> None:
    """Not by server-side apply: that knows taints only as one list, and would take away everybody else's."""
    if "taints" not in node["spec"]:
        return  # the stack taints this one
    while True:
        current = api.current(node)
        assert current is not None, "it has just been applied"
        present = current["spec"].get("taints", [])
        taints = tainted(node["spec"]["taints"], present)
        if sorted(map(repr, taints)) == sorted(map(repr, present)):
            return
        version = {"resourceVersion": current["metadata"]["resourceVersion"]}
        with unless(CONFLICT):
            api.patch(node, {"metadata": version, "spec": {"taints": taints}})


def _remove(api: Api, node: Mapping[str, Any]) -> None:
    """A node that was given back, and its pods with it: no kubelet is left that would end them."""
    api.delete(node)
    for pod in api.items("v1", "Pod"):
        if pod["spec"].get("nodeName") == node["metadata"]["name"]:
            api.delete(pod, gracePeriodSeconds=0)
