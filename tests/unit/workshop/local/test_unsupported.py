"""What is refused, by path, value, rule and nearest fix: one by one, in the words a reader gets."""

import pytest

from tests.unit.workshop.local.pods import container, deployment, job, refusals, service
from workshop.local.unsupported import LEAVE_OUT

MAIN = "Deployment app: spec.template.spec.containers[main]"
COMMAND = "{command} is not obeyed here; a command would meet this machine's paths, not the container's; ask by httpGet"
PORTS = [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
WEB = {"httpGet": {"path": "/", "port": "http", "httpHeaders": [{"name": "A", "value": "b"}]}}


@pytest.mark.parametrize("kind", ["CronJob", "DaemonSet", "LeaderWorkerSet", "Pod", "ReplicaSet"])
def test_other_kinds_with_pods_are_refused(kind):
    """Each by its name."""
    assert refusals({"kind": kind, "metadata": {"name": "x"}}) == [
        f"{kind} x: a {kind} is not run here; only Deployments, StatefulSets and Jobs are"
    ]


def test_a_postgres_with_standbys_is_refused_with_the_one_that_runs_here():
    """No operator runs here; the bundled Postgres does."""
    rule = "a Cluster is not run here; only Deployments, StatefulSets and Jobs are"
    assert refusals({"kind": "Cluster", "metadata": {"name": "pg"}}) == [
        f"Cluster pg: {rule}; use gateway.database: {{kind: bundled}}"
    ]


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        (
            {"workingDir": "/srv"},
            "workingDir",
            '"/srv" is not obeyed here; a process starts in the pod\'s own folder; use absolute paths',
        ),
        (
            {"restartPolicy": "Always"},
            "restartPolicy",
            (
                '"Always" is not obeyed here; a sidecar is not run; use a container, or leave out what asks for it '
                "(compileCache)"
            ),
        ),
        ({"envFrom": []}, "envFrom", "a list of 0 is not obeyed here; variables are read one by one; use env"),
        (
            {"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
            "env[IP].valueFrom.fieldRef",
            f"{{fieldPath}} is not obeyed here; {LEAVE_OUT}",
        ),
        (
            {"env": [{"name": "K", "valueFrom": {}}]},
            "env[K].valueFrom",
            "{} is not obeyed here; say exactly one of secretKeyRef",
        ),
        (
            {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}]},
            "env[K].valueFrom.secretKeyRef.optional",
            f"true is not obeyed here, false is; {LEAVE_OUT}",
        ),
        (
            {"volumeMounts": [{"mountPath": "/x", "name": "gone"}]},
            "volumeMounts[/x].name",
            '"gone" is no volume of this pod; declare it in volumes',
        ),
        (
            {"lifecycle": {"postStart": {"sleep": {}}}},
            "lifecycle.postStart",
            f"{{sleep}} is not obeyed here; {LEAVE_OUT}",
        ),
        (
            {"lifecycle": {"stopSignal": "SIGUSR1"}},
            "lifecycle.stopSignal",
            '"SIGUSR1" is not obeyed here; the signal is always SIGTERM; leave it out',
        ),
        (
            {"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}},
            "lifecycle.preStop.exec",
            f"{COMMAND} or wait by sleep",
        ),
        (
            {"lifecycle": {"preStop": {"httpGet": {"port": "drain"}}}},
            "lifecycle.preStop.httpGet.port",
            '"drain" is no port of this container; declare it in ports',
        ),
        ({"args": "x" * 99, "tty": "y" * 99}, "tty", f'"{"y" * 59}… is not obeyed here; {LEAVE_OUT}'),
    ],
)
def test_what_a_container_asks_for_and_cannot_have_is_refused(fields, path, said):
    """By its path, in init containers too."""
    assert refusals(deployment(container(**fields))) == [f"{MAIN}.{path}: {said}"]
    assert refusals(deployment(container(name="x"), pod={"initContainers": [container(**fields)]})) == [
        f"Deployment app: spec.template.spec.initContainers[main].{path}: {said}"
    ]


