"""Local disk of pods: exact figures. That every pod asks for what it may write is shown in tests/stacks."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.servers import PodResources, Scratch
from planning.server import scratch
from tests.harness import minimal, refusals
from tests.unit.small_stack import properties


def test_a_server_asks_for_its_cache_its_temporary_files_and_its_logs():
    """20 GiB and 2 GiB, and 64 MiB for each container's logs; /dev/shm is in memory."""
    found = scratch.plan_server_scratch(PodResources(4, 20, 51, 2, 8, 20))
    assert found == Scratch({"cache": 20480, "tmp": 2048}, {"shm": 8192}, 22528 + 64, 64)


@pytest.mark.parametrize(
    ("wanted", "disk_mib"),
    [(scratch.GATEWAY, 2112), (scratch.REDIS, 128), (scratch.DOWNLOAD, 20544), (scratch.VERIFICATION, 64)],
)
def test_other_pods_ask_for_their_volumes_and_logs(wanted, disk_mib):
    """What is in memory is none of it."""
    assert (wanted.disk_mib, wanted.disk_mib) == (disk_mib, 64 + sum(wanted.volumes_mib.values()))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 50)), max_size=4), st.integers(1, 8))
@properties(200)
def test_the_fullest_node_is_the_worst_of_all_that_fit(pods, units):
    """Tried one by one."""
    tried = [
        sum(number * mib for number, (_, _, mib) in zip(numbers, pods, strict=True))
        for numbers in product(*(range(count + 1) for _, count, _ in pods))
        if sum(number * size for number, (size, _, _) in zip(numbers, pods, strict=True)) <= units
    ]
    assert scratch.fullest_mib(pods, units) == max(tried)


def on_karpenter(**provisioning: object) -> dict:
    """Up to two pods of one GPU each on nodes of four."""
    nodes = {"kind": "karpenter", "instanceTypes": ["g6.12xlarge"], **provisioning}
    pool = {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 4, "provisioning": nodes}
    return minimal(
        cluster={"platform": "eks"}, gpuPools={"l4": pool}, models={"small": {"replicas": {"min": 1, "max": 2}}}
    )


@pytest.mark.parametrize(
    ("provisioning", "least_gib"),
    # (2 × 22.06 + 40 + 20) / 0.85, and without the system, which has a volume of its own
    [({}, 123), ({"amiAlias": "bottlerocket@v1.52.0"}, 99)],
)
def test_a_disk_that_cannot_hold_what_its_pods_may_write_is_refused(provisioning, least_gib):
    """By how much is enough; that much is accepted."""
    said = (
        f"gpuPools.l4.provisioning.diskGib: {least_gib - 1} GiB do not hold images and the 44 GiB that the pods of a "
        f"full node may write; use at least {least_gib}"
    )
    assert refusals(on_karpenter(diskGib=least_gib - 1, **provisioning)) == [said]
    assert refusals(on_karpenter(diskGib=least_gib, **provisioning)) == []


@pytest.mark.parametrize(
    ("pods", "size_gb"),
    # of the 100 GB that GKE gives by itself pods have 43.6 GiB, less than two of 22.06; with images these need 123
    [(0, None), (1, None), (2, 123), (4, 195), (8, 329)],
)
def test_a_node_of_gke_has_a_disk_for_its_pods(pods, size_gb):
    """By what GKE keeps of it; a larger one than its own only where that is needed."""
    found = scratch.boot_disk_gb(pods * 22592)
    assert found == size_gb
