"""Claimed GPUs on a real API server and scheduler: the driver's role is played here, as it publishes what nodes have.

Devices are allocated by Kubernetes itself. That a kubelet hands them to a container, and that NVIDIA's driver publishes
such attributes, is not proved.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.world import NAMESPACE, World, variant
from workshop.kubernetes import Object
from workshop.simcluster.rendered import Stack

GROUP, DRIVER = "resource.k8s.io/v1", "gpu.nvidia.com"
PRODUCT = "NVIDIA A10"


def cluster_wide(kind: str, name: str, spec: dict[str, Any]) -> Object:
    """An object of no namespace."""
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec}


def device_class() -> Object:
    """The class of whole cards, as NVIDIA's driver has it."""
    expression = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'"
    return cluster_wide("DeviceClass", DRIVER, {"selectors": [{"cel": {"expression": expression}}]})


def slices(world: World, product: str = PRODUCT, cards: int = 2) -> list[Object]:
    """The cards of every GPU node, as the driver publishes them."""
    attributes = {
        "type": {"string": "gpu"},
        "productName": {"string": product},
        "driverVersion": {"version": "595.91.7"},
    }
    devices = [
        {"name": f"gpu-{number}", "attributes": attributes, "capacity": {"memory": {"value": "23028Mi"}}}
        for number in range(cards)
    ]
    return [
        cluster_wide(
            "ResourceSlice",
            f"{node}-{DRIVER}",
            {
                "driver": DRIVER,
                "nodeName": node,
                "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                "devices": devices,
            },
        )
        for node, pool in world.pool_of().items()
        if world.stack.plan.pools[pool].gpus
    ]


def allocated(world: World) -> dict[str, list[tuple[str, str]]]:
    """Pod → (node, device) of all that was allocated for it."""
    return {
        claim["metadata"]["ownerReferences"][0]["name"]: [
            (result["pool"], result["device"]) for result in claim["status"]["allocation"]["devices"]["results"]
        ]
        for claim in world.api.items(GROUP, "ResourceClaim", NAMESPACE)
        if claim.get("status", {}).get("allocation")
    }


@pytest.fixture
def claiming(dev: World, tmp_path: Path) -> Iterator[tuple[World, Stack]]:
    """The stack `dev` with claims, not deployed yet, on its cluster, where its driver has published all cards."""

    def change(config: dict[str, Any]) -> None:
        for pool in config["llm-stack:gpuPools"].values():
            pool["claims"] = {}

    whole = variant("dev", tmp_path, change)
    for body in (device_class(), *slices(dev)):
        dev.api.apply(body)
    yield dev, whole
    # pods go back to the device plugin before there are no devices
    dev.restore()
    for kind, namespace in (("ResourceClaimTemplate", NAMESPACE), ("ResourceSlice", ""), ("DeviceClass", "")):
        for body in dev.api.items(GROUP, kind, namespace):
            dev.api.delete({"apiVersion": GROUP, "kind": kind, **body})


def test_servers_move_from_the_plugin_to_claims_and_get_their_cards(claiming: tuple[World, Stack]):
    """Each pod has as many devices as its server needs, all of its own node, and nobody has the same."""
    world, whole = claiming
    world.deploy(whole)
    pods = [pod for server in whole.plan.servers for pod in world.settled(server.name, server.replicas)]
    devices = allocated(world)
    counts = {server.name: server.resources.gpus for server in whole.plan.servers}
    for pod in pods:
        mine = devices[pod["metadata"]["name"]]
        server = pod["metadata"]["labels"]["app.kubernetes.io/instance"]
        assert (len(mine), {node for node, _ in mine}) == (counts[server], {pod["spec"]["nodeName"]})
    assert max(Counter(device for mine in devices.values() for device in mine).values()) == 1
    (template,) = world.api.items(GROUP, "ResourceClaimTemplate", NAMESPACE)
    template = {"apiVersion": GROUP, "kind": "ResourceClaimTemplate", **template}
    change: Any = {"spec": {"spec": {"devices": {"requests": [{"name": "gpus", "exactly": None}]}}}}
    assert "immutable" in str(world.refused(lambda: world.api.patch(template, change)))
