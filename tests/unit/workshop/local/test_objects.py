"""Rendered objects as what is to run, in Kubernetes' own defaults.

What is refused is in test_local_unsupported.py.
"""

import pytest

from tests.unit.workshop.local.pods import VLLM, config_map, container, deployment, from_secret, job, rendered, service
from workshop.local.objects import Container, Probe, SecretRef, Service, Volume, Workload


def test_a_deployment_is_read_whole():
    """Every field that matters to a process."""
    probe = {"httpGet": {"path": "/health", "port": "http"}, "initialDelaySeconds": 1, "periodSeconds": 2,
             "timeoutSeconds": 3, "failureThreshold": 4, "successThreshold": 5}  # fmt: skip
    found = rendered(
        deployment(
            {
                "name": "vllm",
                "image": VLLM,
                "command": ["a"],
                "args": ["--port=8000"],
                "env": [{"name": "A", "value": "1"}, {"name": "EMPTY"}, from_secret("KEY", "keys", "k")],
                "ports": [{"name": "http", "containerPort": 8000}, {"containerPort": 9000}],
                "volumeMounts": [{"mountPath": "/models", "name": "models"}],
                "startupProbe": probe,
                "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
                "resources": {"requests": {"memory": "1536Mi"}},
            },
            replicas=2,
            pod={
                "initContainers": [{"name": "check", "image": VLLM}],
                "terminationGracePeriodSeconds": 120,
                "volumes": [
                    {"name": "models", "persistentVolumeClaim": {"claimName": "weights"}},
                    {"name": "config", "configMap": {"name": "gateway"}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                ],
            },
        )
    )
    assert found.workloads == (
        Workload(
            kind="Deployment",
            name="app",
            namespace="llm",
            labels={"app": "app"},
            replicas=2,
            init_containers=(Container("check", VLLM, (), (), (), {}, {}, {}, None),),
            containers=(
                Container(
                    name="vllm",
                    image=VLLM,
                    command=("a",),
                    args=("--port=8000",),
                    env=(("A", "1"), ("EMPTY", ""), ("KEY", SecretRef("keys", "k"))),
                    ports={"http": 8000, "9000": 9000},
                    mounts={"/models": "models"},
                    probes={"startup": Probe("httpGet", {"path": "/health", "port": "http"}, 1, 2, 3, 4, 5)},
                    pre_stop=("sleep", {"seconds": 15}),
                ),
            ),
            volumes={
                "models": Volume("persistentVolumeClaim", "weights"),
                "config": Volume("configMap", "gateway"),
                "tmp": Volume("emptyDir", ""),
            },
            grace_s=120,
            memory_gib=1.5,
            backoff_limit=6,
        ),
    )
    assert (str(found.workloads[0]), [item.name for item in found.workloads[0].all_containers]) == (
        "Deployment app",
        ["check", "vllm"],
    )


def test_kubernetes_defaults_are_used():
    """One replica, 30 s of grace, a probe every 10 s with 1 s and three tries."""
    (found,) = rendered(
        deployment(container(ports=[{"containerPort": 80}], livenessProbe={"tcpSocket": {"port": 80}}))
    ).workloads
    assert (found.replicas, found.grace_s, found.memory_gib, found.deadline_s, found.fail_on) == (1, 30, 0, None, ())
    assert found.containers[0].probes == {"liveness": Probe("tcpSocket", {"port": 80}, 0, 10, 1, 3, 1)}


def test_a_job_is_read_whole():
    """Tries, deadline, and the exit codes that end it."""
    rules = [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [2, 3]}},
        {"action": "FailJob", "onExitCodes": {"values": [4]}},
    ]
    (found,) = rendered(
        job(container(), backoffLimit=4, activeDeadlineSeconds=60, podFailurePolicy={"rules": rules})
    ).workloads
    assert (found.kind, found.backoff_limit, found.deadline_s, found.fail_on) == ("Job", 4, 60, (2, 3, 4))


def test_what_is_null_is_absent():
    """As Kubernetes reads it, at every depth: in pods, Services, ConfigMaps and Secrets."""
    empty = {"kind": "ConfigMap", "metadata": {"name": "empty"}, "data": None}
    secret = {"kind": "Secret", "metadata": {"name": "keys"}, "stringData": None}
    nulls = {"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": None, "selector": None, "type": None}}
    pod = deployment(
        container(env=[{"name": "A", "value": None}], livenessProbe=None, lifecycle=None, ports=None),
        pod={"volumes": None, "activeDeadlineSeconds": None},
        replicas=None,
    )
    found = rendered(empty, secret, nulls, pod)
    assert (found.config_maps, found.secrets, found.services, found.workloads) == (
        {"empty": {}},
        {"keys": {}},
        (Service("s", "default", {}, {}),),
        rendered(deployment(container(env=[{"name": "A"}]))).workloads,
    )


def test_everything_else_is_counted_or_kept():
    """ConfigMaps, Secrets, claims and Services by name; kinds nothing here reads by their number."""
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "weights"}}
    secret = {"kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"k": "<secret>"}}
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "x"}}
    unnamed = {"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    objects = (config_map("gateway", config__yaml="a: 1\n"), claim, secret, policy, policy, service("vllm"), unnamed)
    found = rendered(*objects)
    assert (found.config_maps, found.secrets, found.claims, found.others, found.objects) == (
        {"gateway": {"config.yaml": "a: 1\n"}},
        {"keys": {"k": "<secret>"}},
        frozenset({"weights"}),
        {"NetworkPolicy": 2},
        objects,
    )
    assert found.services == (
        Service("vllm", "llm", {8000: "http"}, {"app": "vllm"}),
        Service("s", "default", {80: 80}, {}),
    )


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({"a": "1"}, {"a": "1", "b": "2"}, True),
        ({"a": "1", "b": "2"}, {"a": "1"}, False),
        ({"a": "1"}, {"a": "2"}, False),
        ({}, {"a": "1"}, False),
    ],
)
def test_a_service_selects_by_all_its_labels(selector, labels, expected):
    """Without a selector it selects nothing: its endpoints are somebody else's."""
    assert Service("s", "llm", {80: 80}, selector).selects(labels) is expected
