"""Faults a test can make: pods that crash or load slowly, nodes that fall silent. All can be undone."""

from workshop.kubernetes import Object
from workshop.problems import Impossible
from workshop.simcluster.api import Api
from workshop.simcluster.programs import MANAGED
from workshop.simcluster.stages import FAULT


def set_pod_fault(api: Api, namespace: str, name: str, fault: str | None) -> None:
    """`crash`, `slow:N`, or None to take a fault away; holds for this pod, not for the next one of its owner."""
    api.patch(_present(api, "Pod", name, namespace), {"metadata": {"annotations": {FAULT: fault}}})


def lose_node(api: Api, name: str) -> None:
    """The kubelet of a node falls silent: no heartbeat, and nothing on the node is started, ended or reported."""
    api.patch(_present(api, "Node", name), {"metadata": {"labels": {MANAGED[0]: None}}})


def return_node(api: Api, name: str) -> None:
    """The kubelet of a lost node speaks again."""
    api.patch(_present(api, "Node", name), {"metadata": {"labels": {MANAGED[0]: MANAGED[1]}}})


def _present(api: Api, kind: str, name: str, namespace: str = "") -> Object:
    body = api.get("v1", kind, name, namespace)
    if body is None:
        names = ", ".join(present["metadata"]["name"] for present in api.items("v1", kind, namespace))
        raise Impossible(f"{kind} '{name}': is not there; there are: {names or 'none'}")
    return body
