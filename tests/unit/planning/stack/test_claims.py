"""Pools whose GPUs are claimed: what a device must be, what pods, nodes and operator are told, and what cannot be.

Conditions are CEL, which a real API server reads in tests/cluster/test_claims.py.
"""

from typing import Any

import pytest

from planning.plan.pools import ClaimedDevices, PoolPlan
from planning.plan.servers import GpuClaim
from planning.stack.claims import broken_selector
from planning.stack.gpu_operator import gpu_operator_values
from tests.unit.small_stack import A10, CATALOG, CPU, H100, checked, planned, refusals, stack

CHAT = {"model": "Qwen/Qwen3-8B", "pool": "p", "contextTokens": 8192}
OF = "device.attributes['gpu.nvidia.com']"
PRODUCT = "NVIDIA-H100-80GB-HBM3"
NAMED = f"{OF}.productName.replace(' ', '-') in ['{PRODUCT}']"
WHOLE = f"device.driver == 'gpu.nvidia.com' && {OF}.type == 'gpu' && {NAMED}"
PROFILED = f"{OF}.profile == '3g.40gb'"
PART = f"device.driver == 'gpu.nvidia.com' && {OF}.type == 'mig' && {NAMED} && {PROFILED}"
CUT = {"mig": {"profile": "3g.40gb"}}
AMD = "device.attributes['gpu.amd.com']"
PLUGIN = {"others": {**A10}}


