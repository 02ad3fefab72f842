"""Which operators are installed, with which values: by platform, by need, and only exact versions."""

from typing import Any

import pytest

from planning.plan.observe import ReleasePlan
from planning.server.scaling import adapter_rules
from planning.stack.releases import prometheus_url
from tests.unit.small_stack import CATALOG, CPU, H100, checked, planned, refusals, serving, stack

SCALES = {"replicas": {"min": 1, "max": 2}}


def releases(raw: dict[str, Any]) -> dict[str, ReleasePlan]:
    """The releases of a stack by chart."""
    return dict(planned(raw).releases)


@pytest.mark.parametrize(
    ("raw", "charts"),
    [
        (serving(), {"gpu-operator", "kube-prometheus-stack"}),
        (serving(**SCALES), {"gpu-operator", "kube-prometheus-stack", "keda"}),
        (
            {**serving(**SCALES), "autoscaling": {"driver": "hpa"}},
            {"gpu-operator", "kube-prometheus-stack", "prometheus-adapter"},
        ),
        ({**serving(**SCALES), "autoscaling": {"install": False}}, {"gpu-operator", "kube-prometheus-stack"}),
        ({**serving(), "gpuOperator": {"install": False}}, {"kube-prometheus-stack"}),
        ({**serving(), "observability": {"install": False}}, {"gpu-operator"}),
        (serving(CPU, model="Qwen/Qwen3-8B-AWQ", contextTokens=8192), {"kube-prometheus-stack"}),
        (
            serving({**H100, "nodes": 2}, model="deepseek-ai/DeepSeek-R1-0528"),
            {"gpu-operator", "kube-prometheus-stack", "lws"},
        ),
        (
            {
                **serving({**H100, "nodes": 2}, model="deepseek-ai/DeepSeek-R1-0528"),
                "leaderWorkerSet": {"install": False},
            },
            {"gpu-operator", "kube-prometheus-stack"},
        ),
    ],
)
def test_operators_are_those_that_are_needed_and_not_there(raw, charts):
    """GPUs need their operator, scaling its own, groups of nodes theirs; each can be left to the cluster."""
    assert set(releases(raw)) == charts


@pytest.mark.parametrize(
    ("observability", "expected"),
    [
        ({}, "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"),
        (
            {"release": "prom", "namespace": "obs"},
            "http://prom-kube-prometheus-stack-prometheus.obs.svc:9090",
        ),
        # the chart cuts its name after 26 characters, and a dash at the end
        ({"release": "production"}, "http://production-kube-prometheus-prometheus.monitoring.svc:9090"),
        (
            {"release": "my-kube-prometheus-stack-eu"},
            "http://my-kube-prometheus-stack-e-prometheus.monitoring.svc:9090",
        ),
        ({"prometheusUrl": "https://prometheus.corp/x"}, "https://prometheus.corp/x"),
    ],
)
def test_prometheus_is_found_by_the_rule_of_its_chart(observability, expected):
    """The name of its Service follows from the release; an address that is given is taken as it is."""
    assert prometheus_url(checked(stack(observability=observability))) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, {"url": "http://kube-prometheus-stack-prometheus.monitoring.svc", "port": 9090, "path": ""}),
        ("http://p:9091", {"url": "http://p", "port": 9091, "path": ""}),
        ("http://p", {"url": "http://p", "port": 80, "path": ""}),
        ("https://p.corp/prometheus", {"url": "https://p.corp", "port": 443, "path": "/prometheus"}),
        ("https://[::1]:9090", {"url": "https://[::1]", "port": 9090, "path": ""}),
    ],
)
def test_the_adapter_is_told_where_prometheus_is(url, expected):
    """Host, port and path apart, as its chart wants them."""
    raw = {**serving(**SCALES), "autoscaling": {"driver": "hpa"}}
    raw |= {"observability": {"prometheusUrl": url}} if url else {}
    assert releases(raw)["prometheus-adapter"].values == {
        "prometheus": expected,
        "rules": {"default": False, "custom": [dict(rule) for rule in adapter_rules(CATALOG, planned(raw).servers)]},
    }


@pytest.mark.parametrize(
    ("sections", "chart"),
    [
        ({"autoscaling": {"driver": "hpa"}}, "prometheus-adapter"),
        ({"observability": {"install": False, "namespace": "keda"}}, "keda"),
    ],
)
def test_the_namespace_of_prometheus_keeps_its_node_exporters(sections, chart):
    """Whoever has installed them: beside an operator of ours the namespace may not ask for less than they need."""
    raw = {**serving(**SCALES), "observability": {"install": False}, **sections}
    assert {name: found.privileged for name, found in releases(raw).items()} == {"gpu-operator": True, chart: True}