def test_devices_are_refused():
    """They are what other stacks ask for: the fix is another stack file."""
    found = container(resources={"limits": {"nvidia.com/gpu": 2, "memory": "1Gi"}})
    assert refusals(deployment(found), deployment(container(name="x"), pod={"initContainers": [found]})) == 2 * [
        (
            "Deployment app: container main asks for nvidia.com/gpu: 2, and processes of this machine get no devices; "
            "use a pool with gpu: none, or CLUSTER=sim"
        )
    ]


@pytest.mark.parametrize(
    ("question", "path", "said"),
    [
        ({"exec": {"command": ["x"]}}, ".exec", f"{COMMAND} or tcpSocket"),
        ({"grpc": {"port": 1}}, ".grpc", f"{{port}} is not obeyed here; {LEAVE_OUT}"),
        ({}, "", "{} is not obeyed here; say exactly one of httpGet, tcpSocket"),
        (
            {**WEB, "tcpSocket": {"port": 8000}},
            "",
            "{httpGet, tcpSocket} is not obeyed here; say exactly one of httpGet, tcpSocket",
        ),
        ({"tcpSocket": {}}, ".tcpSocket.port", "null is no port of this container; declare it in ports"),
        ({"tcpSocket": {"port": 9}}, ".tcpSocket.port", "9 is no port of this container; declare it in ports"),
        ({"httpGet": {"port": "web"}}, ".httpGet.port", '"web" is no port of this container; declare it in ports'),
        (
            {"httpGet": {"port": 8000, "scheme": "HTTPS"}},
            ".httpGet.scheme",
            f'"HTTPS" is not obeyed here, "HTTP" is; {LEAVE_OUT}',
        ),
        (
            {"httpGet": {"port": "http", "host": "example.com"}},
            ".httpGet.host",
            '"example.com" is not obeyed here; only the pod itself is asked; leave it out',
        ),
    ],
)
@pytest.mark.parametrize("kind", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_questions_nobody_can_ask_here_are_refused(kind, question, path, said):
    """By what is asked."""
    assert refusals(deployment(container(ports=PORTS, **{kind: question}))) == [f"{MAIN}.{kind}{path}: {said}"]


def test_a_grace_period_of_a_readiness_probe_is_refused():
    """As Kubernetes does; the other two obey it (test_local_pod.py)."""
    probe = {**WEB, "terminationGracePeriodSeconds": 5}
    said = "5 is not obeyed here; it ends nothing, and Kubernetes refuses it there; leave it out"
    where = f"{MAIN}.readinessProbe.terminationGracePeriodSeconds"
    found = container(ports=PORTS, startupProbe=probe, readinessProbe=probe, livenessProbe=probe)
    assert refusals(deployment(found)) == [f"{where}: {said}"]


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (
            {"activeDeadlineSeconds": 5},
            "activeDeadlineSeconds: 5 is not obeyed here; only a Job as a whole has a deadline here; set its own",
        ),
        ({"readinessGates": [{"conditionType": "x"}]}, f"readinessGates: a list of 1 is not obeyed here; {LEAVE_OUT}"),
        ({"hostAliases": []}, f"hostAliases: a list of 0 is not obeyed here; {LEAVE_OUT}"),
        ({"volumes": [{"name": "v", "hostPath": {}}]}, f"volumes[v].hostPath: {{}} is not obeyed here; {LEAVE_OUT}"),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            (
                "volumes[v].secret: {secretName} is not obeyed here; a Secret is not written to files; leave out what "
                "asks for one (gateway.redis.tls, extraVolumes)"
            ),
        ),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c", "items": []}}]},
            (
                "volumes[v].configMap.items: a list of 0 "
                "is not obeyed here; files have the names of the entries; name those"
            ),
        ),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 493}}]},
            (
                "volumes[v].configMap.defaultMode: 493 is not obeyed here; files get the permissions of your umask; "
                "leave it out, or call a script by its program"
            ),
        ),
    ],
)
def test_what_a_pod_asks_for_and_cannot_have_is_refused(pod, said):
    """By its path."""
    assert refusals(deployment(container(), pod=pod)) == [f"Deployment app: spec.template.spec.{said}"]


