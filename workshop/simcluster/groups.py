"""Stand-in for the LeaderWorkerSet controller: the StatefulSets it would make of a set, and its status. Pure functions.

As upstream (kubernetes-sigs/lws v0.9, docs/concepts): one StatefulSet of leaders, one per group of workers that belongs
to its leader's pod; groups are replaced when their template changes, and made anew when one of their pods restarts or
goes, where the restart policy says so (pkg/controllers/pod_controller.go). Without webhook, events, headless Service,
gang or exclusive placement, subgroups and `group-index` of leaders; workers never wait for a ready leader, groups are
replaced one by one, and what `RecreateGroupAfterStart` was before v0.9, an annotation, is not read.
"""

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from workshop.kubernetes import Object, is_ready
from workshop.simcluster.bodies import body

VERSION = "leaderworkerset.x-k8s.io/v1"
PREFIX = "leaderworkerset.sigs.k8s.io"
NAME, GROUP, WORKER, REVISION = (
    f"{PREFIX}/{part}" for part in ("name", "group-index", "worker-index", "template-revision-hash")
)
SIZE = f"{PREFIX}/size"
# restart policies that make a whole group anew; the first is the default
RECREATE, RECREATE_AFTER_START = "RecreateGroupOnPodRestart", "RecreateGroupAfterStart"


def revision(group: Mapping[str, Any]) -> str:
    """A digest of both templates and the size: another one means other pods."""
    template = group["spec"]["leaderWorkerTemplate"]
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def leaders(group: Mapping[str, Any]) -> Object:
    """The StatefulSet of all leaders, one pod per group; it is replaced one by one, and never more than exist."""
    spec, template = group["spec"], group["spec"]["leaderWorkerTemplate"]
    name = group["metadata"]["name"]
    pod = _pod(template.get("leaderTemplate") or template["workerTemplate"], group, {WORKER: "0"})
    labels = {NAME: name, WORKER: "0"}
    return _stateful_set(name, group, spec["replicas"], labels, pod, group)


def workers(group: Mapping[str, Any], leader: Mapping[str, Any]) -> Object | None:
    """The StatefulSet of a leader's workers, numbered from 1; None in groups of one."""
    template = group["spec"]["leaderWorkerTemplate"]
    size = template["size"]
    if size < 2:
        return None
    index = leader["metadata"]["name"].rpartition("-")[2]
    pod = _pod(template["workerTemplate"], group, {GROUP: index})
    labels = {NAME: group["metadata"]["name"], GROUP: index}
    made = _stateful_set(leader["metadata"]["name"], group, size - 1, labels, pod, leader)
    made["spec"]["ordinals"] = {"start": 1}
    return made


