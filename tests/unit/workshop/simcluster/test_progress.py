"""When an applied object is done, what a pod's state is called, and what a group of pods over several nodes needs.

Pure judgements of objects as an API server shows them; that controllers write such a status is for the cluster tests.
"""

from typing import Any

import pytest

from workshop.simcluster import groups
from workshop.simcluster.progress import DONE, Verdict, verdict
from workshop.simcluster.surroundings import served, storage_class, volume_for, wants_volume


def body(kind: str, generation: int = 1, wanted: int = 2, **status: Any) -> dict[str, Any]:
    """An object of this kind and status."""
    return {"kind": kind, "metadata": {"generation": generation}, "spec": {"replicas": wanted}, "status": status}


def condition(kind: str, status: str = "True", **more: str) -> dict[str, str]:
    """One condition."""
    return {"type": kind, "status": status, **more}


FULL = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
DEADLINE = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (body("ConfigMap"), DONE),
        (body("Deployment", **FULL), DONE),
        (body("Deployment", 2, **FULL), Verdict(done=False, why="has not been seen by its controller")),
        (
            body("Deployment", **{**FULL, "replicas": 3}),
            Verdict(done=False, why="2 of 2 pods are updated, 2 available, 3 in all"),
        ),
        (body("Deployment", **FULL, conditions=[DEADLINE]), Verdict(done=False, failed=True, why="timed out")),
        (body("Deployment", 1, 0, observedGeneration=1), DONE),
        (body("Job"), Verdict(done=False, why="has not completed")),
        (body("Job", conditions=None), Verdict(done=False, why="has not completed")),
        (body("Job", conditions=[condition("Complete")]), DONE),
        (
            body("Job", conditions=[condition("Failed", message="backoff limit")]),
            Verdict(done=False, failed=True, why="backoff limit"),
        ),
        (body("LeaderWorkerSet", observedGeneration=1, conditions=[condition("Available")]), DONE),
        (
            body("LeaderWorkerSet", 2, observedGeneration=1, readyReplicas=1, conditions=[condition("Available")]),
            Verdict(done=False, why="1 of 2 groups are ready"),
        ),
        (body("StatefulSet", observedGeneration=1, readyReplicas=2, updatedReplicas=2), DONE),
        (body("StatefulSet", observedGeneration=1, readyReplicas=1), Verdict(done=False, why="1 of 2 pods are ready")),
    ],
)
def test_verdict(found: dict[str, Any], expected: Verdict):
    """Done, failed, or why not yet, of every kind that is awaited."""
    assert expected == verdict(found)


