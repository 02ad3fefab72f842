"""The Jobs of `ModelWeights` that fill buckets: who they are, where they may go, and what they are told."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _additions, _authorities, _k8s, _script
from components._account import service_account
from planning.plan.flows import Flow
from planning.plan.weights import CheckpointPlan, Fetch, Source
from planning.server import scratch
from planning.server.small_pods import DOWNLOAD_CPUS

SCRIPT = "fill_store"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
STORE = "/store"
Filled = tuple[CheckpointPlan, Fetch, Source]


class Filling:
    """Parts that the Jobs of a stack share: script, policy, and a ServiceAccount whose name a platform can know."""

    def __init__(
        self,
        name: str,
        namespace: pulumi.Input[str],
        filled: Sequence[Filled],
        flows: Sequence[Flow],
        app: str,
        parent: pulumi.Resource,
    ) -> None:
        child, instance = pulumi.ResourceOptions(parent=parent), f"{name}-fill"
        self.app, self.name, self.parent = app, name, parent
        self.metadata: Any = {"namespace": namespace, "labels": _k8s.labels(app, "weights", instance)}
        named = _k8s.named(self.metadata, f"{app}-fill")
        identity = next((writer.identity for _, _, writer in filled if writer.identity), None)
        known = _k8s.annotated(named, identity.annotations) if identity and identity.annotations else named
        self.account = service_account(instance, known, filled[0][1].hub.image, child)
        self.script = _script.config_map(instance, named, SCRIPT, child).metadata.name
        rules = dict.fromkeys(rule for _, fetch, writer in filled for rule in (*fetch.hub.egress, *writer.egress))
        self.policy = k8s.networking.v1.NetworkPolicy(
            instance,
            metadata=named,
            spec=_k8s.network_policy(
                _k8s.selector(app, instance), egress=[*_k8s.egress(rules), *_additions.egress(flows)]
            ),  # pyright: ignore[reportArgumentType]
            opts=child,
        )

    def job(self, filled: Filled, token: list[dict[str, Any]], annotations: dict[str, str]) -> k8s.batch.v1.Job:
        """The Job of one checkpoint; `token`: the variable with the hub's."""
        checkpoint, fetch, writer = filled
        labels = {**self.metadata["labels"], **(writer.identity.pod_labels if writer.identity else {})}
        pod = _k8s.restricted_pod(
            self.account.metadata.name,
            fetch.hub.image,
            [_container(filled, token)],
            [
                _script.volume(self.script),
                *_k8s.scratch_volumes(scratch.FILL),
                *([_key_file(writer)] if writer.secret_file else []),
                *([_authorities.volume(fetch.hub.ca_bundle)] if fetch.hub.ca_bundle else []),
            ],
        )
        return _script.job(
            f"{self.name}-{checkpoint.name}",
            f"weights-{checkpoint.name}",
            _k8s.annotated({**self.metadata, "labels": labels}, annotations),
            pod,
            limits=fetch.job,
            parent=self.parent,
            after=[self.policy],
            podFailurePolicy=_script.failing_at_once("fill", 2),
        )


def _key_file(writer: Source) -> dict[str, Any]:
    file = writer.secret_file
    assert file is not None
    items = [{"key": file.entry, "path": file.entry}]
    return {"name": "store", "secret": {"secretName": file.secret, "items": items}}


def _container(filled: Filled, token: list[dict[str, Any]]) -> dict[str, Any]:
    """Safe to run again at any time: what is whole is left alone, and nothing is overwritten."""
    checkpoint, fetch, writer = filled
    hub, file = fetch.hub, writer.secret_file
    variables = {
        "EXPECTED_BYTES": str(fetch.least_bytes),
        "HOME": TMP,
        "MODEL_REPO": checkpoint.model,
        "MODEL_REVISION": checkpoint.revision,
        "TARGET_URL": writer.directory,
        **hub.environment,
        **writer.environment,
        **({"MANIFEST_SHA256": checkpoint.manifest_sha256} if checkpoint.manifest_sha256 else {}),
        **({file.variable: f"{STORE}/{file.entry}"} if file else {}),
    }
    secrets = dict.fromkeys((*writer.secrets, *hub.secrets))
    keys = [_k8s.secret_env(key.name, key.secret, key.entry) for key in secrets]
    return _script.container(
        "fill",
        hub.image.reference,
        "python3",
        SCRIPT,
        env=[*_k8s.env(variables), *keys, *token],
        terminationMessagePolicy="FallbackToLogsOnError",
        resources=_k8s.resources(DOWNLOAD_CPUS, hub.memory_gib, hub.memory_limit_gib, scratch.FILL.disk_mib),
        volumeMounts=[
            _script.MOUNT,
            {"name": "tmp", "mountPath": TMP},
            *([{"name": "store", "mountPath": STORE, "readOnly": True}] if file else []),
            *([_authorities.MOUNT] if hub.ca_bundle else []),
        ],
    )