def is_current(group: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether a pod is as the set's present template wants it."""
    return pod["metadata"]["labels"].get(REVISION) == revision(group)


def leaders_at_work(group: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The leader pods of this set, of whatever template, that stay."""
    return [
        pod
        for pod in members(group, pods)
        if pod["metadata"]["labels"].get(WORKER) == "0" and "deletionTimestamp" not in pod["metadata"]
    ]


def crew(
    leader: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], sets: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The workers that belong to this very leader, by way of a StatefulSet; not those of one that had its name."""
    uids = {stateful_set["metadata"]["uid"] for stateful_set in sets if owned(stateful_set, leader["metadata"]["uid"])}
    return [pod for pod in pods if any(owned(pod, uid) for uid in uids)]


def broken(
    group: Mapping[str, Any],
    leader: Mapping[str, Any],
    workers_now: Iterable[Mapping[str, Any]],
    workers_before: Mapping[str, str],
) -> bool:
    """Whether a group is made anew: a container was restarted, or a worker (name → uid) of the last round is gone."""
    template = group["spec"]["leaderWorkerTemplate"]
    policy = template.get("restartPolicy", RECREATE)
    now = list(workers_now)
    everyone = [leader, *now]
    failed = any(_restarted(pod) or "deletionTimestamp" in pod["metadata"] for pod in everyone)
    gone = workers_before.items() - uids(now).items()
    if policy == RECREATE_AFTER_START:
        started = [pod for pod in everyone if pod.get("status", {}).get("phase") != "Pending"]
        return bool(failed or gone) and len(started) == template["size"]
    return bool(failed or gone) and policy == RECREATE


def uids(pods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Name → uid."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def owned(body: Mapping[str, Any], uid: str) -> bool:
    """Whether an object belongs to the one of this uid."""
    return uid in [owner["uid"] for owner in body["metadata"].get("ownerReferences", [])]


def members(group: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All pods of this set."""
    metadata = group["metadata"]
    return [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == metadata["namespace"]
        and pod["metadata"].get("labels", {}).get(NAME) == metadata["name"]
    ]


def _restarted(pod: Mapping[str, Any]) -> bool:
    seen = pod.get("status", {})
    containers = [*seen.get("initContainerStatuses", []), *seen.get("containerStatuses", [])]
    return seen.get("phase") in ("Running", "Pending") and any(
        container.get("restartCount", 0) for container in containers
    )


def status(group: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Object:
    """Replicas, how many groups are complete and ready, and the condition `Available` that a deployment waits for."""
    replicas, size = group["spec"]["replicas"], group["spec"]["leaderWorkerTemplate"]["size"]
    metadata, own_pods = group["metadata"], members(group, pods)
    updated = [pod for pod in own_pods if is_current(group, pod)]
    ready_pods = Counter(_group_of(pod) for pod in updated if is_ready(pod))
    ready = sum(ready_pods[str(index)] == size for index in range(replicas))
    available = ready >= replicas
    return {
        "replicas": len({_group_of(pod) for pod in own_pods}),
        "readyReplicas": ready,
        "updatedReplicas": len({_group_of(pod) for pod in updated}),
        "hpaPodSelector": f"{NAME}={metadata['name']},{WORKER}=0",
        "conditions": [
            {"type": kind, "status": str(true), "reason": reason, "message": ""}
            for kind, true, reason in (
                ("Available", available, "AllGroupsReady" if available else "GroupsNotReady"),
                ("Progressing", not available, "GroupsProgressing"),
            )
        ],
        "observedGeneration": metadata.get("generation", 1),
    }


def _group_of(pod: Mapping[str, Any]) -> str:
    """The number of the group a pod belongs to: its leader has it in its name, a worker as a label."""
    labels = pod["metadata"]["labels"]
    return labels.get(GROUP) or pod["metadata"]["name"].rpartition("-")[2]


def _pod(template: Mapping[str, Any], group: Mapping[str, Any], labels: Mapping[str, str]) -> Object:
    pod = copy.deepcopy(dict(template))
    metadata, name = group["metadata"], group["metadata"]["name"]
    size = group["spec"]["leaderWorkerTemplate"]["size"]
    pod_metadata = pod.setdefault("metadata", {})
    pod_metadata["labels"] = {**pod_metadata.get("labels", {}), NAME: name, REVISION: revision(group), **labels}
    pod_metadata["annotations"] = {**pod_metadata.get("annotations", {}), SIZE: str(size)}
    index = labels.get(GROUP)
    leader = f"{name}-{index}" if index is not None else "$(POD_NAME)"
    address = f"{leader}.{name}.{metadata['namespace']}"
    own: list[Object] = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    own = [
        *(own if index is None else []),
        {"name": "LWS_LEADER_ADDRESS", "value": address},
        {"name": "LWS_GROUP_SIZE", "value": str(size)},
    ]
    for container in pod["spec"]["containers"]:
        container["env"] = [*own, *container.get("env", [])]
    pod["spec"]["subdomain"] = name
    return pod


def _stateful_set(
    name: str, group: Mapping[str, Any], replicas: int, labels: Mapping[str, str], pod: Object, owner: Mapping[str, Any]
) -> Object:
    metadata, of = group["metadata"], owner["metadata"]
    made = body("StatefulSet", "leaderworkerset", name=name, namespace=metadata["namespace"], set=metadata["name"])
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": of["name"], "uid": of["uid"]}
    made["metadata"] |= {
        "labels": {**labels, REVISION: revision(group)},
        "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
    }
    made["spec"] |= {"replicas": replicas, "selector": {"matchLabels": dict(labels)}, "template": pod}
    return made
