"""The mistakes these tests are for, made on purpose: each is seen, and said so that a reader finds it.

Each test deploys the stack `dev` with one object spoilt and expects the deployment to fail with that reason.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.world import NAMESPACE, SOON_S, World, mutated, stack, stuck
from workshop.problems import Impossible
from workshop.simcluster.api import wait_until
from workshop.simcluster.surroundings import storage_class

SERVER = ("Deployment", "vllm-qwen3-8b")
PATIENCE_S = 4


def spoil(world: World, change: Callable[[Any], None], kind: str = SERVER[0], name: str = SERVER[1]) -> str:
    """Why the deployment of a spoilt stack does not end."""
    with pytest.raises(Impossible) as caught:
        world.deploy(mutated(world.stack, kind, name, change), timeout_s=PATIENCE_S)
    return str(caught.value)


def test_a_wrong_toleration(dev: World):
    """Pods that do not tolerate the taint of GPU nodes are put nowhere."""

    def change(body: Any) -> None:
        body["spec"]["template"]["spec"]["tolerations"] = [{"key": "nvidia.com/gqu", "operator": "Exists"}]

    message = spoil(dev, change)
    assert "Deployment vllm-qwen3-8b in llm-serving: " in message
    assert "had untolerated taint(s)" in message


def test_a_selector_no_node_has(dev: World):
    """Pods that ask for a label that is on no node are put nowhere."""

    def change(body: Any) -> None:
        body["spec"]["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": "NVIDIA-A10G"}

    assert "didn't match Pod's node affinity/selector" in spoil(dev, change)


def test_a_missing_label(prod: World):
    """Nodes that were not given the label of their pool get no pod of it."""

    def change(body: Any) -> None:
        del body["metadata"]["labels"]["llm-stack.io/pool"]

    spoilt = prod.stack
    for number in range(1, 5):
        spoilt = mutated(spoilt, "Node", f"gpu-{number}", change)
        # an apply gives up the label it no longer names
    prod.deploy(spoilt)
    prod.scale("vllm-qwen3-14b", 0)
    prod.settled("vllm-qwen3-14b", 0)
    prod.scale("vllm-qwen3-14b", 1)
    with pytest.raises(Impossible):
        prod.settled("vllm-qwen3-14b", 1, timeout_s=PATIENCE_S)
    assert "didn't match Pod's node affinity/selector" in stuck(prod)["vllm-qwen3-14b"]


def test_a_probe_shorter_than_the_load(dev: World):
    """A startup probe that gives up before the load is over kills the container again and again."""

    def change(body: Any) -> None:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        container["startupProbe"]["failureThreshold"] = 3

    assert "does its startup probe outlast the load?" in spoil(dev, change)
    (pod,) = [item for item in dev.pods("vllm-qwen3-8b") if "deletionTimestamp" not in item["metadata"]]
    assert pod["status"]["containerStatuses"][0]["restartCount"] > 1


def test_liveness_without_a_startup_probe(dev: World):
    """Without a startup probe the liveness probe kills a loading server: the mistake of many published manifests."""

    def change(body: Any) -> None:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        del container["startupProbe"]

    assert "0 available" in spoil(dev, change)


def test_a_container_that_may_become_root(dev: World):
    """A pod the namespace's profile forbids is never created, and the Deployment says why."""

    def change(body: Any) -> None:
        body["spec"]["template"]["spec"]["securityContext"] = {}

    spoil(dev, change)
    conditions = dev.deployment("vllm-qwen3-8b")["status"]["conditions"]
    (failure,) = [item["message"] for item in conditions if item["type"] == "ReplicaFailure"]
    assert 'violates PodSecurity "restricted:latest"' in failure


def test_more_gpus_than_a_node_has(dev: World):
    """A pod that wants two GPUs of a node with one waits for ever."""

    def change(body: Any) -> None:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        for part in ("requests", "limits"):
            container["resources"][part]["nvidia.com/gpu"] = "2"

    assert "Insufficient nvidia.com/gpu" in spoil(dev, change)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "llm-kyes", "Secret 'llm-kyes' does not exist"),
        ("key", "qwen3", "Secret 'llm-keys' has no key qwen3"),
    ],
)
def test_a_misspelt_secret(dev: World, field: str, value: str, why: str):
    """A pod whose environment wants a Secret, or a key of one, that is not there never starts; the reason names it."""

    def change(body: Any) -> None:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        (variable,) = [item for item in container["env"] if "secretKeyRef" in item.get("valueFrom", {})]
        variable["valueFrom"]["secretKeyRef"][field] = value

    assert f"CreateContainerConfigError: {why}" in spoil(dev, change)


def test_a_config_map_that_comes_late(dev: World):
    """A pod that mounts a ConfigMap nobody has made hangs, and starts as soon as somebody makes it."""

    def change(body: Any) -> None:
        body["spec"]["template"]["spec"]["volumes"].append({"name": "late", "configMap": {"name": "late"}})

    assert "FailedMount: ConfigMap 'late' does not exist" in spoil(dev, change)
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": NAMESPACE}}
    dev.api.create(late)
    dev.settled(SERVER[1], 1)
    dev.api.delete(late)


def test_a_storage_class_nobody_has(dev: World):
    """A claim of a class that does not exist waits, while one of the stack's class is bound; until the class comes."""

    def claim(name: str, storage: str) -> dict[str, Any]:
        resources = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": ["ReadWriteMany"], "storageClassName": storage, "resources": resources}
        metadata = {"name": name, "namespace": NAMESPACE}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    def phases() -> list[str]:
        found = [dev.api.get("v1", "PersistentVolumeClaim", name, NAMESPACE) for name in ("wrong", "right")]
        return [item["status"]["phase"] for item in found if item]

    claims = [claim("wrong", "nfs-storrage"), claim("right", "nfs-storage")]
    for body in claims:
        dev.api.create(body)
    wait_until(lambda: phases()[1] == "Bound", SOON_S, "the claim of a class that exists is bound")
    assert phases() == ["Pending", "Bound"]
    late = storage_class("nfs-storrage")
    dev.api.create(late)
    wait_until(lambda: phases() == ["Bound", "Bound"], SOON_S, "the other is bound, too")
    for body in [*claims, late]:
        dev.api.delete(body)


def test_the_stack_itself_is_fine(dev: World):
    """Nothing of the above is wrong with the stack as it is declared: the control of these tests."""
    dev.deploy(stack("dev"), timeout_s=60)
    assert stuck(dev) == {}
