"""Node pools: how pods find their nodes, what nodes cost, and which pools cannot be."""

from typing import Any

import pytest

from planning.near import ADD_GPU
from planning.plan.pods import JobLimits
from planning.plan.pools import Choice, Disk, Karpenter, NodeClass
from tests.unit.small_stack import A10, CPU, H200, MODEL, planned, refusals, serving, stack

GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def only(pool: dict[str, Any], model: str = "Qwen/Qwen3-8B"):
    """The plan of one pool with a model that fits anywhere."""
    return planned(serving(pool, model=model, contextTokens=4096)).pools["a10"]


NAMES = ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]
NAMED = {"kind": "existing", "nodeNames": NAMES}


def one(node: str) -> dict[str, Any]:
    """One named node."""
    return {"kind": "existing", "nodeNames": [node]}


@pytest.mark.parametrize(
    ("pool", "selector", "affinity"),
    [
        (A10, {"nvidia.com/gpu.product": "NVIDIA-A10"}, ()),
        (
            {**A10, "provisioning": {"kind": "labelled", "labels": {"group": "a"}}},
            {"nvidia.com/gpu.product": "NVIDIA-A10", "group": "a"},
            (),
        ),
        (
            {**A10, "provisioning": NAMED},
            {"llm-stack.io/pool": "a10", "node-role": "gpu-inference", "gpu-type": "a10"},
            (),
        ),
        ({**A10, "provisioning": {"kind": "karpenter", "instanceTypes": ["x"]}}, {"llm-stack.io/pool": "a10"}, ()),
        (
            {**A10, "provisioning": {"kind": "computeClass", "machineTypes": ["x"]}},
            {"cloud.google.com/compute-class": "a10"},
            (),
        ),
        (CPU, {}, (("nvidia.com/gpu.present", "NotIn", ("true",)),)),
        ({**CPU, "provisioning": {"kind": "labelled", "labels": {"group": "c"}}}, {"group": "c"}, ()),
        (
            {**CPU, "provisioning": {"kind": "existing", "nodeNames": ["c-1", "c-2"]}},
            {"llm-stack.io/pool": "a10", "node-role": "cpu-inference"},
            (),
        ),
    ],
)
def test_pods_find_the_nodes_of_their_pool(pool, selector, affinity):
    """By the label of GPU feature discovery, by our own on named and bought nodes, and never a GPU node for a CPU."""
    found = only(pool)
    assert (dict(found.node_selector), found.node_affinity) == (selector, affinity)
    assert found.tolerations == ((GPU_TOLERATION,) if pool["gpu"] != "none" else ())


def test_a_pool_knows_its_gpus_its_memory_and_its_price():
    """Everything that is declared for four nodes of two A10s at a price that is given."""
    found = only({**A10, "pricePerNodeHourUsd": 2.84, "provisioning": NAMED})
    assert (found.gpus, found.nodes, found.gpus_per_node, found.gpu_name) == (8, 4, 2, "NVIDIA A10 24 GB")
    assert (found.resource_name, found.expected_gpu_memory_mib) == ("nvidia.com/gpu", 23_028)
    assert (found.cpus_per_node, found.memory_gib_per_node) == (None, None)
    assert found.node_labels == {"node-role": "gpu-inference", "gpu-type": "a10"}
    assert found.verification is not None
    assert (found.verification.image.name, found.verification.timeout_s) == ("python", 600)
    # three tries, and then two minutes to say why
    assert found.verification.job == JobLimits(2, 1800, 1920)
    assert (found.usd_per_node_hour, found.reasons) == (2.84, {"pricePerNodeHourUsd": "given"})


def test_a_cpu_pool_has_no_gpus():
    """No resource, no GPU memory to look for."""
    found = only(CPU)
    assert (found.gpus, found.gpus_per_node, found.gpu_name, found.resource_name) == (0, 0, "CPU", None)
    assert (found.cpus_per_node, found.memory_gib_per_node, found.expected_gpu_memory_mib) == (32, 128, None)


def test_a_bought_node_is_what_its_machine_type_is():
    """Cores, memory and on-demand price come from the catalogue; such nodes are not there to be verified."""
    found = only(
        {
            "gpu": "nvidia-a10g",
            "nodes": 2,
            "gpusPerNode": 4,
            "provisioning": {"kind": "karpenter", "instanceTypes": ["g5.12xlarge"]},
        }
    )
    assert (found.cpus_per_node, found.memory_gib_per_node, found.usd_per_node_hour) == (48, 192, 5.672)
    assert found.reasons == {"pricePerNodeHourUsd": "on-demand price of g5.12xlarge"}
    assert found.verification is None
    ours = NodeClass("KarpenterNodeRole-test-1", "test-1", "al2023@latest", None, Disk("/dev/xvda", 300, 1000, 16000))
    assert found.provisioning == Karpenter(
        (Choice(("g5.12xlarge",), ("on-demand",), "a10"),), ours, {"nvidia.com/gpu": "8"}
    )


def test_a_role_after_an_identifier_that_is_an_arn_must_be_given():
    """What would be derived is no role, and Karpenter would find that out at the first node."""
    arn = "arn:aws:eks:eu-central-1:123456789012:cluster/gpu"
    wanted = {"kind": "karpenter", "instanceTypes": ["x"]}
    raw = {**serving({**A10, "provisioning": wanted}), "cluster": {"context": "c", "identifier": arn}}
    why = f"is missing: KarpenterNodeRole-{arn}, after cluster.identifier, is not the name of an IAM role"
    assert refusals(raw) == [f"gpuPools.a10.provisioning.role: {why}"]
    raw["gpuPools"]["a10"]["provisioning"] = {**wanted, "role": "gpu-nodes"}
    assert refusals(raw) == []


