"""Resources of a pool beside GPUs: who asks for them, what is refused, and what a reviewer is told.

That a node has them, and that NCCL uses them, is not proved.
"""

import pytest

from tests.harness import minimal, pods, stack, two_nodes
from tests.unit.small_stack import A10, planned, refusals, serving

CARDS = {"example.com/card": 4, "hugepages-2Mi": "5120Mi"}


def asked(**resources: object) -> list[str]:
    """What is said against a pool with these resources."""
    return refusals(serving({**A10, "resources": resources}))


def test_every_pod_of_the_pool_asks_for_them_and_no_other():
    """Servers of one replica over two nodes ask, requests are limits, and no init container or other pod does."""
    plain, deployed = (stack(two_nodes(gpuPools={"h100": {"resources": given}})) for given in ({}, CARDS))
    amounts = {"example.com/card": "4", "hugepages-2Mi": "5120Mi"}
    expected = [
        {
            part: {**values, **(amounts if pod.kind == "LeaderWorkerSet" and container["name"] == "vllm" else {})}
            for part, values in container["resources"].items()
        }
        for pod in pods(plain)
        for container in pod.containers
    ]
    assert [container["resources"] for pod in pods(deployed) for container in pod.containers] == expected


def test_another_pool_is_left_alone():
    """What one pool's servers ask for, those of another do not."""
    config = minimal(
        gpuPools={"l4": {"resources": {"rdma/ib": 1}}, "other": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1}},
        models={"second": {"model": "Qwen/Qwen3-0.6B", "pool": "other", "contextTokens": 4096}},
    )
    limits = {pod.owner: pod.spec["containers"][0]["resources"]["limits"].get("rdma/ib") for pod in pods(stack(config))}
    assert {owner: limit for owner, limit in limits.items() if limit} == {"Deployment vllm-small": "1"}


@pytest.mark.parametrize(
    ("name", "amount", "message"),
    [
        ("cpu", 4, ".cpu: is decided by the plan; set models.NAME.cpus"),
        ("memory", "4Gi", ".memory: is decided by the plan; set models.NAME.memoryGib"),
        (
            "nvidia.com/gpu",
            1,
            ".nvidia.com/gpu: is decided by the plan; set gpu, gpusPerNode, gpuShare or mig of the pool",
        ),
        (
            "nvidia.com/gpu.shared",
            1,
            ".nvidia.com/gpu.shared: is decided by the plan; set gpu, gpusPerNode, gpuShare or mig of the pool",
        ),
        (
            "attachable-volumes.kubernetes.io/x",
            1,
            (
                ".attachable-volumes.kubernetes.io/x: is Kubernetes' own; name a resource that a device plugin offers, "
                "DOMAIN/NAME"
            ),
        ),
        (
            "efa",
            1,
            (
                '.efa: "efa" is no resource of a node; write DOMAIN/NAME as the node has it, e.g. '
                "vpc.amazonaws.com/efa, or "
                "hugepages-2Mi"
            ),
        ),
        ("rdma/ib", "1Gi", ".rdma/ib: is counted, and 1Gi has a unit; write a whole number"),
        ("hugepages-4Mi", "8Mi", ".hugepages-4Mi: is not a size of huge pages; there are hugepages-2Mi, hugepages-1Gi"),
        ("hugepages-2Mi", 512, ".hugepages-2Mi: is 512; write whole pages with their unit, e.g. 512Mi"),
        ("hugepages-2Mi", "5Mi", ".hugepages-2Mi: is 5Mi; write whole pages with their unit, e.g. 512Mi"),
        ("hugepages-1Gi", "512Mi", ".hugepages-1Gi: is 512Mi; write whole pages with their unit, e.g. 1024Mi"),
        (
            "rdma/ib",
            0,
            '.rdma/ib: "0" is not well formed; it must match ^[1-9][0-9]{0,8}(Mi|Gi)?$',
        ),
    ],
)
def test_what_no_node_or_pod_can_have_is_refused(name: str, amount: object, message: str):
    """Names that the plan counts or no node has, and amounts that the API server would refuse."""
    assert asked(**{name: amount}) == [f"gpuPools.a10.resources{message}"]


def test_a_reviewer_hears_what_the_nodes_need():
    """Known resources have a sentence of the catalogue; of another one nothing is known."""
    plan = planned(serving({**A10, "resources": {"example.com/card": 2, "rdma/ib": 1}}))
    assert [line for line in plan.warnings if line.startswith("pool a10: its servers ask for")] == [
        "pool a10: its servers ask for 2 example.com/card each, which nothing is known of here",
        (
            "pool a10: its servers ask for 1 rdma/ib each, which need a device plugin for shared or "
            "virtual RDMA cards on the "
            "nodes, and a container runtime without a limit of locked memory "
            "(LimitMEMLOCK=infinity): no capability stands in "
            "for that"
        ),
    ]
