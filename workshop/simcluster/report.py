"""What is on a cluster, for a person: nodes and their GPUs, pods and where they are, endpoints, what nobody does."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from planning.plan import GPU_RESOURCE
from workshop.kubernetes import Object, is_ready
from workshop.simcluster.api import Api
from workshop.simcluster.bodies import STAND_IN
from workshop.simcluster.deploy import unscheduled
from workshop.simcluster.references import unstarted

PLAIN_WIDTH = 120


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


def node_rows(nodes: Iterable[Object], pods: Sequence[Object]) -> list[tuple[str, ...]]:
    """Nodes by name: where they are, how they are, GPUs requested by their pods and offered, who they stand in for."""
    rows = []
    for node in sorted(nodes, key=lambda item: item["metadata"]["name"]):
        name, metadata = node["metadata"]["name"], node["metadata"]
        here = [pod for pod in pods if pod["spec"].get("nodeName") == name and not has_ended(pod)]
        cordoned = ", cordoned" if node["spec"].get("unschedulable") else ""
        gpus = _offered(node)
        rows.append(
            (
                name,
                metadata.get("labels", {}).get("topology.kubernetes.io/zone", ""),
                f"{'Ready' if is_ready(node) else 'NotReady'}{cordoned}",
                f"{sum(map(gpus_of, here))} of {gpus}" if gpus else "",
                str(len(here)),
                metadata.get("annotations", {}).get(STAND_IN, ""),
            )
        )
    return rows


def _offered(node: Mapping[str, Any]) -> int:
    return int(node["status"].get("allocatable", {}).get(GPU_RESOURCE, "0"))


def pod_rows(pods: Iterable[Object]) -> list[tuple[str, ...]]:
    """Pods that have not ended, by namespace and name: where they are, how they are, restarts, GPUs."""
    return [
        (
            pod["metadata"]["name"],
            pod["spec"].get("nodeName") or "–",
            pod_state(pod),
            str(max((item["restartCount"] for item in pod["status"].get("containerStatuses", [])), default=0)),
            str(gpus_of(pod) or ""),
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
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    with console.capture() as captured:
        console.print(title, style="bold")
        console.print(_table(("node", "zone", "state", "GPUs used", "pods", "stands in for"), node_rows(nodes, pods)))
        console.print()
        console.print(_table(("pod", "node", "state", "restarts", "GPUs"), pod_rows(pods)))
        console.print()
        console.print("\n".join(closing(api, nodes, pods)))
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def closing(api: Api, nodes: Sequence[Object], pods: Sequence[Object]) -> list[str]:
    """GPUs in all, endpoints, and what nobody does here."""
    used = sum(gpus_of(pod) for pod in pods if pod["spec"].get("nodeName") and not has_ended(pod))
    offered = sum(map(_offered, nodes))
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
