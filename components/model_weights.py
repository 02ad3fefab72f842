"""`ModelWeights`: per checkpoint a shared claim, and a Job that fetches, verifies and publishes it there.

Owns what is on the claims. They outlive `pulumi destroy`, renames and failed updates; servers mount them read-only.
A bucket that is to be filled has a Job per checkpoint too, and keeps what it gets. Where the weights are already (a
claim that exists, a full bucket, an image) it declares nothing and says where that is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, TypeVar

import pulumi
import pulumi_kubernetes as k8s

from components import _additions, _authorities, _contract, _k8s, _script
from components._account import service_account
from components._signature import Verifying
from components._store_filling import Filling
from components.keys import own_secret
from planning.plan.weights import Adapter, CheckpointPlan, Fetch, Hub, ObjectStore, OwnClaim, WeightsPlan, distinct
from planning.server import scratch
from planning.server.small_pods import DOWNLOAD_CPUS
from planning.stack.places import MOUNT_PATH, ONE_POD, READERS

APP = "model-weights"
SCRIPT = "fetch_weights"
# Of those whose manifest somebody vouched for.
PROVEN = "fetch_proven"
# Of adapters, whose base and rank are looked at besides.
ADAPTER = "fetch_adapter"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
# Said of a Job whose checkpoint the hub gives only to accounts that accepted its licence; it is read where the preview
# says what is expected on the cluster (preview/rendering/prerequisites.py).
GATED = {"llm-stack.io/gated": "true"}


Kind = TypeVar("Kind", OwnClaim, ObjectStore)


class ModelWeightsArgs(TypedDict):
    """The weights of a stack, and what is around them."""

    namespace: pulumi.Input[str]
    """Namespace of claims and Jobs."""
    weights: WeightsPlan
    """Where the checkpoints are, or how they get there."""
    token: NotRequired[pulumi.Output[str] | None]
    """Secret token of the hub, where the plan names no Secret with one."""


class ModelWeights(pulumi.ComponentResource):
    """Weights where servers find them; `sources` says where that is, `ready` waits until all is published."""

    sources: pulumi.Output[Mapping[str, str]]
    ready: pulumi.Output[bool]

    def __init__(self, name: str, args: ModelWeightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _contract.check("ModelWeights", name, args, ModelWeightsArgs)
        super().__init__("llm-stack:index:ModelWeights", name, None, opts)
        weights = args["weights"]
        self.gates: dict[str, list[pulumi.Resource]] = {checkpoint.name: [] for checkpoint in weights.checkpoints}
        """Checkpoint → what its servers wait for: the claim and the Job that fills it; nothing where all is there."""
        self._token: pulumi.Output[str] | None = None
        jobs = [*self._publish(name, args), *self._fill(name, args)]
        jobs += self._verify(name, args)
        self.sources = pulumi.Output.from_input(
            {checkpoint.name: checkpoint.source.argument for checkpoint in weights.checkpoints}
        )
        self.ready = pulumi.Output.all(*(job.status for job in jobs)).apply(lambda _: True)
        self.register_outputs({"sources": self.sources, "ready": self.ready})

    def _fill(self, name: str, args: ModelWeightsArgs) -> list[k8s.batch.v1.Job]:
        """Declares the Jobs that fill buckets, with all they need."""
        stores = _placed(args["weights"], ObjectStore)
        filled = [
            (checkpoint, place.fetch, place.writer) for checkpoint, place in stores if place.fetch and place.writer
        ]
        if not filled:
            return []
        filling = Filling(name, args["namespace"], filled, args["weights"].flows, APP, self)
        if self._token is None:
            metadata: Any = {"namespace": args["namespace"], "labels": _k8s.labels(APP, "weights", name)}
            hubs = [fetch.hub for _, fetch, _ in filled]
            self._token = _token(f"{name}-hub", hubs, args.get("token"), metadata, pulumi.ResourceOptions(parent=self))
        jobs = []
        for filled_store in filled:
            checkpoint, fetch, _ = filled_store
            job = filling.job(filled_store, _token_variables(fetch.hub, self._token), GATED if fetch.gated else {})
            jobs.append(job)
            self.gates[checkpoint.name] = [job]
        return jobs

    def _verify(self, name: str, args: ModelWeightsArgs) -> list[k8s.batch.v1.Job]:
        """Declares the Jobs that verify signatures; they wait for what brings the files."""
        signed = [(checkpoint, checkpoint.signature) for checkpoint in args["weights"].checkpoints]
        signatures = [signature for _, signature in signed if signature]
        if not signatures:
            return []
        verifying, jobs = Verifying(name, args["namespace"], signatures[0], APP, self), []
        for checkpoint, signature in signed:
            if signature:
                jobs.append(verifying.job(checkpoint, signature, self.gates[checkpoint.name]))
                self.gates[checkpoint.name].append(jobs[-1])
        return jobs

    def _publish(self, name: str, args: ModelWeightsArgs) -> list[k8s.batch.v1.Job]:
        """Declares claims and Jobs with all they need; returns the Jobs."""
        fetched = _placed(args["weights"], OwnClaim)
        if not fetched:
            return []
        jobs, weights = [], args["weights"]
        child = pulumi.ResourceOptions(parent=self)
        labels = _k8s.labels(APP, "weights", name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        hubs = distinct(own.fetch.hub for _, own in fetched)
        account = service_account(name, _k8s.named(metadata, APP), hubs[0].image, child)
        script = _script.config_map(f"{name}-fetch", _k8s.named(metadata, f"{APP}-fetch"), SCRIPT, child)
        policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-fetch",
            metadata=_k8s.named(metadata, f"{APP}-fetch"),
            spec=_k8s.network_policy(_k8s.selector(APP, name), egress=_ways(weights, fetched)),  # pyright: ignore[reportArgumentType]
            opts=child,
        )
        self._token = token = _token(f"{name}-hub", hubs, args.get("token"), metadata, child)
        others = _others(name, [checkpoint for checkpoint, _ in fetched], metadata, child)
        for checkpoint, own in fetched:
            hub, once = own.fetch.hub, own.access_mode == ONE_POD
            claim = _claim(f"{name}-{checkpoint.name}", own, metadata, self)
            role = _program(checkpoint)[1]
            scripts = (others.get(role, script), f"{APP}-{role}")
            pod = _k8s.restricted_pod(
                account.metadata.name,
                hub.image,
                [_fetch(checkpoint, own.fetch, _token_variables(hub, token))],
                [
                    {"name": "models", "persistentVolumeClaim": {"claimName": claim.metadata.name}},
                    # by its name alone, a Job that stays is not replaced with the script
                    _script.volume(scripts[1] if once else scripts[0].metadata.name),
                    *_k8s.scratch_volumes(scratch.DOWNLOAD),
                    *([_authorities.volume(hub.ca_bundle)] if hub.ca_bundle else []),
                ],
            )
            job = _script.job(
                f"{name}-{checkpoint.name}",
                own.name,
                _k8s.annotated(metadata, GATED if own.fetch.gated else {}),
                pod,
                limits=own.fetch.job,
                on=own.on,
                parent=self,
                after=[policy, scripts[0]] if once else [policy],
                # beside the server that has the claim, another run would wait for ever
                once=once,
                podFailurePolicy=_script.failing_at_once("fetch", 2),
            )
            jobs.append(job)
            self.gates[checkpoint.name] = [claim, job]
            if own.cloned:
                self.gates[checkpoint.name].append(_clone(f"{name}-{checkpoint.name}-read", own, metadata, self, job))
        return jobs


def _ways(weights: WeightsPlan, fetched: Sequence[tuple[CheckpointPlan, OwnClaim]]) -> list[dict[str, Any]]:
    """Rules towards the hubs, and those of the user's."""
    hubs = dict.fromkeys(rule for _, own in fetched for rule in own.fetch.hub.egress)
    return [*_k8s.egress(hubs), *_additions.egress(weights.flows)]


