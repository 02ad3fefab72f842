"""The pod of a vLLM server: probes from the timing chain, restricted, weights read-only, caches writable."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import _additions, _authorities, _gpu_claim, _k8s, _kept_cache, _script
from planning.plan.access import CaBundle, SecretFile
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.plan.weights import CheckpointPlan, ClaimVolume, ImageVolume, LocalCopy, Volume
from planning.server.environment import CACHE_ROOT
from planning.server.kept_cache import engine_requests
from planning.server.small_pods import OPENING_CPUS

APP = "vllm"
CACHE = {"name": "cache", "mountPath": CACHE_ROOT}
# The script that proves weights for which somebody vouched.
PROOF = "prove_weights"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod


def pod_spec(
    server: ServerPlan,
    pool: PoolPlan,
    mounts: Mapping[str, pulumi.Input[str]],
    key: dict[str, Any],
) -> dict[str, Any]:
    """The whole pod spec, in Kubernetes' spelling; `mounts`: names of its `script`, `account` and `claim`."""
    spec = _k8s.restricted_pod(
        mounts["account"],
        server.image,
        [_container(server, pool, key)],
        [
            *_weights(server),
            _script.volume(mounts["script"]),
            *_k8s.scratch_volumes(server.scratch),
            *_kept_cache.volumes(server),
            *_additions.volumes(server.additions),
        ],
    )
    spec |= {
        "terminationGracePeriodSeconds": server.timing.termination_grace_s,
        "initContainers": [
            *(_opening(server, checkpoint, index) for index, checkpoint in enumerate(server.checkpoints)),
            *(
                _proving(server, checkpoint, index)
                for index, checkpoint in enumerate(server.checkpoints)
                if checkpoint.proof
            ),
            # the last runs beside the server
            *_kept_cache.containers(server, CACHE),
        ],
        **_k8s.placement(pool),
        **({"runtimeClassName": pool.runtime_class} if pool.runtime_class else {}),
        **(_gpu_claim.of_pod(mounts["claim"]) if server.resources.claim else {}),
        **_additions.priority(server.additions),
    }
    if server.nodes_per_replica == 1:
        spec["topologySpreadConstraints"] = _k8s.spread(_k8s.selector(APP, server.name))
    return spec


def _named(server: ServerPlan) -> dict[Volume | LocalCopy | SecretFile | CaBundle, str]:
    """Volumes of the weights, each once → the name of its volume in the pod."""
    sources = [checkpoint.source for checkpoint in server.checkpoints]
    kinds = {
        "models": dict.fromkeys(source.volume for source in sources if source.volume),
        "copy": dict.fromkeys(source.copy for source in sources if source.copy),
        "store": dict.fromkeys(source.secret_file for source in sources if source.secret_file),
        _authorities.NAME: dict.fromkeys(source.ca_bundle for source in sources if source.ca_bundle),
    }
    return {
        volume: f"{kind}-{index}" if index else kind
        for kind, volumes in kinds.items()
        for index, volume in enumerate(volumes)
    }


def _weights(server: ServerPlan) -> list[dict[str, Any]]:
    """The volumes of the weights, and of the keys of their stores."""
    volumes: list[dict[str, Any]] = []
    for volume, name in _named(server).items():
        match volume:
            case ClaimVolume(claim_name=claim):
                volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
            case ImageVolume(reference=reference):
                volumes.append({"name": name, "image": {"reference": reference, "pullPolicy": "IfNotPresent"}})
            case LocalCopy():
                volumes.append(_k8s.ephemeral_volume(name, volume.storage_class, volume.gib))
            case SecretFile(secret=secret, entry=entry):
                items = [{"key": entry, "path": entry}]
                volumes.append({"name": name, "secret": {"secretName": secret, "items": items}})
            case CaBundle() as bundle:
                volumes.append(_authorities.volume(bundle))
    return volumes


def _mounts(server: ServerPlan, *, opening: bool) -> list[dict[str, Any]]:
    """Mounts of the weights: for the server what it loads, for what opens it also what that is copied from."""
    streams = any(checkpoint.source.streamed for checkpoint in server.checkpoints)
    loaded = {checkpoint.source.volume for checkpoint in server.checkpoints if not checkpoint.source.copy}
    mounts: list[dict[str, Any]] = []
    for volume, name in _named(server).items():
        match volume:
            case ClaimVolume(mount_path=path) | ImageVolume(mount_path=path) if opening or volume in loaded:
                mounts.append({"name": name, "mountPath": path, "readOnly": True})
            case LocalCopy(mount_path=path):
                mounts.append({"name": name, "mountPath": path, **({} if opening else {"readOnly": True})})
            case CaBundle() if opening or streams:
                mounts.append(_authorities.MOUNT)
            case SecretFile() if opening or streams:
                mounts.append({"name": name, "mountPath": f"/{name}", "readOnly": True})
            case _:
                pass
    if opening and any(checkpoint.source.volume is None for checkpoint in server.checkpoints):
        mounts.append({"name": "tmp", "mountPath": TMP})
    return mounts


