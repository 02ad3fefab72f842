"""Updates end: in place on a full pool, without a gap where there is room, group by group, and with a canary beside.

Does not prove that a new version of vLLM starts; only that its pod finds a place when it is its turn.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.world import DEPLOY_S, SOON_S, World, mutated, names, stuck, variant
from workshop.problems import Impossible
from workshop.simcluster.api import wait_until


@dataclass
class Watched:
    """What was seen of a server while it was updated."""

    most_pods: int = 0
    fewest_ready: int = 1000
    unschedulable: set[str] = field(default_factory=set)


def roll(world: World, name: str, replicas: int, timeout_s: float = SOON_S) -> Watched:
    """Changes the pod template and watches until the update has ended. Raises `Impossible` when it does not."""
    seen = Watched()
    world.change_template(name, str(time.monotonic_ns()))

    def ended() -> bool:
        pods = world.pods(name)
        seen.most_pods = max(seen.most_pods, sum("deletionTimestamp" not in pod["metadata"] for pod in pods))
        seen.fewest_ready = min(seen.fewest_ready, len(world.ready(name)))
        seen.unschedulable |= set(stuck(world).values())
        body = world.deployment(name)
        status = body["status"]
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        return status["observedGeneration"] == body["metadata"]["generation"] and counts == [replicas] * 3

    wait_until(ended, timeout_s, f"the update of {name} has not ended", every_s=0.02)
    return seen


def test_update_of_a_full_pool_ends(prod: World):
    """Four replicas fill the pool of eight GPUs; their update ends, with never fewer than three that answer."""
    prod.scale("vllm-qwen3-14b", 4)
    prod.settled("vllm-qwen3-14b", 4)
    assert prod.gpus_used() == {"gpu-1": 2, "gpu-2": 2, "gpu-3": 2, "gpu-4": 2, "h200-1": 8}
    seen = roll(prod, "vllm-qwen3-14b", 4)
    assert (seen.fewest_ready, len(prod.ready("vllm-qwen3-14b"))) == (3, 4)


def test_update_with_room_has_no_gap(prod: World):
    """One replica on a pool for four is replaced by a new pod that starts first: somebody answers all the time."""
    seen = roll(prod, "vllm-qwen3-14b", 1)
    assert Watched(most_pods=2, fewest_ready=1) == seen


def test_update_of_the_only_node_is_in_place(dev: World):
    """The only GPU is in use: the old pod goes before the new one comes, so there is never a second one beside it."""
    seen = roll(dev, "vllm-qwen3-8b", 1)
    assert (seen.most_pods, seen.fewest_ready) == (1, 0)


def test_surge_on_a_full_pool_is_noticed(dev: World):
    """The mistake this guards against: with maxSurge 1 the same update never ends, because the new pod finds no GPU."""
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    dev.api.patch(dev.deployment("vllm-qwen3-8b"), {"spec": {"strategy": strategy}})
    with pytest.raises(Impossible, match=r"^the update of vllm-qwen3-8b has not ended: not within 5 s$"):
        roll(dev, "vllm-qwen3-8b", 1, timeout_s=5)
    why = stuck(dev)
    assert {"vllm-qwen3-8b"} == set(why)
    assert "1 Insufficient nvidia.com/gpu" in why["vllm-qwen3-8b"]


def test_update_of_a_replica_over_two_nodes(sim: World):
    """A group is replaced as a whole, leader and worker, and ends complete on both of its nodes."""
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in sim.pods("vllm-deepseek-r1")}

    def shorter(body) -> None:
        template = body["spec"]["leaderWorkerTemplate"]
        for part in ("leaderTemplate", "workerTemplate"):
            template[part]["metadata"].setdefault("annotations", {})["test.llm-stack.io/revision"] = "2"

    sim.deploy(mutated(sim.stack, "LeaderWorkerSet", "vllm-deepseek-r1", shorter))

    def complete() -> bool:
        ready = sim.ready("vllm-deepseek-r1")
        new = [pod for pod in ready if pod["metadata"]["annotations"].get("test.llm-stack.io/revision") == "2"]
        return len(new) == 2 == len(sim.pods("vllm-deepseek-r1"))

    wait_until(complete, DEPLOY_S, "both pods of the group are new and ready")
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in sim.pods("vllm-deepseek-r1")}
    assert before.keys() == after.keys()
    assert set() == set(before.values()) & set(after.values())
    assert {"h100-1", "h100-2"} == {pod["spec"]["nodeName"] for pod in sim.pods("vllm-deepseek-r1")}


def test_canary_beside_its_model_and_back(sim: World, tmp_path: Path):
    """Without its canary a stack loses the canary's objects and nothing else that serves; with it, it is back again."""

    def without(config: dict) -> None:
        del config["llm-stack:models"]["qwen3-14b"]["canary"]

    assert [len(sim.ready(name)) for name in ("vllm-qwen3-14b", "vllm-qwen3-14b-canary")] == [1, 1]
    stable = sim.ready("vllm-qwen3-14b")
    lines = sim.deploy(variant("sim", tmp_path, without))
    gone = [line for line in lines if line.startswith("deleted")]
    assert {"Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap", "Job"} == {
        line.split()[1] for line in gone
    }
    wait_until(lambda: not sim.pods("vllm-qwen3-14b-canary"), SOON_S, "the canary's pods are gone")
    assert names(stable) == names(sim.ready("vllm-qwen3-14b"))
    # what is kept on `destroy` is kept here: the weights somebody downloaded for hours
    claims = names(sim.api.items("v1", "PersistentVolumeClaim", "llm-serving"))
    assert [item for item in claims if "fp8" in item]
    sim.deploy()
    assert [len(sim.settled(name, 1)) for name in ("vllm-qwen3-14b", "vllm-qwen3-14b-canary")] == [1, 1]


