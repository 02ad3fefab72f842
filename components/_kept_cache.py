"""The compile cache in a server's pod: one container brings it back, another keeps it; the server sees neither claim.

Both run a script of ours in an image that is not the server's: who may write the claim hands code to other pods.
"""

from typing import Any

from components import _k8s, _script
from planning.plan.servers import KeptCache, ServerPlan
from planning.server.kept_cache import MOUNT_PATH, SIDECAR_LIMIT_MIB, claim_mib, sidecar_requests
from planning.server.scratch import quantity

SCRIPT = "compile_cache"


def scripts(server: ServerPlan) -> tuple[str, ...]:
    """Names of the scripts that the pod's ConfigMap holds besides."""
    return (SCRIPT,) if server.kept_cache else ()


def volumes(server: ServerPlan) -> list[dict[str, Any]]:
    """The claim, which the mounts make read-only where it is only read."""
    kept_cache = server.kept_cache
    return [{"name": "kept", "persistentVolumeClaim": {"claimName": kept_cache.claim.name}}] if kept_cache else []


def containers(server: ServerPlan, cache: dict[str, Any]) -> list[dict[str, Any]]:
    """Init containers: the first ends before the server starts, the second runs beside it; `cache`: the mount."""
    kept_cache = server.kept_cache
    if kept_cache is None:
        return []
    claim = {"name": "kept", "mountPath": MOUNT_PATH}
    health = f"http://127.0.0.1:{server.endpoint.port}{server.endpoint.health_path}"
    restore = {"LIMIT_MIB": str(server.scratch.volumes_mib["cache"]), "RESTORE_S": str(kept_cache.restore_s)}
    publish = {"LIMIT_MIB": str(claim_mib(kept_cache.claim)), "HEALTH_URL": health}
    return [
        _container(server, kept_cache, "restore", restore, [cache, {**claim, "readOnly": True}]),
        # beside the server from here on, and ended after it
        {
            **_container(server, kept_cache, "publish", publish, [{**cache, "readOnly": True}, claim]),
            "restartPolicy": "Always",
        },
    ]


def _container(
    server: ServerPlan, kept_cache: KeptCache, action: str, more: dict[str, str], mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    environment = {
        "ACTION": action,
        "CACHE_DIR": next(mount["mountPath"] for mount in mounts if mount["name"] == "cache"),
        "CACHE_KEY": kept_cache.key,
        "KEPT_DIR": MOUNT_PATH,
        **more,
    }
    return _script.container(
        f"{action}-cache",
        kept_cache.image.reference,
        "python3",
        SCRIPT,
        env=_k8s.env(environment),
        resources={
            "requests": _k8s.requests(sidecar_requests(server.scratch)),
            "limits": {"memory": quantity(SIDECAR_LIMIT_MIB)},
        },
        volumeMounts=[*mounts, _script.MOUNT],
    )
