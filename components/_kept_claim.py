"""The claim of a program that runs once: kept whatever becomes of the stack."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s


def kept_claim(
    name: str, metadata: Any, gib: int, storage_class: str | None, parent: pulumi.Resource
) -> k8s.core.v1.PersistentVolumeClaim:
    """Declare it; of the default class without `storage_class`."""
    return k8s.core.v1.PersistentVolumeClaim(
        name,
        # a class may bind it when its first pod comes
        metadata=_k8s.annotated(metadata, _k8s.SKIP_AWAIT),
        spec={
            "access_modes": ["ReadWriteOnce"],
            "storage_class_name": storage_class,
            "resources": {"requests": {"storage": f"{gib}Gi"}},
        },
        opts=pulumi.ResourceOptions(parent=parent, retain_on_delete=True),
    )
