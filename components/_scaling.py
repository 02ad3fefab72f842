"""The autoscaler of a server: a KEDA ScaledObject, or an HPA on the metric prometheus-adapter offers."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.plan.scaling import Scaling
from planning.plan.servers import ServerPlan
from planning.server.scaling import NEVER_A_SECOND

API_VERSIONS = {"Deployment": "apps/v1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}
# KEDA refuses to scale what an HPA scales (its admission webhook), and with this looks away while ours is there: a
# switch from the driver hpa makes the ScaledObject before it deletes the HPA. KEDA's own has another name, for the way
# back (kedacore/keda apis/keda/v1alpha1/scaledobject_webhook.go, controllers/keda/scaledobject_controller.go).
MAY_BE_SUCCEEDED = {"validations.keda.sh/hpa-ownership": "false"}


def autoscaler(
    name: str, metadata: Any, server: ServerPlan, scaling: Scaling, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Declare the autoscaler the plan chose, for the workload of the server."""
    kind = "LeaderWorkerSet" if server.nodes_per_replica > 1 else "Deployment"
    target = {"apiVersion": API_VERSIONS[kind], "kind": kind, "name": server.name}
    declare = _hpa if scaling.driver == "hpa" else _keda
    return declare(name, metadata, target, scaling, opts)


def behavior(scaling: Scaling) -> dict[str, Any]:
    """One more replica at a time, slowly up because GPU nodes start slowly, more slowly down."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": scaling.scale_up_after_s,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": scaling.scale_up_period_s}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": scaling.scale_down_after_s,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": scaling.scale_up_period_s}],
        },
    }


def _hpa(
    name: str, metadata: Any, target: dict[str, str], scaling: Scaling, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    spec: Any = {
        "scaleTargetRef": target,
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": signal.pod_metric},
                    "target": {"type": "AverageValue", "averageValue": signal.quantity},
                },
            }
            for signal in scaling.signals
        ],
        "behavior": behavior(scaling),
    }
    return k8s.autoscaling.v2.HorizontalPodAutoscaler(
        name, metadata=_k8s.annotated(metadata, MAY_BE_SUCCEEDED), spec=spec, opts=opts
    )


def _keda(
    name: str, metadata: Any, target: dict[str, str], scaling: Scaling, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    spec: dict[str, Any] = {
        "scaleTargetRef": target,
        "pollingInterval": scaling.poll_s,
        "cooldownPeriod": scaling.cooldown_s,
        "minReplicaCount": scaling.min_replicas,
        "maxReplicaCount": scaling.max_replicas,
        # Prometheus being away must not take servers away
        "fallback": {
            "failureThreshold": scaling.blind_polls,
            "replicas": scaling.blind_replicas,
            "behavior": "currentReplicasIfHigher",
        },
        "advanced": {
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {"name": f"keda-hpa-{target['name']}", "behavior": behavior(scaling)},
        },
        "triggers": [_prometheus(signal.name, scaling, signal.query, signal.threshold) for signal in scaling.signals],
    }
    if scaling.wake_query:
        # wakes the first replica (activation is above 0) and never asks for a second
        spec["triggers"].append(_prometheus("wake", scaling, scaling.wake_query, NEVER_A_SECOND))
    if floor := scaling.floor:
        spec["triggers"].append(
            {
                "type": "cron",
                "name": "floor",
                "metadata": {
                    "timezone": floor.timezone,
                    "start": floor.start,
                    "end": floor.end,
                    "desiredReplicas": str(floor.replicas),
                },
            }
        )
    return k8s.apiextensions.CustomResource(
        name, api_version="keda.sh/v1alpha1", kind="ScaledObject", metadata=metadata, spec=spec, opts=opts
    )


def _prometheus(name: str, scaling: Scaling, query: str, threshold: str) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": scaling.prometheus_url,
            "query": query,
            "threshold": threshold,
            "activationThreshold": "0",
            # no data is an error, not a zero; queries of servers that may be at zero carry their own zero
            "ignoreNullValues": "false",
        },
    }
