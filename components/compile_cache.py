"""The claim on which a stack keeps what its servers compile: one per stack, so it is no part of any server."""

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components._vllm_pod import APP
from planning.plan.servers import CompileCacheClaim


def declare_compile_cache(
    claim: CompileCacheClaim, namespace: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> k8s.core.v1.PersistentVolumeClaim:
    """Declare the claim, for servers to wait for.

    It goes on destroy: what is on it is code that can be made again, and that no later stack of the name should run.
    """
    return k8s.core.v1.PersistentVolumeClaim(
        claim.name,
        # a claim may wait for its first pod
        metadata={
            "name": claim.name,
            "namespace": namespace,
            "labels": _k8s.labels(APP, "compile-cache", claim.name),
            "annotations": _k8s.SKIP_AWAIT,
        },
        spec={
            "access_modes": [claim.access_mode],
            "storage_class_name": claim.storage_class,
            "resources": {"requests": {"storage": f"{claim.gib}Gi"}},
        },
        opts=opts,
    )
