"""`Observability`: what is scraped, what wakes somebody, and what they look at.

Owns monitors, alert rules, the dashboard and the rules of prometheus-adapter. Holds no thresholds: they are planned.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s
import yaml

from components import _contract, _k8s
from planning.gateway.routing import METRICS_PORT
from planning.plan.observe import ObservabilityPlan, Rule

APP = "observability"


class ObservabilityArgs(TypedDict):
    """Objects to watch, and who watches them."""

    namespace: pulumi.Input[str]
    """Namespace of what is watched; the objects are put there too."""
    observability: ObservabilityPlan
    """Monitors, alerts and dashboards."""
    servers: pulumi.Input[Mapping[str, str]]
    """Labels of all server pods."""
    gateway: pulumi.Input[Mapping[str, str]]
    """Labels of the gateway pods."""
    after: NotRequired[Sequence[pulumi.Resource]]
    """What must exist first: the release that brings the CRDs."""


class Observability(pulumi.ComponentResource):
    """Monitoring of the stack; `dashboards` and `alert_names` say what there is."""

    dashboards: pulumi.Output[Sequence[str]]
    alert_names: pulumi.Output[Sequence[str]]

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _contract.check("Observability", name, args, ObservabilityArgs)
        super().__init__("llm-stack:index:Observability", name, None, opts)
        plan, child = args["observability"], pulumi.ResourceOptions(parent=self, depends_on=list(args.get("after", ())))
        labels = {**_k8s.labels(APP, "monitoring", name), "release": plan.release}

        def metadata(object_name: str, **extra: str) -> Any:
            return {"namespace": args["namespace"], "name": object_name, "labels": {**labels, **extra}}

        # named after who reads, so that another Prometheus is let in before the former one is shut out
        k8s.networking.v1.NetworkPolicy(
            f"{name}-from-{plan.namespace}",
            metadata=metadata(f"metrics-from-{plan.namespace}"),
            spec=_scraped(  # pyright: ignore[reportArgumentType] - checked against its schema in tests
                {"app.kubernetes.io/part-of": _k8s.PART_OF}, plan.namespace, *plan.server_ports, METRICS_PORT
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        monitored_pods: list[tuple[str, pulumi.Input[Mapping[str, str]], str, Mapping[str, Any]]] = [
            ("vllm", args["servers"], "http", {"path": plan.server_metrics_path, **_public(plan.renamed)}),
            ("litellm", args["gateway"], "metrics", {"path": plan.gateway_metrics_path}),
        ]
        if database := plan.database:
            monitored_pods.append(("postgres", database.pods, database.port_name, {}))
            k8s.networking.v1.NetworkPolicy(
                f"{name}-postgres-from-{plan.namespace}",
                metadata=metadata(f"postgres-metrics-from-{plan.namespace}"),
                spec=_scraped(database.pods, plan.namespace, database.port),  # pyright: ignore[reportArgumentType] - as above
                opts=pulumi.ResourceOptions(parent=self),
            )
        for monitored, match, port, asked in monitored_pods:
            endpoint = {"port": port, **asked, "interval": f"{plan.scrape_interval_s}s"}
            _monitor(f"{name}-{monitored}", metadata(monitored), match, endpoint, child)
        k8s.apiextensions.CustomResource(
            f"{name}-alerts",
            api_version="monitoring.coreos.com/v1",
            kind="PrometheusRule",
            metadata=metadata("llm-serving"),
            spec={"groups": [_group(plan, args["namespace"])]},
            opts=child,
        )
        k8s.core.v1.ConfigMap(
            f"{name}-dashboard",
            metadata=metadata("llm-serving-dashboard", grafana_dashboard="1"),
            data={"llm-serving.json": json.dumps(plan.dashboard, indent=1, sort_keys=True)},
            opts=child,
        )
        if plan.adapter_rules:
            k8s.core.v1.ConfigMap(
                f"{name}-adapter",
                metadata=metadata("prometheus-adapter-rules"),
                data={"config.yaml": yaml.safe_dump({"rules": [dict(rule) for rule in plan.adapter_rules]})},
                opts=child,
            )
        self.dashboards = pulumi.Output.from_input([str(plan.dashboard["title"])])
        self.alert_names = pulumi.Output.from_input(list(dict.fromkeys(alert.alert for alert in plan.alerts)))
        self.register_outputs({"dashboards": self.dashboards, "alert_names": self.alert_names})


def _scraped(match: Mapping[str, str], namespace: str, *ports: int) -> dict[str, Any]:
    """The rule that lets whoever is in a namespace read metrics of pods."""
    return _k8s.network_policy(match, ingress=[{"from": [_k8s.namespace_pods(namespace)], "ports": _k8s.tcp(*ports)}])


def _public(renamed: Mapping[str, str]) -> dict[str, Any]:
    """The rules that give metrics of models their public names."""
    rules = [
        {"sourceLabels": ["model_name"], "regex": known, "targetLabel": "model_name", "replacement": name}
        for known, name in renamed.items()
    ]
    return {"metricRelabelings": rules} if rules else {}


def _monitor(
    label: str, metadata: Any, match: pulumi.Input[Mapping[str, str]], endpoint: Any, opts: pulumi.ResourceOptions
) -> None:
    k8s.apiextensions.CustomResource(
        label,
        api_version="monitoring.coreos.com/v1",
        kind="PodMonitor",
        metadata=metadata,
        spec={
            "jobLabel": "app.kubernetes.io/name",
            "selector": {"matchLabels": match},
            "podMetricsEndpoints": [endpoint],
        },
        opts=opts,
    )


def _group(plan: ObservabilityPlan, namespace: pulumi.Input[str]) -> dict[str, Any]:
    """The one group of all alerts."""
    return {"name": "llm-serving", "rules": [_rule(alert, plan.runbook_url, namespace) for alert in plan.alerts]}


def _rule(alert: Rule, runbook_url: str, namespace: pulumi.Input[str]) -> dict[str, Any]:
    return {
        "alert": alert.alert,
        "expr": alert.expr,
        "for": f"{alert.for_s}s",
        # of two stacks whose models have one name, Alertmanager would take two alerts for one
        "labels": {**alert.labels, "namespace": namespace},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbook_url}#{alert.alert.lower()}",
        },
    }
