"""What is on a cluster, for a person: nodes and their GPUs, pods and where they are, endpoints, what nobody does."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from planning.stack.pools import GPU_RESOURCE
from workshop.kubernetes import Object, is_ready
from workshop.simcluster.api import Api
from workshop.simcluster.deploy import unscheduled
from workshop.simcluster.nodes import STAND_IN
from workshop.simcluster.references import unstarted

PLAIN_WIDTH = 120


@dataclass(frozen=True)
class NodeRow:
    """One node; GPUs requested by its pods, and offered."""

    name: str
    zone: str
    state: str
    gpus_used: int
    gpus: int
    pods: int
    stand_in_for: str


@dataclass(frozen=True)
class PodRow:
    """One pod that has not ended."""

    namespace: str
    name: str
    node: str
    state: str
    restarts: int
    gpus: int


def gpus_of(pod: Mapping[str, Any]) -> int:
    """GPUs a pod requests; init containers run before the others, so they only count where they want more."""
    spec = pod["spec"]
    together = sum(_gpus(item) for item in spec["containers"])
    return max([together, *(_gpus(item) for item in spec.get("initContainers", []))])


def _gpus(container: Mapping[str, Any]) -> int:
    return int(container.get("resources", {}).get("requests", {}).get(GPU_RESOURCE, "0"))


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether a pod holds nothing any more."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def node_rows(nodes: Iterable[Object], pods: Sequence[Object]) -> list[NodeRow]:
    """Nodes in the order of their names."""
    rows = []
    for node in sorted(nodes, key=lambda item: item["metadata"]["name"]):
        name, metadata = node["metadata"]["name"], node["metadata"]
        here = [pod for pod in pods if pod["spec"].get("nodeName") == name and not has_ended(pod)]
        rows.append(
            NodeRow(
                name,
                metadata.get("labels", {}).get("topology.kubernetes.io/zone", ""),
                ("Ready" if is_ready(node) else "NotReady")
                + (", cordoned" if node["spec"].get("unschedulable") else ""),
                sum(gpus_of(pod) for pod in here),
                int(node["status"].get("allocatable", {}).get(GPU_RESOURCE, "0")),
                len(here),
                metadata.get("annotations", {}).get(STAND_IN, ""),
            )
        )
    return rows


def pod_rows(pods: Iterable[Object]) -> list[PodRow]:
    """Pods that have not ended, by namespace and name."""
    return [
        PodRow(
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
            pod["spec"].get("nodeName", ""),
            pod_state(pod),
            max((item["restartCount"] for item in pod["status"].get("containerStatuses", [])), default=0),
            gpus_of(pod),
        )
        for pod in sorted(pods, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))
        if not has_ended(pod)
    ]


def pod_state(pod: Mapping[str, Any]) -> str:
    """One or a few words: what a person would want to know first."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    if why := unscheduled(pod):
        return f"Pending: {why}"
    if why := unstarted(pod):
        return why
    waiting = [
        item["state"]["waiting"]["reason"]
        for item in pod["status"].get("containerStatuses", [])
        if "waiting" in item["state"]
    ]
    if is_ready(pod):
        return "Ready"
    return waiting[0] if waiting and waiting[0] != "PodInitializing" else "Loading"


def print_status(api: Api, title: str) -> None:
    """Prints the page."""
    pods, nodes = api.items("v1", "Pod"), api.items("v1", "Node")
    rows = node_rows(nodes, pods)
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=PLAIN_WIDTH)
    with console.capture() as captured:
        console.print(title, style="bold")
        console.print(
            _table(("node", "zone", "state", "GPUs used", "pods", "stands in for"), [_shown(row) for row in rows])
        )
        console.print()
        found = [
            (row.name, row.node or "–", row.state, str(row.restarts), str(row.gpus or "")) for row in pod_rows(pods)
        ]
        console.print(_table(("pod", "node", "state", "restarts", "GPUs"), found))
        console.print()
        for line in closing(api, rows):
            console.print(line)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def _shown(row: NodeRow) -> tuple[str, ...]:
    gpus = f"{row.gpus_used} of {row.gpus}" if row.gpus else ""
    return row.name, row.zone, row.state, gpus, str(row.pods), row.stand_in_for


def closing(api: Api, rows: Sequence[NodeRow]) -> list[str]:
    """GPUs in all, endpoints, and what nobody does here."""
    used, offered = sum(row.gpus_used for row in rows), sum(row.gpus for row in rows)
    lines = [f"GPUs        {used} of {offered} used"]
    for slices in api.items("discovery.k8s.io/v1", "EndpointSlice"):
        name = slices["metadata"]["labels"].get("kubernetes.io/service-name", "")
        ready = [item for item in slices.get("endpoints") or [] if item["conditions"].get("ready")]
        ports = ", ".join(str(item["port"]) for item in slices.get("ports") or [])
        if slices["metadata"]["namespace"] != "default":
            lines.append(f"endpoint    {name}.{slices['metadata']['namespace']}.svc:{ports or '–'}  {len(ready)} ready")
    for route in api.items("gateway.networking.k8s.io/v1", "HTTPRoute"):
        lines += [f"route       {host} → {route['metadata']['name']}" for host in route["spec"].get("hostnames", [])]
    scaled = api.items("keda.sh/v1alpha1", "ScaledObject")
    if scaled:
        names = ", ".join(item["metadata"]["name"] for item in scaled)
        lines.append(f"not scaled  {names}: KEDA does not run here; scale by hand as it would (kubectl scale)")
    return lines


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="cyan")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
