"""What platforms refuse at their door, put up as admission policies in a real API server, and the pods of examples.

OpenShift's users of a namespace and GKE's quota for critical pods. Does not prove that those platforms' own admission
says the same, nor that a pod starts: everything of a stack is asked for as a dry run.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.world import SOON_S, World
from tests.harness import Pod, pods, stack_file
from tests.kubernetes_rules import FIRST_OF_RANGE, USERS_OF_RANGE
from workshop.kubernetes import Object
from workshop.simcluster.api import Api, ApiError, wait_until

API = "admissionregistration.k8s.io/v1"
RANGE = "openshift.io/sa.scc.uid-range"
IMAGE = "registry.example.com/some:1.0.0"
CRITICAL = "system-node-critical"
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
USERS = "users and groups of files are of the namespace's range"
QUOTA = "pods of this priority need a quota for it"
SPEC = "has(object.spec.securityContext) && has(object.spec.securityContext"


def policy(name: str, expression: str, message: str, **more: Any) -> Object:
    """A policy about pods that are made."""
    validations = [{"expression": expression, "message": message}]
    spec = {"matchConstraints": {"resourceRules": [PODS]}, "validations": validations, **more}
    return {"apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec}


def binding(name: str, namespace: str, **more: Any) -> Object:
    """The same policy at work in one namespace."""
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    spec = {"policyName": name, "validationActions": ["Deny"], "matchResources": where, **more}
    return {"apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": spec}


def range_policy() -> Object:
    """Every user and group of files that a pod or a container names is of the range in the namespace's annotation."""
    containers = "object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])"
    of_container = "has(c.securityContext) && has(c.securityContext.runAsUser)"
    named = [f"({SPEC}.{field}) ? [object.spec.securityContext.{field}] : [])" for field in ("runAsUser", "fsGroup")]
    named.append(f"({containers}).filter(c, {of_container}).map(c, c.securityContext.runAsUser)")
    bounds = f"namespaceObject.metadata.annotations['{RANGE}'].split('/')"
    variables = [
        {"name": "first", "expression": f"int({bounds}[0])"},
        {"name": "users", "expression": f"int({bounds}[1])"},
        {"name": "named", "expression": " + ".join(named)},
    ]
    inside = "variables.named.all(n, n >= variables.first && n < variables.first + variables.users)"
    return policy("users-of-namespace", inside, USERS, variables=variables)


def asked(api: Api, pod: Pod, **context: int) -> str:
    """The answer to a pod that nobody wants to run: nothing, or why it is refused."""
    spec = {**pod.spec, "securityContext": {**pod.spec.get("securityContext", {}), **context}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asked", "namespace": pod.namespace, "labels": dict(pod.labels)},
        "spec": {**spec, "restartPolicy": "Never"},
    }
    try:
        api.request("POST", api.path("v1", "Pod", pod.namespace), body, dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        return str(error)
    return ""


@pytest.fixture
def platform(dev: World) -> Iterator[World]:
    """The cluster of `dev`; what a test puts there has the label `for: admission`, and goes with it."""
    yield dev
    for version, kind in (
        (API, "ValidatingAdmissionPolicyBinding"),
        (API, "ValidatingAdmissionPolicy"),
        ("v1", "Namespace"),
    ):
        for body in dev.api.items(version, kind, "", "for=admission"):
            dev.api.delete({"apiVersion": version, "kind": kind, **body})


def put(world: World, *bodies: Object) -> None:
    """Applies them, marked."""
    for body in bodies:
        labels = {**body["metadata"].get("labels", {}), "for": "admission"}
        world.api.apply({**body, "metadata": {**body["metadata"], "labels": labels}})


def test_no_pod_of_openshift_names_a_user_of_its_own(platform: World):
    """Each pod of the example passes its namespace's range and the restricted level; a fixed user or group does not."""
    deployed = stack_file("openshift")
    (space,) = [body for body in deployed.objects("Namespace") if body["metadata"]["name"] == deployed.plan.namespace]
    annotations = {RANGE: f"{FIRST_OF_RANGE}/{USERS_OF_RANGE}"}
    put(platform, {**space, "metadata": {**space["metadata"], "annotations": annotations}})
    put(platform, *deployed.objects("ServiceAccount"))
    put(platform, range_policy(), binding("users-of-namespace", deployed.plan.namespace))
    every = pods(deployed)
    wait_until(lambda: USERS in asked(platform.api, every[0], runAsUser=2000), SOON_S, "the policy is at work")
    assert {pod.owner: asked(platform.api, pod) for pod in every} == {pod.owner: "" for pod in every}
    ours = {"runAsUser": FIRST_OF_RANGE, "fsGroup": FIRST_OF_RANGE}
    assert [asked(platform.api, pod, **ours) for pod in every] == [""] * len(every)
    fixed = [asked(platform.api, pod, **{field: 65534}) for pod in every for field in ours]
    assert [USERS in answer for answer in fixed] == [True] * len(fixed)
    assert "violates PodSecurity" in asked(platform.api, every[0], runAsUser=0)


def test_critical_pods_of_gke_come_with_their_quota(platform: World):
    """Where a namespace needs a quota for such pods, that of the stack lets the operator's in, and no other does."""
    deployed = stack_file("gke")
    (space,) = [body for body in deployed.objects("Namespace") if body["metadata"]["name"] == "gpu-operator"]
    (quota,) = deployed.objects("ResourceQuota")
    put(platform, space)
    put(
        platform,
        policy(
            "quota-for-critical-pods",
            "!has(object.spec.priorityClassName) || !object.spec.priorityClassName.startsWith('system-') || "
            "params.spec.scopeSelector.matchExpressions.exists(e, e.scopeName == 'PriorityClass' && "
            "object.spec.priorityClassName in e.values)",
            QUOTA,
            paramKind={"apiVersion": "v1", "kind": "ResourceQuota"},
        ),
        binding(
            "quota-for-critical-pods",
            "gpu-operator",
            paramRef={"selector": {}, "parameterNotFoundAction": "Deny"},
        ),
    )
    spec = {"containers": [{"name": "one", "image": IMAGE}], "priorityClassName": CRITICAL}
    pod = Pod("Pod one", "Pod", "gpu-operator", {}, spec)
    answer = wait_until(lambda: asked(platform.api, pod), SOON_S, "the policy is at work")
    assert "quota-for-critical-pods" in answer
    put(platform, quota)
    wait_until(lambda: asked(platform.api, pod) == "", SOON_S, "the quota lets it in")
