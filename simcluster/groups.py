"""Stand-in for the LeaderWorkerSet controller: the StatefulSets it would make of a set, and its status.

Pure functions. As upstream (kubernetes-sigs/lws v0.9, docs/concepts): one StatefulSet of leaders, one per group of
workers that belongs to its leader's pod; the pods carry the set's labels and LWS_* variables. Groups are replaced when
their template changes; there is no webhook, no gang scheduling, no exclusive placement.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from simcluster.nodes import STAND_IN

Object = dict[str, Any]
VERSION = "leaderworkerset.x-k8s.io/v1"
PREFIX = "leaderworkerset.sigs.k8s.io"
NAME, GROUP, WORKER, REVISION = (
    f"{PREFIX}/{part}" for part in ("name", "group-index", "worker-index", "template-revision-hash")
)
SIZE = f"{PREFIX}/size"


def revision(group: Mapping[str, Any]) -> str:
    """What changes when the pods of a group would be others: a digest of both templates and the size."""
    template = group["spec"]["leaderWorkerTemplate"]
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def leaders(group: Mapping[str, Any]) -> Object:
    """The StatefulSet of all leaders, one pod per group; it is replaced one by one, and never more than exist."""
    spec, template = group["spec"], group["spec"]["leaderWorkerTemplate"]
    name = group["metadata"]["name"]
    pod = _pod(template.get("leaderTemplate") or template["workerTemplate"], group, {WORKER: "0"})
    labels = {NAME: name, WORKER: "0"}
    return _stateful_set(name, group, spec["replicas"], labels, pod, _owner(group))


def workers(group: Mapping[str, Any], leader: Mapping[str, Any]) -> Object | None:
    """The StatefulSet of a leader's workers, numbered from 1; None in groups of one."""
    template = group["spec"]["leaderWorkerTemplate"]
    size = template["size"]
    if size < 2:
        return None
    index = leader["metadata"]["name"].rpartition("-")[2]
    pod = _pod(template["workerTemplate"], group, {GROUP: index})
    labels = {NAME: group["metadata"]["name"], GROUP: index}
    body = _stateful_set(leader["metadata"]["name"], group, size - 1, labels, pod, _owner(leader))
    body["spec"]["ordinals"] = {"start": 1}
    return body


def current_leaders(group: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The leader pods of this set that are on their nodes, as its present template wants them, and stay."""
    metadata = group["metadata"]
    return [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == metadata["namespace"]
        and pod["metadata"].get("labels", {}).get(NAME) == metadata["name"]
        and pod["metadata"]["labels"].get(WORKER) == "0"
        and pod["metadata"]["labels"].get(REVISION) == revision(group)
        and "deletionTimestamp" not in pod["metadata"]
    ]


def status(group: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Object:
    """Replicas, how many groups are complete and ready, and the condition `Available` that a deployment waits for."""
    wanted, size = group["spec"]["replicas"], group["spec"]["leaderWorkerTemplate"]["size"]
    metadata = group["metadata"]
    ours = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == metadata["namespace"]
        and pod["metadata"].get("labels", {}).get(NAME) == metadata["name"]
    ]
    updated = [pod for pod in ours if pod["metadata"]["labels"].get(REVISION) == revision(group)]
    ready = sum(_complete(index, updated, size) for index in range(wanted))
    available = ready >= wanted
    return {
        "replicas": len({_group_of(pod) for pod in ours}),
        "readyReplicas": ready,
        "updatedReplicas": len({_group_of(pod) for pod in updated}),
        "hpaPodSelector": f"{NAME}={metadata['name']},{WORKER}=0",
        "conditions": [
            _condition("Available", available, "AllGroupsReady", "AllGroupsReady" if available else "GroupsNotReady"),
            _condition("Progressing", not available, "GroupsProgressing", "GroupsProgressing"),
        ],
        "observedGeneration": metadata.get("generation", 1),
    }


def _group_of(pod: Mapping[str, Any]) -> str:
    """The number of the group a pod belongs to: its leader has it in its name, a worker as a label."""
    labels = pod["metadata"]["labels"]
    return labels.get(GROUP) or pod["metadata"]["name"].rpartition("-")[2]


def _complete(index: int, pods: Iterable[Mapping[str, Any]], size: int) -> bool:
    members = [pod for pod in pods if _group_of(pod) == str(index)]
    return len([pod for pod in members if _is_ready(pod)]) == size


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _condition(kind: str, true: bool, reason: str, otherwise: str) -> Object:
    return {"type": kind, "status": str(true), "reason": reason if true else otherwise, "message": ""}


def _owner(body: Mapping[str, Any]) -> Object:
    metadata = body["metadata"]
    reference = {"apiVersion": body["apiVersion"], "kind": body["kind"], "name": metadata["name"]}
    return {**reference, "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}


def _pod(template: Mapping[str, Any], group: Mapping[str, Any], labels: Mapping[str, str]) -> Object:
    pod = copy.deepcopy(dict(template))
    metadata, name = group["metadata"], group["metadata"]["name"]
    size = group["spec"]["leaderWorkerTemplate"]["size"]
    given = pod.setdefault("metadata", {})
    given["labels"] = {**given.get("labels", {}), NAME: name, REVISION: revision(group), **labels}
    given["annotations"] = {**given.get("annotations", {}), SIZE: str(size)}
    index = labels.get(GROUP)
    leader = f"{name}-{index}" if index is not None else "$(POD_NAME)"
    address = f"{leader}.{name}.{metadata['namespace']}"
    own: list[Object] = [
        {"name": "LWS_LEADER_ADDRESS", "value": address},
        {"name": "LWS_GROUP_SIZE", "value": str(size)},
    ]
    if index is None:
        own.insert(0, {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    for container in pod["spec"]["containers"]:
        container["env"] = [*own, *container.get("env", [])]
    pod["spec"]["subdomain"] = name
    return pod


def _stateful_set(
    name: str, group: Mapping[str, Any], replicas: int, labels: Mapping[str, str], pod: Object, owner: Object
) -> Object:
    metadata = group["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**labels, REVISION: revision(group)},
            "annotations": {STAND_IN: "leaderworkerset"},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": replicas,
            "serviceName": metadata["name"],
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": dict(labels)},
            "template": pod,
        },
    }
