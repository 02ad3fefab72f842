"""Kubernetes idioms shared by the components: labels, security contexts, environment, network rules.

Objects are plain data with Kubernetes' own spelling; the tests check every one of them against the published schemas.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi

from planning.plan.pods import DnsPlan, EgressRule, EveryNamespace, ImagePlan, Probe, Probes
from planning.plan.pools import PoolPlan
from planning.plan.servers import Requests, Scratch
from planning.server.scratch import cores, quantity

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
    """The metadata with a fixed name: what people or DNS read; without one the name follows the content."""
    return {**metadata, "name": name}


def annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> Any:
    """The metadata with annotations."""
    return {**metadata, "annotations": dict(annotations)}


def restricted_pod(
    account: pulumi.Input[str],
    image: ImagePlan,
    containers: Sequence[Mapping[str, Any]],
    volumes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Spec of a pod of the *restricted* profile: the numeric user of its image, no token, no variables of Services.

    With the latter, one called vllm would put VLLM_PORT=tcp://… into the environment. Where users are of the namespace,
    the pod names none, and the cluster fills them in.
    """
    user = {"runAsUser": image.uid, "runAsGroup": image.gid, "fsGroup": image.gid} if image.own_user else {}
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": list(volumes),
    }


def probes(
    probes: Probes, check: Mapping[str, Any], *, startup: Mapping[str, Any] | None = None, grace_s: int | None = None
) -> dict[str, Any]:
    """Probes of a container: by `check`, until it has answered once by `startup`, where that is another.

    `grace_s`: time that the container has to end after too many failures, that of its pod if None. A container that
    hangs does not drain: it would only be missed for longer.
    """
    fields = {"readinessProbe": _probe(check, probes.ready), "livenessProbe": _probe(check, probes.live, grace_s)}
    if probes.startup:
        fields["startupProbe"] = _probe(startup or check, probes.startup, grace_s)
    return fields


def _probe(check: Mapping[str, Any], probe: Probe, grace_s: int | None = None) -> dict[str, Any]:
    numbers = {
        "periodSeconds": probe.period_s,
        "failureThreshold": probe.failures,
        "timeoutSeconds": probe.timeout_s,
        "terminationGracePeriodSeconds": grace_s,
    }
    return {**check, **{key: number for key, number in numbers.items() if number is not None}}


def env(values: Mapping[str, pulumi.Input[str]]) -> list[dict[str, Any]]:
    """Environment of a container, sorted, so that a reordered mapping is no change."""
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def secret_env(name: str, secret: pulumi.Input[str], key: str) -> dict[str, Any]:
    """One environment variable from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def placement(pool: PoolPlan) -> dict[str, Any]:
    """The part of a pod spec that puts it on a pool's nodes."""
    spec: dict[str, Any] = {}
    if pool.node_selector:
        spec["nodeSelector"] = dict(pool.node_selector)
    if pool.node_affinity:
        rules = [{"key": key, "operator": how, "values": list(values)} for key, how, values in pool.node_affinity]
        required = {"nodeSelectorTerms": [{"matchExpressions": rules}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    if pool.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in pool.tolerations]
    return spec


def scratch_volumes(scratch: Scratch) -> list[dict[str, Any]]:
    """The emptyDirs of a pod, each with its limit."""
    return [
        *({"name": name, "emptyDir": {"sizeLimit": quantity(size)}} for name, size in scratch.volumes_mib.items()),
        *(
            {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": quantity(size)}}
            for name, size in scratch.memory_mib.items()
        ),
    ]


def ephemeral_volume(name: str, storage_class: str, gib: int) -> dict[str, Any]:
    """A volume of the pod's own, which comes and goes with it."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": f"{gib}Gi"}},
    }
    return {"name": name, "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def disk(mib: int) -> dict[str, str]:
    """Request of a container for local disk."""
    return {"ephemeral-storage": quantity(mib)}


def resources(cpus: int, memory_gib: int, memory_limit_gib: int, disk_mib: int) -> dict[str, Any]:
    """Requests of a container in whole cores and GiB, and its limit of memory; CPU has none."""
    requested = {"cpu": str(cpus), "memory": f"{memory_gib}Gi", **disk(disk_mib)}
    return {"requests": requested, "limits": {"memory": f"{memory_limit_gib}Gi"}}


def requests(requests: Requests) -> dict[str, str]:
    """Requests of a container of a server's pod."""
    return {"cpu": cores(requests.cpu_millis), "memory": quantity(requests.memory_mib), **disk(requests.disk_mib)}


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


def dns(plan: DnsPlan) -> dict[str, Any]:
    """The rule that lets pods ask for names."""
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in plan.addresses]
    return {
        "to": [*(namespace_pods(name) for name in plan.namespaces), *blocks],
        "ports": [{"port": plan.port, "protocol": protocol} for protocol in ("UDP", "TCP")],
    }


def _peers(namespaces: tuple[str, ...] | EveryNamespace) -> list[dict[str, Any]]:
    """Network peers: every pod of these namespaces."""
    match namespaces:
        case EveryNamespace():
            return [{"namespaceSelector": {}}]
        case names:
            return [namespace_pods(name) for name in names]


def egress(rules: Iterable[EgressRule]) -> list[dict[str, Any]]:
    """Rules of a plan as those of a policy."""
    return [
        {
            "to": [
                *_peers(rule.namespaces),
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
