"""Stand-in for a provisioner of shared storage: a volume for every claim that waits for one. Pure functions."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from workshop.kubernetes import Object
from workshop.simcluster.bodies import body

PROVISIONER = "simcluster.llm-stack.io/shared"


def storage_class(name: str) -> Object:
    """A class of the name a stack expects."""
    return body("StorageClass", "provisioner", name=name)


def served(classes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the classes whose provisioner this stands in for."""
    return frozenset(item["metadata"]["name"] for item in classes if item.get("provisioner") == PROVISIONER)


def wants_volume(claim: Mapping[str, Any], classes: Container[str]) -> bool:
    """Whether a claim of one of these classes is waiting for a volume, and not on its way out."""
    return (
        claim.get("status", {}).get("phase", "Pending") == "Pending"
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
        and claim["spec"].get("storageClassName") in classes
    )


def volume_for(claim: Mapping[str, Any]) -> Object:
    """The volume of a claim: its size and modes, and bound to it alone."""
    found = body(
        "PersistentVolume", "provisioner", **{key: claim["metadata"][key] for key in ("namespace", "name", "uid")}
    )
    found["spec"] |= {
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "accessModes": list(claim["spec"]["accessModes"]),
        "storageClassName": claim["spec"]["storageClassName"],
    }
    return found
