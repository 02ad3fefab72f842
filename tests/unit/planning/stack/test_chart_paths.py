"""Values that charts are given on every platform, by the values file of each: known paths, of the type that they have.

The files were read once (commits below), since no test reaches a network; of them only cloudnative-pg's chart has a
schema. Does not prove what a template does with a value.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from planning.plan import Plan
from tests.unit.small_stack import A10, CATALOG, planned, stack

# Paths that the stack sets, with the type of the default in values.yaml:
# NVIDIA/gpu-operator tag v26.7.0 (dcgmExporter.imagePullSecrets in templates/clusterpolicy.yaml, that of feature
# discovery in its own chart), prometheus-community/helm-charts@cf408a2, kedacore/charts@1444d00 (chart 2.20.2),
# kubernetes-sigs/lws tag v0.10.0, cloudnative-pg/charts@b21ad2d. What is below a dict is the user's, or ours.
KNOWN: Mapping[str, Mapping[str, type]] = {
    "gpu-operator": {
        "clusterPolicy.deployCR": bool,
        "daemonsets.tolerations": list,
        "dcgmExporter.imagePullSecrets": list,
        "dcgmExporter.serviceMonitor.additionalLabels": dict,
        "dcgmExporter.serviceMonitor.enabled": bool,
        "dcgmExporter.serviceMonitor.interval": str,
        "devicePlugin.config.create": bool,
        "devicePlugin.config.data": dict,
        "devicePlugin.config.default": str,
        "devicePlugin.config.name": str,
        "devicePlugin.enabled": bool,
        "devicePlugin.imagePullSecrets": list,
        "draDriver.computeDomains.enabled": bool,
        "draDriver.imagePullSecrets": list,
        "driver.enabled": bool,
        "driver.imagePullSecrets": list,
        "driver.nvidiaDriverCRD.enabled": bool,
        "gfd.imagePullSecrets": list,
        "gpuCluster.deployCR": bool,
        "hostPaths.driverInstallDir": str,
        "mig.strategy": str,
        "migManager.imagePullSecrets": list,
        "node-feature-discovery.imagePullSecrets": list,
        "node-feature-discovery.worker.tolerations": list,
        "operator.imagePullSecrets": list,
        "operator.runtimeClass": str,
        "platform.openshift": bool,
        "toolkit.enabled": bool,
        "toolkit.env": list,
        "toolkit.imagePullSecrets": list,
        "toolkit.installDir": str,
        "validator.imagePullSecrets": list,
    },
    "kube-prometheus-stack": {
        "global.imagePullSecrets": list,
        "grafana.sidecar.dashboards.enabled": bool,
        "grafana.sidecar.dashboards.searchNamespace": str,
        "prometheus.prometheusSpec.podMonitorSelectorNilUsesHelmValues": bool,
        "prometheus.prometheusSpec.ruleSelectorNilUsesHelmValues": bool,
        "prometheus.prometheusSpec.serviceMonitorSelectorNilUsesHelmValues": bool,
    },
    "prometheus-adapter": {
        "image.pullSecrets": list,
        "prometheus.path": str,
        "prometheus.port": int,
        "prometheus.url": str,
        "rules.custom": list,
        "rules.default": bool,
    },
    "keda": {"imagePullSecrets": list},
    "lws": {"imagePullSecrets": list},
    "cloudnative-pg": {"imagePullSecrets": list},
}
SHARED = {
    "gpuPools": {"a10": {**A10, "gpusPerNode": 1, "gpuShare": {"slices": 4}}},
    "models": {"m": {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 2048, "gpuShare": 0.5}},
}
TAINTED = {"gpuPools": {"a10": {**A10, "tolerations": [{"key": "dedicated", "value": "ml"}]}}}
CLAIMED = {
    "gpuPools": {"a10": {**A10, "claims": {}}},
    "models": {"m": {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 2048}},
}
MODEL = {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 2048, "replicas": {"max": 2}}
# Ways to more charts, and to more values of one.
WAYS: list[dict[str, Any]] = [
    SHARED,
    CLAIMED,
    TAINTED,
    {"autoscaling": {"driver": "hpa"}, "models": {"m": MODEL}},
    {"models": {"m": MODEL}},
    {"gateway": {"existingSecret": "k", "database": {"kind": "cloudNativePg", "passwordSecret": "p"}}},
    {
        "gpuPools": {"h": {"gpu": "nvidia-h100", "nodes": 2, "gpusPerNode": 8}},
        "models": {"m": {"model": "deepseek-ai/DeepSeek-R1", "pool": "h"}},
    },
]


def of(platform: str, **more: Any) -> Plan:
    """The plan of a stack there whose images are pulled with a Secret."""
    cluster = {"context": "c", "identifier": "i", "platform": platform}
    return planned(stack(cluster=cluster, images={"pullSecrets": ["registry"]}, **more))


def paths(values: Any, known: Mapping[str, type], start: str = "") -> Iterator[tuple[str, type]]:
    """Every path that is set, with its type; one whose content is free ends at its mapping."""
    for key, value in values.items():
        path = f"{start}{key}"
        if isinstance(value, Mapping) and known.get(path) is not dict:
            yield from paths(value, known, f"{path}.")
        else:
            yield path, dict if isinstance(value, Mapping) else list if isinstance(value, tuple) else type(value)


def found(plans: list[Plan]) -> dict[str, dict[str, type]]:
    """Chart → every path that any of them sets, with its type."""
    result: dict[str, dict[str, type]] = {}
    for plan in plans:
        for chart, release in plan.releases.items():
            result.setdefault(chart, {}).update(paths(release.values, KNOWN[chart]))
    return result


def test_every_value_is_one_that_the_chart_has():
    """On all platforms and by all ways together exactly the known ones are set, each of the type that it has there."""
    plans = [of(platform) for platform in CATALOG.platforms] + [of("generic", **way) for way in WAYS]
    assert found(plans) == KNOWN
