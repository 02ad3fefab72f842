"""The preflight of a stack against a real API server, through its kubectl, with one thing after another missing."""

import json
import os
from typing import Any

import pytest

from preview.__main__ import main
from preview.preflight.admission import ask_admission
from preview.preflight.cluster import Kubectl
from preview.preflight.findings import FAILING, Finding, Verdict
from preview.preflight.images import Clock, pull_images
from preview.preflight.show import ask
from preview.rendering.manifests import collect_manifests
from preview.rendering.render import render
from preview.rendering.stackfile import read_project
from tests.cluster.world import NAMESPACE, SOON_S, World
from tests.harness import ROOT
from workshop.kubernetes import Object
from workshop.simcluster.api import wait_until

OTHERS = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "others"}}
CONTAINER = {"name": "main", "image": "registry.example.com/notebook:1"}


@pytest.fixture
def kubectl(prod: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The stack `prod` on its cluster, which kubectl finds as a user's would."""
    state = prod.cluster.state()
    assert state is not None
    folder = prod.cluster.program(state, "kubectl").parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(prod.cluster.paths.kubeconfig))
    return prod


def failing(world: World) -> list[str]:
    """Lines of all that stands in the way."""
    rendering = render(read_project(ROOT), "prod")
    assert rendering.plan is not None
    findings = ask(collect_manifests(rendering.records), rendering.plan, Kubectl(world.stack.plan.context))
    return [str(finding) for finding in findings if finding.verdict in FAILING]


def admission(world: World) -> list[Finding]:
    """Findings of a dry run of the whole stack."""
    rendering = render(read_project(ROOT), "prod")
    assert rendering.plan is not None
    manifests = collect_manifests(rendering.records)
    return list(ask_admission(manifests, rendering.plan, Kubectl(world.stack.plan.context)))


