"""`Observability` on small stacks: monitors, alerts with runbooks, the dashboard, the adapter's rules.

Whether queries ask for what exists is checked over all stacks, and whether alerts fire, by promtool; Grafana and
Prometheus do not run here.
"""

import json
from typing import Any

import pytest
import yaml

from tests.harness import Deployed, minimal, stack

HPA = minimal(models={"small": {"replicas": {"min": 1, "max": 2}}}, autoscaling={"driver": "hpa"})


def rules(deployed: Deployed) -> dict[str, Any]:
    """Alerts by name."""
    (group,) = deployed.object("PrometheusRule", "llm-serving")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_observability_has_these_children():
    """Who may read, two monitors, the rules, the dashboard; the adapter's rules only with the hpa driver."""
    always = [
        ("NetworkPolicy", "observability-from-monitoring", "metrics-from-monitoring"),
        ("PodMonitor", "observability-vllm", "vllm"),
        ("PodMonitor", "observability-litellm", "litellm"),
        ("PrometheusRule", "observability-alerts", "llm-serving"),
        ("ConfigMap", "observability-dashboard", "llm-serving-dashboard"),
    ]
    assert stack(minimal()).children("observability") == always
    assert stack(HPA).children("observability") == [
        *always,
        ("ConfigMap", "observability-adapter", "prometheus-adapter-rules"),
    ]


def test_prometheus_may_read_metrics_of_all_pods():
    """Its namespace reaches the two ports with metrics; a rule for another namespace is another object."""
    deployed = stack(minimal(observability={"namespace": "watch"}))
    assert deployed.object("NetworkPolicy", "metrics-from-watch")["spec"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "llm-stack"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "watch"}}}],
                "ports": [{"port": port, "protocol": "TCP"} for port in (8000, 4002)],
            }
        ],
    }


