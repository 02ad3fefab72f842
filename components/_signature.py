"""The Job that verifies the signature of a checkpoint on its claim, before the servers of it start."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s, _script
from components._account import service_account
from planning.plan.proofs import Signature
from planning.plan.weights import CheckpointPlan, ClaimVolume
from planning.server import scratch
from planning.server.small_pods import DOWNLOAD_CPUS, SIGNATURE_MEMORY_GIB

FOLDER = "/signature"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
# Entries of the ConfigMap.
SIGNATURE, PUBLIC_KEY = "model.sig", "key.pub"


class Verifying:
    """Account and labels of the Jobs of a stack; nothing lets them connect to anywhere."""

    def __init__(
        self, name: str, namespace: pulumi.Input[str], first: Signature, app: str, parent: pulumi.Resource
    ) -> None:
        instance = f"{name}-verify"
        self.name, self.parent = name, parent
        self.metadata: Any = {"namespace": namespace, "labels": _k8s.labels(app, "weights", instance)}
        named = _k8s.named(self.metadata, f"{app}-verify")
        self.account = service_account(instance, named, first.image, pulumi.ResourceOptions(parent=parent))

    def job(
        self, checkpoint: CheckpointPlan, signature: Signature, after: Sequence[pulumi.Resource]
    ) -> k8s.batch.v1.Job:
        """The Job of one checkpoint; `after`: what brings its files."""
        volume = checkpoint.source.volume
        assert isinstance(volume, ClaimVolume), "planning refuses what is on no claim"
        items = [{"key": entry, "path": entry} for entry in (SIGNATURE, PUBLIC_KEY)]
        pod = _k8s.restricted_pod(
            self.account.metadata.name,
            signature.image,
            [_container(checkpoint, signature, volume)],
            [
                {"name": "models", "persistentVolumeClaim": {"claimName": volume.claim_name, "readOnly": True}},
                {"name": "signature", "configMap": {"name": signature.config_map, "items": items}},
                *_k8s.scratch_volumes(scratch.SIGNATURE),
            ],
        )
        return _script.job(
            f"{self.name}-{checkpoint.name}-signed",
            f"signed-{checkpoint.name}",
            self.metadata,
            pod,
            limits=signature.job,
            on=signature.on,
            parent=self.parent,
            after=list(after),
            # 1 of a signature that is not right, 2 of a call that is not: neither is mended by a retry
            podFailurePolicy=_script.failing_at_once("verify", 1, 2),
        )


def _container(checkpoint: CheckpointPlan, signature: Signature, volume: ClaimVolume) -> dict[str, Any]:
    directory = checkpoint.source.directory
    return {
        "name": "verify",
        "image": signature.image.reference,
        "command": ["model_signing"],
        "args": [
            *("verify", "key", directory),
            *("--signature", f"{FOLDER}/{SIGNATURE}"),
            *("--public_key", f"{FOLDER}/{PUBLIC_KEY}"),
            # ours, which comes after the signature
            *("--ignore-paths", f"{directory}/manifest.json"),
        ],
        "env": _k8s.env({"HOME": TMP}),
        "securityContext": _k8s.DROP_ALL,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _k8s.resources(
            DOWNLOAD_CPUS, SIGNATURE_MEMORY_GIB, SIGNATURE_MEMORY_GIB, scratch.SIGNATURE.disk_mib
        ),
        "volumeMounts": [
            {"name": "models", "mountPath": volume.mount_path, "readOnly": True},
            {"name": "signature", "mountPath": FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": TMP},
        ],
    }