def test_an_object_may_ask_not_to_be_awaited():
    """The annotation that the engine honours counts here too."""
    found = body("Job")
    found["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    assert verdict(found) == DONE


def pod(
    name: str = "p",
    node: str = "",
    gpus: int = 0,
    *,
    ready: bool = False,
    labels: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A pod with one container."""
    container = {"resources": {"requests": {"nvidia.com/gpu": str(gpus)} if gpus else {}}}
    return {
        "metadata": {
            "name": name,
            "namespace": "n",
            "labels": labels or {},
            "uid": f"uid-{name}",
            **more.pop("metadata", {}),
        },
        "spec": {"containers": [container], "nodeName": node, **more.pop("spec", {})},
        "status": {"conditions": [condition("Ready", str(ready))], **more},
    }


# ---- groups over several nodes ----

TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]},
}


def group(replicas: int = 1, size: int = 3) -> dict[str, Any]:
    """A LeaderWorkerSet."""
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "g", "namespace": "n", "uid": "uid-g", "generation": 4},
        "spec": {
            "replicas": replicas,
            "leaderWorkerTemplate": {"size": size, "leaderTemplate": TEMPLATE, "workerTemplate": TEMPLATE},
        },
    }


def member(name: str, *, leader: bool, index: str, ready: bool = True, revision: str | None = None) -> dict[str, Any]:
    """A pod of the group."""
    own = {groups.WORKER: "0"} if leader else {groups.GROUP: index}
    labels = {groups.NAME: "g", groups.REVISION: revision or groups.revision(group()), **own}
    return pod(name, ready=ready, labels=labels)


def test_one_leader_per_group():
    """Leaders are a StatefulSet of as many pods as there are groups, each told who leads and how many they are."""
    made = groups.leaders(group(replicas=2))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (made["spec"]["replicas"], made["spec"]["selector"]["matchLabels"]) == (
        2,
        {groups.NAME: "g", groups.WORKER: "0"},
    )
    assert [(item["name"], item.get("value")) for item in container["env"]] == [
        ("POD_NAME", None),
        ("LWS_LEADER_ADDRESS", "$(POD_NAME).g.n"),
        ("LWS_GROUP_SIZE", "3"),
        ("A", "1"),
    ]


def test_workers_belong_to_their_leader():
    """The workers of a leader are a StatefulSet of its name, numbered from one, owned by the leader's pod."""
    leader = {"apiVersion": "v1", "kind": "Pod", **member("g-1", leader=True, index="1")}
    made = groups.workers(group(replicas=2), leader)
    assert made is not None
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (
        made["metadata"]["name"],
        made["spec"]["replicas"],
        made["spec"]["ordinals"],
        made["metadata"]["ownerReferences"][0]["uid"],
        container["env"][0]["value"],
    ) == ("g-1", 2, {"start": 1}, "uid-g-1", "g-1.g.n")
    assert groups.workers(group(size=1), leader) is None


def test_a_group_is_ready_as_a_whole():
    """Ready are groups whose every pod is ready and of the present template."""
    whole = [member("g-0", leader=True, index="0"), *(member(f"g-0-{n}", leader=False, index="0") for n in (1, 2))]
    unready = [*whole[:2], member("g-0-2", leader=False, index="0", ready=False)]
    old = [*whole[:2], member("g-0-2", leader=False, index="0", revision="other")]
    assert [
        (found["readyReplicas"], found["conditions"][0]["status"])
        for found in (groups.status(group(), pods) for pods in (whole, unready, old, whole[:2]))
    ] == [(1, "True"), (0, "False"), (0, "False"), (0, "False")]


def test_leaders_that_stay():
    """Of the leaders that are not on their way out, only those of the present template get new workers."""
    stays, old = member("g-0", leader=True, index="0"), member("g-2", leader=True, index="2", revision="other")
    goes = member("g-1", leader=True, index="1")
    goes["metadata"]["deletionTimestamp"] = "now"
    pods = [stays, goes, old, member("g-0-1", leader=False, index="0")]
    found = groups.leaders_at_work(group(), pods)
    assert (found, [groups.is_current(group(), pod) for pod in found]) == ([stays, old], [True, False])


def owned_by(body: dict[str, Any], uid: str) -> dict[str, Any]:
    """The same object, owned by the one of this uid."""
    return {**body, "metadata": {**body["metadata"], "ownerReferences": [{"uid": uid}]}}


def test_workers_of_a_leader_that_is_gone():
    """Only workers by way of a StatefulSet of this very leader are its own: others of the same names are going."""
    leader = member("g-0", leader=True, index="0")
    mine, theirs = (
        {"metadata": {"uid": uid, "ownerReferences": [{"uid": of}]}}
        for uid, of in (("mine", "uid-g-0"), ("other", "x"))
    )
    worker = member("g-0-1", leader=False, index="0")
    pods = [leader, owned_by(worker, "mine"), owned_by(worker, "other"), worker]
    assert groups.crew(leader, pods, [mine, theirs]) == [owned_by(worker, "mine")]


WHOLE = {"g-0-1": "uid-g-0-1", "g-0-2": "uid-g-0-2"}


@pytest.mark.parametrize(
    ("change", "before", "expected"),
    [
        ({}, {}, {}),
        ({}, WHOLE, {}),
        ({"containerStatuses": [{"restartCount": 0}]}, WHOLE, {}),
        ({"containerStatuses": [{"restartCount": 1}]}, WHOLE, {"Default", "AfterStart", "OnPodRestart"}),
        ({"initContainerStatuses": [{"restartCount": 1}]}, WHOLE, {"Default", "AfterStart", "OnPodRestart"}),
        ({"phase": "Succeeded", "containerStatuses": [{"restartCount": 1}]}, WHOLE, {}),
        ({"phase": "Pending", "containerStatuses": [{"restartCount": 1}]}, WHOLE, {"Default", "OnPodRestart"}),
        ({"metadata": {"deletionTimestamp": "now"}}, WHOLE, {"Default", "AfterStart", "OnPodRestart"}),
        # went and came back between two looks
        ({}, {**WHOLE, "g-0-2": "another"}, {"Default", "AfterStart", "OnPodRestart"}),
    ],
)
def test_a_group_that_is_made_anew(change: dict[str, Any], before: dict[str, str], expected: set[str]):
    """A restarted container or a worker that went ends the whole group, where the policy says so."""
    leader, first = member("g-0", leader=True, index="0"), member("g-0-1", leader=False, index="0")
    second = pod("g-0-2", **{"phase": "Running", **change})
    policies = {
        "Default": {},
        "OnPodRestart": {"restartPolicy": "RecreateGroupOnPodRestart"},
        "AfterStart": {"restartPolicy": "RecreateGroupAfterStart"},
        "None": {"restartPolicy": "None"},
    }
    found = set()
    for name, policy in policies.items():
        whole = group()
        whole["spec"]["leaderWorkerTemplate"] |= policy
        if groups.broken(whole, leader, [first, second], before):
            found.add(name)
    assert found == set(expected)


def test_the_revision_follows_the_templates():
    """Another number of groups is no new revision, another size or template is one."""
    assert groups.revision(group()) == groups.revision(group(replicas=5))
    assert groups.revision(group()) != groups.revision(group(size=4))


# ---- volumes ----


def claim(**changes: Any) -> dict[str, Any]:
    """A claim that waits."""
    spec = {"storageClassName": "nfs", "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "9Gi"}}}
    return {
        "metadata": {"name": "c", "namespace": "n", "uid": "u", **changes.pop("metadata", {})},
        "spec": {**spec, **changes.pop("spec", {})},
        "status": {"phase": "Pending", **changes},
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (claim(), True),
        (claim(phase="Bound"), False),
        (claim(spec={"volumeName": "v"}), False),
        (claim(spec={"storageClassName": ""}), False),
        (claim(spec={"storageClassName": None}), False),
        (claim(spec={"storageClassName": "others"}), False),
        (claim(spec={"storageClassName": "nowhere"}), False),
        (claim(metadata={"deletionTimestamp": "now"}), False),
    ],
)
def test_which_claims_get_a_volume(found: dict[str, Any], expected: bool):
    """Only those that wait for one, of a class that exists and is provided for here."""
    others = {"metadata": {"name": "others"}, "provisioner": "example.com/theirs"}
    assert expected == wants_volume(found, served([storage_class("nfs"), others]), [])


@pytest.mark.parametrize(
    ("spec", "origin", "expected"),
    [
        ({}, {"phase": "Bound"}, False),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "c"}}, {"phase": "Bound"}, True),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "c"}}, {}, False),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "other"}}, {"phase": "Bound"}, False),
        ({"dataSource": {"kind": "VolumeSnapshot", "name": "c"}}, {"phase": "Bound"}, False),
    ],
)
def test_what_can_only_be_read_is_cloned_from_what_is_bound(spec: dict, origin: dict, expected: bool):
    """A volume that nobody can write is one that somebody has filled."""
    filled, read = claim(**origin), claim(spec={"accessModes": ["ReadOnlyMany"], **spec})
    assert expected == wants_volume(read, served([storage_class("nfs")]), [filled, read])


def test_a_volume_is_its_claims_alone():
    """Size, modes and class are the claim's, it is bound to it, and it stays when the claim goes."""
    made = volume_for(claim())
    assert (
        made["spec"]["capacity"]["storage"],
        made["spec"]["accessModes"],
        made["spec"]["storageClassName"],
        made["spec"]["claimRef"]["uid"],
        made["spec"]["persistentVolumeReclaimPolicy"],
    ) == ("9Gi", ["ReadWriteMany"], "nfs", "u", "Retain")
    assert storage_class("nfs")["provisioner"].endswith("/shared")
