"""Kubernetes idioms shared by the components: labels, security contexts, environment, network rules.

Objects are plain data with Kubernetes' own spelling; the tests check every one of them against the published schemas.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi

from planning.plan import EgressRule, Scratch

PART_OF = "llm-stack"
MODEL_LABEL = "llm-stack.io/model"
# The object is there as soon as the API server has it; something else is the gate.
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
DROP_ALL = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def labels(app: str, component: str, instance: str, **extra: str) -> dict[str, str]:
    """All labels of one object: the recommended set, and `extra`."""
    return {
        **selector(app, instance),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": "pulumi",
        **extra,
    }


def selector(app: str, instance: str) -> dict[str, str]:
    """The labels that never change: a changed selector replaces its workload."""
    return {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": instance}


def named(metadata: Mapping[str, Any], name: str) -> Any:
    """The same metadata with a fixed name: what people or DNS read; without one the name follows the content."""
    return {**metadata, "name": name}


def annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> Any:
    """The same metadata with annotations."""
    return {**metadata, "annotations": dict(annotations)}


def job_metadata(metadata: Mapping[str, Any], name: str) -> Any:
    """Metadata of a Job that may be run again: under a fixed name, so that there is never a second one beside it.

    One that failed, or was cut off, is replaced by the next `up` (`replaceUnready`); otherwise that would wait for it
    for ever, because a Job that has failed stays failed.
    """
    return annotated(named(metadata, name), {"pulumi.com/replaceUnready": "true"})


def pod_security(uid: int, gid: int) -> dict[str, Any]:
    """Pod security context of the *restricted* profile with a numeric user."""
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "fsGroup": gid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def env(values: Mapping[str, pulumi.Input[str]]) -> list[dict[str, Any]]:
    """Environment of a container, sorted, so that a reordered mapping is no change."""
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def secret_env(name: str, secret: pulumi.Input[str], key: str) -> dict[str, Any]:
    """One environment variable from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def placement(
    node_selector: Mapping[str, str],
    node_affinity: Sequence[Mapping[str, Any]],
    tolerations: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """The part of a pod spec that puts it on a pool's nodes."""
    spec: dict[str, Any] = {}
    if node_selector:
        spec["nodeSelector"] = dict(node_selector)
    if node_affinity:
        required = {"nodeSelectorTerms": [{"matchExpressions": [dict(rule) for rule in node_affinity]}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    if tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in tolerations]
    return spec


def scratch_volumes(wanted: Scratch) -> list[dict[str, Any]]:
    """The emptyDirs of a pod, each with its limit."""
    return [
        *({"name": name, "emptyDir": {"sizeLimit": mebibytes(size)}} for name, size in wanted.volumes_mib.items()),
        *(
            {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": mebibytes(size)}}
            for name, size in wanted.memory_mib.items()
        ),
    ]


def disk(mib: int) -> dict[str, str]:
    """Request of a container for local disk."""
    return {"ephemeral-storage": mebibytes(mib)}


def mebibytes(size: int) -> str:
    """MiB as a quantity, in whole GiB where they are."""
    gib, rest = divmod(size, 1024)
    return f"{size}Mi" if rest else f"{gib}Gi"


def service_spec(match: Mapping[str, str], port_name: str, port: int) -> Any:
    """A Service of one named port, which is also the name of the container's."""
    ports = [{"name": port_name, "port": port, "targetPort": port_name, "protocol": "TCP"}]
    return {"selector": dict(match), "ports": ports}


def disruption_spec(match: Mapping[str, str]) -> Any:
    """One pod at a time may be evicted, and one that is not ready anyway never blocks a drain."""
    return {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": dict(match)},
    }


def off_gpu_nodes() -> dict[str, Any]:
    """Affinity of pods that need no GPU: any other node is better, where there is one."""
    elsewhere = {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "NotIn", "values": ["true"]}]}
    preferred = [{"weight": 100, "preference": elsewhere}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def spread(match: Mapping[str, str]) -> list[dict[str, Any]]:
    """Soft spread over nodes and zones, counted per revision of a Deployment."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(match)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def pods(match: Mapping[str, str]) -> dict[str, Any]:
    """Network peer: pods of the same namespace."""
    return {"podSelector": {"matchLabels": dict(match)}}


def namespace_pods(namespace: str) -> dict[str, Any]:
    """Network peer: every pod of a namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def egress(rules: Iterable[EgressRule]) -> list[dict[str, Any]]:
    """Rules of a plan as those of a policy."""
    return [
        {
            "to": [
                *({"namespaceSelector": {}} if name == "" else namespace_pods(name) for name in rule.namespaces),
                *({"ipBlock": {"cidr": block.cidr, "except": list(block.excluded)}} for block in rule.blocks),
            ],
            **({"ports": tcp(*rule.ports)} if rule.ports else {}),
        }
        for rule in rules
    ]


def tcp(*ports: int) -> list[dict[str, Any]]:
    """TCP ports of a network rule."""
    return [{"port": port, "protocol": "TCP"} for port in ports]


def network_policy(
    match: Mapping[str, str], *, ingress: Iterable[dict[str, Any]] = (), egress: Iterable[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Spec of a policy that adds these flows to the default deny of the namespace."""
    rules_in, rules_out = list(ingress), list(egress)
    spec: dict[str, Any] = {"podSelector": {"matchLabels": dict(match)}, "policyTypes": []}
    if rules_in:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = rules_in
    if rules_out:
        spec["policyTypes"].append("Egress")
        spec["egress"] = rules_out
    return spec


def derived_key(master_key: pulumi.Output[str], purpose: str) -> pulumi.Output[str]:
    """A key of its own for `purpose`, the same at every run: HMAC-SHA256 of the purpose under the master key.

    Derived instead of drawn, so that no random provider is needed and nothing changes between runs; whoever has it
    cannot learn the master key.
    """
    return pulumi.Output.secret(
        master_key.apply(lambda key: "sk-" + hmac.new(key.encode(), purpose.encode(), hashlib.sha256).hexdigest())
    )
