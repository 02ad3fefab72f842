"""Rendered objects as what is to run, in Kubernetes' own defaults, and every reason why they cannot.

Does not prove that all fields are known: those without a meaning for a process are not looked at.
"""

import pytest

from local.objects import Container, Probe, SecretRef, Service, Volume, Workload, read
from settings.problems import Problem
from tests.unit.local_pods import VLLM, config_map, container, deployment, from_secret, job, rendered, service


def refusals(*objects: dict) -> list[str]:
    """What is said against these objects."""
    problems: list[Problem] = []
    read(objects, problems)
    return [str(problem) for problem in problems]


# ---- what is read ----------------------------------------------------------------------------------------------------


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
                    {"name": "keys", "secret": {"secretName": "keys"}},
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
                "keys": Volume("secret", "keys"),
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
        deployment({"name": "a", "image": VLLM, "livenessProbe": {"exec": {"command": ["x"]}}})
    ).workloads
    assert (found.replicas, found.grace_s, found.memory_gib, found.deadline_s, found.fail_on) == (1, 30, 0, None, ())
    assert found.containers[0].probes == {"liveness": Probe("exec", {"command": ["x"]}, 0, 10, 1, 3, 1)}


def test_a_job_is_read_whole():
    """Tries, deadline, and the exit codes that end it; other rules say nothing here."""
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 3]}},
        {"action": "FailJob", "onExitCodes": {"values": [4]}},
        {"action": "Count", "onExitCodes": {"operator": "In", "values": [5]}},
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


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["CronJob", "DaemonSet", "LeaderWorkerSet", "Pod", "ReplicaSet", "StatefulSet"])
def test_other_kinds_with_pods_are_refused(kind):
    """Each by its name."""
    assert refusals({"kind": kind, "metadata": {"name": "x"}}) == [
        f"{kind} x: a {kind} is not run here; only Deployments and Jobs are"
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"resources": {"limits": {"nvidia.com/gpu": 2, "memory": "1Gi"}}},
            (
                "container main asks for nvidia.com/gpu: 2, and processes of this machine get no devices; "
                "use a pool with gpu: none, or CLUSTER=sim"
            ),
        ),
        ({"restartPolicy": "Always"}, "container main is a sidecar, which is not run here"),
        ({"envFrom": []}, "container main: envFrom is not read here"),
        (
            {"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
            "container main: variable IP comes from fieldRef, which is not read here",
        ),
        (
            {"volumeMounts": [{"mountPath": "/x", "name": "v", "subPath": "y"}]},
            "container main: /x mounts a part of a volume, which is not done here",
        ),
        ({"lifecycle": {"postStart": {}}}, "container main: postStart is not run here"),
    ],
)
def test_what_a_container_asks_for_and_cannot_have_is_refused(fields, said):
    """With the container's name, in init containers too."""
    assert refusals(deployment(container(**fields))) == [f"Deployment app: {said}"]
    assert refusals(deployment(container(name="x"), pod={"initContainers": [container(**fields)]})) == [
        f"Deployment app: {said}"
    ]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"grpc": {"port": 1}}, "asks in a way that is not known here; known: exec, httpGet, tcpSocket"),
        (
            {"tcpSocket": {"port": 9}},
            "asks port 9, which the container does not declare",
        ),
        (
            {"httpGet": {"port": "web"}},
            "asks port web, which the container does not declare",
        ),
        (
            {"httpGet": {"port": 8000, "scheme": "HTTPS"}},
            "asks by HTTPS, which is not done here",
        ),
        (
            {"httpGet": {"port": "http", "host": "example.com"}},
            "asks another host, example.com",
        ),
    ],
)
def test_questions_nobody_can_ask_here_are_refused(question, said):
    """By what is asked."""
    ports = [{"name": "http", "containerPort": 8000}]
    assert refusals(deployment(container(ports=ports, startupProbe=question))) == [
        f"Deployment app: container main: startup probe: {said}"
    ]


def test_a_hook_that_asks_an_unknown_port_is_refused():
    """It would fail silently at every end."""
    hook = {"preStop": {"httpGet": {"port": "drain"}}}
    assert refusals(deployment(container(lifecycle=hook))) == [
        "Deployment app: container main: preStop: asks port drain, which the container does not declare"
    ]


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"volumes": [{"name": "v", "hostPath": {}}]}, "volume v: hostPath is no volume this machine has"),
        ({"volumes": [{"name": "v", "projected": {}}]}, "volume v: projected is no volume this machine has"),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c", "items": []}}]},
            "volume v renames files of a ConfigMap (items), which is not done here",
        ),
        (
            {"serviceAccountName": "x"},
            (
                "talks to the API server (it mounts a service account token), and there is none here; "
                "gpuOperator.verifyNodes: false leaves node verification out"
            ),
        ),
    ],
)
def test_what_a_pod_asks_for_and_cannot_have_is_refused(pod, said):
    """With the reason."""
    assert refusals(deployment(container(), pod=pod)) == [f"Deployment app: {said}"]


def test_a_service_account_without_its_token_is_fine():
    """Nobody talks to the API server."""
    pod = {"serviceAccountName": "x", "automountServiceAccountToken": False}
    assert refusals(deployment(container(), pod=pod)) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"completions": 2}, "completions: 2, and a Job has one pod at a time here"),
        ({"parallelism": 3}, "parallelism: 3, and a Job has one pod at a time here"),
        (
            {
                "podFailurePolicy": {
                    "rules": [{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}]
                }
            },
            "podFailurePolicy names exit codes by NotIn, which is not read here",
        ),
    ],
)
def test_what_a_job_asks_for_and_cannot_have_is_refused(spec, said):
    """With the reason."""
    assert refusals(job(container(), **spec)) == [f"Job app: {said}"]


def test_all_refusals_come_at_once():
    """Of all objects, in order."""
    gpu = container(resources={"limits": {"nvidia.com/gpu": 1}}, envFrom=[])
    assert [text.partition(":")[0] for text in refusals(
        {"kind": "Pod", "metadata": {"name": "p"}}, deployment(gpu, name="a"), job(gpu, name="b", completions=2)
    )] == ["Pod p", "Deployment a", "Deployment a", "Job b", "Job b", "Job b"]  # fmt: skip
