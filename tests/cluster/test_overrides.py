"""Patches of `overrides`, merged as a preview does, against the same patches merged by a real API server.

Both answers have the server's defaults in them. Not asked about: a LeaderWorkerSet and a ScaledObject, as a server
merges no strategic patch into what a definition of an operator describes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from planning.overrides import patched
from tests.cluster.world import NAMESPACE, World
from workshop.kubernetes import Object

REVISION = "deployment.kubernetes.io/revision"
STRATEGIC = "application/strategic-merge-patch+json"
SERVER, GATEWAY = "Deployment/vllm-qwen3-8b", "Deployment/litellm"


def of_pods(**fields: Any) -> dict[str, Any]:
    """A patch of the pods of a Deployment."""
    return {"spec": {"template": {"spec": fields}}}


def of_container(name: str, **fields: Any) -> dict[str, Any]:
    """A patch of a container of a Deployment."""
    return of_pods(containers=[{"name": name, **fields}])


def variable(name: str, value: str) -> dict[str, str]:
    """An environment variable."""
    return {"name": name, "value": value}


VOLUME = {"volumes": [{"name": "yours-scratch", "emptyDir": {"sizeLimit": "1Gi"}}]}
MOUNT = {"name": "yours-scratch", "mountPath": "/yours"}
SPREAD = {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
PATCHES = [
    (SERVER, {"metadata": {"labels": {"team": "search"}, "annotations": {"owner": "search"}}}),
    (SERVER, {"metadata": {"labels": {"app.kubernetes.io/version": None, "team": "search"}}}),
    (SERVER, {"spec": {"minReadySeconds": 7, "progressDeadlineSeconds": None}}),
    (SERVER, of_container("vllm", env=[variable("HF_HUB_OFFLINE", "0"), variable("YOURS", "1")])),
    (SERVER, of_container("vllm", env=[variable("A", "1"), variable("HOME", "/x"), variable("B", "2")])),
    (SERVER, of_container("vllm", resources={"limits": {"memory": "99Gi"}, "requests": {"cpu": None}})),
    (SERVER, of_container("vllm", args=["--one", "--two"], startupProbe={"failureThreshold": 9})),
    (SERVER, {"spec": {"template": {"spec": {"containers": [{"name": "vllm", "volumeMounts": [MOUNT]}], **VOLUME}}}}),
    (SERVER, of_pods(**VOLUME)),
    (SERVER, of_pods(containers=[{"name": "yours", "image": "registry.example.com/yours:1"}])),
    (SERVER, of_pods(tolerations=[{"key": "yours", "operator": "Exists"}], nodeSelector={"disk": "fast"})),
    (SERVER, of_pods(topologySpreadConstraints=[SPREAD])),
    (SERVER, of_pods(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["a"]}, {"ip": "192.0.2.2", "hostnames": ["b"]}])),
    (
        SERVER,
        of_pods(imagePullSecrets=[{"name": "registry"}], dnsConfig={"options": [{"name": "ndots", "value": "2"}]}),
    ),
    (GATEWAY, {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2}}}}),
    (GATEWAY, of_pods(affinity={"nodeAffinity": None}, terminationGracePeriodSeconds=99)),
    (GATEWAY, of_container("litellm", ports=[{"containerPort": 9999, "name": "yours", "protocol": "TCP"}])),
    (GATEWAY, of_container("litellm", lifecycle=None, workingDir="/yours")),
    ("Service/litellm", {"spec": {"ports": [{"port": 9999, "name": "yours"}], "sessionAffinity": "None"}}),
    ("Service/litellm", {"metadata": {"finalizers": ["yours.example.com/one"]}}),
    ("PodDisruptionBudget/litellm", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
]


@contextmanager
def twins(world: World) -> Iterator[dict[str, Object]]:
    """`Kind/name` → the rendered object under another name, which the server has; with no pods."""
    made: dict[str, Object] = {}
    named = {name for name, _ in PATCHES}
    for manifest in world.stack.manifests:
        key = f"{manifest.kind}/{manifest.name}"
        if key not in named or manifest.namespace != NAMESPACE:
            continue
        body: Object = json.loads(json.dumps(manifest.body))
        body["metadata"]["name"] += "-twin"
        if manifest.kind == "Deployment":
            body["spec"]["replicas"] = 0
        assert world.api.create(body) is not None
        made[key] = body
    assert made.keys() == named
    try:
        yield made
    finally:
        for body in made.values():
            world.api.delete(body)


def writable(body: Object) -> dict[str, Any]:
    """Everything of an answer that a user may write; addresses are drawn by the server."""
    metadata = {key: body["metadata"].get(key) for key in ("labels", "finalizers")}
    annotations = body["metadata"].get("annotations", {})
    # the controller of Deployments counts here
    metadata["annotations"] = {key: annotations[key] for key in annotations if key != REVISION}
    drawn = ("clusterIP", "clusterIPs", "healthCheckNodePort")
    return {"metadata": metadata, "spec": {key: value for key, value in body["spec"].items() if key not in drawn}}


def test_a_patch_is_merged_as_the_server_does(dev: World):
    """Lists by their keys and in their order, nulls, and lists that are replaced."""
    asked = {"dryRun": "All", "fieldValidation": "Strict"}
    with twins(dev) as known:
        for name, patch in PATCHES:
            body = known[name]
            path = dev.api.path_of(body)
            theirs = dev.api.request("PATCH", path, patch, STRATEGIC, **asked)
            ours = patched(body, patch, body["kind"])
            # an update and a creation have the same defaults, but for the name
            ours["metadata"] = {**ours["metadata"], "name": f"{body['metadata']['name']}-2"}
            created = dev.api.request("POST", path.rpartition("/")[0], ours, **asked)
            assert (name, patch, writable(created)) == (name, patch, writable(theirs))
