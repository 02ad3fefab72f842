"""`ModelWeights`: per checkpoint a shared claim, and a Job that fetches, verifies and publishes it there.

Owns what is on the claims. They outlive `pulumi destroy`, renames and failed updates; servers mount them read-only.
With an existing claim it declares nothing and only hands on where the checkpoints are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.pod_scripts import source
from planning.plan import EgressRule
from planning.server import scratch

APP = "model-weights"
# Said of a Job whose checkpoint the hub gives only to accounts that accepted its licence (preview/prerequisites.py).
GATED = {"llm-stack.io/gated": "true"}


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
    claim_name: str
    """Name of its claim."""
    claim_gib: int
    """Size of its claim, GiB."""
    least_bytes: int
    """Fewer safetensors bytes than this are refused as incomplete."""
    await_timeout_s: int
    """How long the Job may take."""
    gated: bool
    """Whether the hub gives it only to accounts that accepted its licence."""


class ModelWeightsArgs(TypedDict):
    """The claims and what is put on them."""

    namespace: pulumi.Input[str]
    """Namespace of claims and Jobs."""
    existing_claim: NotRequired[str | None]
    """A claim that holds all checkpoints already: nothing is declared, and nothing below is read but the mount path."""
    storage_class: str | None
    """Storage class that offers ReadWriteMany."""
    mount_path: str
    """Where pods mount a claim."""
    hub_kind: str
    """huggingface or modelscope."""
    hub_endpoint: str | None
    """Mirror of the hub; None: the hub itself."""
    egress: Sequence[EgressRule]
    """Where the Jobs may connect to: the hub or its mirror."""
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
    token_variable: str
    """Environment variable in which the hub's client finds its token."""
    client_env: Mapping[str, str]
    """What else the client is told by its environment."""
    memory_gib: int
    """Memory a Job asks for, GiB."""
    memory_limit_gib: int
    """Memory a Job may use, GiB."""
    checkpoints: Sequence[CheckpointArgs]
    """What to fetch."""


class ModelWeights(pulumi.ComponentResource):
    """Weights on shared claims; `claim_names` and `mount_path` mount them, `ready` waits until all is published."""

    claim_names: pulumi.Output[Mapping[str, str]]
    mount_path: pulumi.Output[str]
    ready: pulumi.Output[bool]

    def __init__(self, name: str, args: ModelWeightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llm-stack:index:ModelWeights", name, None, opts)
        self.claims: dict[str, pulumi.Output[str]] = {}
        """Published directory → the claim it is on."""
        self.jobs: dict[str, pulumi.Resource] = {}
        """Published directory → the Job that publishes it, to depend on; empty with an existing claim."""
        existing = args.get("existing_claim")
        if existing:
            self.claims = {item["directory"]: pulumi.Output.from_input(existing) for item in args["checkpoints"]}
            published: list[pulumi.Output[Any]] = []
        else:
            published = self._publish(name, args)
        self.claim_names = pulumi.Output.all(**self.claims)
        self.mount_path = pulumi.Output.from_input(args["mount_path"])
        self.ready = pulumi.Output.all(*published).apply(lambda _: True)
        self.register_outputs({"claim_names": self.claim_names, "mount_path": self.mount_path, "ready": self.ready})

    def _publish(self, name: str, args: ModelWeightsArgs) -> list[pulumi.Output[Any]]:
        """Declares claims and Jobs with all they need; returns what is known once each Job is done."""
        child = pulumi.ResourceOptions(parent=self)
        labels = _k8s.labels(APP, "weights", name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        account = k8s.core.v1.ServiceAccount(
            name, metadata=_k8s.named(metadata, APP), automount_service_account_token=False, opts=child
        )
        script = k8s.core.v1.ConfigMap(
            f"{name}-fetch",
            metadata=_k8s.named(metadata, f"{APP}-fetch"),
            # another script replaces the Jobs that mount it
            immutable=True,
            data={"fetch_weights.py": source("fetch_weights")},
            opts=child,
        )
        policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-fetch",
            metadata=_k8s.named(metadata, f"{APP}-fetch"),
            spec=_k8s.network_policy(_k8s.selector(APP, name), egress=_k8s.egress(args["egress"])),  # pyright: ignore[reportArgumentType]
            opts=child,
        )
        token = self._token(name, args, metadata)
        published: list[pulumi.Output[Any]] = []
        for checkpoint in args["checkpoints"]:
            claim = self._claim(name, args, checkpoint, labels)
            mounts = {"claim": claim, "account": account.metadata.name, "script": script.metadata.name}
            job = self._fetch(name, args, checkpoint, mounts, token, [policy])
            self.claims[checkpoint["directory"]], self.jobs[checkpoint["directory"]] = claim, job
            published.append(job.status)
        return published

    def _claim(
        self, name: str, args: ModelWeightsArgs, checkpoint: CheckpointArgs, labels: Mapping[str, str]
    ) -> pulumi.Output[str]:
        """The claim of one checkpoint: kept on destroy, and taken over by the next `up`."""
        metadata = {"namespace": args["namespace"], "name": checkpoint["claim_name"], "labels": labels}
        claim = k8s.core.v1.PersistentVolumeClaim(
            f"{name}-{checkpoint['name']}",
            # a claim may wait for its first pod, so waiting for it here could wait for ever; the Job is the gate
            metadata=_k8s.annotated(metadata, _k8s.SKIP_AWAIT),
            spec={
                "access_modes": ["ReadWriteMany"],
                "storage_class_name": args["storage_class"],
                "resources": {"requests": {"storage": f"{checkpoint['claim_gib']}Gi"}},
            },
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )
        return claim.metadata.name

    def _token(self, name: str, args: ModelWeightsArgs, metadata: Any) -> dict[str, Any] | None:
        """The hub token as an environment variable, from our Secret or from one that exists."""
        variable, token, existing = args["token_variable"], args.get("token"), args.get("token_secret")
        if existing:
            return _k8s.secret_env(variable, existing, "token")
        if token is None:
            return None
        secret = k8s.core.v1.Secret(
            f"{name}-hub",
            # a Job that a killed engine has started names it, and what a Job names cannot change
            metadata=_k8s.named(metadata, f"{APP}-hub"),
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
            "HOME": "/tmp",  # noqa: S108 - an emptyDir of this pod
            "HUB_KIND": args["hub_kind"],
            "MODEL_REPO": checkpoint["model"],
            "MODEL_REVISION": checkpoint["revision"],
            "TARGET_DIR": checkpoint["directory"],
            **args["client_env"],
        }
        if args["hub_endpoint"]:
            variable = "HF_ENDPOINT" if args["hub_kind"] == "huggingface" else "MODELSCOPE_ENDPOINT"
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
                        "requests": {
                            "cpu": "2",
                            "memory": f"{args['memory_gib']}Gi",
                            **_k8s.disk(scratch.DOWNLOAD.disk_mib),
                        },
                        "limits": {"memory": f"{args['memory_limit_gib']}Gi"},
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
                *_k8s.scratch_volumes(scratch.DOWNLOAD),
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
        job = _k8s.job_metadata({"namespace": args["namespace"], "labels": labels}, checkpoint["claim_name"])
        if checkpoint["gated"]:
            job = _k8s.annotated(job, {**job["annotations"], **GATED})
        return k8s.batch.v1.Job(
            f"{name}-{checkpoint['name']}",
            metadata=job,
            spec=spec,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=after,
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            ),
        )
