"""What a stack expects to find, put there before it is deployed: namespaces, Secrets, claims, classes, Gateways.

Pure functions from what `preview.rendering.prerequisites` asks for to objects. Values of Secrets are drawn at random,
for the simulation alone.
"""

import json
import secrets
from collections.abc import Iterable, Iterator

from preview.rendering.prerequisites import BORN_NAMESPACES, Expected
from workshop.kubernetes import Object
from workshop.simcluster.nodes import STAND_IN
from workshop.simcluster.volumes import storage_class

# What a value must look like for whoever reads it; anything else is random.
SHAPES = {
    "database-url": "postgresql://simulated:simulated@postgres.invalid:5432/litellm",
    "token": "hf_simulated",
    ".dockerconfigjson": json.dumps({"auths": {}}),
}
TYPES = {
    frozenset({"tls.crt", "tls.key"}): "kubernetes.io/tls",
    frozenset({".dockerconfigjson"}): "kubernetes.io/dockerconfigjson",
}
GATEWAY_CLASS = "simcluster"
CLAIM_CLASS = "simcluster"


def surroundings(expected: Iterable[Expected]) -> list[Object]:
    """Objects for all that is expected, in the order in which they can be made.

    Nodes and API groups are none of them: `nodes.py` and `crds.py` bring those.
    """
    found = [body for item in expected for body in _objects(item)]
    # a Gateway may be somebody else's, in a namespace the stack never names otherwise
    places = dict.fromkeys(body["metadata"].get("namespace", "default") for body in found)
    named = {body["metadata"]["name"] for body in found if body["kind"] == "Namespace"}
    found += [_namespace(place) for place in places if place not in named | BORN_NAMESPACES]
    return sorted(found, key=lambda body: body["kind"] != "Namespace")


def _namespace(name: str) -> Object:
    return _marked({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _objects(item: Expected) -> Iterator[Object]:
    match item.kind:
        case "Namespace":
            yield _namespace(item.name)
        case "Secret":
            yield secret(item.name, item.namespace, item.keys)
        case "StorageClass":
            yield storage_class(item.name)
        case "PersistentVolumeClaim":
            yield storage_class(CLAIM_CLASS)
            yield claim(item.name, item.namespace)
        case "IngressClass":
            body = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": item.name}}
            yield _marked({**body, "spec": {"controller": "simcluster.llm-stack.io/none"}})
        case "Gateway":
            yield from _gateway(item)
        case _:  # nodes, API groups
            pass


def secret(name: str, namespace: str, keys: Iterable[str]) -> Object:
    """A Secret with these keys, and values nobody has seen before."""
    wanted = frozenset(keys)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {key: random_value(key) for key in sorted(wanted)},
    }
    return _marked({**body, "type": TYPES[wanted]} if wanted in TYPES else body)


def claim(name: str, namespace: str) -> Object:
    """A claim that somebody has filled, as far as a simulated pod can tell."""
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": CLAIM_CLASS,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    metadata = {"name": name, "namespace": namespace}
    return _marked({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def random_value(key: str) -> str:
    """A value for this key; the gateway's master key must begin with sk-."""
    return SHAPES.get(key) or ("sk-" if "master" in key else "") + secrets.token_hex(24)


def _gateway(item: Expected) -> Iterator[Object]:
    version = "gateway.networking.k8s.io/v1"
    controller = {"controllerName": "simcluster.llm-stack.io/none"}
    yield _marked(
        {"apiVersion": version, "kind": "GatewayClass", "metadata": {"name": GATEWAY_CLASS}, "spec": controller}
    )
    listener = item.note.removeprefix("with the listener ") or "http"
    spec = {
        "gatewayClassName": GATEWAY_CLASS,
        "listeners": [
            {"name": listener, "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        ],
    }
    metadata = {"name": item.name, "namespace": item.namespace}
    yield _marked({"apiVersion": version, "kind": "Gateway", "metadata": metadata, "spec": spec})


def _marked(body: Object) -> Object:
    return {**body, "metadata": {**body["metadata"], "annotations": {STAND_IN: "you"}}}