def test_a_pod_that_talks_to_the_api_server_is_refused():
    """Unless it gets no token: a service account alone is fine."""
    pod = {"serviceAccountName": "x"}
    assert refusals(deployment(container(), pod=pod)) == [
        (
            "Deployment app: talks to the API server (it mounts a service account token), and there is none here; "
            "gpuOperator.verifyNodes: false leaves node verification out"
        )
    ]
    assert refusals(deployment(container(), pod={**pod, "automountServiceAccountToken": False})) == []


def rule(action: str = "FailJob", **exit_codes) -> dict:
    """A Job's rule for exit status 3."""
    return {"podFailurePolicy": {"rules": [{"action": action, "onExitCodes": {"values": [3], **exit_codes}}]}}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"completions": 2}, "completions: 2 is not obeyed here, 1 is; a Job has one pod at a time here"),
        ({"parallelism": 3}, "parallelism: 3 is not obeyed here, 1 is; a Job has one pod at a time here"),
        ({"suspend": True}, f"suspend: true is not obeyed here, false is; {LEAVE_OUT}"),
        (
            {"pod": {"restartPolicy": "OnFailure"}},
            (
                'template.spec.restartPolicy: "OnFailure" is not obeyed here, '
                '"Always" or "Never" is; another try is another pod here; use Never in a Job'
            ),
        ),
        (rule("Ignore"), f'podFailurePolicy.rules[0].action: "Ignore" is not obeyed here, "FailJob" is; {LEAVE_OUT}'),
        (
            rule(operator="NotIn"),
            f'podFailurePolicy.rules[0].onExitCodes.operator: "NotIn" is not obeyed here, "In" is; {LEAVE_OUT}',
        ),
        (
            rule(containerName="other"),
            (
                'podFailurePolicy.rules[0].onExitCodes.containerName: "other" is not obeyed here: '
                "of the containers main this is not the only one; use a pod of one container"
            ),
        ),
        (
            {**rule(), "pod": {"initContainers": [container(name="first")]}},
            (
                'podFailurePolicy.rules[0].onExitCodes.containerName: "first" is not obeyed here: '
                "of the containers first, main this is not the only one; use a pod of one container"
            ),
        ),
    ],
)
def test_what_a_job_asks_for_and_cannot_have_is_refused(spec, said):
    """By its path."""
    assert refusals(job(container(), **spec)) == [f"Job app: spec.{said}"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"clusterIP": "None"},
            ['clusterIP: "None" is not obeyed here; a Service is a port of loopback and never headless; leave it out'],
        ),
        ({"sessionAffinity": "ClientIP"}, [f'sessionAffinity: "ClientIP" is not obeyed here, "None" is; {LEAVE_OUT}']),
        (
            {"ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]},
            [f'ports[dns].protocol: "UDP" is not obeyed here, "TCP" is; {LEAVE_OUT}'],
        ),
        (
            {"type": "ExternalName", "externalName": "x.y", "ports": None},
            [
                f'type: "ExternalName" is not obeyed here, "ClusterIP" or "LoadBalancer" or "NodePort" is; {LEAVE_OUT}',
                f'externalName: "x.y" is not obeyed here; {LEAVE_OUT}',
            ],
        ),
    ],
)
def test_what_a_service_asks_for_and_cannot_have_is_refused(spec, said):
    """By its path."""
    found = service()
    assert refusals({**found, "spec": {**found["spec"], **spec}}) == [f"Service app: spec.{text}" for text in said]


def test_values_of_secrets_and_files_that_are_no_text_are_refused():
    """By their names: what is in them is not shown."""
    assert refusals(
        {"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "aHVzaA=="}},
        {"kind": "ConfigMap", "metadata": {"name": "c"}, "binaryData": {"x": "AAAA"}},
    ) == [
        "ConfigMap c: binaryData: {x} is not obeyed here; only text is written out; use data",
        "Secret s: data: {k} is not obeyed here; encoded values are not read; use stringData",
    ]


def test_all_refusals_come_at_once():
    """Of all objects, in order."""
    gpu = container(resources={"limits": {"nvidia.com/gpu": 1}}, envFrom=[])
    assert [text.partition(":")[0] for text in refusals(
        {"kind": "Pod", "metadata": {"name": "p"}}, deployment(gpu, name="a"), job(gpu, name="b", completions=2)
    )] == ["Pod p", "Deployment a", "Deployment a", "Job b", "Job b", "Job b"]  # fmt: skip
