"""A small Redis for counters and limits: nothing in it must survive, so it has no volume."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components._account import service_account
from planning.plan.stores import GATEWAY_REDIS, BundledRedis
from planning.server import scratch, small_pods
from planning.server.scratch import quantity

APP = "redis"
# The password reaches the server through its standard input: neither arguments nor files carry it.
COMMAND = (
    "printf '%s\\n' \"requirepass $REDIS_PASSWORD\" 'save \"\"' 'appendonly no' 'maxmemory 200mb' "
    "'maxmemory-policy allkeys-lru' 'dir /tmp' | exec redis-server -"
)


def redis(
    name: str,
    namespace: pulumi.Input[str],
    plan: BundledRedis,
    password: dict[str, Any],
    clients: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """Declare Redis with its Service and network rule; returns what a client must wait for."""
    match = _k8s.selector(APP, GATEWAY_REDIS)
    labels = _k8s.labels(APP, "limits", GATEWAY_REDIS)
    metadata: Any = {"namespace": namespace, "name": GATEWAY_REDIS, "labels": labels}
    account = service_account(name, metadata, plan.image, opts)
    port = {"tcpSocket": {"port": "redis"}}
    container = {
        "name": "redis",
        "image": plan.image.reference,
        "command": ["sh", "-c", COMMAND],
        "env": [password],
        "ports": [{"name": "redis", "containerPort": plan.port, "protocol": "TCP"}],
        "resources": {
            "requests": _k8s.requests(small_pods.REDIS),
            "limits": {"memory": quantity(small_pods.REDIS_LIMIT_MIB)},
        },
        "securityContext": _k8s.DROP_ALL,
        **_k8s.probes(plan.probes, port),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - an emptyDir
    }
    volumes = _k8s.scratch_volumes(scratch.REDIS)
    pod = _k8s.restricted_pod(account.metadata.name, plan.image, [container], volumes)
    spec: Any = {
        "replicas": 1,
        "selector": {"matchLabels": match},
        "revisionHistoryLimit": 3,
        "strategy": {"type": "Recreate"},
        "template": {"metadata": {"labels": labels}, "spec": {**pod, "affinity": _k8s.off_gpu_nodes()}},
    }
    deployment = k8s.apps.v1.Deployment(name, metadata=metadata, spec=spec, opts=opts)
    service = k8s.core.v1.Service(
        name,
        metadata=_k8s.annotated(metadata, _k8s.SKIP_AWAIT),
        spec=_k8s.service_spec(match, "redis", plan.port),
        opts=opts,
    )
    allowed: Any = _k8s.network_policy(match, ingress=[{"from": [_k8s.pods(clients)], "ports": _k8s.tcp(plan.port)}])
    policy = k8s.networking.v1.NetworkPolicy(name, metadata=metadata, spec=allowed, opts=opts)
    return [deployment, service, policy]