def test_a_class_that_exists_says_what_its_nodes_are():
    """Nothing of a class of ours is planned beside it, so nothing is said of an AMI that moves."""
    wanted = {"kind": "karpenter", "instanceTypes": ["x"], "nodeClass": "shared"}
    plan = planned(serving({**A10, "pricePerNodeHourUsd": 1, "provisioning": wanted}))
    limits = {"nvidia.com/gpu": str(plan.pools["a10"].gpus)}
    assert plan.pools["a10"].provisioning == Karpenter((Choice(("x",), ("on-demand",), "a10"),), "shared", limits)
    assert plan.warnings == ()


def test_images_and_caches_are_on_the_volume_that_bottlerocket_has_for_them():
    """Its first volume holds the system alone: a large one there would leave 20 GiB for images."""
    wanted = {"kind": "karpenter", "instanceTypes": ["x"], "amiAlias": "bottlerocket@v1.52.0", "diskGib": 500}
    found = only({**A10, "provisioning": wanted}).provisioning
    assert isinstance(found, Karpenter)
    assert isinstance(found.node_class, NodeClass)
    assert (found.node_class.system_disk, found.node_class.data_disk) == (
        Disk("/dev/xvda", 4),
        Disk("/dev/xvdb", 500, 1000, 16000),
    )


def test_what_is_given_goes_before_what_is_known():
    """A price and sizes in the stack file are those that count."""
    pool = {"gpu": "nvidia-a10g", "nodes": 2, "gpusPerNode": 4, "pricePerNodeHourUsd": 1, "cpusPerNode": 40}
    found = only({**pool, "provisioning": {"kind": "karpenter", "instanceTypes": ["g5.12xlarge"]}})
    assert (found.cpus_per_node, found.memory_gib_per_node, found.usd_per_node_hour) == (40, 192, 1)


def test_an_unknown_machine_type_has_an_estimate():
    """Of its GPUs, by a public list, and says so."""
    found = only({**A10, "provisioning": {"kind": "karpenter", "instanceTypes": ["x9.huge"]}})
    assert (found.usd_per_node_hour, found.reasons) == (
        2.012,
        {
            "pricePerNodeHourUsd": "estimate: on-demand price of g5.xlarge per GPU with NVIDIA A10G 24 GB, by memory "
            "bandwidth; give yours"
        },
    )


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "hint"),
    [
        ("Nvidia-A10", "; did you mean 'nvidia-a10'?"),
        ("nvidia-h1000", ADD_GPU),
        ("None", "; did you mean 'none'?"),
        ("tpu", ADD_GPU),
    ],
)
def test_an_unknown_gpu_is_refused_with_the_nearest(gpu, hint):
    """The catalogue's spelling is offered; its models are not said to have no pool on top."""
    assert refusals(serving({**A10, "gpu": gpu})) == [f"gpuPools.a10.gpu: unknown GPU '{gpu}'{hint}"]


def test_a_machine_type_with_other_gpus_is_refused():
    """What would be bought is not what the pool says."""
    pool = {**A10, "provisioning": {"kind": "karpenter", "instanceTypes": ["g5.xlarge", "x9.huge"]}}
    assert refusals(serving(pool)) == [
        "gpuPools.a10.provisioning.instanceTypes[0]: g5.xlarge has 1 × nvidia-a10g, the pool says 2 × nvidia-a10"
    ]


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        (
            {
                "a": {**A10, "provisioning": NAMED},
                "b": {**A10, "nodes": 1, "provisioning": {"kind": "existing", "nodeNames": ["gpu-2"]}},
            },
            ["gpuPools.b.provisioning.nodeNames[0]: gpu-2 is in pool 'a' already"],
        ),
        (
            {"a": {**A10, "nodes": 1, "provisioning": one("gpu-1")}, "a-gpu": {**H200, "provisioning": one("1")}},
            ["gpuPools.a-gpu.provisioning.nodeNames[0]: 1 would be mistaken for gpu-1 of pool 'a'; rename a pool"],
        ),
        (
            {"a": {**A10, "nodes": 1, "provisioning": one("gpu-1")}, "a-gpu": {**H200, "provisioning": one("2")}},
            [],
        ),
        ({"a": A10, "b": H200}, []),
    ],
)
def test_pools_do_not_name_the_same_node(pools, said):
    """A node that two pools name would be promised twice."""
    model = {**MODEL, "model": "Qwen/Qwen3-8B", "pool": "a", "contextTokens": 4096}
    assert refusals(stack(gpuPools=pools, models={"m": model})) == said


def test_pods_tolerate_what_the_pool_says():
    """The taint of GPUs and the user's own, once each and as Kubernetes spells them; a CPU pool has only the latter."""
    mine = [{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}, {"key": "night", "operator": "Exists"}]
    rendered = ({"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}, mine[1])
    assert only({**A10, "tolerations": [*mine, GPU_TOLERATION, mine[0]]}).tolerations == (GPU_TOLERATION, *rendered)
    assert only({**CPU, "tolerations": mine}).tolerations == rendered
    assert only(CPU).tolerations == ()
