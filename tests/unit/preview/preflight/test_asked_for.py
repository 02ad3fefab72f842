"""Questions of a preflight that are asked where somebody says so: admission, and images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from preview.__main__ import main
from preview.preflight.admission import ask_admission
from preview.preflight.cluster import Refusal
from preview.preflight.images import Clock, probes, pull_images
from preview.preflight.kinds import Resource
from preview.preflight.others import asked_about, counted
from preview.preflight.show import More, _all
from tests.harness import Deployed, minimal, stack
from tests.unit.preview.preflight.test_preflight import Table

NAMESPACE = "llm-serving"
HERE = {f"/api/v1/namespaces/{NAMESPACE}": {"metadata": {}}}
CORE = {"resources": [{"kind": "ConfigMap", "name": "configmaps", "namespaced": True}]}
APPS = {
    "resources": [
        {"kind": "Deployment", "name": "deployments", "namespaced": True},
        {"kind": "Deployment", "name": "deployments/status", "namespaced": True},
    ]
}
KNOWN = {**HERE, "/api/v1": CORE, "/apis/apps/v1": APPS}


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    """A small stack."""
    return stack(minimal())


def of_kind(deployed: Deployed, kind: str) -> int:
    """Objects of a kind."""
    return sum(manifest.kind == kind for manifest in deployed.manifests)


def test_objects_and_their_pods_are_shown_to_admission(deployed: Deployed):
    """Those of kinds that the cluster has; each refusal is a line in the cluster's words."""
    maps, deployments = of_kind(deployed, "ConfigMap"), of_kind(deployed, "Deployment")
    (clean,) = ask_admission(deployed.manifests, deployed.plan, Table(KNOWN))
    total = maps + 2 * deployments
    assert str(clean) == f"admission: {total} objects would be let in, {deployments} pods among them"
    refusing = Table(KNOWN, refusals={"Pod": "no litellm", "ConfigMap": None})
    findings = [str(each) for each in ask_admission(deployed.manifests, deployed.plan, refusing)]
    assert findings[-2:] == [
        f"admission: {maps} objects may not be asked for by the user of this kubeconfig",
        f"admission: {deployments} objects would be let in, 0 pods among them",
    ]
    assert "admission of a pod of Deployment litellm in llm-serving: no litellm" in findings
    assert len(findings) == deployments + 2


def test_nothing_is_judged_in_a_namespace_that_is_not_there(deployed: Deployed):
    """Admission and images say so, and are not right."""
    lines = [*ask_admission(deployed.manifests, deployed.plan, Table())]
    lines += pull_images(deployed.manifests, deployed.plan, Kubelet(), 10, Clock())
    assert [str(each) for each in lines] == [
        f"admission: namespace {NAMESPACE} is not there, and in none is nothing judged",
        f"images: namespace {NAMESPACE} is not there, and a pod that pulls needs one",
    ]


@dataclass(frozen=True)
class Kubelet(Table):
    """A cluster whose nodes pull: `reasons` of images by a part of their name; others are pulled at the second look."""

    node: str | None = "n1"
    reasons: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""
    pods: dict[str, Any] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)

    def create(self, body: Mapping[str, Any]) -> None:
        """See `PodCluster`."""
        if self.refusal:
            raise Refusal(self.refusal)
        self.pods[body["metadata"]["name"]] = body

    def pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """See `PodCluster`."""
        assert namespace == NAMESPACE
        body = self.pods[name]
        self.looks.append(name)
        if self.node is None:
            message = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
            return {**body, "status": {"conditions": [message]}}
        states = [
            {"name": container["name"], "state": {"waiting": self._waiting(container["image"], name)}}
            for container in body["spec"]["containers"]
        ]
        return {**body, "spec": {**body["spec"], "nodeName": self.node}, "status": {"containerStatuses": states}}

    def _waiting(self, image: str, name: str) -> Mapping[str, str]:
        reason = next((reason for part, reason in self.reasons.items() if part in image), None)
        pulled = "RunContainerError" if self.looks.count(name) > 1 else "ContainerCreating"
        return {"reason": reason or pulled, "message": f"{reason} of {image}"} if reason else {"reason": pulled}

    def delete_pod(self, namespace: str, name: str) -> None:
        """See `PodCluster`."""
        assert namespace == NAMESPACE
        del self.pods[name]


class Passing(Clock):
    """A clock whose time passes where somebody sleeps."""

    def __init__(self) -> None:
        seconds = [0.0]
        super().__init__(lambda: seconds[0], lambda s: seconds.__setitem__(0, seconds[0] + s))


def pulled(deployed: Deployed, cluster: Kubelet) -> list[str]:
    """Lines about images; no pod is left."""
    lines = [str(each) for each in pull_images(deployed.manifests, deployed.plan, cluster, 10, Passing())]
    assert cluster.pods == {}
    return lines


def test_every_image_is_pulled_where_its_pods_will_be(deployed: Deployed):
    """A pod for each place, with all of its images and none of its work."""
    bodies = probes(deployed.manifests, NAMESPACE)
    lines = pulled(deployed, Kubelet(HERE))
    assert [line.rpartition(": ")[2] for line in lines] == [
        f"node n1 has {len(body['spec']['containers'])} image{'s' * (len(body['spec']['containers']) > 1)} "
        f"of {len(body['spec']['containers'])}"
        for body in bodies
    ]
    selectors = [body["spec"].get("nodeSelector") for body in bodies]
    assert selectors == [None, {"nvidia.com/gpu.product": "NVIDIA-L4"}]
    commands = {tuple(container["command"]) for body in bodies for container in body["spec"]["containers"]}
    assert commands == {("/llm-stack-preflight-starts-nothing",)}
    assert all(container["securityContext"]["runAsNonRoot"] for container in bodies[1]["spec"]["containers"])


