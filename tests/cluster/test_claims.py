"""Claimed GPUs on a real API server and scheduler: the driver's role is played here, as it publishes what nodes have.

Devices are allocated by Kubernetes itself. That a kubelet hands them to a container, and that NVIDIA's driver publishes
such attributes, is not proved.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.world import NAMESPACE, SOON_S, World, stuck, variant
from workshop.kubernetes import Object
from workshop.simcluster.api import wait_until
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


def slices(world: World, product: str = PRODUCT, generation: int = 1) -> list[Object]:
    """The cards of every GPU node, as the driver publishes them."""
    attributes = {
        "type": {"string": "gpu"},
        "productName": {"string": product},
        "driverVersion": {"version": "595.91.7"},
    }
    devices = [
        {"name": f"gpu-{number}", "attributes": attributes, "capacity": {"memory": {"value": "23028Mi"}}}
        for number in range(2)
    ]
    return [
        cluster_wide(
            "ResourceSlice",
            f"{node}-{DRIVER}",
            {
                "driver": DRIVER,
                "nodeName": node,
                "pool": {"name": node, "generation": generation, "resourceSliceCount": 1},
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
    """Each pod has as many devices as its server needs, all of its own node, and its template can never change."""
    world, whole = claiming
    world.deploy(whole)
    (server,) = whole.plan.servers
    (pod,) = world.settled(server.name, server.replicas)
    claim = server.resources.claim
    assert claim is not None
    devices = allocated(world)[pod["metadata"]["name"]]
    assert ({node for node, _ in devices}, len(devices)) == ({pod["spec"]["nodeName"]}, claim.count)
    (template,) = world.api.items(GROUP, "ResourceClaimTemplate", NAMESPACE)
    requests = copy.deepcopy(template["spec"]["spec"]["devices"]["requests"])
    requests[0]["exactly"]["count"] += 1
    change = {"spec": {"spec": {"devices": {"requests": requests}}}}
    assert "field is immutable" in str(world.refused(lambda: world.api.patch(template, change)))


def test_another_card_or_a_quota_keeps_a_pod_waiting(claiming: tuple[World, Stack]):
    """The claim promises the card of the pool, and a quota counts devices by their class, as the preflight does."""
    world, whole = claiming
    world.deploy(whole)
    (server,) = whole.plan.servers
    (pod,) = world.settled(server.name, server.replicas)
    for body in slices(world, "NVIDIA L4", generation=2):
        world.api.apply(body)
    world.api.delete(pod)
    wait_until(lambda: "cannot allocate all claims" in stuck(world).get(server.name, ""), SOON_S, "no card will do")
    for body in slices(world, generation=3):
        world.api.apply(body)
    (pod,) = world.settled(server.name, server.replicas)
    hard = {f"{DRIVER}.deviceclass.resource.k8s.io/devices": "0"}
    metadata = {"name": "no-devices", "namespace": NAMESPACE}
    world.api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    world.api.delete(pod)
    refused = f"exceeded quota: no-devices, requested: {next(iter(hard))}=1"

    def told() -> bool:
        return any(refused in event["message"] for event in world.api.items("v1", "Event", NAMESPACE))

    wait_until(told, SOON_S, "the quota refuses the claim")
