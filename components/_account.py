"""The ServiceAccount of a workload: no token of its own, and what its pods are pulled with."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from planning.plan.pods import ImagePlan


def service_account(
    name: str, metadata: Any, image: ImagePlan, opts: pulumi.ResourceOptions
) -> k8s.core.v1.ServiceAccount:
    """Declare it. Its pull secrets are given to its pods when they are created, so other ones restart no pod.

    `image`: of those pods; all images of a stack are pulled with the same Secrets.
    """
    return k8s.core.v1.ServiceAccount(
        name,
        metadata=metadata,
        automount_service_account_token=False,
        image_pull_secrets=[{"name": secret} for secret in image.pull_secrets] or None,
        opts=opts,
    )
