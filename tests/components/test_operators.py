"""Operators, the serving namespace and the two providers: what is installed, when, and what outlives the stack.

Helm does not run here: chart values are compared with what was planned, not with what the charts make of them.
"""

from typing import Any

import pulumi
import pytest

from components.operators import install
from planning.plan.observe import ReleasePlan
from tests.harness import Deployed, deploy, minimal, on_cpu, stack, two_nodes

AUTOSCALED = {"models": {"small": {"replicas": {"min": 1, "max": 2}}}}
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


def releases(deployed: Deployed) -> dict[str, tuple[str, str]]:
    """Chart → (release name, namespace)."""
    return {
        item.body["chart"].rpartition("/")[2]: (item.name, item.namespace)
        for item in deployed.manifests
        if item.kind == "Release"
    }


# --- which operators --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (minimal(), {"gpu-operator", "kube-prometheus-stack"}),
        (minimal(**AUTOSCALED), {"gpu-operator", "kube-prometheus-stack", "keda"}),
        (
            minimal(**AUTOSCALED, autoscaling={"driver": "hpa"}),
            {"gpu-operator", "kube-prometheus-stack", "prometheus-adapter"},
        ),
        (two_nodes(), {"gpu-operator", "kube-prometheus-stack", "lws"}),
        (on_cpu(), {"kube-prometheus-stack"}),
        (
            minimal(
                **AUTOSCALED,
                gpuOperator={"install": False},
                observability={"install": False},
                autoscaling={"install": False},
            ),
            set(),
        ),
    ],
    ids=["minimal", "keda", "hpa", "two nodes", "cpu", "none"],
)
def test_what_is_needed_is_installed(config: dict[str, Any], expected: set[str]):
    """An operator is installed when something needs it and nobody has switched it off."""
    assert set(releases(stack(config))) == expected


def test_a_release_is_complete():
    """A release has chart, repository, exact version, a timeout and a namespace that is there first."""
    deployed = stack(minimal(**AUTOSCALED))
    body = deployed.object("Release", "keda")
    assert {key: body[key] for key in ("chart", "repositoryOpts", "version", "namespace", "timeout", "name")} == {
        "chart": "keda",
        "repositoryOpts": {"repo": "https://kedacore.github.io/charts"},
        "version": "2.21.0",
        "namespace": "keda",
        "timeout": 900,
        "name": "keda",
    }
    assert deployed.depends_on("Release", "keda") == {"Namespace/keda"}


def test_a_slow_operator_is_not_taken_away():
    """Nothing is asked of Helm but to wait: no option that uninstalls, rolls back, replaces or forces."""
    body = stack(minimal(**AUTOSCALED)).object("Release", "keda")
    asked = {"chart", "compat", "name", "namespace", "repositoryOpts", "timeout", "values", "version"}
    assert set(body) == asked


def test_an_oci_chart_needs_no_repository():
    """A chart from a registry is named by its reference alone."""
    body = stack(two_nodes()).object("Release", "lws")
    assert (body["chart"], "repositoryOpts" in body) == ("oci://registry.k8s.io/lws/charts/lws", False)


def test_charts_can_come_from_a_mirror():
    """Reference and version of a chart can be given; the public repository is then left out."""
    mirrored = {"keda": {"chart": "oci://registry.example.com/charts/keda", "version": "2.21.0"}}
    body = stack(minimal(**AUTOSCALED, charts=mirrored)).object("Release", "keda")
    assert (body["chart"], body["version"], "repositoryOpts" in body) == (
        "oci://registry.example.com/charts/keda",
        "2.21.0",
        False,
    )


@pytest.mark.parametrize(
    ("platform", "settings", "driver", "toolkit"),
    [
        ("generic", {}, True, True),
        ("gke", {}, False, True),
        ("eks", {}, False, False),
        ("eks", {"driver": True, "toolkit": True}, True, True),
        ("generic", {"driver": False}, False, True),
    ],
)
def test_the_gpu_operator_brings_what_the_platform_lacks(
    platform: str, settings: dict[str, bool], driver: bool, toolkit: bool
):
    """Driver and toolkit where nodes have none, unless told; metrics always, shared GPUs never."""
    values = stack(minimal(cluster={"platform": platform}, gpuOperator=settings)).object("Release", "gpu-operator")[
        "values"
    ]
    assert (values["driver"]["enabled"], values["toolkit"]["enabled"]) == (driver, toolkit)
    assert values["dcgmExporter"]["serviceMonitor"]["enabled"] is True
    assert "timeSlicing" not in str(values)


