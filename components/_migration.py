"""The Job that brings the gateway's database up to its image before any pod of it serves.

It holds the address of the database and no key, and knows nothing of the models: neither a model nor a setting of the
gateway runs it again, only another image, another Secret or another script does.
"""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components._litellm_pod import DATABASE_ENTRY, TMP
from components.pod_scripts import source
from planning.plan import GatewayPlan
from planning.server import scratch

APP = "litellm-migration"
SCRIPT = "gateway_migrate"
SCRIPTS = "/scripts"
# It gives up, and says why, before the engine does.
DEADLINE_S = 780
AWAIT_TIMEOUT = "15m"


def migration(
    name: str,
    namespace: pulumi.Input[str],
    plan: GatewayPlan,
    account: pulumi.Input[str],
    parent: pulumi.Resource,
) -> pulumi.Resource:
    """Declare the Job with its script and network rule; returns the Job.

    Its pods are not the gateway's: neither Service nor disruption budget may count them.
    """
    database = plan.database
    assert database is not None, "only called with a database"
    labels = _k8s.labels(APP, "gateway", plan.name)
    metadata: Any = {"namespace": namespace, "labels": labels}
    child = pulumi.ResourceOptions(parent=parent)
    policy = k8s.networking.v1.NetworkPolicy(
        name,
        metadata=_k8s.named(metadata, f"{plan.name}-migration"),
        spec=_k8s.network_policy(  # pyright: ignore[reportArgumentType] - checked against its schema in tests
            _k8s.selector(APP, plan.name), egress=_k8s.egress(database.egress)
        ),
        opts=child,
    )
    script = k8s.core.v1.ConfigMap(
        f"{name}-script", metadata=metadata, immutable=True, data={f"{SCRIPT}.py": source(SCRIPT)}, opts=child
    )
    values = {
        "HOME": TMP,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MIGRATION_DIR": f"{TMP}/migrations",
        "XDG_CACHE_HOME": f"{TMP}/cache",
    }
    memory = f"{database.migration_memory_gib}Gi"
    container = {
        "name": "migrate",
        "image": plan.image.reference,
        "command": ["python", f"{SCRIPTS}/{SCRIPT}.py"],
        "env": [*_k8s.env(values), _k8s.secret_env("DATABASE_URL", database.migration_secret, DATABASE_ENTRY)],
        "resources": {
            "requests": {"cpu": str(plan.cpus), "memory": memory, **_k8s.disk(scratch.MIGRATION.disk_mib)},
            "limits": {"memory": memory},
        },
        "securityContext": _k8s.DROP_ALL,
        "volumeMounts": [
            {"name": "scripts", "mountPath": SCRIPTS, "readOnly": True},
            {"name": "tmp", "mountPath": TMP},
        ],
    }
    spec: Any = {
        "backoffLimit": 4,
        "activeDeadlineSeconds": DEADLINE_S,
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": account,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "affinity": _k8s.off_gpu_nodes(),
                "securityContext": _k8s.pod_security(plan.image.uid, plan.image.gid),
                "containers": [container],
                "volumes": [
                    {"name": "scripts", "configMap": {"name": script.metadata.name}},
                    *_k8s.scratch_volumes(scratch.MIGRATION),
                ],
            },
        },
    }
    return k8s.batch.v1.Job(
        name,
        metadata=_k8s.job_metadata(metadata, f"{plan.name}-migration"),
        spec=spec,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[policy],
            custom_timeouts=pulumi.CustomTimeouts(create=AWAIT_TIMEOUT, update=AWAIT_TIMEOUT),
        ),
    )