def _placed(weights: WeightsPlan, kind: type[Kind]) -> list[tuple[CheckpointPlan, Kind]]:
    """Checkpoints whose place is of this kind, each with it."""
    return [(checkpoint, checkpoint.place) for checkpoint in weights.checkpoints if isinstance(checkpoint.place, kind)]


def _claim(label: str, own: OwnClaim, metadata: Any, parent: pulumi.Resource) -> k8s.core.v1.PersistentVolumeClaim:
    """The claim of one checkpoint: kept on destroy, and taken over by the next `up`."""
    return k8s.core.v1.PersistentVolumeClaim(
        label,
        # a claim may wait for its first pod, so waiting for it here could wait for ever; the Job is the gate
        metadata=_k8s.annotated(_k8s.named(metadata, own.name), _k8s.SKIP_AWAIT),
        spec={
            "access_modes": [own.access_mode],
            "storage_class_name": own.storage_class,
            "resources": {"requests": {"storage": f"{own.gib}Gi"}},
        },
        opts=pulumi.ResourceOptions(parent=parent, retain_on_delete=True),
    )


def _clone(
    label: str, own: OwnClaim, metadata: Any, parent: pulumi.Resource, filled: pulumi.Resource
) -> k8s.core.v1.PersistentVolumeClaim:
    """The clone that many nodes read: of the claim as it is once it is filled, of the same class and size.

    It is of one moment and of one checkpoint, so nothing of it ever changes, and it is kept as its origin is.
    """
    return k8s.core.v1.PersistentVolumeClaim(
        label,
        metadata=_k8s.annotated(_k8s.named(metadata, own.mounted), _k8s.SKIP_AWAIT),
        spec={
            "access_modes": [READERS],
            "storage_class_name": own.storage_class,
            "resources": {"requests": {"storage": f"{own.gib}Gi"}},
            "data_source": {"kind": "PersistentVolumeClaim", "name": own.name},
        },
        opts=pulumi.ResourceOptions(parent=parent, retain_on_delete=True, depends_on=[filled], ignore_changes=["spec"]),
    )


