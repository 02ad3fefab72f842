"""The proof that a pool's nodes are there and offer the GPUs that were promised."""

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s, _script
from components._account import service_account
from planning.plan.pools import ClaimedDevices, DriverNeed, MigPlan, PoolPlan, Verification
from planning.server import small_pods
from planning.server.scratch import cores, quantity
from planning.stack.network import API_SERVER_PORTS

SCRIPT = "verify_nodes"
# How verify_nodes.py writes the operators of a node affinity.
SIGNS = {"In": "=", "NotIn": "!="}


def verification(
    name: str,
    namespace: pulumi.Input[str],
    pool: PoolPlan,
    plan: Verification,
    after: list[pulumi.Resource],
    parent: pulumi.Resource,
) -> k8s.batch.v1.Job:
    """A Job that asks the API server what the nodes offer; it holds no GPU, so it also runs on a full pool.

    `parent` is the component of the pool.
    """
    child = pulumi.ResourceOptions(parent=parent)
    labels = _k8s.labels("verify-nodes", "nodes", pool.name)
    match = _k8s.selector("verify-nodes", pool.name)
    here = f"verify-nodes-{pool.name}"
    metadata: Any = {"namespace": namespace, "labels": labels}
    account = service_account(f"{name}-verify", _k8s.named(metadata, here), plan.image, child)
    binding = _may_list(pool, f"{name}-verify", here, metadata, child)
    script = _script.config_map(f"{name}-verify", _k8s.named(metadata, here), SCRIPT, child)
    policy = k8s.networking.v1.NetworkPolicy(
        f"{name}-verify",
        metadata=_k8s.named(metadata, here),
        spec=_k8s.network_policy(match, egress=[{"ports": _k8s.tcp(*API_SERVER_PORTS)}]),  # pyright: ignore[reportArgumentType]
        opts=child,
    )
    container = _script.container(
        "verify",
        plan.image.reference,
        "python",
        SCRIPT,
        env=_k8s.env(_environment(pool, plan)),
        terminationMessagePolicy="FallbackToLogsOnError",
        resources={
            "requests": _k8s.requests(small_pods.VERIFICATION),
            "limits": {
                "cpu": cores(small_pods.VERIFICATION_LIMIT.cpu_millis),
                "memory": quantity(small_pods.VERIFICATION_LIMIT.memory_mib),
            },
        },
        volumeMounts=[_script.MOUNT],
    )
    pod = _k8s.restricted_pod(account.metadata.name, plan.image, [container], [_script.volume(script.metadata.name)])
    return _script.job(
        f"{name}-verify",
        here,
        metadata,
        # the one pod that talks to the API server
        {**pod, "automountServiceAccountToken": True},
        limits=plan.job,
        parent=parent,
        after=[*after, binding, policy],
    )


def _may_list(pool: PoolPlan, label: str, account: str, metadata: Any, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """The one right of the account, which no namespace can give: nodes, and devices of theirs, are in none."""
    listed = {"": ["nodes"], **({"resource.k8s.io": ["resourceslices"]} if pool.claims else {})}
    namespace, labels = metadata["namespace"], metadata["labels"]
    full_name = pulumi.Output.concat(namespace, "-", account)
    role = k8s.rbac.v1.ClusterRole(
        label,
        metadata={"name": full_name, "labels": labels},
        rules=[{"api_groups": [group], "resources": kinds, "verbs": ["list"]} for group, kinds in listed.items()],
        opts=opts,
    )
    return k8s.rbac.v1.ClusterRoleBinding(
        label,
        metadata={"name": full_name, "labels": labels},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata.name},
        subjects=[
            {"kind": "ServiceAccount", "name": account, "namespace": namespace},
        ],
        opts=opts,
    )


def _driver(need: DriverNeed) -> dict[str, str]:
    return {
        "DRIVER_LABELS": ",".join(need.labels),
        "OLDEST_DRIVER": str(need.oldest),
        "OLDER_DRIVERS": ",".join(map(str, need.older)),
    }


def _parts(mig: MigPlan) -> dict[str, str]:
    return {
        "MIG_CONFIG": "=".join(mig.config),
        "MIG_LABELS": ",".join(f"{label}={'|'.join(values)}" for label, values in mig.labels.items()),
        "GPU_MEMORY_LABEL": mig.memory_label,
    }


def _devices(claims: ClaimedDevices) -> dict[str, str]:
    return {
        "DEVICE_DRIVER": claims.driver,
        "DEVICE_ATTRIBUTES": ",".join(f"{name}={'|'.join(values)}" for name, values in claims.attributes.items()),
        "DRIVER_ATTRIBUTE": claims.driver_version,
    }


def _joining(pool: PoolPlan) -> dict[str, str]:
    """Amounts that pods ask for beside GPUs, and the label that places their replicas; nothing where neither is."""
    asked, label = pool.needed.resources, pool.fabric.topology if pool.fabric else None
    return {
        **({"RESOURCES": json.dumps(dict(asked), sort_keys=True)} if asked else {}),
        **({"TOPOLOGY_LABEL": label} if label else {}),
    }


def _environment(pool: PoolPlan, plan: Verification) -> dict[str, str]:
    """Variables that verify_nodes.py reads."""
    memory = pool.expected_gpu_memory_mib
    labels = [f"{key}={value}" for key, value in sorted(pool.node_selector.items())]
    rules = [f"{key}{SIGNS[operator]}{'|'.join(values)}" for key, operator, values in pool.node_affinity]
    return {
        "POOL_NAME": pool.name,
        "NODE_SELECTOR": ",".join([*labels, *rules]),
        "EXPECTED_NODES": str(pool.nodes),
        "RESOURCE_NAME": pool.resource_name or "",
        "GPUS_PER_NODE": str(pool.gpus_per_node),
        "EXPECTED_GPU_MEMORY_MIB": str(memory) if memory else "",
        "TOLERATIONS": json.dumps([dict(toleration) for toleration in pool.tolerations], sort_keys=True),
        "CPUS": str(pool.needed.cpus),
        "MEMORY_MIB": str(pool.needed.memory_mib),
        "DISK_MIB": str(pool.needed.disk_mib),
        "WHOLE_CARDS": ",".join(f"{label}={'|'.join(values)}" for label, values in pool.whole_cards.items()),
        **_joining(pool),
        **(_driver(pool.driver) if pool.driver else {}),
        **(_devices(pool.claims) if pool.claims else _parts(pool.mig) if pool.mig else {}),
        "TIMEOUT_S": str(plan.timeout_s),
    }
