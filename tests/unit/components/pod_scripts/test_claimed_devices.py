"""The proof of a pool whose GPUs are claimed: devices in ResourceSlices, as drivers publish them.

The slices are written here after what NVIDIA's driver documents; that a kubelet hands such a device out is not proved.
"""

from dataclasses import replace
from typing import Any

import pytest

from components.pod_scripts import verify_nodes

PROMISE = verify_nodes.Expectation(
    "h100",
    {"nvidia.com/gpu.present": "true"},
    1,
    gpus_per_node=2,
    gpu_memory_mib=81559,
    oldest_driver=580,
    device_driver="gpu.nvidia.com",
    device_attributes={"type": "gpu", "productName": "NVIDIA-H100-80GB-HBM3|NVIDIA-H100-NVL"},
    driver_attribute="driverVersion",
)
ASKED = "type=gpu, productName=NVIDIA-H100-80GB-HBM3|NVIDIA-H100-NVL"
LOWER = "or lower gpuPools.h100.gpusPerNode"
CARD = "gpu NVIDIA-H100-80GB-HBM3"


def device(
    name: str, product: str = "NVIDIA H100 80GB HBM3", memory: str = "81559Mi", driver: str = "595.91.7", **more: Any
) -> dict[str, Any]:
    """A card as the driver publishes it."""
    attributes = {"type": {"string": "gpu"}, "productName": {"string": product}, "driverVersion": {"version": driver}}
    return {"name": name, "attributes": attributes, "capacity": {"memory": {"value": memory}}, **more}


def slice_of(node: str, devices: list[dict[str, Any]], generation: int = 1, driver: str = "gpu.nvidia.com") -> dict:
    """A ResourceSlice of one node."""
    pool = {"name": node, "generation": generation, "resourceSliceCount": 1}
    return {"spec": {"driver": driver, "nodeName": node, "pool": pool, "devices": devices}}


def nodes(*slices: dict, labels: dict[str, str] | None = None) -> list[dict]:
    """Node `a` with GPUs, and `b` without, with what these slices say of them."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {}}
    present = {"nvidia.com/gpu.present": "true"} if labels is None else labels
    bare = [
        {"metadata": {"name": "a", "labels": present}, "status": ready},
        {"metadata": {"name": "b", "labels": {}}, "status": ready},
    ]
    return verify_nodes.with_devices(bare, list(slices))


@pytest.mark.parametrize(
    ("slices", "fault"),
    [
        ([slice_of("a", [device("gpu-0"), device("gpu-1")])], ""),
        # a driver that publishes anew leaves older slices for a while
        ([slice_of("a", [], 1), slice_of("a", [device("gpu-0"), device("gpu-1", "NVIDIA H100 NVL")], 2)], ""),
        ([], f"has 0 devices with {ASKED}, promised 2 (does the driver run there? {LOWER})"),
        (
            [slice_of("a", [device("gpu-0"), device("gpu-1")], 1), slice_of("a", [device("gpu-0")], 2)],
            f"has 1 devices with {ASKED}, promised 2 (it publishes 1 × {CARD}; {LOWER})",
        ),
        (
            [slice_of("a", [device("gpu-0", "NVIDIA L40S"), device("gpu-1", "NVIDIA L40S")])],
            f"has 0 devices with {ASKED}, promised 2 (it publishes 2 × gpu NVIDIA-L40S; {LOWER})",
        ),
        (
            [slice_of("a", [device("gpu-0"), device("gpu-1", taints=[{"key": "xid", "effect": "NoSchedule"}])])],
            f"has 1 devices with {ASKED}, promised 2 (it publishes 2 × {CARD}; {LOWER})",
        ),
        (
            [slice_of("a", [device("gpu-0"), device("gpu-1")], driver="gpu.example.com")],
            f"has 0 devices with {ASKED}, promised 2 (it publishes no devices of gpu.nvidia.com; {LOWER})",
        ),
        (
            [slice_of("a", [device("gpu-0", driver="575.57.8"), device("gpu-1", driver="575.57.8")])],
            "has driver 575, its servers need 580 or newer (update it, or give its models an image for it)",
        ),
        (
            [slice_of("a", [device("gpu-0"), device("gpu-1", memory="40Gi")])],
            "has GPUs of 40960 MiB, promised 81559 (gpuPools.h100.gpu names another kind)",
        ),
    ],
)
def test_devices_are_counted_as_they_are_promised(slices: list[dict], fault: str):
    """Of the pool's product, of the newest generation, whole, with memory and a driver that will do."""
    messages = [f"pool 'h100': node a {fault}"] if fault else []
    assert verify_nodes.judge(nodes(*slices), PROMISE) == messages


def test_nodes_are_known_by_their_devices_where_no_label_says_it():
    """Others are no nodes of the pool, and none of them fails it."""
    promise = replace(PROMISE, selector={})
    both = slice_of("a", [device("gpu-0"), device("gpu-1")])
    assert verify_nodes.judge(nodes(both, labels={}), promise) == []
    assert verify_nodes.notes(nodes(both, labels={}), promise) == []
    assert verify_nodes.judge(nodes(slice_of("b", [device("gpu-0", "NVIDIA L4")]), labels={}), promise) == [
        (f"pool 'h100': 0 of 1 nodes have devices with {ASKED}, nearest: a (it publishes no devices of gpu.nvidia.com)")
    ]


def test_parts_of_cards_may_have_more_memory_and_no_less():
    """Drivers differ in how much they keep of a part."""
    part = {"type": "mig", "productName": "NVIDIA-H100-80GB-HBM3", "profile": "3g.40gb"}
    promise = replace(PROMISE, device_attributes=part, gpus_per_node=1, gpu_memory_mib=40192)

    def cut(memory: str) -> list[dict]:
        attributes = {name: {"string": value.replace("-", " ")} for name, value in part.items()}
        devices = [{"name": "gpu-0-mig-1", "attributes": attributes, "capacity": {"memory": {"value": memory}}}]
        return nodes(slice_of("a", devices))

    assert verify_nodes.judge(cut("41Gi"), promise) == []
    assert verify_nodes.judge(cut("19968Mi"), promise) == [
        (
            "pool 'h100': node a has parts of cards of 19968 MiB, promised 40192 (gpuPools.h100.mig.profile names "
            "another kind)"
        )
    ]
