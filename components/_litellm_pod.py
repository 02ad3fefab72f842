"""The pod of the gateway: every key from a Secret, metrics on a port of their own, drained before it stops."""

from collections.abc import Mapping
from typing import Any, TypedDict

import pulumi

from components import _k8s
from planning.gateway.litellm import key_variable
from planning.gateway.routing import METRICS_PORT, PORT
from planning.plan import GatewayPlan
from planning.server import scratch

CONFIG_PATH = "/etc/litellm/config.yaml"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - of the pod; a NetworkPolicy says who reaches it
MASTER_ENTRY, REDIS_ENTRY, SALT_ENTRY, DATABASE_ENTRY = "master-key", "redis-password", "salt-key", "database-url"
# With a database LiteLLM compares its schema before it serves, by a Node program, and only logs what it finds; the
# migration Job has seen to it, so a slow or unreachable database may not hold the start up for LiteLLM's own 60 s.
SCHEMA_CHECK_S = 10
# The proxy was ready after 78 s on a busy machine; upstream's chart allows 300 s.
STARTUP_PERIOD_S, STARTUP_FAILURES = 10, 30


class ServerRef(TypedDict):
    """What the gateway needs of one server."""

    url: pulumi.Input[str]
    """Base URL."""
    key_secret: pulumi.Input[str]
    """Secret with its API key."""
    key_entry: str
    """Entry of that Secret."""


def container(plan: GatewayPlan, servers: Mapping[str, ServerRef], keys: pulumi.Input[str]) -> dict[str, Any]:
    """The proxy's container; `keys` is the Secret with the gateway's own keys."""
    values: dict[str, pulumi.Input[str]] = {
        # a connection that is kept stays with one pod of a server, and those that were added would get nothing
        "AIOHTTP_KEEPALIVE_TIMEOUT": "0",
        "DISABLE_ADMIN_UI": "True",
        "DISABLE_SCHEMA_UPDATE": "true",
        "GATEWAY_METRICS_HOST": EVERY_ADDRESS,
        "GATEWAY_METRICS_PORT": str(METRICS_PORT),
        "GRACEFUL_SHUTDOWN_TIMEOUT": str(plan.drain_s),
        "HOME": TMP,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MIGRATION_DIR": f"{TMP}/migrations",
        "LITELLM_MODE": "PRODUCTION",
        "NO_DOCS": "True",
        "NO_OPENAPI": "True",
        "NO_REDOC": "True",
        # equal chunks in a row that LiteLLM takes for a loop, and cuts: tables and padding have hundreds
        "REPEATED_STREAMING_CHUNK_LIMIT": "100000",
        "XDG_CACHE_HOME": f"{TMP}/cache",
    }
    secrets = [_k8s.secret_env("LITELLM_MASTER_KEY", keys, MASTER_ENTRY)]
    if plan.redis:
        values |= {"REDIS_HOST": plan.redis.host, "REDIS_PORT": str(plan.redis.port)}
        secrets.append(_k8s.secret_env("REDIS_PASSWORD", keys, REDIS_ENTRY))
    if plan.database:
        values["LITELLM_PRISMA_COMMAND_TIMEOUT"] = str(SCHEMA_CHECK_S)
        secrets += [
            _k8s.secret_env("LITELLM_SALT_KEY", keys, SALT_ENTRY),
            _k8s.secret_env("DATABASE_URL", plan.database.secret, DATABASE_ENTRY),
        ]
    secrets += [
        _k8s.secret_env(key_variable(route.server), ref["key_secret"], ref["key_entry"])
        for route in plan.routes
        for ref in [servers[route.server]]
    ]
    ready = {"httpGet": {"path": "/health/readiness", "port": "http"}}
    # who hangs does not drain: it would only be missed for longer
    hung = {"terminationGracePeriodSeconds": plan.probe_grace_s}
    alive = {"httpGet": {"path": "/health/liveliness", "port": "http"}}
    memory = f"{plan.memory_gib}Gi"
    return {
        "name": "litellm",
        "image": plan.image.reference,
        "args": ["--config", CONFIG_PATH, "--host", EVERY_ADDRESS, "--port", str(PORT), "--num_workers", "1"],
        "env": [*_k8s.env(values), *secrets],
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": str(plan.cpus), "memory": memory, **_k8s.disk(scratch.GATEWAY.disk_mib)},
            "limits": {"memory": memory},
        },
        "securityContext": _k8s.DROP_ALL,
        "startupProbe": {**ready, "periodSeconds": STARTUP_PERIOD_S, "failureThreshold": STARTUP_FAILURES,
                         "timeoutSeconds": 10, **hung},
        # not its readiness, which ends with the database: keys that are known are served without one
        "readinessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 10},
        "livenessProbe": {
            **alive,
            "periodSeconds": 15,
            "failureThreshold": 4,
            "timeoutSeconds": 10,
            **hung,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": plan.pre_stop_s}}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/litellm", "readOnly": True},
            {"name": "tmp", "mountPath": TMP},
        ],
    }  # fmt: skip


def pod_spec(
    plan: GatewayPlan,
    container: dict[str, Any],
    account: pulumi.Input[str],
    config: pulumi.Input[str],
    match: Mapping[str, str],
) -> dict[str, Any]:
    """The whole pod spec, in Kubernetes' spelling."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": _k8s.off_gpu_nodes(),
        "securityContext": _k8s.pod_security(plan.image.uid, plan.image.gid),
        "terminationGracePeriodSeconds": plan.termination_grace_s,
        "topologySpreadConstraints": _k8s.spread(match),
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": config}},
            *_k8s.scratch_volumes(scratch.GATEWAY),
        ],
    }