def test_another_image_rolls_one_server(prod: World, tmp_path: Path):
    """Another vLLM image for one model changes that model's Deployment, and no other workload."""

    def other(config: dict) -> None:
        config["llm-stack:models"]["qwen3-14b"]["image"] = "docker.io/vllm/vllm-openai:v0.33.1"

    before = {name: prod.deployment(name)["metadata"]["generation"] for name in prod.wanted()}
    prod.deploy(variant("prod", tmp_path, other))
    after = {name: prod.deployment(name)["metadata"]["generation"] for name in prod.wanted()}
    assert [name for name in before if before[name] != after[name]] == ["vllm-qwen3-14b"]
    (pod,) = prod.settled("vllm-qwen3-14b", 1)
    assert {"docker.io/vllm/vllm-openai:v0.33.1"} == {item["image"] for item in pod["spec"]["containers"]}


def test_a_job_that_must_run_again_is_replaced(prod: World, tmp_path: Path):
    """Another image of the verification makes the Job run anew under its name, once; servers stay as they are."""

    def other(config: dict) -> None:
        config["llm-stack:images"] = {"overrides": {"python": {"version": "3.14.6-slim-trixie"}}}

    before, ready = prod.uids("batch/v1", "Job"), names(prod.ready("vllm-qwen3-14b"))
    prod.deploy(variant("prod", tmp_path, other))
    after = prod.uids("batch/v1", "Job")
    assert before.keys() == after.keys()
    replaced = {name for name in before if before[name] != after[name]}
    assert replaced == {"verify-nodes-a10", "verify-nodes-cpu", "verify-nodes-h200"}
    assert names(prod.ready("vllm-qwen3-14b")) == ready
    prod.deploy()


def test_another_script_runs_its_jobs_again(prod: World):
    """A script is immutable under its name: another one replaces it, and the Jobs that mount it, which run anew."""

    def other(body: dict) -> None:
        body["data"]["verify_nodes.py"] += "\n# another\n"

    def both() -> dict[str, str]:
        jobs = {f"Job {name}": uid for name, uid in prod.uids("batch/v1", "Job").items()}
        return prod.uids("v1", "ConfigMap") | jobs

    before = both()
    prod.deploy(mutated(prod.stack, "ConfigMap", "verify-nodes-a10", other))
    after = both()
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"verify-nodes-a10", "Job verify-nodes-a10"}
    prod.deploy()
