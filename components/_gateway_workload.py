"""The Deployment of the gateway, and its autoscaler: an HPA on the CPU that its pods use, as metrics-server has it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from planning.plan.gateway import GatewayPlan
from planning.plan.gateway_size import GatewayScaling, GatewaySize


def workload(
    name: str,
    metadata: Any,
    plan: GatewayPlan,
    match: Mapping[str, str],
    template: Any,
    after: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> k8s.apps.v1.Deployment:
    """Declare both, the autoscaler unless the number of replicas is fixed; returns the Deployment."""
    timeout = f"{plan.await_timeout_s}s"
    spec: Any = {
        "replicas": plan.replicas,
        "selector": {"matchLabels": match},
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    deployment = k8s.apps.v1.Deployment(
        name,
        metadata=metadata,
        spec=spec,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=after,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            # the autoscaler owns the number of replicas from the moment there are any
            ignore_changes=["spec.replicas"] if plan.size.scaling else None,
        ),
    )
    if scaling := plan.size.scaling:
        scales = pulumi.ResourceOptions(parent=parent, depends_on=[deployment])
        _autoscaler(name, metadata, plan.size, scaling, scales)
    return deployment


def _autoscaler(
    name: str, metadata: Any, size: GatewaySize, scaling: GatewayScaling, opts: pulumi.ResourceOptions
) -> None:
    """Declare it for the Deployment of the same name. Without metrics it leaves the replicas there are."""
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent}}
    spec: Any = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
        "minReplicas": size.fewest,
        "maxReplicas": size.most,
        "metrics": [{"type": "Resource", "resource": cpu}],
        "behavior": {
            "scaleUp": {
                "policies": [{"type": "Percent", "value": scaling.up_percent, "periodSeconds": scaling.period_s}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": scaling.down_after_s,
                "policies": [{"type": "Pods", "value": scaling.down_replicas, "periodSeconds": scaling.period_s}],
            },
        },
    }
    k8s.autoscaling.v2.HorizontalPodAutoscaler(name, metadata=metadata, spec=spec, opts=opts)