def body(api_version: str, kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    """An object of somebody's."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def pod(name: str, node: str, gpus: int) -> Object:
    """A pod of somebody else that holds GPUs of a node."""
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}}
    tolerations = [{"operator": "Exists"}]
    spec = {"nodeName": node, "tolerations": tolerations, "containers": [{**CONTAINER, "resources": limits}]}
    return body("v1", "Pod", name, "others", spec=spec)


def plugin() -> Object:
    """A second device plugin."""
    labels = {"app": "plugin"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "plugin", "image": "nvcr.io/nvidia/k8s-device-plugin:v0.17.0"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return body("apps/v1", "DaemonSet", "nvidia-device-plugin", "others", spec=spec)


def webhook() -> Object:
    """A webhook that must be asked about claims, and nobody behind it."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["persistentvolumeclaims"]}
    hook = {
        "name": "claims.example.com",
        "clientConfig": {"service": {"namespace": "others", "name": "gate"}},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = "ValidatingWebhookConfiguration"
    return body("admissionregistration.k8s.io/v1", kind, "gate", webhooks=[hook])


GONE = [
    (
        ("storage.k8s.io/v1", "StorageClass", "nfs-storage", ""),
        "StorageClass nfs-storage: is not there; must offer ReadWriteMany; there are: ",
    ),
    (
        ("gateway.networking.k8s.io/v1", "Gateway", "public", NAMESPACE),
        "Gateway public in llm-serving: is not there",
    ),
]
PUT = [
    (
        plugin(),
        "chart gpu-operator: another is there: daemonset others/nvidia-device-plugin; say install: false",
    ),
    (
        body("v1", "ResourceQuota", "small", NAMESPACE, spec={"hard": {"requests.nvidia.com/gpu": "4", "pods": "100"}}),
        "ResourceQuota small in llm-serving: has too little: requests.nvidia.com/gpu 4, the stack asks for ",
    ),
    (
        webhook(),
        "webhook claims.example.com: must answer about persistentvolumeclaims, and no pod is ready behind others/gate",
    ),
]


def test_nothing_stands_in_the_way_of_a_stack_that_runs(kubectl: World, capsys: pytest.CaptureFixture[str]):
    """Exit 0, with a line for each thing, and the same for programs; no value of a Secret is in either."""
    assert main(["preflight", "--stack", "prod"]) == 0
    lines = capsys.readouterr().out.splitlines()
    unknown = [line for line in lines if line.startswith("? ")]
    # what only who runs the edge can set
    assert {line.split()[1] for line in unknown} <= {"Edge"}
    assert {line[0] for line in lines[1:-2]} <= {"✓", "?"}
    count = f", {len(unknown)} not known" if unknown else ""
    assert lines[-1] == f"Nothing stands in the way of `pulumi up`{count}"
    assert main(["preflight", "--stack", "prod", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["subject"] for each in document["findings"]] == [line[2:].split(": ")[0] for line in lines[1:-2]]
    secret = kubectl.api.get("v1", "Secret", "llm-keys", NAMESPACE)
    assert secret is not None
    assert not [value for value in secret["data"].values() if value in str(document)]


@pytest.mark.parametrize(("place", "line"), GONE)
def test_what_is_gone_is_named(kubectl: World, place: tuple[str, str, str, str], line: str):
    """One object that the stack expects is deleted, and one line says so; put back, there is none."""
    api = kubectl.api
    before = api.get(*place)
    assert before is not None
    api.delete(before)
    try:
        actual = failing(kubectl)
    finally:
        kept = {key: value for key, value in before["metadata"].items() if key in ("name", "namespace", "labels")}
        api.apply({**{key: before[key] for key in before if key != "status"}, "metadata": kept})
    assert [text[: len(line)] for text in actual] == [line]
    assert failing(kubectl) == []


@pytest.mark.parametrize(("added", "line"), PUT)
def test_what_others_have_put_there_is_named(kubectl: World, added: Object, line: str):
    """A second operator, a quota, a dead webhook: one line each, until it is gone."""
    api = kubectl.api
    api.apply(OTHERS)
    api.apply(added)
    try:
        actual = failing(kubectl)
    finally:
        api.delete(added)
    assert [text[: len(line)] for text in actual] == [line]
    assert failing(kubectl) == []


def test_an_entry_that_a_secret_lacks_is_named(kubectl: World):
    """By its name alone."""
    secret = kubectl.api.get("v1", "Secret", "llm-keys", NAMESPACE)
    assert secret is not None
    kept = secret["data"]["redis-password"]
    kubectl.api.patch(secret, {"data": {"redis-password": None}})
    actual = failing(kubectl)
    kubectl.api.patch(secret, {"data": {"redis-password": kept}})
    assert actual == ["Secret llm-keys in llm-serving: has no entry redis-password; the preview has the command"]


def test_nodes_that_fail_and_gpus_that_others_hold_are_named(kubectl: World):
    """By the script of the pool's own Job; what pods of the stack hold is its own room."""
    api, node = kubectl.api, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cpu-2"}}
    api.patch(node, {"spec": {"unschedulable": True}})
    api.apply(OTHERS)
    # two servers of one GPU stand on four nodes of two
    others = [pod(f"notebook-{number}", f"gpu-{number}", 2) for number in (1, 2, 3)]
    others.append(pod("notebook-4", "gpu-4", 1))
    for each in others:
        api.apply(each)
    actual = failing(kubectl)
    for each in others:
        api.delete(each, gracePeriodSeconds=0)
    api.patch(node, {"spec": {"unschedulable": None}})
    # nodes without GPUs that are no part of the pool are too small, and named too
    assert [text for text in actual if "system-" not in text] == [
        (
            "room in pool a10: a pod of vllm-qwen3-14b asks for 2 nvidia.com/gpu, the emptiest node has 1 free, "
            "others hold 7; free a node, or give it a smaller place"
        ),
        "pool cpu: node cpu-2 is cordoned (kubectl uncordon makes it take pods again)",
    ]
    assert failing(kubectl) == []


def test_a_cluster_that_does_not_answer_is_a_refusal(
    kubectl: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit 2 and one line with the context, without a kubeconfig that has it as without kubectl."""
    assert kubectl
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    assert main(["preflight", "--stack", "prod"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith('cluster.context: "prod-gpu" cannot be asked: ')
    monkeypatch.setenv("PATH", os.devnull)
    assert main(["preflight", "--stack", "prod"]) == 2
    assert "kubectl is not on PATH" in capsys.readouterr().err


def test_a_policy_that_would_refuse_pods_is_named(kubectl: World):
    """In its own words, for each pod that it refuses, before anything is deployed; nothing is kept of the questions."""
    before = kubectl.uids("v1", "Pod")
    (clean,) = admission(kubectl)
    assert clean.verdict is Verdict.FINE
    expression = "object.spec.containers.all(c, !c.image.contains('litellm'))"
    kinds = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    validations = [{"expression": expression, "message": "images come from registry.example.com"}]
    group = "admissionregistration.k8s.io/v1"
    spec = {"matchConstraints": {"resourceRules": [kinds]}, "validations": validations}
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}
    bound = {"policyName": "registries", "validationActions": ["Deny"], "matchResources": where}
    policy = body(group, "ValidatingAdmissionPolicy", "registries", spec=spec)
    binding = body(group, "ValidatingAdmissionPolicyBinding", "registries", spec=bound)
    for each in (policy, binding):
        kubectl.api.apply(each)
    try:
        # a policy is at work a moment after it is there
        wait_until(lambda: len(admission(kubectl)) > 1, SOON_S, "the policy is at work")
        *refused, rest = admission(kubectl)
    finally:
        for each in (binding, policy):
            kubectl.api.delete(each)
    assert {each.verdict for each in refused} == {Verdict.WRONG}
    assert all("images come from registry.example.com" in each.text for each in refused)
    assert "admission of a pod of Deployment litellm in llm-serving" in {each.subject for each in refused}
    assert rest.verdict is Verdict.FINE
    assert kubectl.uids("v1", "Pod") == before


def test_a_node_of_each_kind_pulls_the_images(kubectl: World):
    """By a pod that is let in as those of the stack are, and is gone afterwards."""
    before = kubectl.uids("v1", "Pod")
    rendering = render(read_project(ROOT), "prod")
    assert rendering.plan is not None
    manifests = collect_manifests(rendering.records)
    findings = list(pull_images(manifests, rendering.plan, Kubectl(kubectl.stack.plan.context), SOON_S, Clock()))
    assert [(each.verdict, each.subject) for each in findings] == [
        (Verdict.FINE, f"images on {place}")
        for place in (
            *("any node", "nodes of their affinity"),
            "nodes with gpu-type=a10, llm-stack.io/pool=a10, node-role=gpu-inference",
            "nodes with nvidia.com/gpu.product=NVIDIA-H200",
        )
    ]
    wait_until(lambda: kubectl.uids("v1", "Pod") == before, SOON_S, "its pods are gone")