def _others(
    name: str, checkpoints: Sequence[CheckpointPlan], metadata: Any, opts: pulumi.ResourceOptions
) -> dict[str, k8s.core.v1.ConfigMap]:
    """Role → scripts of their own: other Jobs do not run again for them."""
    programs = {role: program for program, role in map(_program, checkpoints) if program != SCRIPT}
    return {
        role: _script.config_map(f"{name}-{role}", _k8s.named(metadata, f"{APP}-{role}"), program, opts)
        for role, program in programs.items()
    }


def _program(checkpoint: CheckpointPlan) -> tuple[str, str]:
    """(script of the Job that fetches it, role of the ConfigMap with that)."""
    if checkpoint.adapter:
        return ADAPTER, "adapter"
    return (PROVEN, "proven") if checkpoint.manifest_sha256 else (SCRIPT, "fetch")


def _token(
    label: str,
    hubs: Sequence[Hub],
    token: pulumi.Output[str] | None,
    metadata: Any,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str] | None:
    """Our Secret with the hub's token, where there is one and a hub takes it that has none of its own."""
    if token is None or not any(hub.takes_token and not hub.token_secret for hub in hubs):
        return None
    # a Job that a killed engine has started names it, and what a Job names cannot change
    return own_secret(label, _k8s.named(metadata, f"{APP}-hub"), {"token": token}, opts)


def _token_variables(hub: Hub, ours: pulumi.Output[str] | None) -> list[dict[str, Any]]:
    """The hub's token as an environment variable, from the Secret that exists or from ours; none without either."""
    secret = hub.token_secret or (ours if hub.takes_token else None)
    return [_k8s.secret_env(hub.token_variable, secret, "token")] if secret is not None else []


def _demands(adapter: Adapter | None) -> dict[str, str]:
    if adapter is None:
        return {}
    return {"ADAPTER_FIELD": adapter.field, "BASE_MODEL": adapter.base, "MAX_RANK": str(adapter.rank)}


def _fetch(checkpoint: CheckpointPlan, fetch: Fetch, token: list[dict[str, Any]]) -> dict[str, Any]:
    """Safe to run again at any time: published weights are left alone, staged ones are continued."""
    hub = fetch.hub
    environment = {
        "EXPECTED_BYTES": str(fetch.least_bytes),
        "HF_HOME": f"{TMP}/huggingface",
        "HOME": TMP,
        "HUB_KIND": hub.kind,
        "MODEL_REPO": checkpoint.model,
        "MODEL_REVISION": checkpoint.revision,
        "TARGET_DIR": checkpoint.source.directory,
        **hub.environment,
        **({"MANIFEST_SHA256": checkpoint.manifest_sha256} if checkpoint.manifest_sha256 else {}),
        **_demands(checkpoint.adapter),
    }
    return _script.container(
        "fetch",
        hub.image.reference,
        "python3",
        _program(checkpoint)[0],
        env=[
            *_k8s.env(environment),
            *(_k8s.secret_env(secret.name, secret.secret, secret.entry) for secret in hub.secrets),
            *token,
        ],
        terminationMessagePolicy="FallbackToLogsOnError",
        resources=_k8s.resources(DOWNLOAD_CPUS, hub.memory_gib, hub.memory_limit_gib, scratch.DOWNLOAD.disk_mib),
        volumeMounts=[
            {
                "name": "models",
                "mountPath": checkpoint.source.volume.mount_path if checkpoint.source.volume else MOUNT_PATH,
            },
            _script.MOUNT,
            {"name": "tmp", "mountPath": TMP},
            *([_authorities.MOUNT] if hub.ca_bundle else []),
        ],
    )
