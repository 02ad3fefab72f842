"""A Postgres of our own: one pod, and a claim that outlives it, the stack, and whoever renames either."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s, _script
from components._account import service_account
from components._database import APP, OWNER_ENTRY, SERVING_ENTRY
from components._kept_claim import kept_claim
from components._litellm_pod import EVERY_ADDRESS, TMP
from planning.plan.stores import GATEWAY_POSTGRES, BundledDatabase
from planning.server import scratch, small_pods
from planning.server.scratch import quantity

SCRIPT = "start_postgres"
DATA = "/var/lib/postgresql"


def postgres(
    name: str,
    namespace: pulumi.Input[str],
    plan: BundledDatabase,
    port: int,
    passwords: pulumi.Input[str],
    clients: Sequence[Mapping[str, str]],
    parent: pulumi.Resource,
) -> list[pulumi.Resource]:
    """Declare Postgres with its claim, Service and network rule; returns what a client must wait for.

    The claim is not one that a StatefulSet makes from a template: those cannot grow.
    """
    opts = pulumi.ResourceOptions(parent=parent)
    match = _k8s.selector(APP, GATEWAY_POSTGRES)
    labels = _k8s.labels(APP, "database", GATEWAY_POSTGRES)
    metadata: Any = {"namespace": namespace, "name": GATEWAY_POSTGRES, "labels": labels}
    account = service_account(name, metadata, plan.image, opts)
    script = _script.config_map(f"{name}-script", {"namespace": namespace, "labels": labels}, SCRIPT, opts)
    claim = kept_claim(name, metadata, plan.gib, plan.storage_class, parent)
    allowed: Any = _k8s.network_policy(
        match, ingress=[{"from": [_k8s.pods(client) for client in clients], "ports": _k8s.tcp(port)}]
    )
    policy = k8s.networking.v1.NetworkPolicy(name, metadata=metadata, spec=allowed, opts=opts)
    service = k8s.core.v1.Service(
        name,
        metadata=_k8s.annotated(metadata, _k8s.SKIP_AWAIT),
        spec=_k8s.service_spec(match, "postgres", port),
        opts=opts,
    )
    volumes = [
        _script.volume(script.metadata.name),
        {"name": "data", "persistentVolumeClaim": {"claimName": claim.metadata.name}},
        *_k8s.scratch_volumes(scratch.POSTGRES),
    ]
    pod = _k8s.restricted_pod(account.metadata.name, plan.image, [_container(plan, port, passwords)], volumes)
    timeout = f"{plan.await_timeout_s}s"
    workload = k8s.apps.v1.StatefulSet(
        name,
        metadata=metadata,
        spec=_spec(match, labels, {**pod, "terminationGracePeriodSeconds": plan.grace_s}),
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[claim, policy],
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
        ),
    )
    return [workload, service, policy]


def _spec(match: Mapping[str, str], labels: Mapping[str, str], pod: Mapping[str, Any]) -> Any:
    return {
        "replicas": 1,
        "serviceName": GATEWAY_POSTGRES,
        # otherwise a pod that never gets ready is waited for, and not replaced by what mends it
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": match},
        "revisionHistoryLimit": 3,
        "template": {"metadata": {"labels": labels}, "spec": {**pod, "affinity": _k8s.off_gpu_nodes()}},
    }


def _container(plan: BundledDatabase, port: int, passwords: pulumi.Input[str]) -> dict[str, Any]:
    values = {
        "ADDRESS": EVERY_ADDRESS,
        "CONNECTIONS": str(plan.connections),
        "PGDATA": f"{DATA}/data",
        "PGPORT": str(port),
        "SOCKETS": TMP,
    }
    return _script.container(
        "postgres",
        plan.image.reference,
        "sh",
        SCRIPT,
        env=[
            *_k8s.env(values),
            _k8s.secret_env("OWNER_PASSWORD", passwords, OWNER_ENTRY),
            _k8s.secret_env("SERVING_PASSWORD", passwords, SERVING_ENTRY),
        ],
        ports=[{"name": "postgres", "containerPort": port, "protocol": "TCP"}],
        resources={
            "requests": _k8s.requests(small_pods.POSTGRES),
            "limits": {"memory": quantity(small_pods.POSTGRES_LIMIT_MIB)},
        },
        **_k8s.probes(plan.probes, {"tcpSocket": {"port": "postgres"}}),
        volumeMounts=[
            _script.MOUNT,
            {"name": "data", "mountPath": DATA},
            {"name": "tmp", "mountPath": TMP},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - an emptyDir
        ],
    )
