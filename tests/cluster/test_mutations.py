"""The mistakes these tests are for, made on purpose: each is seen, and said so that a reader finds it.

Each test deploys the stack `dev` with one object spoilt and expects the deployment to fail with that reason.
"""

from collections.abc import Callable
from typing import Any

import pytest

from simcluster.problems import Impossible
from tests.cluster.world import World, mutated, stack, stuck

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


def test_the_stack_itself_is_fine(dev: World):
    """Nothing of the above is wrong with the stack as it is declared: the control of these tests."""
    dev.deploy(stack("dev"), timeout_s=60)
    assert stuck(dev) == {}
