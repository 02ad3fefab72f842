"""Claims of pods on GPUs: the template that Kubernetes makes one of for each pod, and what pods say of it."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.plan.servers import GpuClaim

# The claim in its pod, and the one request in it.
NAME = "gpus"


def template(
    name: str, server: str, metadata: Any, claim: GpuClaim, opts: pulumi.ResourceOptions
) -> k8s.resource.v1.ResourceClaimTemplate:
    """Declare that of a server. One with other content has another name, so it is there before the former goes."""
    exactly = {
        "deviceClassName": claim.device_class,
        "allocationMode": "ExactCount",
        "count": claim.count,
        "selectors": [{"cel": {"expression": expression}} for expression in claim.selectors],
    }
    spec: Any = {"spec": {"devices": {"requests": [{"name": NAME, "exactly": exactly}]}}}
    return k8s.resource.v1.ResourceClaimTemplate(
        f"{name}-gpus", metadata=_k8s.named(metadata, f"{server}-gpus-{claim.mark}"), spec=spec, opts=opts
    )


def of_pod(template_name: pulumi.Input[str]) -> dict[str, Any]:
    """Fields of a pod that has such a claim."""
    return {"resourceClaims": [{"name": NAME, "resourceClaimTemplateName": template_name}]}


def of_container() -> dict[str, Any]:
    """Resources of the container that gets the devices."""
    return {"claims": [{"name": NAME}]}
