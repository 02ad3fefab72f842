"""The pod of a vLLM server: probes from the timing chain, restricted, weights read-only, caches writable."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.pod_scripts import source
from planning.plan import Scratch
from planning.server.arguments import PORT

APP = "vllm"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
READY_PERIOD_S = 5
LIVE_PERIOD_S = 30
LIVE_FAILURES = 4


class PodArgs(TypedDict):
    """What runs in one pod."""

    namespace: pulumi.Input[str]
    """Namespace of the server."""
    model_name: str
    """Public name of the model."""
    model: str
    """Repository id of the checkpoint."""
    revision: str
    """Its commit, or branch when unpinned."""
    directory: str
    """Where its files are, below the mount path."""
    image: str
    """vLLM image."""
    uid: int
    """Numeric user."""
    gid: int
    """Numeric group."""
    args: Sequence[str]
    """Arguments of `vllm serve`."""
    env: Mapping[str, str]
    """Environment; never secrets."""
    cache_root: str
    """Where the writable cache is mounted."""
    nodes_per_replica: int
    """Pods of one replica."""
    gpus: int
    """GPUs of one pod; 0 on CPU nodes."""
    resource_name: str | None
    """Device resource, nvidia.com/gpu; None on CPU nodes."""
    cpus: int
    """CPU cores requested; not limited, because throttling stalls every sequence."""
    memory_gib: int
    """Memory requested."""
    memory_limit_gib: int
    """Memory limit; above the request is room for the page cache."""
    scratch: Scratch
    """Compile cache, temporary files, and /dev/shm, which counts against the memory limit."""
    claim_name: pulumi.Input[str]
    """Claim with the weights."""
    mount_path: str
    """Where it is mounted."""
    prewarm: bool
    """Whether the init container reads the weights into the page cache."""
    node_selector: Mapping[str, str]
    """Labels of the pool's nodes."""
    node_affinity: Sequence[Mapping[str, Any]]
    """Further rules for the pool's nodes."""
    tolerations: Sequence[Mapping[str, str]]
    """Taints of the pool's nodes."""
    startup_period_s: int
    """Seconds between two looks while it loads."""
    startup_failures: int
    """How many of them may fail: the load budget."""
    pre_stop_s: int
    """Seconds between leaving the endpoints and SIGTERM."""
    termination_grace_s: int
    """Seconds from the decision to stop to SIGKILL."""
    probe_grace_s: int
    """The same after a failed startup or liveness probe."""


class ScriptRef:
    """The init container's script in a ConfigMap."""

    def __init__(self, name: str, metadata: Any, opts: pulumi.ResourceOptions) -> None:
        self.config_map = k8s.core.v1.ConfigMap(
            f"{name}-prewarm",
            metadata=metadata,
            immutable=True,
            data={"prewarm_weights.py": source("prewarm_weights")},
            opts=opts,
        ).metadata.name


def pod_spec(
    args: PodArgs,
    account: pulumi.Input[str],
    script: pulumi.Input[str],
    key: dict[str, Any],
    match: Mapping[str, str],
) -> dict[str, Any]:
    """The whole pod spec, in Kubernetes' spelling."""
    weights = {"name": "models", "mountPath": args["mount_path"], "readOnly": True}
    memory = {"limits": {"memory": f"{args['memory_limit_gib']}Gi"}}
    spec: dict[str, Any] = {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        # a Service called vllm would put VLLM_PORT=tcp://… into the environment
        "enableServiceLinks": False,
        "securityContext": _k8s.pod_security(args["uid"], args["gid"]),
        "terminationGracePeriodSeconds": args["termination_grace_s"],
        **_k8s.placement(args["node_selector"], args["node_affinity"], args["tolerations"]),
        "initContainers": [
            {
                "name": "prewarm",
                "image": args["image"],
                "command": ["python3", "/scripts/prewarm_weights.py"],
                "env": _k8s.env(
                    {
                        "MODEL_DIR": args["directory"],
                        "MODEL_REPO": args["model"],
                        "MODEL_REVISION": args["revision"],
                        "PREWARM": str(args["prewarm"]).lower(),
                    }
                ),
                "securityContext": _k8s.DROP_ALL,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                # pages it reads are charged to its own limit, so that is the server's
                "resources": {
                    "requests": {
                        "cpu": "1",
                        "memory": f"{args['memory_gib']}Gi",
                        **_k8s.disk(args["scratch"].logs_mib),
                    },
                    **memory,
                },
                "volumeMounts": [weights, {"name": "scripts", "mountPath": "/scripts", "readOnly": True}],
            }
        ],
        "containers": [_container(args, key, weights)],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": args["claim_name"], "readOnly": True}},
            {"name": "scripts", "configMap": {"name": script}},
            *_k8s.scratch_volumes(args["scratch"]),
        ],
    }
    if args["nodes_per_replica"] == 1:
        spec["topologySpreadConstraints"] = _k8s.spread(match)
    return spec


def _container(args: PodArgs, key: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    disk = _k8s.disk(args["scratch"].disk_mib)
    requests: dict[str, str] = {"cpu": str(args["cpus"]), "memory": f"{args['memory_gib']}Gi", **disk}
    limits: dict[str, str] = {"memory": f"{args['memory_limit_gib']}Gi"}
    if args["resource_name"]:
        requests[args["resource_name"]] = limits[args["resource_name"]] = str(args["gpus"])
    health = {"httpGet": {"path": "/health", "port": "http"}}
    # who hangs does not drain: it would only be missed for longer
    hung = {"terminationGracePeriodSeconds": args["probe_grace_s"]}
    return {
        "name": "vllm",
        "image": args["image"],
        "args": list(args["args"]),
        "env": [*_k8s.env(args["env"]), key],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": requests, "limits": limits},
        "securityContext": _k8s.DROP_ALL,
        # nothing but this looks at the server until it has answered once: the whole load budget is in it
        "startupProbe": {
            **health,
            "periodSeconds": args["startup_period_s"],
            "failureThreshold": args["startup_failures"],
            "timeoutSeconds": 5,
            **hung,
        },
        "readinessProbe": {**health, "periodSeconds": READY_PERIOD_S, "failureThreshold": 3, "timeoutSeconds": 5},
        "livenessProbe": {
            **health,
            "periodSeconds": LIVE_PERIOD_S,
            "failureThreshold": LIVE_FAILURES,
            "timeoutSeconds": 10,
            **hung,
        },
        # endpoints drop the pod before SIGTERM; vLLM then finishes what is running (--shutdown-timeout)
        "lifecycle": {"preStop": {"sleep": {"seconds": args["pre_stop_s"]}}},
        "volumeMounts": [
            weights,
            {"name": "cache", "mountPath": args["cache_root"]},
            {"name": "tmp", "mountPath": TMP},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - an emptyDir of the pod
        ],
    }
