"""Which parts the GPU Operator brings on each platform, and which nodes have: never two of one.

Does not prove what the operator does with its values, nor that the facts are still true.
"""

from typing import Any

import pytest

from planning.stack.gpu_operator import gpu_operator_values
from tests.unit.small_stack import A10, CATALOG, CPU, checked, planned, refusals, stack

OFF, ON = {"enabled": False}, {"enabled": True}
RANCHER_SOCKET = {"name": "CONTAINERD_SOCKET", "value": "/run/k3s/containerd/containerd.sock"}
KARPENTER = {"kind": "karpenter", "instanceTypes": ["g6.4xlarge"], "discoveryTag": "llm"}
OWN_CLUSTER = (
    "it has no facts of its own; say generic, and what nodes have by gpuOperator.driver, toolkit and devicePlugin"
)
GOOGLE = "/home/kubernetes/bin/nvidia"
GOOGLE_TOOLKIT = {"installDir": GOOGLE, "env": [{"name": "RUNTIME_CONFIG_SOURCE", "value": "file"}]}
# Platform → what its values say beside those of every platform; a part that is not there is the chart's, and on.
VALUES: dict[str, dict[str, Any]] = {
    "generic": {"driver": ON, "toolkit": ON},
    "eks": {"driver": OFF, "toolkit": OFF},
    "gke": {
        "driver": OFF,
        "toolkit": {**ON, **GOOGLE_TOOLKIT},
        "devicePlugin": OFF,
        "hostPaths": {"driverInstallDir": GOOGLE},
    },
    "aks": {"driver": OFF, "toolkit": OFF, "operator": {"runtimeClass": "nvidia-container-runtime"}},
    "ack": {"driver": OFF, "toolkit": OFF, "devicePlugin": OFF},
    "openshift": {"driver": ON, "toolkit": ON, "platform": {"openshift": True}},
    "rke2": {"driver": ON, "toolkit": {**ON, "env": [RANCHER_SOCKET]}},
    "k3s": {"driver": ON, "toolkit": {**ON, "env": [RANCHER_SOCKET]}},
    "kind": {"driver": OFF, "toolkit": ON},
    "minikube": {"driver": OFF, "toolkit": OFF, "devicePlugin": OFF},
    "eksAuto": {"driver": OFF, "toolkit": OFF, "devicePlugin": OFF},
    "eksBottlerocket": {"driver": OFF, "toolkit": OFF, "devicePlugin": OFF},
}
EVERYWHERE = {
    "mig": {"strategy": "single"},
    "dcgmExporter": {
        "serviceMonitor": {
            "enabled": True,
            "interval": "15s",
            "additionalLabels": {"release": "kube-prometheus-stack"},
        }
    },
}


def on(platform: str, **more: Any) -> dict[str, Any]:
    """A stack on such a cluster."""
    return stack(cluster={"context": "c", "identifier": "i", "platform": platform}, **more)


def values(raw: dict[str, Any]) -> dict[str, Any]:
    """What the chart is told."""
    return gpu_operator_values(checked(raw), CATALOG)


@pytest.mark.parametrize("platform", CATALOG.platforms)
def test_the_operator_brings_what_nodes_have_not(platform: str):
    """The whole of the values, for each platform of the catalogue."""
    assert values(on(platform)) == {**EVERYWHERE, **VALUES[platform]}


@pytest.mark.parametrize(
    ("platform", "stated", "expected"),
    [
        ("eks", {"driver": True}, {"driver": ON, "toolkit": OFF}),
        ("generic", {"toolkit": False}, {"driver": ON, "toolkit": OFF}),
        ("generic", {"devicePlugin": False}, {"driver": ON, "toolkit": ON, "devicePlugin": OFF}),
        (
            "gke",
            {"devicePlugin": True},
            {"driver": OFF, "toolkit": {**ON, **GOOGLE_TOOLKIT}, "hostPaths": {"driverInstallDir": GOOGLE}},
        ),
    ],
)
def test_a_stack_may_say_otherwise(platform: str, stated: dict[str, bool], expected: dict[str, Any]):
    """Images of one's own have more or less than those of the platform."""
    assert values(on(platform, gpuOperator=stated)) == {**EVERYWHERE, **expected}


