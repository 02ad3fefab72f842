"""The pod of a vLLM server: probes from the timing chain, restricted, weights read-only, caches writable."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import _k8s, _kept_cache, _script
from planning.plan import CheckpointPlan, PoolPlan, ServerPlan
from planning.server.kept_cache import engine_requests
from planning.server.servers import CACHE_ROOT

APP = "vllm"
SCRIPT = "prewarm_weights"
CACHE = {"name": "cache", "mountPath": CACHE_ROOT}
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod


def pod_spec(
    server: ServerPlan,
    pool: PoolPlan,
    mounts: Mapping[str, pulumi.Input[str]],
    key: dict[str, Any],
) -> dict[str, Any]:
    """The whole pod spec, in Kubernetes' spelling; `mounts`: names of its `script` and `account`."""
    volumes = {one.source.volume: None for one in server.checkpoints}
    claims = {volume: f"models-{index}" if index else "models" for index, volume in enumerate(volumes)}
    models = [{"name": name, "mountPath": volume.mount_path, "readOnly": True} for volume, name in claims.items()]
    spec = _k8s.restricted_pod(
        mounts["account"],
        server.image,
        [_container(server, pool, key, models)],
        [
            *(
                {"name": name, "persistentVolumeClaim": {"claimName": volume.claim_name, "readOnly": True}}
                for volume, name in claims.items()
            ),
            _script.volume(mounts["script"]),
            *_k8s.scratch_volumes(server.scratch),
            *_kept_cache.volumes(server),
        ],
    )
    spec |= {
        "terminationGracePeriodSeconds": server.timing.termination_grace_s,
        "initContainers": [
            *(
                _prewarm(f"prewarm-{index}" if index else "prewarm", server, one, models)
                for index, one in enumerate(server.checkpoints)
            ),
            # the last runs beside the server
            *_kept_cache.containers(server, CACHE),
        ],
        **_k8s.placement(pool),
    }
    if server.nodes_per_replica == 1:
        spec["topologySpreadConstraints"] = _k8s.spread(_k8s.selector(APP, server.name))
    return spec


def _prewarm(name: str, server: ServerPlan, checkpoint: CheckpointPlan, models: list[dict[str, Any]]) -> dict[str, Any]:
    """Reads the weights into the page cache; pages are charged to its own limit, so that is the server's."""
    resources = server.resources
    return _script.container(
        name,
        server.image.reference,
        "python3",
        SCRIPT,
        env=_k8s.env(
            {
                "MODEL_DIR": checkpoint.source.argument,
                "MODEL_REPO": checkpoint.model,
                "MODEL_REVISION": checkpoint.revision,
                "PREWARM": str(checkpoint.source.prewarm).lower(),
            }
        ),
        terminationMessagePolicy="FallbackToLogsOnError",
        resources={
            "requests": {
                "cpu": "1",
                "memory": f"{resources.memory_gib}Gi",
                **_k8s.disk(server.scratch.logs_mib),
            },
            "limits": {"memory": f"{resources.memory_limit_gib}Gi"},
        },
        volumeMounts=[*models, _script.MOUNT],
    )


def _container(server: ServerPlan, pool: PoolPlan, key: dict[str, Any], models: list[dict[str, Any]]) -> dict[str, Any]:
    resources, timing = server.resources, server.timing
    # CPU is not limited, because throttling stalls every sequence
    requests = _k8s.requests(engine_requests(resources, server.scratch, server.kept_cache))
    limits = {"memory": f"{resources.memory_limit_gib}Gi"}
    if pool.resource_name:
        requests[pool.resource_name] = limits[pool.resource_name] = str(resources.gpus)
    health = {"httpGet": {"path": server.endpoint.health_path, "port": "http"}}
    return {
        "name": "vllm",
        "image": server.image.reference,
        "args": list(server.args),
        "env": [*_k8s.env(server.env), key],
        "ports": [{"name": "http", "containerPort": server.endpoint.port, "protocol": "TCP"}],
        "resources": {"requests": requests, "limits": limits},
        "securityContext": _k8s.DROP_ALL,
        **_k8s.probes(server.probes, health, grace_s=timing.probe_grace_s),
        # endpoints drop the pod before SIGTERM; vLLM then finishes what is running (--shutdown-timeout)
        "lifecycle": {"preStop": {"sleep": {"seconds": timing.pre_stop_s}}},
        "volumeMounts": [
            *models,
            CACHE,
            {"name": "tmp", "mountPath": TMP},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - an emptyDir of the pod
        ],
    }
