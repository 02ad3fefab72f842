"""The Job that brings the gateway's database up to its image before any pod of it serves.

It holds the address of the database and no key, and knows nothing of the models: neither a model nor a setting of the
gateway runs it again, only another image, another Secret or another script does.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _database, _k8s, _script
from components._litellm_pod import TMP
from planning.plan.gateway import GatewayPlan
from planning.plan.stores import DatabasePlan
from planning.server import scratch

APP = "litellm-migration"
SCRIPT = "gateway_migrate"


def migration(
    name: str,
    namespace: pulumi.Input[str],
    plan: GatewayPlan,
    database: DatabasePlan,
    passwords: pulumi.Input[str],
    account: pulumi.Input[str],
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> pulumi.Resource:
    """Declare the Job with its script and network rule; returns the Job. `passwords`: that of components/_database.py.

    Its pods are not the gateway's: neither Service nor disruption budget may count them.
    """
    labels = _k8s.labels(APP, "gateway", plan.name)
    metadata: Any = {"namespace": namespace, "labels": labels}
    child = pulumi.ResourceOptions(parent=parent)
    policy = k8s.networking.v1.NetworkPolicy(
        name,
        metadata=_k8s.named(metadata, f"{plan.name}-migration"),
        spec=_k8s.network_policy(  # pyright: ignore[reportArgumentType] - checked against its schema in tests
            _k8s.selector(APP, plan.name), egress=_database.egress(database)
        ),
        opts=child,
    )
    script = _script.config_map(f"{name}-script", metadata, SCRIPT, child)
    values = {
        "HOME": TMP,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MIGRATION_DIR": f"{TMP}/migrations",
        "XDG_CACHE_HOME": f"{TMP}/cache",
    }
    memory = f"{database.migration_memory_gib}Gi"
    container = _script.container(
        "migrate",
        plan.image.reference,
        "python",
        SCRIPT,
        env=[*_k8s.env(values), *_database.url(database, passwords, _database.OWNER_ENTRY)],
        resources={
            "requests": {"cpu": str(plan.cpus), "memory": memory, **_k8s.disk(scratch.MIGRATION.disk_mib)},
            "limits": {"memory": memory},
        },
        volumeMounts=[_script.MOUNT, {"name": "tmp", "mountPath": TMP}],
    )
    volumes = [_script.volume(script.metadata.name), *_k8s.scratch_volumes(scratch.MIGRATION)]
    return _script.job(
        name,
        f"{plan.name}-migration",
        metadata,
        _k8s.restricted_pod(account, plan.image, [container], volumes),
        limits=database.migration,
        parent=parent,
        after=[policy, *after],
    )
