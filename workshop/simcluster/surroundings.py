"""Objects that a stack expects to find (`preview.rendering.prerequisites`), and volumes for claims.

Pure but for random Secrets. Kubernetes' own controller binds a volume to its claim, and nothing is ever stored.
"""

import json
import secrets
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from preview.rendering.expected import Expected
from preview.rendering.prerequisites import BORN_NAMESPACES
from workshop.kubernetes import Object
from workshop.simcluster.bodies import body

# What a value must look like for whoever reads it; anything else is random.
SHAPES = {
    "database-url": "postgresql://simulated:simulated@postgres.invalid:5432/litellm",
    "token": "hf_simulated",
    "username": "simulated",
    ".dockerconfigjson": json.dumps({"auths": {}}),
}
TYPES = {
    frozenset({"tls.crt", "tls.key"}): {"type": "kubernetes.io/tls"},
    frozenset({".dockerconfigjson"}): {"type": "kubernetes.io/dockerconfigjson"},
    frozenset({"username", "password"}): {"type": "kubernetes.io/basic-auth"},
}
CLAIM_CLASS = "simcluster"
PROVISIONER = "simcluster.llm-stack.io/shared"
# who would do on a real cluster what is simply there
YOU = "you"


def surroundings(expected: Iterable[Expected]) -> list[Object]:
    """Objects for all that is expected, in the order in which they can be made; nodes and API groups come otherwise."""
    bodies = [made for prerequisite in expected for made in _objects(prerequisite)]
    # a Gateway may be somebody else's, in a namespace the stack never names otherwise
    places = dict.fromkeys(made["metadata"].get("namespace", "default") for made in bodies)
    named = {made["metadata"]["name"] for made in bodies if made["kind"] == "Namespace"}
    bodies += [body("Namespace", YOU, name=place) for place in places if place not in named | BORN_NAMESPACES]
    return sorted(bodies, key=lambda made: made["kind"] != "Namespace")


def _objects(expected: Expected) -> Iterator[Object]:
    place = {"name": expected.name, "namespace": expected.namespace}
    match expected.kind:
        case "Namespace" | "IngressClass":
            yield body(expected.kind, YOU, **place)
        case "Secret":
            yield secret(expected.name, expected.namespace, expected.keys)
        case "ConfigMap":
            yield body("ConfigMap", YOU, **place) | {"data": dict.fromkeys(expected.keys, "made for this cluster")}
        case "StorageClass":
            yield storage_class(expected.name)
        case "PersistentVolumeClaim":
            yield storage_class(CLAIM_CLASS)
            yield body(expected.kind, YOU, **place)
        case "Gateway":
            yield body("GatewayClass", YOU)
            yield body(expected.kind, YOU, **place, listener=expected.note.removeprefix("with the listener ") or "http")
        case _:  # nodes, API groups
            pass


def secret(name: str, namespace: str, keys: Iterable[str], maker: str = YOU) -> Object:
    """A Secret with these keys, and values nobody has seen before."""
    values = {"stringData": {key: random_value(key) for key in sorted(keys)}}
    return body("Secret", maker, name=name, namespace=namespace) | values | TYPES.get(frozenset(keys), {})


def random_value(key: str) -> str:
    """A value for this key; the gateway's master key must begin with sk-."""
    return SHAPES.get(key) or ("sk-" if "master" in key else "") + secrets.token_hex(24)


def storage_class(name: str) -> Object:
    """A class of the name a stack expects."""
    return body("StorageClass", "provisioner", name=name)


def served(classes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the classes whose provisioner this stands in for."""
    return frozenset(storage["metadata"]["name"] for storage in classes if storage.get("provisioner") == PROVISIONER)


def wants_volume(claim: Mapping[str, Any], classes: Container[str], claims: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a claim of one of these classes is waiting for a volume that can be made, and not on its way out.

    `claims`: all there are. A clone is made of one that is bound; what can only be read is a clone, or it is not made,
    as GKE's driver has it.
    """
    metadata, spec, origin = claim["metadata"], claim["spec"], claim["spec"].get("dataSource")
    named = [(other["metadata"], other.get("status", {}).get("phase")) for other in claims]
    bound = {(other["namespace"], "PersistentVolumeClaim", other["name"]) for other, phase in named if phase == "Bound"}
    of = origin and (metadata["namespace"], origin["kind"], origin["name"])
    return (
        claim.get("status", {}).get("phase", "Pending") == "Pending"
        and not spec.get("volumeName")
        and "deletionTimestamp" not in metadata
        and spec.get("storageClassName") in classes
        and (of in bound if origin else spec["accessModes"] != ["ReadOnlyMany"])
    )


def postgres_of(cluster: Mapping[str, Any]) -> tuple[Object, Object]:
    """The Secret of the owner that CloudNativePG makes with a Cluster, and the status of one that runs."""
    metadata, instances = cluster["metadata"], cluster["spec"]["instances"]
    running = {"type": "Ready", "status": "True", "reason": "ClusterIsReady", "message": "nothing runs in it"}
    conditions = [{**running, "lastTransitionTime": metadata["creationTimestamp"]}]
    owner = secret(f"{metadata['name']}-app", metadata["namespace"], ("username", "password"), "CloudNativePG")
    return owner, {"instances": instances, "readyInstances": instances, "conditions": conditions}


def volume_for(claim: Mapping[str, Any]) -> Object:
    """The volume of a claim: its size and modes, and bound to it alone."""
    words = {key: claim["metadata"][key] for key in ("namespace", "name", "uid")}
    volume = body("PersistentVolume", "provisioner", **words)
    volume["spec"] |= {
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "accessModes": list(claim["spec"]["accessModes"]),
        "storageClassName": claim["spec"]["storageClassName"],
    }
    return volume
