"""Drains, lost nodes, crashing and slow pods: what is left answers, what was lost comes back, nothing is doubled.

Does not prove how long a real kubelet, network or GPU takes to fail or to return; waits are shortened (programs.yaml).
"""

from http import HTTPStatus

from tests.cluster import faults
from tests.cluster.world import NAMESPACE, SOON_S, World, evict, names
from workshop.kubernetes import is_ready
from workshop.simcluster.api import ApiError, wait_until


def drain(world: World, node: str) -> list[int]:
    """Cordons a node and evicts everything on it, as `kubectl drain` does; the status codes of refused evictions."""
    world.api.patch({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}, {"spec": {"unschedulable": True}})
    refusals: list[int] = []

    def empty() -> bool:
        here = [pod for pod in world.pods() if pod["spec"].get("nodeName") == node]
        for pod in here:
            if "deletionTimestamp" not in pod["metadata"]:
                try:
                    evict(world.api, pod)
                except ApiError as error:
                    refusals.append(error.status)
        return not here

    wait_until(empty, SOON_S, f"{node} is drained")
    return refusals


def test_a_drain_moves_a_server(prod: World):
    """The only replica of a model does not block a drain, and is served again from another node of its pool."""
    (pod,) = prod.ready("vllm-qwen3-14b")
    drain(prod, pod["spec"]["nodeName"])
    (moved,) = prod.settled("vllm-qwen3-14b", 1)
    assert prod.pool_of()[moved["spec"]["nodeName"]] == "a10"
    assert pod["spec"]["nodeName"] != moved["spec"]["nodeName"]


def test_a_budget_lets_go_one_at_a_time(prod: World):
    """Of two gateway pods one may be evicted; the other is refused until there are two again."""

    def allowed() -> int:
        budget = prod.api.get("policy/v1", "PodDisruptionBudget", "litellm", NAMESPACE)
        assert budget is not None
        return budget["status"]["disruptionsAllowed"]

    first, second = prod.ready("litellm")
    wait_until(lambda: allowed() == 1, SOON_S, "the budget allows one")
    # nobody may take the place of the first, so the budget stays used up
    for node in prod.nodes():
        prod.api.patch(node, {"spec": {"unschedulable": True}})
    evict(prod.api, first)

    wait_until(lambda: allowed() == 0, SOON_S, "the budget is used up")
    assert prod.refused(lambda: evict(prod.api, second)).status == HTTPStatus.TOO_MANY_REQUESTS
    for node in prod.nodes():
        prod.api.patch(node, {"spec": {"unschedulable": None}})
    prod.settled("litellm", 2)
    wait_until(lambda: allowed() == 1, SOON_S, "the budget allows one again")
    evict(prod.api, second)
    gone = second["metadata"]["name"]
    wait_until(lambda: gone not in names(prod.pods("litellm")), SOON_S, "the second pod has gone")
    assert len(prod.settled("litellm", 2)) == 2


def test_a_pod_that_is_not_ready_never_blocks_a_drain(sim: World):
    """The only replica of the canary is loading: it may be evicted although nothing else serves its budget."""
    (pod,) = sim.ready("vllm-qwen3-14b-canary")
    faults.set_pod_fault(sim.api, NAMESPACE, pod["metadata"]["name"], "crash")
    wait_until(lambda: not sim.ready("vllm-qwen3-14b-canary"), SOON_S, "the canary has crashed")

    def evicted() -> bool:
        # the API server asks to try again when the pod changes under its hands, as one that crashes does
        try:
            evict(sim.api, pod)
        except ApiError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            return False
        return True

    wait_until(evicted, SOON_S, "the pod is evicted")
    (fresh,) = sim.settled("vllm-qwen3-14b-canary", 1)
    assert pod["metadata"]["uid"] != fresh["metadata"]["uid"]


