"""`ModelWeights`: the shared claim, and one Job per checkpoint that fetches, verifies and publishes it.

Owns what is on the claim. The claim outlives `pulumi destroy`, renames and failed updates; servers mount it read-only.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.pod_scripts import source

APP = "model-weights"
STAGING_MEMORY = "8Gi"


class CheckpointArgs(TypedDict):
    """One checkpoint to fetch."""

    name: str
    """Short unique name."""
    model: str
    """Repository id on the hub."""
    revision: str
    """Commit, or the branch when nobody has pinned one."""
    directory: str
    """Where it is published, below the mount path."""
    least_bytes: int
    """Fewer safetensors bytes than this are refused as incomplete."""
    await_timeout_s: int
    """How long the Job may take."""


class ModelWeightsArgs(TypedDict):
    """The claim and what is put on it."""

    namespace: pulumi.Input[str]
    """Namespace of claim and Jobs."""
    kept: pulumi.ProviderResource
    """Provider that adopts an existing claim."""
    claim_name: str
    """Name of the claim."""
    storage_class: str
    """Storage class that offers ReadWriteMany."""
    size_gib: int
    """Size of the claim, GiB."""
    mount_path: str
    """Where pods mount it."""
    hub_kind: str
    """huggingface or modelscope."""
    hub_endpoint: str | None
    """Mirror of the hub; None: the hub itself."""
    hub_is_private: bool
    """Whether the mirror is inside the private network."""
    hub_port: int
    """Port of hub or mirror."""
    token: NotRequired[pulumi.Output[str] | None]
    """Secret hub token."""
    token_secret: NotRequired[str | None]
    """Existing Secret with the key `token`."""
    image: str
    """Image of the Jobs; it has the hub's client."""
    uid: int
    """Numeric user of the Jobs."""
    gid: int
    """Numeric group of the Jobs; owns the files."""
    checkpoints: Sequence[CheckpointArgs]
    """What to fetch."""