@pytest.mark.parametrize(
    ("name", "selector", "endpoint"),
    [
        (
            "vllm",
            {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/part-of": "llm-stack"},
            {"port": "http", "path": "/metrics", "interval": "15s"},
        ),
        (
            "litellm",
            {"app.kubernetes.io/name": "litellm", "app.kubernetes.io/instance": "litellm"},
            {"port": "metrics", "path": "/metrics/", "interval": "15s"},
        ),
    ],
)
def test_pods_are_scraped_by_label_and_port_name(name: str, selector: dict[str, str], endpoint: dict[str, str]):
    """Pods, not Services, so that every replica and canary is one target, every 15 seconds."""
    assert stack(minimal()).object("PodMonitor", name)["spec"] == {
        "jobLabel": "app.kubernetes.io/name",
        "selector": {"matchLabels": selector},
        "podMetricsEndpoints": [endpoint],
    }


def test_prometheus_finds_our_objects_by_its_release():
    """Monitors, rules and the dashboard carry the label the release selects by, the dashboard Grafana's beside it."""
    deployed = stack(minimal(observability={"release": "prom"}))
    kinds = ("PodMonitor", "PrometheusRule")
    found = {body["metadata"]["labels"]["release"] for kind in kinds for body in deployed.objects(kind)}
    assert found == {"prom"}
    labels = deployed.object("ConfigMap", "llm-serving-dashboard")["metadata"]["labels"]
    assert (labels["release"], labels["grafana_dashboard"]) == ("prom", "1")


def test_custom_resources_wait_for_the_release_that_defines_them():
    """Monitors and rules come after kube-prometheus-stack where we install it, and wait for nothing where we do not."""
    ours, theirs = stack(minimal()), stack(minimal(observability={"install": False}))
    for kind, name in (("PodMonitor", "observability-vllm"), ("PrometheusRule", "observability-alerts")):
        assert ours.depends_on(kind, name) == {"Namespace/llm-serving", "Release/kube-prometheus-stack"}
        assert theirs.depends_on(kind, name) == {"Namespace/llm-serving"}


ALERTS = {
    "LLMHighWaitQueue": "warning",
    "LLMHighTTFT": "warning",
    "LLMGPUCacheNearFull": "warning",
    "LLMServerDied": "critical",
    "LLMServerDown": "critical",
    "LLMServerNotScraped": "warning",
    "LLMNoGpuAvailable": "critical",
    "LLMGatewayDown": "critical",
    "LLMGatewayNotScraped": "warning",
    "LLMGatewayErrors": "critical",
    "LLMServerRefusesGateway": "critical",
    "LLMFallbackHidesRefusal": "warning",
    "LLMRedisDown": "warning",
    "LLMJobFailed": "warning",
    "LLMPodRestarting": "warning",
    "LLMClusterMetricsAbsent": "critical",
    "LLMGpuMetricsAbsent": "warning",
    "LLMGpuXid": "warning",
}


def test_alerts_have_a_severity_and_a_runbook():
    """Each has a severity and the section of the runbook that has its name."""
    found = rules(stack(minimal()))
    assert {name: rule["labels"]["severity"] for name, rule in found.items()} == ALERTS
    book = "https://github.com/llm-stack/llm-stack/blob/main/docs/runbook.md"
    assert {name: rule["annotations"]["runbook_url"] for name, rule in found.items()} == {
        name: f"{book}#{name.lower()}" for name in found
    }


def test_a_gateway_that_wakes_servers_must_be_scraped():
    """Not to see it is worse where a server is at zero: what would wake it is not seen."""
    found = rules(stack(minimal(models={"small": {"replicas": {"min": 0, "max": 1}}})))
    assert found["LLMGatewayNotScraped"]["labels"]["severity"] == "critical"


def test_thresholds_are_those_of_the_configuration():
    """The three thresholds can be changed, and the texts say the changed ones."""
    found = rules(
        stack(minimal(observability={"alerts": {"waitingRequests": 7, "timeToFirstTokenS": 2.5, "kvCacheUsage": 0.5}}))
    )
    names = ("LLMHighWaitQueue", "LLMHighTTFT", "LLMGPUCacheNearFull")
    assert [found[name]["expr"].rpartition(" > ")[2] for name in names] == ["7", "2.5", "0.5"]
    texts = [found[name]["annotations"]["description"] for name in names]
    assert [
        part in text for part, text in zip(("more than 7", "above 2.5 s", "more than 50%"), texts, strict=True)
    ] == [
        True,
        True,
        True,
    ]


def test_a_server_that_may_be_at_zero_is_down_only_while_one_is_wanted():
    """The alert of a server that is allowed to have no replica asks how many it should have."""
    rule = rules(stack(minimal(models={"small": {"replicas": {"min": 0, "max": 2}}})))["LLMServerDown"]
    assert rule["expr"] == (
        '(max(kube_deployment_status_replicas_available{deployment="vllm-small",namespace="llm-serving"}) or '
        '0 * count(kube_node_info)) < 1 and max(kube_deployment_spec_replicas{deployment="vllm-small",'
        'namespace="llm-serving"}) > 0'
    )


def test_panels_of_gpus_are_those_of_the_chosen_models():
    """By the pod that holds a GPU, as Prometheus names it beside the exporter's own; the last XID is a code."""
    body = stack(minimal()).object("ConfigMap", "llm-serving-dashboard")
    panels = json.loads(body["data"]["llm-serving.json"])["panels"]
    queries = {
        panel["title"]: target["expr"]
        for panel in panels
        for target in panel.get("targets", [])
        if "DCGM" in target["expr"]
    }
    assert len(queries) == 6
    chosen = (
        '{exported_namespace="llm-serving",exported_pod=~"vllm-($model)(-canary)?-[0-9a-z]{1,15}(-[0-9a-z]{1,5})?"}'
    )
    assert {query.partition("{")[1] + query.partition("{")[2].rstrip(")") for query in queries.values()} == {chosen}
    assert queries["Last XID (a code, not a count; 0: none)"].startswith("max by (exported_pod, gpu) (")


def test_the_dashboard_is_complete_json():
    """Three rows of panels, queries of the namespace or of GPUs, a filter for models, no fixed data source."""
    body = stack(minimal(cluster={"namespace": "elsewhere"})).object("ConfigMap", "llm-serving-dashboard")
    dashboard = json.loads(body["data"]["llm-serving.json"])
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == [
        "What users feel",
        "What the engines do",
        "What the GPUs do",
    ]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert [query for query in queries if 'namespace="elsewhere"' not in query and "DCGM" not in query] == []
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "model"]
    assert dashboard["uid"] == "llm-stack-elsewhere"


def test_panels_do_not_overlap():
    """Every panel has a place of its own on the grid of 24 columns."""
    body = stack(minimal()).object("ConfigMap", "llm-serving-dashboard")
    cells = [
        (column, line)
        for panel in json.loads(body["data"]["llm-serving.json"])["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) == 23


def test_the_adapter_rule_offers_the_queue_per_pod():
    """A Kubernetes metric name without a colon, for namespaces and pods, in the ConfigMap and in the release alike."""
    deployed = stack(HPA)
    offered = yaml.safe_load(deployed.object("ConfigMap", "prometheus-adapter-rules")["data"]["config.yaml"])["rules"]
    assert [rule["name"]["as"] for rule in offered] == [
        "vllm_num_requests_waiting",
        "llm_serving_vllm_small_full",
        "llm_serving_vllm_small_rest",
        "llm_serving_vllm_small_proven",
    ]
    assert offered[0] == {
        "seriesQuery": 'vllm:num_requests_waiting{namespace=~".+",pod=~".+"}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
        "name": {"as": "vllm_num_requests_waiting"},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
    assert deployed.object("Release", "prometheus-adapter")["values"]["rules"] == {"default": False, "custom": offered}


def test_observability_hands_on_what_there_is():
    """Dashboards by title, alerts by name, each once; both are exported."""
    deployed = stack(minimal())
    names = list(ALERTS)
    expected = {"dashboards": ["LLM serving (llm-serving)"], "alert_names": names}
    assert deployed.registered("observability") == expected
    assert (deployed.exports["dashboards"], deployed.exports["alerts"]) == (expected["dashboards"], names)