def test_the_prometheus_release_selects_everything_and_reads_dashboards():
    """Monitors and rules of any namespace are selected, and Grafana's sidecar looks for dashboards everywhere."""
    values = stack(minimal()).object("Release", "kube-prometheus-stack")["values"]
    spec = values["prometheus"]["prometheusSpec"]
    assert [
        key for key in ("podMonitorSelectorNilUsesHelmValues", "ruleSelectorNilUsesHelmValues") if key not in spec
    ] == []
    assert values["grafana"]["sidecar"]["dashboards"]["searchNamespace"] == "ALL"


def test_every_namespace_of_an_operator_has_a_pod_security_level():
    """Drivers and node exporters may be privileged; nothing else is."""
    deployed = stack(minimal(**AUTOSCALED))
    levels = {
        body["metadata"]["name"]: body["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for body in deployed.objects("Namespace")
    }
    assert levels == {
        "gpu-operator": "privileged",
        "monitoring": "privileged",
        "keda": "baseline",
        "llm-serving": "restricted",
    }


def test_releases_of_one_namespace_share_it():
    """Two charts for one namespace declare it once, and both wait for it."""

    def release(name: str) -> ReleasePlan:
        return ReleasePlan(name, name, None, "1.0.0", "shared", {}, privileged=False, timeout_s=60)

    deployed = deploy(lambda: install({"a": release("a"), "b": release("b")}, pulumi.ResourceOptions()))
    assert [(item.kind, item.name) for item in deployed.manifests] == [
        ("Namespace", "shared"),
        ("Release", "a"),
        ("Release", "b"),
    ]
    assert deployed.depends_on("Release", "a") == deployed.depends_on("Release", "b") == {"Namespace/shared"}


@pytest.mark.parametrize(("platform", "expected"), [("generic", []), ("gke", ["llm-stack-critical-pods"])])
def test_a_quota_lets_the_gpu_operators_pods_in(platform: str, expected: list[str]):
    """Where a namespace has none of Kubernetes' own priority classes by itself, and before the operator is there."""
    deployed = stack(minimal(cluster={"platform": platform}))
    assert [item.name for item in deployed.manifests if item.kind == "ResourceQuota"] == expected
    if expected:
        quota = deployed.object("ResourceQuota", "llm-stack-critical-pods")
        critical = ["system-node-critical", "system-cluster-critical"]
        assert (quota["metadata"]["namespace"], quota["spec"]) == (
            "gpu-operator",
            {
                "hard": {"pods": "1G"},
                "scopeSelector": {
                    "matchExpressions": [{"operator": "In", "scopeName": "PriorityClass", "values": critical}]
                },
            },
        )
        assert "ResourceQuota/gpu-operator-critical-pods" in deployed.depends_on("Release", "gpu-operator")


# --- the serving namespace --------------------------------------------------------------------------------------------


def test_the_namespace_is_restricted_and_kept():
    """Pod Security *restricted* in all three modes; adopted when it exists, left on destroy."""
    deployed = stack(minimal(cluster={"namespace": "models"}))
    manifest = deployed.manifest("Namespace", "models")
    assert manifest.body["metadata"] == {
        "name": "models",
        "labels": {"app.kubernetes.io/part-of": "llm-stack", **RESTRICTED},
        "annotations": {"pulumi.com/patchFieldManager": "llm-stack"},
    }
    assert manifest.options.retain_on_delete is True


def test_nothing_is_allowed_but_dns():
    """All pods of the namespace are denied both ways, and may ask kube-system's DNS or the cache on their node."""
    deployed = stack(minimal(cluster={"namespace": "models"}))
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    system = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    assert deployed.object("NetworkPolicy", "llm-stack-default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert deployed.object("NetworkPolicy", "llm-stack-allow-dns")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [system, {"ipBlock": {"cidr": "169.254.20.10/32"}}], "ports": ports}],
    }


def test_everything_of_ours_is_in_the_given_namespace():
    """cluster.namespace moves all namespaced objects; only operators and what is cluster-wide stay elsewhere."""
    deployed = stack(minimal(cluster={"namespace": "models"}))
    elsewhere = {item.kind for item in deployed.manifests if item.namespace != "models"}
    assert elsewhere == {"ClusterRole", "ClusterRoleBinding", "Namespace", "Release"}


# --- providers --------------------------------------------------------------------------------------------------------


def test_the_provider_names_cluster_and_context():
    """The ambient context is not used, and what an `up` that was killed has made is taken over."""
    assert stack(minimal()).record("kubernetes", "cluster").inputs == {
        "kubeconfig": "",
        "context": "test",
        "clusterIdentifier": "test-1",
        "enableConfigMapMutable": "true",
        "upsertExistingObjects": "true",
    }
