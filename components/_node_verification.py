"""The proof that a pool's nodes are there and offer the GPUs that were promised."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.pod_scripts import source
from planning.server import scratch

# Ports distributions give the API server, which has no label to select it by.
API_SERVER_PORTS = (443, 6443, 8443, 16443)
# How verify_nodes.py writes the operators of a node affinity.
SIGNS = {"In": "=", "NotIn": "!="}


def verification(
    name: str, args: Mapping[str, Any], after: list[pulumi.Resource], parent: pulumi.Resource
) -> k8s.batch.v1.Job:
    """A Job that asks the API server what the nodes offer; it holds no GPU, so it also runs on a full pool.

    `args` are those of `GpuNodePool`, `parent` is the pool.
    """
    child = pulumi.ResourceOptions(parent=parent)
    labels = _k8s.labels("verify-nodes", "nodes", name)
    match = _k8s.selector("verify-nodes", name)
    metadata: Any = {"namespace": args["namespace"], "labels": labels}
    full_name = pulumi.Output.concat(args["namespace"], "-verify-nodes-", name)
    account = k8s.core.v1.ServiceAccount(
        f"{name}-verify",
        metadata=_k8s.named(metadata, f"verify-nodes-{name}"),
        automount_service_account_token=False,
        opts=child,
    )
    role = k8s.rbac.v1.ClusterRole(
        f"{name}-verify",
        metadata={"name": full_name, "labels": labels},
        rules=[{"api_groups": [""], "resources": ["nodes"], "verbs": ["list"]}],
        opts=child,
    )
    binding = k8s.rbac.v1.ClusterRoleBinding(
        f"{name}-verify",
        metadata={"name": full_name, "labels": labels},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata.name},
        subjects=[
            {"kind": "ServiceAccount", "name": f"verify-nodes-{name}", "namespace": args["namespace"]},
        ],
        opts=child,
    )
    script = k8s.core.v1.ConfigMap(
        f"{name}-verify",
        metadata=_k8s.named(metadata, f"verify-nodes-{name}"),
        # another script replaces the Job that mounts it
        immutable=True,
        data={"verify_nodes.py": source("verify_nodes")},
        opts=child,
    )
    policy = k8s.networking.v1.NetworkPolicy(
        f"{name}-verify",
        metadata=_k8s.named(metadata, f"verify-nodes-{name}"),
        spec=_k8s.network_policy(match, egress=[{"ports": _k8s.tcp(*API_SERVER_PORTS)}]),  # pyright: ignore[reportArgumentType]
        opts=child,
    )
    pod: Any = {
        "serviceAccountName": account.metadata.name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "affinity": _k8s.off_gpu_nodes(),
        "restartPolicy": "Never",
        "securityContext": _k8s.pod_security(args["uid"], args["uid"]),
        "containers": [
            {
                "name": "verify",
                "image": args["image"],
                "command": ["python", "/scripts/verify_nodes.py"],
                "env": _k8s.env(_environment(name, args)),
                "securityContext": _k8s.DROP_ALL,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi", **_k8s.disk(scratch.VERIFICATION.disk_mib)},
                    "limits": {"cpu": "500m", "memory": "256Mi"},
                },
                "volumeMounts": [{"name": "scripts", "mountPath": "/scripts", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "scripts", "configMap": {"name": script.metadata.name}}],
    }
    spec: Any = {
        "backoffLimit": 2,
        "activeDeadlineSeconds": 3 * args["verify_timeout_s"],
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    timeout = f"{3 * args['verify_timeout_s'] + 120}s"
    return k8s.batch.v1.Job(
        f"{name}-verify",
        metadata=_k8s.job_metadata(metadata, f"verify-nodes-{name}"),
        spec=spec,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[*after, binding, policy],
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
        ),
    )


def _environment(name: str, args: Mapping[str, Any]) -> dict[str, str]:
    """What verify_nodes.py reads."""
    memory = args["expected_gpu_memory_mib"]
    labels = [f"{key}={value}" for key, value in sorted(args["node_selector"].items())]
    rules = [f"{rule['key']}{SIGNS[rule['operator']]}{'|'.join(rule['values'])}" for rule in args["node_affinity"]]
    return {
        "POOL_NAME": name,
        "NODE_SELECTOR": ",".join([*labels, *rules]),
        "EXPECTED_NODES": str(args["nodes"]),
        "RESOURCE_NAME": args["resource_name"] or "",
        "GPUS_PER_NODE": str(args["gpus_per_node"]),
        "EXPECTED_GPU_MEMORY_MIB": str(memory) if memory else "",
        "TOLERATIONS": json.dumps([dict(item) for item in args["tolerations"]], sort_keys=True),
        "CPUS": str(args["needed"].cpus),
        "MEMORY_MIB": str(args["needed"].memory_mib),
        "DISK_MIB": str(args["needed"].disk_mib),
        "TIMEOUT_S": str(args["verify_timeout_s"]),
    }