class ModelWeights(pulumi.ComponentResource):
    """Weights on a shared claim; `claim_name` and `mount_path` mount it, `ready` waits until all is published."""

    claim_name: pulumi.Output[str]
    mount_path: pulumi.Output[str]
    ready: pulumi.Output[bool]

    def __init__(self, name: str, args: ModelWeightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llm-stack:index:ModelWeights", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = _k8s.labels(APP, "weights", name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        claim = k8s.core.v1.PersistentVolumeClaim(
            name,
            # a claim may wait for its first pod, so waiting for it here could wait for ever; the Jobs are the gate
            metadata=_k8s.annotated(_k8s.named(metadata, args["claim_name"]), _k8s.SKIP_AWAIT),
            spec={
                "access_modes": ["ReadWriteMany"],
                "storage_class_name": args["storage_class"],
                "resources": {"requests": {"storage": f"{args['size_gib']}Gi"}},
            },
            opts=pulumi.ResourceOptions(parent=self, provider=args["kept"], retain_on_delete=True),
        )
        account = k8s.core.v1.ServiceAccount(
            name, metadata=_k8s.named(metadata, APP), automount_service_account_token=False, opts=child
        )
        script = k8s.core.v1.ConfigMap(
            f"{name}-fetch",
            metadata=metadata,
            immutable=True,
            data={"fetch_weights.py": source("fetch_weights")},
            opts=child,
        )
        except_blocks = [_k8s.METADATA_SERVICE, *([] if args["hub_is_private"] else _k8s.PRIVATE_NETWORKS)]
        hub: dict[str, Any] = {
            "to": [{"ipBlock": {"cidr": _k8s.ANYWHERE, "except": except_blocks}}],
            "ports": _k8s.tcp(*sorted({443, args["hub_port"]})),
        }
        policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-fetch",
            metadata=_k8s.named(metadata, f"{APP}-fetch"),
            spec=_k8s.network_policy(_k8s.selector(APP, name), egress=[hub]),  # pyright: ignore[reportArgumentType]
            opts=child,
        )
        token = self._token(name, args, metadata)
        mounts = {"claim": claim.metadata.name, "account": account.metadata.name, "script": script.metadata.name}
        self.jobs = {
            checkpoint["directory"]: self._fetch(name, args, checkpoint, mounts, token, [policy])
            for checkpoint in args["checkpoints"]
        }
        """Published directory → the Job that publishes it, to depend on."""
        self.claim_name = claim.metadata.name
        self.mount_path = pulumi.Output.from_input(args["mount_path"])
        self.ready = pulumi.Output.all(*[job.status for job in self.jobs.values()]).apply(lambda _: True)
        self.register_outputs({"claim_name": self.claim_name, "mount_path": self.mount_path, "ready": self.ready})

    def _token(self, name: str, args: ModelWeightsArgs, metadata: Any) -> dict[str, Any] | None:
        """The hub token as an environment variable, from our Secret or from one that exists."""
        variable = "HF_TOKEN" if args["hub_kind"] == "huggingface" else "MODELSCOPE_API_TOKEN"
        token, existing = args.get("token"), args.get("token_secret")
        if existing:
            return _k8s.secret_env(variable, existing, "token")
        if token is None:
            return None
        secret = k8s.core.v1.Secret(
            f"{name}-hub",
            metadata=metadata,
            string_data={"token": token},
            opts=pulumi.ResourceOptions(parent=self),
        )
        return _k8s.secret_env(variable, secret.metadata.name, "token")

    def _fetch(
        self,
        name: str,
        args: ModelWeightsArgs,
        checkpoint: CheckpointArgs,
        mounts: dict[str, pulumi.Output[str]],
        token: dict[str, Any] | None,
        after: list[pulumi.Resource],
    ) -> k8s.batch.v1.Job:
        """Safe to run again at any time: published weights are left alone, staged ones are continued."""
        labels = _k8s.labels(APP, "weights", name)
        environment = {
            "EXPECTED_BYTES": str(checkpoint["least_bytes"]),
            "HF_HOME": "/tmp/huggingface",  # noqa: S108 - an emptyDir of this pod
            "HF_XET_HIGH_PERFORMANCE": "1",
            "HOME": "/tmp",  # noqa: S108 - an emptyDir of this pod
            "HUB_KIND": args["hub_kind"],
            "MODEL_REPO": checkpoint["model"],
            "MODEL_REVISION": checkpoint["revision"],
            "TARGET_DIR": checkpoint["directory"],
        }
        if args["hub_endpoint"]:
            variable = "HF_ENDPOINT" if args["hub_kind"] == "huggingface" else "MODELSCOPE_DOMAIN"
            environment[variable] = args["hub_endpoint"]
        pod: Any = {
            "serviceAccountName": mounts["account"],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "affinity": _k8s.off_gpu_nodes(),
            "restartPolicy": "Never",
            "securityContext": _k8s.pod_security(args["uid"], args["gid"]),
            "containers": [
                {
                    "name": "fetch",
                    "image": args["image"],
                    "command": ["python3", "/scripts/fetch_weights.py"],
                    "env": [*_k8s.env(environment), *([token] if token else [])],
                    "securityContext": _k8s.DROP_ALL,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {
                        "requests": {"cpu": "2", "memory": "4Gi"},
                        "limits": {"memory": STAGING_MEMORY},
                    },
                    "volumeMounts": [
                        {"name": "models", "mountPath": args["mount_path"]},
                        {"name": "scripts", "mountPath": "/scripts", "readOnly": True},
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of this pod
                    ],
                }
            ],
            "volumes": [
                {"name": "models", "persistentVolumeClaim": {"claimName": mounts["claim"]}},
                {"name": "scripts", "configMap": {"name": mounts["script"]}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}},
            ],
        }
        spec: Any = {
            "backoffLimit": 4,
            "activeDeadlineSeconds": checkpoint["await_timeout_s"],
            # exit 2 is a refusal that no retry can help
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"containerName": "fetch", "operator": "In", "values": [2]}}
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        timeout = f"{checkpoint['await_timeout_s'] + 120}s"
        return k8s.batch.v1.Job(
            f"{name}-{checkpoint['name']}",
            metadata={"namespace": args["namespace"], "labels": labels},
            spec=spec,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=after,
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            ),
        )
