"""Replicas from zero to as many as fit, through the scale subresource, as KEDA and the HPA do; and quotas that refuse.

Does not prove that KEDA decides so: it does not run here.
"""

from pathlib import Path
from typing import Any

from tests.cluster.world import NAMESPACE, SOON_S, World, scale, stuck, variant
from workshop.simcluster.api import wait_until


def test_to_zero_and_to_all(prod: World):
    """No pod, no GPU and no endpoint at zero; four replicas on four nodes at four."""
    prod.scale("vllm-qwen3-14b", 0)
    prod.settled("vllm-qwen3-14b", 0)
    wait_until(lambda: prod.endpoints("vllm-qwen3-14b") == [], SOON_S, "no endpoints are left")
    assert prod.gpus_used() == {"gpu-1": 0, "gpu-2": 0, "gpu-3": 0, "gpu-4": 0, "h200-1": 8}
    prod.scale("vllm-qwen3-14b", 4)
    pods = prod.settled("vllm-qwen3-14b", 4)
    wait_until(lambda: len(prod.endpoints("vllm-qwen3-14b")) == 4, SOON_S, "four endpoints answer")
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]


def test_one_more_than_fits_waits(prod: World):
    """A fifth replica waits for a GPU, the four others go on answering."""
    prod.scale("vllm-qwen3-14b", 5)
    wait_until(lambda: len(prod.ready("vllm-qwen3-14b")) == 4 and stuck(prod), SOON_S, "four are ready, one waits")
    why = stuck(prod)
    assert {"vllm-qwen3-14b"} == set(why)
    assert "4 Insufficient nvidia.com/gpu" in why["vllm-qwen3-14b"]


def test_the_autoscaler_keeps_its_replicas(prod: World):
    """Deploying again leaves the number of replicas to the autoscaler that set it."""
    prod.scale("vllm-qwen3-14b", 3)
    prod.settled("vllm-qwen3-14b", 3)
    prod.deploy()
    assert prod.deployment("vllm-qwen3-14b")["spec"]["replicas"] == 3


def test_the_gateways_autoscaler_keeps_its_replicas(dev: World, tmp_path: Path):
    """The API server takes it as it is rendered; without metrics it changes nothing, and neither does the next `up`."""

    def ranged(config: dict[str, Any]) -> None:
        config["llm-stack:gateway"]["replicas"] = {"min": 1, "max": 3}

    whole = variant("dev", tmp_path, ranged)
    dev.deploy(whole)
    scaler = dev.api.get("autoscaling/v2", "HorizontalPodAutoscaler", "litellm", NAMESPACE)
    assert scaler is not None
    (declared,) = [target.body for target in whole.targets if target.body["kind"] == "HorizontalPodAutoscaler"]
    spec = scaler["spec"]
    assert {key: spec[key] for key in declared["spec"] if key != "behavior"} == {
        key: value for key, value in declared["spec"].items() if key != "behavior"
    }
    down = {**declared["spec"]["behavior"]["scaleDown"], "selectPolicy": "Max"}
    assert spec["behavior"]["scaleDown"] == down
    dev.scale("litellm", 2)
    dev.settled("litellm", 2)
    dev.deploy(whole)
    assert dev.deployment("litellm")["spec"]["replicas"] == 2
    dev.api.delete({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", **scaler})
    dev.restore()


def test_scale_of_a_replica_over_two_nodes(sim: World):
    """The custom resource has a scale subresource too: at zero both nodes are free, at one the group is back."""
    group = sim.api.get("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "vllm-deepseek-r1", NAMESPACE)
    assert group is not None
    scale(sim.api, group, 0)
    wait_until(lambda: not sim.pods("vllm-deepseek-r1"), SOON_S, "the group is gone")
    assert (sim.gpus_used()["h100-1"], sim.gpus_used()["h100-2"]) == (0, 0)
    scale(sim.api, group, 1)
    wait_until(lambda: len(sim.ready("vllm-deepseek-r1")) == 2, SOON_S, "the group is back")
    assert (sim.gpus_used()["h100-1"], sim.gpus_used()["h100-2"]) == (8, 8)


def test_a_quota_refuses_the_next_replica(prod: World):
    """With all the GPUs of the quota in use a second replica is not even created; without the quota it is."""
    used = sum(prod.gpus_used().values())
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus", "namespace": NAMESPACE},
        "spec": {"hard": {"requests.nvidia.com/gpu": str(used)}},
    }
    prod.api.create(quota)

    def counted() -> bool:
        found = prod.api.get("v1", "ResourceQuota", "gpus", NAMESPACE)
        return bool(found) and found.get("status", {}).get("used") == {"requests.nvidia.com/gpu": str(used)}

    wait_until(counted, SOON_S, "the quota has counted what is in use")
    prod.scale("vllm-qwen3-14b", 2)

    def failure() -> str:
        conditions = prod.deployment("vllm-qwen3-14b")["status"].get("conditions", [])
        return next((item["message"] for item in conditions if item["type"] == "ReplicaFailure"), "")

    message = wait_until(failure, SOON_S, "the second replica is refused")
    assert (
        f"exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu={used}" in message
    )
    assert len(prod.pods("vllm-qwen3-14b")) == 1
    prod.api.delete(quota)
    assert len(prod.settled("vllm-qwen3-14b", 2, timeout_s=60)) == 2
