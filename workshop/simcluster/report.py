"""The state of a cluster for a person: nodes and their GPUs, pods and where they are, endpoints, what is not scaled."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from planning.plan.pools import GPU_RESOURCE
from workshop.kubernetes import Object, is_ready
from workshop.simcluster.api import Api
from workshop.simcluster.bodies import STAND_IN
from workshop.simcluster.deploy import unscheduled
from workshop.simcluster.references import unstarted

PLAIN_WIDTH = 120
NODE = ("node", "zone", "state", "GPUs used", "pods", "stands in for")
POD = ("pod", "node", "state", "restarts", "GPUs")


def gpus_of(pod: Mapping[str, Any]) -> int:
    """GPUs a pod requests; init containers run before the others, so they only count where they want more."""
    together = sum(map(_gpus, pod["spec"]["containers"]))
    return max([together, *map(_gpus, pod["spec"].get("initContainers", []))])


def _gpus(container: Mapping[str, Any]) -> int:
    return int(container.get("resources", {}).get("requests", {}).get(GPU_RESOURCE, "0"))


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether a pod holds nothing any more."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _offered(node: Mapping[str, Any]) -> int:
    return int(node["status"].get("allocatable", {}).get(GPU_RESOURCE, "0"))


def node_row(node: Object, pods: Sequence[Object]) -> tuple[str, ...]:
    """A node and, of these pods, those that are on it."""
    metadata, gpus = node["metadata"], _offered(node)
    here = [pod for pod in pods if pod["spec"].get("nodeName") == metadata["name"]]
    cordoned = ", cordoned" if node["spec"].get("unschedulable") else ""
    return (
        metadata["name"],
        metadata.get("labels", {}).get("topology.kubernetes.io/zone", ""),
        f"{'Ready' if is_ready(node) else 'NotReady'}{cordoned}",
        f"{sum(map(gpus_of, here))} of {gpus}" if gpus else "",
        str(len(here)),
        metadata.get("annotations", {}).get(STAND_IN, ""),
    )


def _pod_row(pod: Object) -> tuple[str, ...]:
    restarts = [container["restartCount"] for container in pod["status"].get("containerStatuses", [])]
    node, gpus = pod["spec"].get("nodeName") or "–", str(gpus_of(pod) or "")
    return pod["metadata"]["name"], node, pod_state(pod), str(max(restarts, default=0)), gpus


def pod_state(pod: Mapping[str, Any]) -> str:
    """One or a few words: what a person would want to know first."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    if why := unscheduled(pod):
        return f"Pending: {why}"
    if why := unstarted(pod):
        return why
    if is_ready(pod):
        return "Ready"
    states = [container["state"] for container in pod["status"].get("containerStatuses", [])]
    waiting = [state["waiting"]["reason"] for state in states if "waiting" in state]
    return waiting[0] if waiting and waiting[0] != "PodInitializing" else "Loading"


def print_status(api: Api, title: str) -> None:
    """Prints the page: nodes by name, pods that have not ended by namespace and name, and the rest."""
    nodes = sorted(api.items("v1", "Node"), key=_by_name)
    pods = sorted((pod for pod in api.items("v1", "Pod") if not has_ended(pod)), key=_by_name)
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    with console.capture() as captured:
        console.print(title, style="bold")
        for heads, rows in ((NODE, [node_row(node, pods) for node in nodes]), (POD, map(_pod_row, pods))):
            console.print(_table(heads, rows))
            console.print()
        console.print("\n".join(_closing(api, nodes, pods)))
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def _by_name(body: Object) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _closing(api: Api, nodes: Sequence[Object], pods: Sequence[Object]) -> list[str]:
    """GPUs in all, endpoints, and what nobody does here."""
    used = sum(gpus_of(pod) for pod in pods if pod["spec"].get("nodeName"))
    lines = [f"GPUs        {used} of {sum(map(_offered, nodes))} used"]
    for slices in api.items("discovery.k8s.io/v1", "EndpointSlice"):
        metadata = slices["metadata"]
        name = metadata["labels"].get("kubernetes.io/service-name", "")
        ready = [endpoint for endpoint in slices.get("endpoints") or [] if endpoint["conditions"].get("ready")]
        ports = ", ".join(str(port["port"]) for port in slices.get("ports") or [])
        if metadata["namespace"] != "default":
            lines.append(f"endpoint    {name}.{metadata['namespace']}.svc:{ports or '–'}  {len(ready)} ready")
    for route in api.items("gateway.networking.k8s.io/v1", "HTTPRoute"):
        lines += [f"route       {host} → {route['metadata']['name']}" for host in route["spec"].get("hostnames", [])]
    if names := ", ".join(scaled["metadata"]["name"] for scaled in api.items("keda.sh/v1alpha1", "ScaledObject")):
        lines.append(f"not scaled  {names}: KEDA does not run here; scale by hand as it would (kubectl scale)")
    return lines


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="cyan")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
