"""The pod of the gateway: every key from a Secret, metrics on a port of their own, drained before it stops."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import _additions, _authorities, _database, _k8s, _redis_access
from components.vllm_server import ServerRef
from planning.gateway.litellm import MOST_EQUAL_CHUNKS, key_variable
from planning.gateway.routing import METRICS_PORT, PORT
from planning.plan.gateway import GatewayPlan
from planning.plan.servers import Scratch
from planning.server import scratch

CONFIG_PATH = "/etc/litellm/config.yaml"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - of the pod; a NetworkPolicy says who reaches it
# How soon LiteLLM looks for a Redis that was away, seconds: until then each replica counts limits for itself. Its own
# 60 let them be doubled for minutes after every restart of Redis, because each connection of before is tried in turn.
REDIS_AWAY = {"REDIS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "10"}
MASTER_ENTRY, SALT_ENTRY = "master-key", "salt-key"


def _environment(
    plan: GatewayPlan, servers: Mapping[str, ServerRef], keys: pulumi.Input[str], passwords: pulumi.Input[str]
) -> list[Any]:
    """Variables that LiteLLM and our modules in it read: values, then what Secrets have."""
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
        "REPEATED_STREAMING_CHUNK_LIMIT": str(MOST_EQUAL_CHUNKS),
        "XDG_CACHE_HOME": f"{TMP}/cache",
    }
    secrets = [_k8s.secret_env("LITELLM_MASTER_KEY", keys, MASTER_ENTRY)]
    of_redis, redis_secrets = _redis_access.variables(plan.redis, keys)
    values |= {**of_redis, **(REDIS_AWAY if plan.redis else {})}
    secrets += redis_secrets
    if plan.database:
        values["LITELLM_PRISMA_COMMAND_TIMEOUT"] = str(plan.database.schema_check_s)
        secrets += [
            _k8s.secret_env("LITELLM_SALT_KEY", keys, SALT_ENTRY),
            *_database.url(plan.database, passwords),
        ]
    secrets += [
        _k8s.secret_env(key_variable(server), ref["key_secret"], ref["key_entry"])
        for server in dict.fromkeys(route.server for route in plan.routes)
        for ref in [servers[server]]
    ]
    secrets += [
        _k8s.secret_env(variable.name, variable.secret, variable.entry)
        for variable in (
            *plan.outside.secrets,
            *(provider.key for provider in plan.providers),
            *(plan.callbacks.secrets if plan.callbacks else ()),
        )
    ]
    secrets += _additions.secrets(plan.additions)
    callbacks = plan.callbacks.environment if plan.callbacks else {}
    return [*_k8s.env({**values, **plan.outside.environment, **callbacks, **plan.additions.environment}), *secrets]


def container(
    plan: GatewayPlan, servers: Mapping[str, ServerRef], keys: pulumi.Input[str], passwords: pulumi.Input[str]
) -> dict[str, Any]:
    """The proxy's container; `keys` is the Secret with the gateway's own keys, `passwords` that of its database."""
    ready = {"httpGet": {"path": "/health/readiness", "port": "http"}}
    alive = {"httpGet": {"path": "/health/liveliness", "port": "http"}}
    memory = f"{plan.memory_gib}Gi"
    return {
        "name": "litellm",
        "image": plan.image.reference,
        "args": ["--config", CONFIG_PATH, "--host", EVERY_ADDRESS, "--port", str(PORT), "--num_workers", "1"],
        "env": _environment(plan, servers, keys, passwords),
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": str(plan.cpus), "memory": memory, **_k8s.disk(_scratch(plan).disk_mib)},
            "limits": {"memory": memory},
        },
        "securityContext": _k8s.DROP_ALL,
        # not its readiness, which ends with the database: keys that are known are served without one
        **_k8s.probes(plan.probes, alive, startup=ready, grace_s=plan.probe_grace_s),
        "lifecycle": {"preStop": {"sleep": {"seconds": plan.pre_stop_s}}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/litellm", "readOnly": True},
            {"name": "tmp", "mountPath": TMP},
            *([_authorities.MOUNT] if plan.outside.ca_bundle else []),
            *_redis_access.files(plan.redis)[1],
            *_additions.mounts(plan.additions),
        ],
    }


def pod_spec(
    plan: GatewayPlan,
    container: dict[str, Any],
    account: pulumi.Input[str],
    config: pulumi.Input[str],
    match: Mapping[str, str],
) -> dict[str, Any]:
    """The whole pod spec, in Kubernetes' spelling."""
    volumes = [{"name": "config", "configMap": {"name": config}}, *_k8s.scratch_volumes(_scratch(plan))]
    if plan.outside.ca_bundle:
        volumes.append(_authorities.volume(plan.outside.ca_bundle))
    volumes += [*_redis_access.files(plan.redis)[0], *_additions.volumes(plan.additions)]
    return {
        **_k8s.restricted_pod(account, plan.image, [container], volumes),
        "affinity": _k8s.off_gpu_nodes(),
        "terminationGracePeriodSeconds": plan.termination_grace_s,
        "topologySpreadConstraints": _k8s.spread(match),
        **_additions.priority(plan.additions),
    }


def _scratch(plan: GatewayPlan) -> Scratch:
    return scratch.with_volumes(scratch.GATEWAY, plan.additions.folders_mib)