def test_an_image_that_cannot_be_pulled_is_a_line(deployed: Deployed):
    """In the kubelet's words; the others of its node are counted."""
    lines = pulled(deployed, Kubelet(HERE, reasons={"litellm": "ErrImagePull"}))
    (line,) = [line for line in lines if "could not pull" in line]
    assert line.startswith("image ")
    assert "litellm" in line.partition(": ")[0]
    assert line.rpartition(": node n1 could not pull it: ")[2].startswith("ErrImagePull of ")


def test_a_pod_without_a_node_or_an_end_is_a_line(deployed: Deployed):
    """The scheduler's words, and images that are still being pulled when the time is over."""
    assert [line.partition(": ")[2] for line in pulled(deployed, Kubelet(HERE, node=None))] == [
        "no node took a pod that pulls them within 10 s: 0/3 nodes are available"
    ] * 2
    slow = pulled(deployed, Kubelet(HERE, reasons={"": "ContainerCreating"}))
    assert all("node n1 is still pulling after 10 s: " in line for line in slow)
    refused = pulled(deployed, Kubelet(HERE, refusal="exceeded quota"))
    assert [line.partition(": ")[2] for line in refused] == ["a pod that pulls them is refused: exceeded quota"] * 2


def test_nodes_that_are_bought_are_not_asked():
    """A pod for its images alone would buy one."""
    bought = minimal()
    kind = {"kind": "karpenter", "instanceTypes": ["g6.4xlarge"], "discoveryTag": "llm"}
    bought["gpuPools"]["l4"]["provisioning"] = kind
    bought["cluster"]["platform"] = "eks"
    later = stack(bought)
    lines = pulled(later, Kubelet(HERE))
    line = "images on nodes with llm-stack.io/pool=l4: nodes of pool l4 may only come when a pod waits, {}"
    assert [each for each in lines if "only come" in each] == [line.format("and none waits for this")]


def test_neither_is_asked_unless_said_so(deployed: Deployed):
    """A preflight reads; the rest comes after what it reads."""
    cluster = Kubelet({**KNOWN, "/version": {"major": "1", "minor": "36"}})
    plain = list(_all(deployed.manifests, deployed.plan, cluster, More()))
    assert not [each for each in plain if each.subject.startswith(("admission", "images"))]
    asked = [each.subject.split()[0] for each in _all(deployed.manifests, deployed.plan, cluster, More(True, 10))]
    assert asked[len(plain) :] == ["admission", "images", "images"]


@pytest.mark.parametrize("text", ["0", "1.5", "soon", "7201", "-1"])
def test_seconds_are_a_whole_number(text: str, capsys: pytest.CaptureFixture[str]):
    """Wrong usage otherwise, in one line."""
    assert main(["preflight", "--stack", "prod", f"--images={text}"]) == 64
    assert f"'{text}' is no whole number of seconds from 1 to 7200" in capsys.readouterr().err


POLICIES = Resource("networking.k8s.io", "networkpolicies", namespaced=True)
CLASSES = Resource("scheduling.k8s.io", "priorityclasses", namespaced=False)


@pytest.mark.parametrize(
    ("rule", "labels", "about"),
    [
        ({"resources": ["networkpolicies"]}, {"team": "ml"}, ["networkpolicies"]),
        ({"resources": ["*"]}, {"team": "ml"}, ["networkpolicies", "priorityclasses"]),
        ({"resources": ["*"]}, {}, ["priorityclasses"]),
        ({"resources": ["*"], "scope": "Namespaced"}, {"team": "ml"}, ["networkpolicies"]),
        ({"resources": ["*"], "apiGroups": ["apps"]}, {"team": "ml"}, []),
        ({"resources": ["*"], "operations": ["DELETE"]}, {"team": "ml"}, []),
        ({"resources": ["networkpolicies/status"]}, {"team": "ml"}, []),
    ],
)
def test_a_webhook_is_asked_about_what_its_rules_cover(rule: dict[str, Any], labels: dict[str, str], about: list[str]):
    """By group, plural, operation and scope; its selector of namespaces holds nothing back that is in none."""
    whole = {"apiGroups": ["*"], "operations": ["CREATE"], **rule}
    webhook = {"rules": [whole], "namespaceSelector": {"matchLabels": {"team": "ml"}}}
    assert asked_about(webhook, [POLICIES, CLASSES], labels) == about


def test_a_quota_counts_objects_by_their_kind_and_disks_by_their_class(deployed: Deployed):
    """As the documentation of quotas names them."""
    cluster = Table({**KNOWN, "/api/v1": {"resources": [{"kind": "Service", "name": "services"}]}})

    def total(name: str) -> float:
        return sum(counted(name, manifest, {}, cluster) for manifest in deployed.manifests)

    (disk,) = {manifest.body["spec"]["storageClassName"] for manifest in deployed.manifests if _is_claim(manifest)}
    assert [total(name) for name in ("count/deployments.apps", "services", "count/services", "count/jobs.batch")] == [
        *(of_kind(deployed, "Deployment"), of_kind(deployed, "Service"), of_kind(deployed, "Service"), 0)
    ]
    assert total("requests.storage") == total(f"{disk}.storageclass.storage.k8s.io/requests.storage") > 2**30
    assert total("other.storageclass.storage.k8s.io/requests.storage") == 0


def _is_claim(manifest: Any) -> bool:
    return manifest.kind == "PersistentVolumeClaim"