def _access(server: ServerPlan, *, opening: bool) -> list[dict[str, Any]]:
    """Variables with the keys of stores, or paths of their files; the server has those that it streams from."""
    names = _named(server)
    sources = [checkpoint.source for checkpoint in server.checkpoints if opening or checkpoint.source.streamed]
    keys = dict.fromkeys(key for source in sources for key in source.secrets)
    files = dict.fromkeys(source.secret_file for source in sources if source.secret_file)
    return [
        *(_k8s.secret_env(key.name, key.secret, key.entry) for key in keys),
        *({"name": file.variable, "value": f"/{names[file]}/{file.entry}"} for file in files),
    ]


def _opening(server: ServerPlan, checkpoint: CheckpointPlan, index: int) -> dict[str, Any]:
    """Looks at the weights, and brings them nearer; pages are charged to its own limit, so that is the server's."""
    source = checkpoint.source
    verb = source.script.partition("_")[0]
    variables = {
        "MODEL_DIR": source.directory,
        "MODEL_REPO": checkpoint.model,
        "MODEL_REVISION": checkpoint.revision,
        "PREWARM": str(source.prewarm).lower(),
        **source.environment,
        **({"COPY_DIR": source.copy.directory} if source.copy else {}),
        **({"MODEL_SHARDS": " ".join(source.shards)} if source.shards else {}),
    }
    name = f"{verb}-{index}" if index else verb
    return _reading(server, name, source.script, variables, _mounts(server, opening=True))


def _proving(server: ServerPlan, checkpoint: CheckpointPlan, index: int) -> dict[str, Any]:
    """Compares what will be loaded with what somebody vouched for."""
    source, proof = checkpoint.source, checkpoint.proof
    assert proof is not None
    variables = {
        "MANIFEST_SHA256": proof.manifest_sha256,
        "MODEL_DIR": source.copy.directory if source.copy else source.directory,
        "PROVE_BYTES": str(proof.every_byte).lower(),
        **source.environment,
    }
    name = f"prove-{index}" if index else "prove"
    # a copy is looked at where the server loads it
    return _reading(server, name, PROOF, variables, _mounts(server, opening=source.copy is None))


def _reading(
    server: ServerPlan, name: str, script: str, variables: dict[str, str], mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    """An init container that reads the weights."""
    resources = server.resources
    return _script.container(
        name,
        server.image.reference,
        "python3",
        script,
        env=[*_k8s.env(variables), *_access(server, opening=True)],
        terminationMessagePolicy="FallbackToLogsOnError",
        resources=_k8s.resources(
            OPENING_CPUS, resources.memory_gib, resources.memory_limit_gib, server.scratch.logs_mib
        ),
        volumeMounts=[*mounts, _script.MOUNT],
    )


def _container(server: ServerPlan, pool: PoolPlan, key: dict[str, Any]) -> dict[str, Any]:
    resources, timing = server.resources, server.timing
    # CPU is not limited, because throttling stalls every sequence
    requests = _k8s.requests(engine_requests(resources, server.scratch, server.kept_cache))
    limits = {"memory": f"{resources.memory_limit_gib}Gi"}
    if pool.resource_name and not resources.claim:
        requests[pool.resource_name] = limits[pool.resource_name] = str(resources.gpus)
    for name, amount in {**pool.pod_resources, **(server.fabric.resources if server.fabric else {})}.items():
        requests[name] = limits[name] = amount
    health = {"httpGet": {"path": server.endpoint.health_path, "port": "http"}}
    return {
        "name": "vllm",
        "image": server.image.reference,
        "args": list(server.args),
        "env": [*_k8s.env(server.env), *_access(server, opening=False), key, *_additions.secrets(server.additions)],
        "ports": [{"name": "http", "containerPort": server.endpoint.port, "protocol": "TCP"}],
        "resources": {"requests": requests, "limits": limits, **(_gpu_claim.of_container() if resources.claim else {})},
        "securityContext": _k8s.DROP_ALL,
        **_k8s.probes(server.probes, health, grace_s=timing.probe_grace_s),
        # endpoints drop the pod before SIGTERM; vLLM then finishes what is running (--shutdown-timeout)
        "lifecycle": {"preStop": {"sleep": {"seconds": timing.pre_stop_s}}},
        "volumeMounts": [
            *_mounts(server, opening=False),
            CACHE,
            {"name": "tmp", "mountPath": TMP},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - an emptyDir of the pod
            *_additions.mounts(server.additions),
        ],
    }
