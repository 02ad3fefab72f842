"""A server whose replicas span nodes: one group of pods each, started and replaced together."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.plan.servers import ServerPlan
from planning.server.arguments import group_args

# The label of nodes of which each group has one value to itself (LeaderWorkerSet API v1, ExclusiveKeyAnnotationKey).
EXCLUSIVE = "leaderworkerset.sigs.k8s.io/exclusive-topology"
POD_IP = {"fieldRef": {"fieldPath": "status.podIP"}}


def leader_worker_set(
    name: str, server: ServerPlan, metadata: Any, template: Any, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """A group of pods, one per node; when one of them dies the whole group starts again."""
    leads, follows = group_args(server.nodes_per_replica)
    leader = _with_args(server, template, leads)
    worker = _with_args(server, template, follows, probes=False)
    spec: Any = {
        "replicas": server.replicas,
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {
                "maxSurge": server.rollout.max_surge,
                "maxUnavailable": server.rollout.max_unavailable,
            },
        },
        "leaderWorkerTemplate": {
            "size": server.nodes_per_replica,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leader,
            "workerTemplate": worker,
        },
    }
    waits = {
        "pulumi.com/waitFor": "condition=Available",
        "pulumi.com/timeoutSeconds": str(server.timing.await_timeout_s),
        **({EXCLUSIVE: server.fabric.topology} if server.fabric and server.fabric.topology else {}),
    }
    return k8s.apiextensions.CustomResource(
        name,
        api_version="leaderworkerset.x-k8s.io/v1",
        kind="LeaderWorkerSet",
        metadata=_k8s.annotated(metadata, waits),
        spec=spec,
        opts=opts,
    )


def _with_args(server: ServerPlan, template: Any, more: Sequence[str], *, probes: bool = True) -> Any:
    """The pod template with more arguments of its first container; a headless worker answers no probes."""
    first, *sidecars = template["spec"]["containers"]
    # the pods find each other by it; a pod with several networks would guess
    address = {"name": server.endpoint.address_variable, "valueFrom": POD_IP}
    container = {**first, "args": [*server.args, *more], "env": [*first["env"], address]}
    if not probes:
        container = {key: value for key, value in container.items() if not key.endswith("Probe") and key != "ports"}
    return {**template, "spec": {**template["spec"], "containers": [container, *sidecars]}}