def claiming(pool: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """Qwen3-8B on H100s that its pods claim, with changes to the pool and the stack."""
    pools = {"p": {**H100, "claims": {}, **(pool or {})}, **sections.pop("pools", {})}
    return stack(gpuPools=pools, models={"m": CHAT}, **sections)


def pool_of(raw: dict[str, Any]) -> PoolPlan:
    """The one pool of a stack."""
    return planned(raw).pools["p"]


def cluster(**fields: str) -> dict[str, str]:
    """The section of a cluster."""
    return {"context": "c", "identifier": "i", **fields}


@pytest.mark.parametrize(
    ("pool", "claims"),
    [
        (
            {},
            ClaimedDevices(
                device_class="gpu.nvidia.com",
                ours=True,
                driver="gpu.nvidia.com",
                attributes={"type": ("gpu",), "productName": (PRODUCT,)},
                driver_version="driverVersion",
                selectors=(WHOLE,),
            ),
        ),
        (
            {"claims": {"deviceClass": "large.example.com", "selectors": [f"{OF}.architecture == 'Hopper'"]}},
            ClaimedDevices(
                device_class="large.example.com",
                ours=False,
                driver="gpu.nvidia.com",
                attributes={"type": ("gpu",), "productName": (PRODUCT,)},
                driver_version="driverVersion",
                selectors=(WHOLE, f"{OF}.architecture == 'Hopper'"),
            ),
        ),
        (
            CUT,
            ClaimedDevices(
                device_class="mig.nvidia.com",
                ours=True,
                driver="gpu.nvidia.com",
                attributes={"type": ("mig",), "productName": (PRODUCT,), "profile": ("3g.40gb",)},
                driver_version="driverVersion",
                selectors=(PART,),
            ),
        ),
    ],
)
def test_a_claim_promises_the_card_of_the_pool(pool: dict[str, Any], claims: ClaimedDevices):
    """The maker's driver, its kind and its product, whichever class it is claimed from; of parts the profile."""
    assert pool_of(claiming(pool)).claims == claims


def test_amds_cards_are_claimed_from_amds_driver():
    """With the names that its driver publishes; who brings it is said in place of the device plugin's."""
    raw = claiming({"gpu": "amd-mi300x", "nodes": 1, "gpusPerNode": 8})
    plan = planned(raw)
    claims = plan.pools["p"].claims
    assert claims is not None
    assert (claims.device_class, claims.attributes["type"]) == ("gpu.amd.com", ("amdgpu",))
    assert claims.selectors[0].startswith(f"device.driver == 'gpu.amd.com' && {AMD}.type == 'amdgpu' && {AMD}.product")
    assert [line for line in plan.warnings if "AMD" in line] == [
        (
            "pool p: its GPUs are claimed: its nodes need AMD's driver for dynamic resource allocation "
            "(k8s-gpu-dra-driver), with the device plugin off there"
        )
    ]


def test_pods_claim_what_their_server_needs_and_another_need_is_another_name():
    """The name follows from class, number and conditions, since no template may change."""
    # also of a card that is written as its nodes have it
    (server,) = planned(claiming({"gpu": PRODUCT})).servers
    assert server.resources.claim == GpuClaim("gpu.nvidia.com", 1, (WHOLE,), "3a4ee670")
    changes: list[dict[str, Any]] = [
        {"claims": {"deviceClass": "other"}},
        {"claims": {"selectors": ["device.driver != 'x'"]}},
        CUT,
    ]
    marks = {claim.mark for change in changes if (claim := planned(claiming(change)).servers[0].resources.claim)}
    assert (len(marks), "3a4ee670" in marks) == (3, False)
    (plain,) = planned(stack(gpuPools={"p": H100}, models={"m": CHAT})).servers
    assert (plain.resources.claim, plain.resources.gpus) == (None, 1)


def test_nodes_are_found_by_the_claim_and_not_by_labels_that_nobody_writes():
    """Without the device plugin there is no feature discovery: the operator says that there are GPUs, if it is ours."""
    ours = pool_of(claiming({"provisioning": {"kind": "labelled", "labels": {"team": "a"}}}))
    theirs = pool_of(claiming(gpuOperator={"install": False}))
    assert ours.node_selector == {"nvidia.com/gpu.present": "true", "team": "a"}
    assert (theirs.node_selector, theirs.node_affinity) == ({}, ())
    assert (ours.whole_cards, ours.discovered) == ({}, {"nvidia.com/gpu.present": "true"})
    assert ours.gpu_taint == {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert pool_of(claiming(cluster=cluster(platform="k3s"))).runtime_class is None


def test_pools_of_other_cards_do_not_share_nodes():
    """Their claims tell them apart, as labels do elsewhere; parts of a card are not whole ones."""
    others = {"l": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1, "claims": {}}, "c": {**H100, **CUT, "claims": {}}}
    lines = planned(claiming(pools=others)).warnings
    assert [line for line in lines if "pool p" in line and not line.startswith("pool p")] == []
    same = planned(claiming(pools={"q": {**H100, "claims": {}}})).warnings
    assert [line.partition(";")[0] for line in same if "finds" in line] == ["pool q: finds the same nodes as pool p"]


def test_the_operator_brings_its_driver_of_claims_in_place_of_the_plugin():
    """Of the device plugin's part nothing is left; the kernel's driver is an object of its own."""
    values = gpu_operator_values(checked(claiming()), CATALOG)
    assert {key: value for key, value in values.items() if key != "dcgmExporter"} == {
        "clusterPolicy": {"deployCR": False},
        "gpuCluster": {"deployCR": True},
        "driver": {"enabled": True, "nvidiaDriverCRD": {"enabled": True}},
        "toolkit": {"enabled": False},
        "draDriver": {"computeDomains": {"enabled": False}},
    }
    eks = gpu_operator_values(checked(claiming(cluster=cluster(platform="eks"))), CATALOG)
    assert eks["driver"] == {"enabled": False}
    rke = gpu_operator_values(checked(claiming(cluster=cluster(platform="rke2"))), CATALOG)
    assert rke["toolkit"] == {"enabled": False}
    images = [image for image in planned(claiming()).releases["gpu-operator"].images if "nvidia" in image]
    assert [image for image in images if any(name in image for name in ("dra-driver", "plugin", "mig", "toolkit"))] == [
        "nvcr.io/nvidia/dra-driver-nvidia-gpu:v0.5.0"
    ]


def test_parts_are_cut_by_whoever_makes_the_nodes():
    """The operator's MIG manager is not there with claims, so no node gets its label."""
    named = {"provisioning": {"kind": "existing", "nodeNames": ["a"]}, "nodes": 1}
    plan = planned(claiming({**CUT, **named}))
    assert plan.pools["p"].node_labels == {"node-role": "gpu-inference", "gpu-type": "h100"}
    assert [line for line in plan.warnings if "cut" in line] == [
        (
            "pool p: whoever makes its nodes has to cut every card into 2 × 3g.40gb before the driver of claims starts "
            "there, which publishes what it finds then"
        )
    ]


NODES = (
    "nodes of platform {} have a device plugin, which gives out the same cards, and a driver of claims is not the GPU "
    "Operator's there; make nodes without the one and with the other as the platform says, and set "
    "gpuOperator.install: false"
)


@pytest.mark.parametrize(
    ("pool", "sections", "message"),
    [
        ({"gpuShare": {"slices": 2}, "gpusPerNode": 1}, {}, "gpuPools.p: claims and gpuShare do not go together: "),
        (
            {"gpu": "nvidia-thor", "gpusPerNode": 1},
            {},
            "gpuPools.p.claims: no driver is known that nvidia-thor is claimed from; leave it out",
        ),
        ({}, {"cluster": cluster(kubernetes="1.35")}, "gpuPools.p.claims: needs Kubernetes 1.36 or newer, and "),
        ({}, {"cluster": cluster(platform="gke")}, f"gpuPools.p.claims: {NODES.format('gke')}"),
        ({}, {"cluster": cluster(platform="eksAuto")}, f"gpuPools.p.claims: {NODES.format('eksAuto')}"),
        (
            {},
            {"gpuOperator": {"devicePlugin": True}},
            "gpuOperator.devicePlugin: pool 'p' claims its GPUs, and two that give out the same cards give them out ",
        ),
        (
            {},
            {"gpuOperator": {"toolkit": True}},
            "gpuOperator.toolkit: pool 'p' claims its GPUs, and the operator has no toolkit then: the nodes' runtime ",
        ),
        (
            {},
            {"pools": PLUGIN},
            (
                "gpuPools.p.claims: pool 'others' has none, and the GPU Operator has one way for all nodes of a "
                "cluster: give claims to all pools of its GPUs, or to none"
            ),
        ),
        (
            {"provisioning": {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"], "nodeClass": "gpu"}},
            {},
            "gpuPools.p.provisioning.kind: is Karpenter, which leaves pods with claims alone unless its alpha ",
        ),
        (
            {"provisioning": {"kind": "computeClass", "machineTypes": ["a3-highgpu-8g"]}},
            {"cluster": cluster(platform="gke"), "gpuOperator": {"install": False}},
            "gpuPools.p.provisioning.kind: is of GKE, which makes no node pool for claims; use kind: labelled, ",
        ),
        (
            {"mig": {"profile": "3g.40gb", "strategy": "single"}},
            {},
            "gpuPools.p.mig.strategy: is how the device plugin calls parts, and a claim names their profile; leave it ",
        ),
        (
            {**CUT, "claims": {"deviceClass": "gpu.nvidia.com"}},
            {},
            "gpuPools.p.claims.deviceClass: gpu.nvidia.com is of whole cards, and mig asks for parts; use mig.nvidia",
        ),
        (
            {"claims": {"deviceClass": "mig.nvidia.com"}},
            {},
            "gpuPools.p.claims.deviceClass: mig.nvidia.com is of parts of cards, and the pool has no mig; use gpu.",
        ),
        ({"claims": {"deviceClass": "GPU nvidia"}}, {}, 'gpuPools.p.claims.deviceClass: "GPU nvidia" is not well'),
        (
            {"claims": {"selectors": ["memory >= 80Gi"]}},
            {},
            "gpuPools.p.claims.selectors[0]: asks nothing of the device; write a condition such as device.attributes",
        ),
        ({"claims": True}, {}, "gpuPools.p.claims: "),
    ],
)
def test_what_cannot_be_claimed_is_refused_with_a_way_out(pool: dict[str, Any], sections: dict[str, Any], message: str):
    """One problem each, at the key that is to change."""
    (refusal,) = refusals(claiming(pool, **sections))
    assert refusal[: len(message)] == message


def test_a_cpu_claims_nothing():
    """It is no device of anybody's."""
    raw = stack(gpuPools={"p": {**CPU, "claims": {}}}, models={"m": CHAT})
    assert [line for line in refusals(raw) if "claims" in line] == [
        "gpuPools.p: claims must be left out when gpu is none"
    ]


def test_beside_an_operator_of_others_each_pool_has_its_own_way():
    """Who runs the plugin and the driver keeps them apart, node by node."""
    assert refusals(claiming(pools=PLUGIN, gpuOperator={"install": False})) == []
    assert refusals(claiming(cluster=cluster(platform="gke"), gpuOperator={"install": False})) == []


def test_images_are_pulled_ahead_only_where_a_label_says_where():
    """A pod that claims nothing would pull them on every node of the cluster."""
    ahead: dict[str, Any] = {"images": {"prePull": True}, "gpuOperator": {"install": False}}
    assert refusals(claiming(**ahead)) == [
        (
            "images.prePull: no label says which nodes pool 'p' has, only what its pods claim; give "
            "gpuPools.p.provisioning.labels, or leave it out"
        )
    ]
    assert refusals(claiming({"provisioning": {"kind": "labelled", "labels": {"gpu": "h100"}}}, **ahead)) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        (f"{OF}.brand == 'Nvidia' && size([1, 2]) == 2", ""),
        (f"{OF}.brand == 'it\\'s (fine'", ""),
        (f"({OF}.brand == 'Nvidia'", "ends before its ); it is one expression of CEL"),
        (f"{OF}.brand == 'Nvidia", "ends before its '; it is one expression of CEL"),
        (f"{OF}.brand == 'Nvidia')", "has a ) that closes nothing; it is one expression of CEL"),
    ],
)
def test_an_expression_that_is_cut_off_is_found_before_the_api_server_does(expression: str, wrong: str):
    """Quotes and brackets are counted, as far as that tells."""
    assert broken_selector(expression) == wrong
