"""What a cluster cannot be or do: claims for many writers on disks that have one.

Does not prove what a class of such a name is on a cluster.
"""

from typing import Any

import pytest

from tests.unit.small_stack import A10, CATALOG, CPU, planned, refusals, stack

END = "or another accessMode"
EFS = f"is never bound; name a class that offers it, such as efs-sc, {END}"
NFS = f"is never bound; name a class that offers it, of NFS or CephFS, for example, {END}"


def on(platform: str, **more: Any) -> dict[str, Any]:
    """A stack on such a cluster."""
    return stack(cluster={"context": "c", "identifier": "i", "platform": platform}, **more)


def refused(path: str, name: str, platform: str, fix: str) -> str:
    """The sentence about one claim."""
    return (
        f"{path}.storageClass: {name} is of disks that one node writes on platform {platform}, so ReadWriteMany {fix}"
    )


@pytest.mark.parametrize("platform", CATALOG.storage_classes)
def test_every_class_of_disks_is_refused_for_many_writers(platform: str):
    """And every class that the refusal offers is taken."""
    known = CATALOG.storage_classes[platform]
    names = {name.replace("*", "x"): 1 for name in known.disks} | {name.replace("*", "x"): 0 for name in known.shared}
    found = {name: len(refusals(on(platform, weights={"storageClass": name}))) for name in names}
    assert found == names


@pytest.mark.parametrize(
    ("platform", "sections", "expected"),
    [
        ("eks", {"weights": {"storageClass": "gp3"}}, [refused("weights", "gp3", "eks", EFS)]),
        ("k3s", {"weights": {"storageClass": "local-path"}}, [refused("weights", "local-path", "k3s", NFS)]),
        ("generic", {"weights": {"storageClass": "gp3"}}, []),
        (
            "eks",
            {
                "weights": {"storageClass": "efs-sc"},
                "compileCache": {"kind": "claim", "storageClass": "gp2"},
            },
            [refused("compileCache", "gp2", "eks", EFS)],
        ),
        (
            "kind",
            {"weights": {"kind": "nodeCache", "storageClass": "standard", "from": {"storageClass": "standard"}}},
            [refused("weights.from", "standard", "kind", NFS)],
        ),
    ],
)
def test_a_claim_for_many_writers_needs_a_class_that_has_them(
    platform: str, sections: dict[str, Any], expected: list[str]
):
    """By the names that a platform gives its classes; copies for one pod are of disks, and weights may say how."""
    assert refusals(on(platform, **sections)) == expected


@pytest.mark.parametrize(
    ("platform", "pool", "expected"),
    [
        ("generic", A10, None),
        ("rke2", A10, None),
        ("k3s", A10, "nvidia"),
        ("k3s", {**A10, "runtimeClassName": "nvidia-cdi"}, "nvidia-cdi"),
        ("rke2", {**A10, "runtimeClassName": "nvidia"}, "nvidia"),
    ],
)
def test_pods_with_gpus_have_the_runtime_class_of_their_platform(platform: str, pool: dict, expected: str | None):
    """Where it is not the default of the nodes, or as the pool says; nodes without GPUs have none."""
    deployed = planned(on(platform, gpuPools={"a10": pool, "cpu": CPU}))
    assert {name: pool.runtime_class for name, pool in deployed.pools.items()} == {"a10": expected, "cpu": None}
