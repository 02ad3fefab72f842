"""The autoscaler of a server: a KEDA ScaledObject, or an HPA on the metric prometheus-adapter offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s

API_VERSIONS = {"Deployment": "apps/v1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}
# KEDA refuses to scale what an HPA scales (its admission webhook), and with this looks away while ours is there: a
# switch from the driver hpa makes the ScaledObject before it deletes the HPA. KEDA's own has another name, for the way
# back (kedacore/keda apis/keda/v1alpha1/scaledobject_webhook.go, controllers/keda/scaledobject_controller.go).
MAY_BE_SUCCEEDED = {"validations.keda.sh/hpa-ownership": "false"}
POLL_S = 15
FALLBACK_AFTER_FAILURES = 4


@dataclass(frozen=True)
class Target:
    """The workload that is scaled."""

    name: str
    kind: str


def autoscaler(target: Target, metadata: Any, args: Mapping[str, Any], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Declare the autoscaler the plan chose."""
    return _hpa(target, metadata, args, opts) if args["driver"] == "hpa" else _keda(target, metadata, args, opts)


def behavior(args: Mapping[str, Any]) -> dict[str, Any]:
    """One more replica at a time, slowly up because GPU nodes start slowly, more slowly down."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": args["scale_up_after_s"],
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": args["scale_up_period_s"]}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": args["scale_down_after_s"],
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": args["scale_up_period_s"]}],
        },
    }


def _reference(target: Target) -> dict[str, str]:
    return {"apiVersion": API_VERSIONS[target.kind], "kind": target.kind, "name": target.name}


def _hpa(target: Target, metadata: Any, args: Mapping[str, Any], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    spec: Any = {
        "scaleTargetRef": _reference(target),
        "minReplicas": args["min_replicas"],
        "maxReplicas": args["max_replicas"],
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": signal["pod_metric"]},
                    "target": {"type": "AverageValue", "averageValue": signal["quantity"]},
                },
            }
            for signal in args["signals"]
        ],
        "behavior": behavior(args),
    }
    return k8s.autoscaling.v2.HorizontalPodAutoscaler(
        target.name, metadata=_k8s.annotated(metadata, MAY_BE_SUCCEEDED), spec=spec, opts=opts
    )


def _keda(target: Target, metadata: Any, args: Mapping[str, Any], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    spec: dict[str, Any] = {
        "scaleTargetRef": _reference(target),
        "pollingInterval": POLL_S,
        "cooldownPeriod": args["cooldown_s"],
        "minReplicaCount": args["min_replicas"],
        "maxReplicaCount": args["max_replicas"],
        # Prometheus being away must not take servers away; 0 here would let one that scales to zero go
        "fallback": {
            "failureThreshold": FALLBACK_AFTER_FAILURES,
            "replicas": max(1, args["min_replicas"]),
            "behavior": "currentReplicasIfHigher",
        },
        "advanced": {
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {"name": f"keda-hpa-{target.name}", "behavior": behavior(args)},
        },
        "triggers": [
            _prometheus(signal["name"], args, signal["query"], signal["threshold"]) for signal in args["signals"]
        ],
    }
    if args["wake_query"]:
        # wakes the first replica (activation is above 0) and never asks for a second
        spec["triggers"].append(_prometheus("wake", args, args["wake_query"], "1000000"))
    if args["floor"]:
        floor = args["floor"]
        spec["triggers"].append(
            {
                "type": "cron",
                "name": "floor",
                "metadata": {
                    "timezone": floor["timezone"],
                    "start": floor["start"],
                    "end": floor["end"],
                    "desiredReplicas": str(floor["replicas"]),
                },
            }
        )
    return k8s.apiextensions.CustomResource(
        target.name, api_version="keda.sh/v1alpha1", kind="ScaledObject", metadata=metadata, spec=spec, opts=opts
    )


def _prometheus(name: str, args: Mapping[str, Any], query: str, threshold: str) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": args["prometheus_url"],
            "query": query,
            "threshold": threshold,
            "activationThreshold": "0",
            # no data is an error, not a zero; queries of servers that may be at zero carry their own zero
            "ignoreNullValues": "false",
        },
    }
