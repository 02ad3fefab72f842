"""What Kubernetes itself would say about pods and network rules, written down for tests.

`restricted` follows the Pod Security Standards, level restricted, and `reaches` the semantics of NetworkPolicies; both
only for fields that this product writes, and they raise for the rest. A real API server and a real network plug-in are
not replaced.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from tests.harness import Pod, selects

RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
SECCOMP = ("RuntimeDefault", "Localhost")
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
# Users that OpenShift gives a namespace, by its annotation openshift.io/sa.scc.uid-range: the first of them, how many.
FIRST_OF_RANGE, USERS_OF_RANGE = 1_000_700_000, 10_000


def quantity_bytes(text: str) -> float:
    """A number of bytes, or of cores, as Kubernetes writes it."""
    number, unit = (text[:-2], text[-2:]) if text[-1] == "i" else (text[:-1], "m") if text[-1] == "m" else (text, "")
    return float(number) * {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}[unit]


def requested(spec: Mapping[str, Any], resource: str) -> float:
    """What the scheduler counts a pod with: its containers and sidecars together, or its largest init container.

    An init container runs beside the sidecars that stand before it (KEP-753).
    """

    def asked(container: Mapping[str, Any]) -> float:
        return quantity_bytes(container["resources"]["requests"].get(resource, "0"))

    beside, largest = 0.0, 0.0
    for container in spec.get("initContainers", []):
        if container.get("restartPolicy") == "Always":
            beside += asked(container)
        largest = max(largest, beside + (0 if container.get("restartPolicy") else asked(container)))
    return max(beside + sum(map(asked, spec["containers"])), largest)


def of_namespace(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The pod as a cluster leaves it that gives each namespace users of its own: what the pod names itself stays."""
    users = {"runAsUser": FIRST_OF_RANGE, "fsGroup": FIRST_OF_RANGE}
    return {**spec, "securityContext": {**users, **spec.get("securityContext", {})}}


def out_of_range(spec: Mapping[str, Any]) -> list[str]:
    """Users and groups of files that such a cluster refuses, since they are none of the namespace's."""
    contexts = {"pod": spec.get("securityContext", {})}
    contexts |= {item["name"]: item.get("securityContext", {}) for item in _containers(spec)}
    return [
        f"{where}: {field} {context[field]}"
        for where, context in contexts.items()
        for field in ("runAsUser", "fsGroup")
        if field in context and context[field] not in range(FIRST_OF_RANGE, FIRST_OF_RANGE + USERS_OF_RANGE)
    ]


def _containers(spec: Mapping[str, Any]) -> list[Any]:
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def restricted(spec: Mapping[str, Any]) -> list[str]:
    """Everything about a pod that the *restricted* level refuses, and a user that is not a number above 0."""
    found = [f"{field} is set" for field in HOST_FIELDS if spec.get(field)]
    for volume in spec.get("volumes", []):
        found += [f"volume type {kind}" for kind in sorted(set(volume) - {"name"} - RESTRICTED_VOLUMES)]
    for container in _containers(spec):
        merged = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        found += [f"{container['name']}: {fault}" for fault in _faults(merged)]
        found += [f"{container['name']}: hostPort" for port in container.get("ports", []) if port.get("hostPort")]
    return found


def _faults(context: Mapping[str, Any]) -> list[str]:
    """The same of one container; `context` is its own security context over that of its pod."""
    user, capabilities = context.get("runAsUser"), context.get("capabilities", {})
    checks = {
        "runAsNonRoot": context.get("runAsNonRoot") is True,
        f"runAsUser {user}": isinstance(user, int) and user > 0,
        "seccompProfile": context.get("seccompProfile", {}).get("type") in SECCOMP,
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
        "capabilities not dropped": "ALL" in capabilities.get("drop", []),
        "capabilities added": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "privileged": not context.get("privileged"),
        "procMount": context.get("procMount", "Default") == "Default",
    }
    return [fault for fault, fine in checks.items() if not fine]


