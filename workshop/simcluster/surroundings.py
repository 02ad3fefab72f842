"""What a stack expects to find, by `preview.rendering.prerequisites`, as objects. Pure but for random Secrets."""

import json
import secrets
from collections.abc import Iterable, Iterator

from preview.rendering.prerequisites import BORN_NAMESPACES, Expected
from workshop.kubernetes import Object
from workshop.simcluster.bodies import body
from workshop.simcluster.volumes import storage_class

# What a value must look like for whoever reads it; anything else is random.
SHAPES = {
    "database-url": "postgresql://simulated:simulated@postgres.invalid:5432/litellm",
    "token": "hf_simulated",
    ".dockerconfigjson": json.dumps({"auths": {}}),
}
TYPES = {
    frozenset({"tls.crt", "tls.key"}): {"type": "kubernetes.io/tls"},
    frozenset({".dockerconfigjson"}): {"type": "kubernetes.io/dockerconfigjson"},
}
CLAIM_CLASS = "simcluster"
# who would do on a real cluster what is simply there
YOU = "you"


def surroundings(expected: Iterable[Expected]) -> list[Object]:
    """Objects for all that is expected, in the order in which they can be made; nodes and API groups come otherwise."""
    found = [each for item in expected for each in _objects(item)]
    # a Gateway may be somebody else's, in a namespace the stack never names otherwise
    places = dict.fromkeys(each["metadata"].get("namespace", "default") for each in found)
    named = {each["metadata"]["name"] for each in found if each["kind"] == "Namespace"}
    found += [body("Namespace", YOU, name=place) for place in places if place not in named | BORN_NAMESPACES]
    return sorted(found, key=lambda each: each["kind"] != "Namespace")


def _objects(item: Expected) -> Iterator[Object]:
    place = {"name": item.name, "namespace": item.namespace}
    match item.kind:
        case "Namespace" | "IngressClass":
            yield body(item.kind, YOU, **place)
        case "Secret":
            yield secret(item.name, item.namespace, item.keys)
        case "StorageClass":
            yield storage_class(item.name)
        case "PersistentVolumeClaim":
            yield storage_class(CLAIM_CLASS)
            yield body(item.kind, YOU, **place)
        case "Gateway":
            yield body("GatewayClass", YOU)
            yield body(item.kind, YOU, **place, listener=item.note.removeprefix("with the listener ") or "http")
        case _:  # nodes, API groups
            pass


def secret(name: str, namespace: str, keys: Iterable[str]) -> Object:
    """A Secret with these keys, and values nobody has seen before."""
    wanted = frozenset(keys)
    values = {"stringData": {key: random_value(key) for key in sorted(wanted)}}
    return body("Secret", YOU, name=name, namespace=namespace) | values | TYPES.get(wanted, {})


def random_value(key: str) -> str:
    """A value for this key; the gateway's master key must begin with sk-."""
    return SHAPES.get(key) or ("sk-" if "master" in key else "") + secrets.token_hex(24)