def test_the_operators_pods_tolerate_what_the_pools_do():
    """Lists of a chart are replaced whole, so its own tolerations are in them too; taints of CPU pools are not."""
    mine, theirs = {"key": "dedicated", "operator": "Equal", "value": "ml"}, {"key": "cpu", "operator": "Exists"}
    pools = {"a10": {**A10, "tolerations": [mine]}, "cpu": {**CPU, "tolerations": [theirs]}}
    deployed = values(stack(gpuPools=pools))
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    control = {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}
    assert deployed["daemonsets"] == {"tolerations": [gpu, mine]}
    assert deployed["node-feature-discovery"] == {"worker": {"tolerations": [control, gpu, mine]}}
    assert {"daemonsets", "node-feature-discovery"} & values(stack()).keys() == set()


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("EKS", "did you mean 'eks'?"),
        ("openshfit", "did you mean 'openshift'?"),
        ("eks-auto", "did you mean 'eksAuto'?"),
        ("GKE-Autopilot", "the GPU Operator does not run on Autopilot; make a cluster of GKE Standard, and say gke"),
        ("rosa", "it is OpenShift; say openshift"),
        ("tke", OWN_CLUSTER),
        ("cloud", f"known: {', '.join(sorted(CATALOG.platforms))}"),
    ],
)
def test_an_unknown_platform_is_refused_with_the_nearest(written: str, hint: str):
    """Once, and without what would follow from it; or with what to write, where it is another's name or without one."""
    mark = "; " if hint.startswith(("did", "known")) else ": "
    assert refusals(on(written)) == [f"cluster.platform: unknown platform '{written}'{mark}{hint}"]


def test_a_chart_that_does_not_run_there_is_doubted():
    """The one with fixed users on OpenShift, unless it is left out or given values of one's own."""
    values = {"kube-prometheus-stack": {"values": {"prometheus": {"prometheusSpec": {"securityContext": None}}}}}
    ways = [("openshift", {}), ("openshift", {"observability": {"install": False}}), ("eks", {})]
    plans = [planned(on(platform, **way)) for platform, way in [*ways, ("openshift", {"charts": values})]]
    found = [[line for line in plan.warnings if "runs pods as fixed users" in line] for plan in plans]
    assert [len(lines) for lines in found] == [1, 0, 0, 0]
    assert found[0][0].startswith("chart kube-prometheus-stack: runs pods as fixed users, which OpenShift refuses, ")


@pytest.mark.parametrize(
    ("platform", "bought", "why"),
    [
        ("eks", "computeClass", "is of GKE, so no node would come of it"),
        ("ack", "computeClass", "is of GKE, so no node would come of it"),
        ("eksAuto", "computeClass", "is of GKE, so no node would come of it"),
        ("gke", "karpenter", "writes EC2NodeClass, which buys machines of AWS alone"),
        ("aks", "karpenter", "writes EC2NodeClass, which buys machines of AWS alone"),
    ],
)
def test_nodes_of_another_cloud_are_refused(platform: str, bought: str, why: str):
    """By the kind, which is nobody's there."""
    of_google = {"kind": "computeClass", "machineTypes": ["g2-standard-8"]}
    provisioning = KARPENTER if bought == "karpenter" else of_google
    pools = {"a10": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1, "provisioning": provisioning}}
    models = {"m": {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 2048}}
    message = f"gpuPools.a10.provisioning.kind: {bought} {why}; use another kind, as labelled"
    assert refusals(on(platform, gpuPools=pools, models=models)) == [message]


def test_nodes_that_nobody_would_make_are_refused():
    """Auto Mode has no Karpenter of its own API, and the fix is said; elsewhere on AWS it may be installed."""
    pools = {"a10": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1, "provisioning": KARPENTER}}
    models = {"m": {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 2048}}
    why = (
        "gpuPools.a10.provisioning.kind: karpenter is Karpenter's own API, and Auto Mode has another (NodeClass of "
        "eks.amazonaws.com, which no field writes); make a NodePool of it yourself, and use kind: labelled, with "
        "the labels of its nodes"
    )
    found = [refusals(on(platform, gpuPools=pools, models=models)) for platform in ("eksAuto", "eks")]
    assert found == [[why], []]


def test_cards_are_shared_by_the_operators_plugin_alone():
    """Another plugin does not read the operator's values, unless the stack has the operator bring its own."""
    pools = {"a10": {**A10, "gpusPerNode": 1, "gpuShare": {"slices": 4}}}
    models = {"m": {"model": "Qwen/Qwen3-0.6B", "pool": "a10", "contextTokens": 2048, "gpuShare": 0.5}}
    why = (
        "gpuPools.a10.gpuShare: is told to the GPU Operator's device plugin, and nodes of platform gke have another "
        "one; leave it out, or set gpuOperator.devicePlugin: true where that one is switched off"
    )
    found = [
        refusals(on(platform, gpuPools=pools, models=models, gpuOperator=operator))
        for platform, operator in (
            ("gke", {}),
            ("eks", {}),
            ("gke", {"devicePlugin": True}),
            ("gke", {"install": False}),
        )
    ]
    assert found == [[why], [], [], []]
