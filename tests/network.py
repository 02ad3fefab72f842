"""Who may open a connection to whom, by NetworkPolicies: what networking.k8s.io/v1 says of every field of theirs.

As strict as a network plugin may be: a pod is matched by its labels and namespace and never by an address (Cilium), and
a port is that which the far side listens on, after a Service has been replaced by a pod. What comes from the pod's own
node, as a kubelet's probes do, is let in by the API's own definition. No packet is sent, and no plugin is asked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Party:
    """One end of a connection: a pod of a namespace, else an address; `near`: the node of the pod at the other end."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    near: bool = False
    ports: Mapping[str, int] = field(default_factory=dict)


def allowed(policies: Iterable[Any], source: Party, target: Party, port: int, protocol: str = "TCP") -> bool:
    """Whether both ends let the connection through."""
    if source.near or target.near:
        return True
    policies = list(policies)
    at = (target, port, protocol)
    return _lets(policies, "Egress", source, target, *at) and _lets(policies, "Ingress", target, source, *at)


def _lets(
    policies: list[Any], direction: str, end: Party, other: Party, listener: Party, port: int, protocol: str
) -> bool:
    """Whether the policies of one end, if any chooses it in this direction, have a rule for the other end."""
    chosen = [
        policy["spec"]
        for policy in policies
        if end.namespace
        and policy["metadata"]["namespace"] == end.namespace
        and direction in _directions(policy["spec"])
        and selected(policy["spec"]["podSelector"], end.labels)
    ]
    key, peers = direction.lower(), "to" if direction == "Egress" else "from"
    return not chosen or any(
        _at(rule.get("ports"), listener, port, protocol) and _peers(rule.get(peers), other, end.namespace)
        for spec in chosen
        for rule in spec.get(key) or []
    )


def _directions(spec: Any) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]


def _at(ports: Any, listener: Party, port: int, protocol: str) -> bool:
    """Whether a rule is about this port of the side that listens; one without ports is about all of them."""

    def about(entry: Any) -> bool:
        first = entry.get("port")
        if isinstance(first, str):
            return listener.ports.get(first) == port
        return first is None or first <= port <= entry.get("endPort", first)

    return not ports or any(entry.get("protocol", "TCP") == protocol and about(entry) for entry in ports)


def _peers(peers: Any, other: Party, namespace: str) -> bool:
    """Whether a rule is about the other end; one without peers is about everybody."""
    return not peers or any(_peer(peer, other, namespace) for peer in peers)


def _peer(peer: Any, other: Party, namespace: str) -> bool:
    if block := peer.get("ipBlock"):
        return bool(other.address) and _inside(block, other.address)
    if not other.namespace:
        return False
    spaces = peer.get("namespaceSelector")
    here = other.namespace == namespace if spaces is None else selected(spaces, {NAMESPACE_LABEL: other.namespace})
    return here and selected(peer.get("podSelector", {}), other.labels)


def _inside(block: Any, address: str) -> bool:
    where = ip_address(address)
    return where in ip_network(block["cidr"]) and not any(where in ip_network(cidr) for cidr in block.get("except", []))


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses these labels; an empty one chooses all."""
    equal = selector.get("matchLabels", {}).items() <= labels.items()
    return equal and all(_meets(term, labels) for term in selector.get("matchExpressions", []))


def _meets(term: Any, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(term["key"]), term.get("values", [])
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[term["operator"]]