def test_a_release_is_what_the_catalogue_says():
    """Chart, repository, version and namespace of the catalogue; Prometheus selects monitors of every release."""
    found = releases(serving(**SCALES))
    assert found["keda"] == ReleasePlan(
        name="keda",
        chart="keda",
        repository="https://kedacore.github.io/charts",
        version="2.21.0",
        namespace="keda",
        values={},
        privileged=False,
        timeout_s=900,
        images=tuple(image.image for image in CATALOG.chart_images["keda"]["2.21.0"].images),
        unread=tuple(item.what for item in CATALOG.chart_images["keda"]["2.21.0"].not_known),
    )
    prometheus = found["kube-prometheus-stack"]
    assert (prometheus.name, prometheus.namespace, prometheus.privileged) == (
        "kube-prometheus-stack",
        "monitoring",
        True,
    )
    assert prometheus.values["prometheus"] == {
        "prometheusSpec": {
            "podMonitorSelectorNilUsesHelmValues": True,
            "ruleSelectorNilUsesHelmValues": True,
            "serviceMonitorSelectorNilUsesHelmValues": True,
        }
    }


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({}, ("keda", "https://kedacore.github.io/charts", "2.21.0")),
        ({"version": "2.22.0-rc.1"}, ("keda", "https://kedacore.github.io/charts", "2.22.0-rc.1")),
        ({"chart": "oci://reg.corp/keda"}, ("oci://reg.corp/keda", None, "2.21.0")),
        ({"repository": "https://charts.corp"}, ("keda", "https://charts.corp", "2.21.0")),
        ({"chart": "./charts/keda", "repository": ""}, ("./charts/keda", None, "2.21.0")),
    ],
)
def test_a_chart_may_come_from_elsewhere(override, expected):
    """Another version, a mirror, an OCI reference or a path."""
    found = releases({**serving(**SCALES), "charts": {"keda": override}})["keda"]
    assert (found.chart, found.repository, found.version) == expected


@pytest.mark.parametrize(
    "version", ["latest", "2.20", "2", "^2.20.2", "~2.20", ">=2.20.2", "2.x", "2.20.*", "2.20.2 || 3.0.0"]
)
def test_a_range_of_versions_is_refused(version):
    """Helm would take another version tomorrow."""
    assert refusals({**serving(**SCALES), "charts": {"keda": {"version": version}}}) == [
        f'charts.keda.version: "{version}" is not an exact version'
    ]


def test_a_chart_that_is_not_installed_is_not_judged():
    """What is switched off says nothing."""
    assert refusals({**serving(), "charts": {"keda": {"version": "latest"}}}) == []


OWN = "models and gateway close their namespace to everything else, so give them one of their own"


def in_namespace(name: str, **sections: Any) -> dict[str, Any]:
    """The small stack, which scales, in another namespace."""
    return {**serving(**SCALES), "cluster": {"context": "c", "identifier": "i", "namespace": name}, **sections}


APART = {"observability": {"install": False, "namespace": "prom"}}


@pytest.mark.parametrize(
    ("raw", "owner"),
    [
        (in_namespace("default"), "the namespace of everything that names none"),
        (in_namespace("kube-system"), "a namespace of Kubernetes itself"),
        (in_namespace("kube-x"), "a namespace of Kubernetes itself"),
        (in_namespace("openshift-monitoring"), "a namespace of OpenShift"),
        (in_namespace("gke-managed-system"), "a namespace of GKE"),
        (in_namespace("istio-system"), "the namespace of Istio"),
        (in_namespace("gpu-operator"), "the namespace of gpu-operator"),
        (in_namespace("gpu-operator", gpuOperator={"install": False}), "the namespace of gpu-operator"),
        (in_namespace("keda"), "the namespace of keda"),
        (in_namespace("keda", autoscaling={"install": False}), "the namespace of keda"),
        # no model spans nodes here
        (in_namespace("lws-system"), "the namespace of lws"),
        (in_namespace("monitoring"), "observability.namespace"),
        (in_namespace("monitoring", observability={"install": False}), "observability.namespace"),
        (in_namespace("monitoring", **APART), "the namespace of kube-prometheus-stack"),
        (in_namespace("prom", **APART), "observability.namespace"),
    ],
)
def test_models_have_a_namespace_of_their_own(raw, owner):
    """Its network rules and its Pod Security level would stop whoever is there, whoever has put it there."""
    name = raw["cluster"]["namespace"]
    assert refusals(raw) == [f'cluster.namespace: "{name}" is {owner}; {OWN}']


@pytest.mark.parametrize("name", ["llm", "kube", "defaults", "keda-models", "my-kube-system"])
def test_a_namespace_that_nobody_is_known_to_be_in_may_be_taken(name):
    """Only whole names and reserved beginnings are refused."""
    assert refusals(in_namespace(name)) == []


def test_prometheus_is_not_installed_into_a_namespace_of_the_cluster():
    """Its Pod Security label would hold for everything there; one that is there already is left alone."""
    raw = in_namespace("llm", observability={"namespace": "kube-system"})
    assert refusals(raw) == [
        (
            'observability.namespace: "kube-system" is a namespace of Kubernetes itself; install would label it for '
            "node exporters; give Prometheus one of its own"
        )
    ]
    assert refusals(in_namespace("llm", observability={"namespace": "kube-system", "install": False})) == []