def test_a_lost_node_is_left_and_returns(prod: World):
    """Its server moves to another node of the pool; when the node is back nothing runs twice and no GPU is lost."""
    (pod,) = prod.ready("vllm-qwen3-14b")
    lost = pod["spec"]["nodeName"]
    before = sum(prod.gpus_used().values())
    faults.lose_node(prod.api, lost)

    def moved() -> bool:
        ready = prod.ready("vllm-qwen3-14b")
        return [item["metadata"]["uid"] for item in ready] not in ([], [pod["metadata"]["uid"]])

    wait_until(moved, 2 * SOON_S, "the server is ready on another node")
    node = prod.api.get("v1", "Node", lost)
    assert node is not None
    assert not is_ready(node)
    taints = {taint["key"] for taint in node["spec"]["taints"]}
    assert {"nvidia.com/gpu", "node.kubernetes.io/unreachable"} <= taints
    faults.return_node(prod.api, lost)
    prod.settled("vllm-qwen3-14b", 1)
    assert before == sum(prod.gpus_used().values())
    assert prod.ready("vllm-qwen3-14b")[0]["spec"]["nodeName"] != lost


def test_a_crashing_server_comes_back(prod: World):
    """Its container is started again and again, its Service answers nothing meanwhile, and the same pod recovers."""
    (pod,) = prod.ready("vllm-qwen3-14b")
    name = pod["metadata"]["name"]
    faults.set_pod_fault(prod.api, NAMESPACE, name, "crash")

    def restarts() -> int:
        (now,) = prod.pods("vllm-qwen3-14b")
        return now["status"]["containerStatuses"][0]["restartCount"]

    wait_until(lambda: restarts() >= 2, SOON_S, "the container was started twice")
    wait_until(lambda: prod.endpoints("vllm-qwen3-14b") == [], SOON_S, "nothing answers")
    faults.set_pod_fault(prod.api, NAMESPACE, name, None)
    (again,) = prod.settled("vllm-qwen3-14b", 1)
    assert pod["metadata"]["uid"] == again["metadata"]["uid"]


def test_a_slow_load_within_the_budget_is_waited_for(prod: World):
    """A restart that takes one and a half times the expected load is not killed: the startup probe allows twice."""
    assert [survives(prod, "slow:1.5"), survives(prod, "slow:2.5")] == [True, False]


def survives(world: World, fault: str) -> bool:
    """Whether a pod whose load is slow becomes ready after one crash, without being killed by its probe."""
    (pod,) = world.settled("vllm-qwen3-14b", 1)
    name = pod["metadata"]["name"]
    faults.set_pod_fault(world.api, NAMESPACE, name, "crash")
    wait_until(lambda: not world.ready("vllm-qwen3-14b"), SOON_S, "the pod has crashed")
    faults.set_pod_fault(world.api, NAMESPACE, name, fault)

    def restarts() -> int:
        (now,) = world.pods("vllm-qwen3-14b")
        return now["status"]["containerStatuses"][0]["restartCount"]

    first = restarts()
    wait_until(lambda: world.ready("vllm-qwen3-14b") or restarts() > first, SOON_S, "it is ready, or killed")
    ready = bool(world.ready("vllm-qwen3-14b"))
    faults.set_pod_fault(world.api, NAMESPACE, name, None)
    world.settled("vllm-qwen3-14b", 1)
    return ready


def test_a_group_over_two_nodes_fails_as_a_whole(sim: World):
    """When its worker crashes, or goes, the leader does not stay: both are made anew, and are ready again."""

    def uids() -> dict[str, str]:
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in sim.ready("vllm-deepseek-r1")}

    def other_than(before: dict[str, str]) -> bool:
        now = uids()
        return now.keys() == before.keys() and not now.items() & before.items()

    worker = "vllm-deepseek-r1-0-1"
    for act in (
        lambda: faults.set_pod_fault(sim.api, NAMESPACE, worker, "crash"),
        lambda: sim.api.delete(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": worker, "namespace": NAMESPACE}}
        ),
    ):
        before = uids()
        assert sorted(before) == ["vllm-deepseek-r1-0", worker]
        act()
        wait_until(lambda before=before: other_than(before), SOON_S, "leader and worker are others")