def reaches(policies: Iterable[Any], source: Pod, target: Pod, port: int) -> bool:
    """Whether a TCP connection from one pod of a namespace to another is allowed by the policies of that namespace."""
    policies = list(policies)
    return _allowed(policies, "Egress", source, target, port) and _allowed(policies, "Ingress", target, source, port)


def reachable_from(policies: Iterable[Any], namespace: str, target: Pod, port: int) -> bool:
    """Whether the ingress rules let every pod of another namespace connect."""
    return any(
        _port(rule, port) and any(_namespace(peer) == namespace for peer in rule.get("from", []))
        for rule in _rules(policies, "Ingress", target)
    )


@dataclass(frozen=True)
class Inside:
    """A pod elsewhere in the cluster, by its namespace; its labels are none that the stack knows."""

    namespace: str


def connects(policies: Iterable[Any], source: Pod, target: Inside | str, port: int) -> bool:
    """Whether egress rules let a pod open a TCP connection to an address outside, or to a pod of another namespace.

    As the API has it (networking.k8s.io/v1, NetworkPolicyPeer), and as strictly as any network plugin: a pod is never
    matched by its address (Cilium), and `port` is what the far side listens on, after a Service has been replaced.
    """
    policies = list(policies)
    chosen = [policy for policy in policies if selects(policy["spec"]["podSelector"], source.labels)]
    if not any("Egress" in policy["spec"]["policyTypes"] for policy in chosen):
        return True
    return any(
        _port(rule, port) and ("to" not in rule or any(_matches(peer, target) for peer in rule["to"]))
        for rule in _rules(policies, "Egress", source)
    )


def _matches(peer: Any, target: Inside | str) -> bool:
    if isinstance(target, str):
        address = ip_address(target)
        block = peer.get("ipBlock")
        return (
            block is not None
            and address in ip_network(block["cidr"])
            and not any(address in ip_network(cidr) for cidr in block.get("except", []))
        )
    chosen = peer.get("namespaceSelector")
    # a pod selector beside it asks for labels that a stranger need not have; alone it is about the own namespace
    return chosen is not None and "podSelector" not in peer and selects(chosen, {NAMESPACE_LABEL: target.namespace})


def leaves(policies: Iterable[Any], source: Pod) -> set[tuple[str, str]]:
    """(destination, ports) of every egress rule that is not about pods of the own namespace."""
    found = set()
    for rule in _rules(policies, "Egress", source):
        ports = ",".join(f"{port['protocol']}/{port['port']}" for port in rule.get("ports", [])) or "all"
        for peer in rule.get("to", [{}]):
            if "podSelector" not in peer:
                block = peer.get("ipBlock", {}).get("cidr")
                found.add((block or _namespace(peer) or "anywhere", ports))
    return found


def _rules(policies: Iterable[Any], direction: str, pod: Pod) -> list[Any]:
    return [
        rule
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], pod.labels)
        for rule in policy["spec"].get(direction.lower(), [])
    ]


def _allowed(policies: list[Any], direction: str, pod: Pod, other: Pod, port: int) -> bool:
    isolated = any(
        direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], pod.labels)
        for policy in policies
    )
    if not isolated:
        return True
    key = "to" if direction == "Egress" else "from"
    return any(
        _port(rule, port) and (key not in rule or any(_peer(peer, other) for peer in rule[key]))
        for rule in _rules(policies, direction, pod)
    )


def _port(rule: Any, port: int) -> bool:
    return "ports" not in rule or any(item["port"] == port and item["protocol"] == "TCP" for item in rule["ports"])


def _peer(peer: Any, pod: Pod) -> bool:
    """An ipBlock is never about pods: their addresses belong to the cluster."""
    assert len(peer) == 1, peer
    return "podSelector" in peer and selects(peer["podSelector"], pod.labels)


def _namespace(peer: Any) -> str | None:
    return peer.get("namespaceSelector", {}).get("matchLabels", {}).get(NAMESPACE_LABEL)
