"""`ModelWeights`: per checkpoint a shared claim, and a Job that fetches, verifies and publishes it there.

Owns what is on the claims. They outlive `pulumi destroy`, renames and failed updates; servers mount them read-only.
With an existing claim it declares nothing and only hands on where the checkpoints are.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _contract, _k8s, _script
from components.keys import own_secret
from planning.plan import CheckpointPlan, ExistingClaim, Fetch, SharedClaims, WeightsPlan
from planning.server import scratch

APP = "model-weights"
SCRIPT = "fetch_weights"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
# Said of a Job whose checkpoint the hub gives only to accounts that accepted its licence; it is read where the preview
# says what is expected on the cluster (preview/rendering/prerequisites.py).
GATED = {"llm-stack.io/gated": "true"}
# Exit 2 is a refusal that no retry can help.
REFUSED = {"rules": [{"action": "FailJob", "onExitCodes": {"containerName": "fetch", "operator": "In", "values": [2]}}]}


class ModelWeightsArgs(TypedDict):
    """The weights of a stack, and what is around them."""

    namespace: pulumi.Input[str]
    """Namespace of claims and Jobs."""
    weights: WeightsPlan
    """Where the checkpoints are, or how they get there."""
    token: NotRequired[pulumi.Output[str] | None]
    """Secret token of the hub, where the plan names no Secret with one."""


class ModelWeights(pulumi.ComponentResource):
    """Weights on shared claims; `claim_names` and `mount_path` mount them, `ready` waits until all is published."""

    claim_names: pulumi.Output[Mapping[str, str]]
    mount_path: pulumi.Output[str]
    ready: pulumi.Output[bool]

    def __init__(self, name: str, args: ModelWeightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _contract.check("ModelWeights", name, args, ModelWeightsArgs)
        super().__init__("llm-stack:index:ModelWeights", name, None, opts)
        weights = args["weights"]
        self.claims: dict[str, pulumi.Output[str]] = {}
        """Published directory → the claim it is on."""
        self.jobs: dict[str, k8s.batch.v1.Job] = {}
        """Published directory → the Job that publishes it, to depend on; empty with an existing claim."""
        match weights.source:
            case ExistingClaim(name=existing):
                self.claims = {item.directory: pulumi.Output.from_input(existing) for item in weights.checkpoints}
            case SharedClaims() as source:
                self._publish(name, args, source)
        self.claim_names = pulumi.Output.all(**self.claims)
        self.mount_path = pulumi.Output.from_input(weights.mount_path)
        self.ready = pulumi.Output.all(*(job.status for job in self.jobs.values())).apply(lambda _: True)
        self.register_outputs({"claim_names": self.claim_names, "mount_path": self.mount_path, "ready": self.ready})

    def _publish(self, name: str, args: ModelWeightsArgs, source: SharedClaims) -> None:
        """Declares claims and Jobs with all they need."""
        child = pulumi.ResourceOptions(parent=self)
        labels = _k8s.labels(APP, "weights", name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        account = k8s.core.v1.ServiceAccount(
            name, metadata=_k8s.named(metadata, APP), automount_service_account_token=False, opts=child
        )
        script = _script.config_map(f"{name}-fetch", _k8s.named(metadata, f"{APP}-fetch"), SCRIPT, child)
        policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-fetch",
            metadata=_k8s.named(metadata, f"{APP}-fetch"),
            spec=_k8s.network_policy(_k8s.selector(APP, name), egress=_k8s.egress(source.egress)),  # pyright: ignore[reportArgumentType]
            opts=child,
        )
        token = _token(f"{name}-hub", source, args.get("token"), metadata, child)
        for checkpoint in args["weights"].checkpoints:
            assert checkpoint.fetch is not None, "claims of our own are filled"
            claim = _claim(f"{name}-{checkpoint.name}", source, checkpoint, checkpoint.fetch, metadata, self)
            pod = _k8s.restricted_pod(
                account.metadata.name,
                source.image,
                [_fetch(args["weights"].mount_path, source, checkpoint, checkpoint.fetch, token)],
                [
                    {"name": "models", "persistentVolumeClaim": {"claimName": claim}},
                    _script.volume(script),
                    *_k8s.scratch_volumes(scratch.DOWNLOAD),
                ],
            )
            self.claims[checkpoint.directory] = claim
            self.jobs[checkpoint.directory] = _script.job(
                f"{name}-{checkpoint.name}",
                checkpoint.claim_name,
                _k8s.annotated(metadata, GATED if checkpoint.fetch.gated else {}),
                pod,
                limits=checkpoint.fetch.job,
                parent=self,
                after=[policy],
                podFailurePolicy=REFUSED,
            )


def _claim(
    label: str, source: SharedClaims, checkpoint: CheckpointPlan, fetch: Fetch, metadata: Any, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """The claim of one checkpoint: kept on destroy, and taken over by the next `up`."""
    claim = k8s.core.v1.PersistentVolumeClaim(
        label,
        # a claim may wait for its first pod, so waiting for it here could wait for ever; the Job is the gate
        metadata=_k8s.annotated(_k8s.named(metadata, checkpoint.claim_name), _k8s.SKIP_AWAIT),
        spec={
            "access_modes": ["ReadWriteMany"],
            "storage_class_name": source.storage_class,
            "resources": {"requests": {"storage": f"{fetch.claim_gib}Gi"}},
        },
        opts=pulumi.ResourceOptions(parent=parent, retain_on_delete=True),
    )
    return claim.metadata.name


def _token(
    label: str, source: SharedClaims, token: pulumi.Output[str] | None, metadata: Any, opts: pulumi.ResourceOptions
) -> list[dict[str, Any]]:
    """The hub token as an environment variable, from our Secret or from one that exists; none without either."""
    if source.token_secret:
        return [_k8s.secret_env(source.token_variable, source.token_secret, "token")]
    if token is None:
        return []
    # a Job that a killed engine has started names it, and what a Job names cannot change
    secret = own_secret(label, _k8s.named(metadata, f"{APP}-hub"), {"token": token}, opts)
    return [_k8s.secret_env(source.token_variable, secret, "token")]


def _fetch(
    mount_path: str, source: SharedClaims, checkpoint: CheckpointPlan, fetch: Fetch, token: list[dict[str, Any]]
) -> dict[str, Any]:
    """Safe to run again at any time: published weights are left alone, staged ones are continued."""
    environment = {
        "EXPECTED_BYTES": str(fetch.least_bytes),
        "HF_HOME": f"{TMP}/huggingface",
        "HOME": TMP,
        "HUB_KIND": source.hub_kind,
        "MODEL_REPO": checkpoint.model,
        "MODEL_REVISION": checkpoint.revision,
        "TARGET_DIR": checkpoint.directory,
        **source.environment,
    }
    return _script.container(
        "fetch",
        source.image.reference,
        "python3",
        SCRIPT,
        env=[*_k8s.env(environment), *token],
        terminationMessagePolicy="FallbackToLogsOnError",
        resources={
            "requests": {"cpu": "2", "memory": f"{source.memory_gib}Gi", **_k8s.disk(scratch.DOWNLOAD.disk_mib)},
            "limits": {"memory": f"{source.memory_limit_gib}Gi"},
        },
        volumeMounts=[
            {"name": "models", "mountPath": mount_path},
            _script.MOUNT,
            {"name": "tmp", "mountPath": TMP},
        ],
    )
