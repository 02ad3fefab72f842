"""Additions of a user in rendered objects: each where Kubernetes reads it, and nothing else changed by it.

That a cluster has what is named is not proved.
"""

from copy import deepcopy
from typing import Any

import pytest

from planning.overrides import targets
from tests.harness import ADDED, WAYS, Deployed, environment, minimal, pods, rendered, stack, two_nodes
from tests.kubernetes_rules import restricted

WORKLOADS = {"vllm-small": {"models": {"small": ADDED}}, "litellm": {"gateway": {**ADDED, "env": {"TZ": "UTC"}}}}
MOUNTS = [
    {"name": "extra-certs", "mountPath": "/certs", "readOnly": True},
    {"name": "extra-files", "mountPath": "/files"},
    {"name": "extra-prompts", "mountPath": "/data/prompts", "readOnly": True},
    {"name": "extra-spare", "mountPath": "/spare"},
    {"name": "extra-vault", "mountPath": "/vault", "readOnly": True},
]
VOLUMES = [
    {"name": "extra-certs", "secret": {"secretName": "certs"}},
    {"name": "extra-files", "persistentVolumeClaim": {"claimName": "files"}},
    {"name": "extra-prompts", "configMap": {"name": "prompts"}},
    {"name": "extra-spare", "emptyDir": {"sizeLimit": "10Gi"}},
    {
        "name": "extra-vault",
        "csi": {
            "driver": "secrets-store.csi.k8s.io",
            "readOnly": True,
            "volumeAttributes": {"secretProviderClass": "keys"},
            "nodePublishSecretRef": {"name": "vault-login"},
        },
    },
]
TENANT = {"name": "TENANT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "tenant", "key": "token"}}}


def by_name(values: list[Any]) -> list[Any]:
    """Lists of named things, whose order says nothing."""
    return sorted(values, key=lambda value: value["name"])


def settled(deployment: Any) -> Any:
    """A Deployment whose lists of named things are in the order of their names."""
    body = deepcopy(deployment)
    spec = body["spec"]["template"]["spec"]
    spec["volumes"] = by_name(spec["volumes"])
    for container in spec["containers"]:
        container["env"], container["volumeMounts"] = by_name(container["env"]), by_name(container["volumeMounts"])
    return body


def with_added(deployment: Any, variables: list[Any], disk: str) -> Any:
    """The Deployment as it has to be with everything of `ADDED`."""
    body = deepcopy(deployment)
    template = body["spec"]["template"]
    template["metadata"]["labels"] |= {"example.com/cost-center": "search"}
    template["metadata"]["annotations"] = {
        **template["metadata"].get("annotations", {}),
        "example.com/note": "two\nlines",
    }
    template["spec"]["priorityClassName"] = "serving"
    template["spec"]["volumes"] += VOLUMES
    (container,) = template["spec"]["containers"]
    container["volumeMounts"] += MOUNTS
    container["env"] += variables
    container["resources"]["requests"]["ephemeral-storage"] = disk
    return settled(body)


def account(deployed: Deployed, name: str) -> Any:
    """Annotations of a ServiceAccount, but for the engine's own."""
    metadata = deployed.object("ServiceAccount", name)["metadata"]
    return {key: text for key, text in metadata.get("annotations", {}).items() if not key.startswith("pulumi.com/")}


@pytest.mark.parametrize(
    ("name", "variables", "disk"),
    [
        ("vllm-small", [TENANT], ("22592Mi", "32832Mi")),
        ("litellm", [TENANT, {"name": "TZ", "value": "UTC"}], ("2112Mi", "12352Mi")),
    ],
)
def test_what_is_added_is_all_that_changes(name: str, variables: list[Any], disk: tuple[str, str]):
    """The pods of one workload are those of before with what its settings add; the pods of the other do not change."""
    plain, added = stack(minimal()), stack(minimal(**WORKLOADS[name]))
    (other,) = WORKLOADS.keys() - {name}
    before = plain.object("Deployment", name)
    asked = before["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"]
    assert (asked, settled(added.object("Deployment", name))) == (disk[0], with_added(before, variables, disk[1]))
    assert added.object("Deployment", other) == plain.object("Deployment", other)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_account_has_its_annotations(name: str):
    """They are on the ServiceAccount of the workload alone, which still has no token."""
    deployed = stack(minimal(**WORKLOADS[name]))
    (other,) = WORKLOADS.keys() - {name}
    assert (account(deployed, name), account(deployed, other)) == (ADDED["serviceAccountAnnotations"], {})


def test_selectors_are_as_before():
    """Service, budget and rules find pods by the labels they always had."""
    plain, added = stack(minimal()), stack(minimal(models={"small": ADDED}))
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        assert added.object(kind, "vllm-small") == plain.object(kind, "vllm-small")


def test_every_pod_of_a_group_has_what_is_added():
    """Leader and workers of a replica over several nodes have the same class, variables and mounts."""
    (model,) = two_nodes()["models"]
    group = [pod for pod in pods(stack(two_nodes(models={model: ADDED}))) if pod.kind == "LeaderWorkerSet"]
    assert [
        (
            pod.spec["priorityClassName"],
            environment(pod.spec["containers"][0])["TENANT_TOKEN"],
            [mount for mount in pod.spec["containers"][0]["volumeMounts"] if mount["name"].startswith("extra-")],
        )
        for pod in group
    ] == [("serving", "secret:tenant/token", MOUNTS)] * 2


def test_pods_stay_restricted():
    """No kind of volume that can be added is one that the Pod Security profile refuses."""
    deployed = stack(minimal(models={"small": ADDED}, gateway=ADDED))
    assert [(pod.owner, restricted(pod.spec)) for pod in pods(deployed) if restricted(pod.spec)] == []


def test_ways_are_rules_of_the_workloads_that_they_are_of():
    """Beside the rules that each has: of a server, of what fetches weights, and an object of the gateway's own."""
    plain, opened = stack(minimal()), stack(minimal(network=WAYS))
    closed = ["fd00:42::42/128", "fd00:c1::a9fe:a9fe/128", "fd00:ec2::23/128", "fd00:ec2::254/128", "fd20:ce::254/128"]
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "::/0", "except": [*closed, "fe80::/10"]}}]
    out = {"to": blocks, "ports": [{"port": 5000, "protocol": "TCP", "endPort": 5010}]}
    otel = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tracing"}},
        "podSelector": {"matchLabels": {"app": "otel"}},
    }
    bench = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "bench"}}}
    specs = {
        "vllm-small": {"ingress": [{"from": [bench], "ports": [{"port": 9000, "protocol": "UDP"}]}], "egress": [out]},
        "model-weights-fetch": {"egress": [out]},
    }
    for name, added in specs.items():
        spec = deepcopy(plain.object("NetworkPolicy", name)["spec"])
        for direction, rules in added.items():
            spec[direction] = [*spec.get(direction, []), *rules]
        spec["policyTypes"] = [kind for kind in ("Ingress", "Egress") if kind.lower() in spec]
        assert opened.object("NetworkPolicy", name)["spec"] == spec
    assert opened.object("NetworkPolicy", "litellm-yours")["spec"] == {
        **{key: plain.object("NetworkPolicy", "litellm")["spec"][key] for key in ("podSelector",)},
        "policyTypes": ["Egress"],
        "egress": [out, {"to": [otel], "ports": [{"port": 4317, "protocol": "TCP"}]}],
    }
    others = {body["metadata"]["name"] for body in plain.objects("NetworkPolicy")} - specs.keys()
    assert [opened.object("NetworkPolicy", name) for name in others] == [
        plain.object("NetworkPolicy", name) for name in others
    ]


OVERRIDES = {
    "Deployment/vllm-small": {
        "spec": {
            "minReadySeconds": 5,
            "template": {
                "spec": {
                    "schedulerName": "volcano",
                    "volumes": [{"name": "yours-info", "downwardAPI": {"items": []}}],
                    "containers": [
                        {"name": "vllm", "volumeMounts": [{"name": "yours-info", "mountPath": "/info"}], "tty": True}
                    ],
                }
            },
        }
    },
    "PodDisruptionBudget/litellm": {"spec": {"maxUnavailable": "50%"}},
}


def test_patches_change_their_objects_and_nothing_else():
    """Entries of lists are merged by name, what the stack declares of the object stays, and others are as before."""
    plain, patched = stack(minimal()), stack(minimal(overrides=OVERRIDES))
    body, budget = (
        deepcopy(plain.object(*key.split("/"))) for key in ("Deployment/vllm-small", "PodDisruptionBudget/litellm")
    )
    body["spec"]["minReadySeconds"] = 5
    spec = body["spec"]["template"]["spec"]
    spec["schedulerName"] = "volcano"
    spec["volumes"].insert(0, {"name": "yours-info", "downwardAPI": {"items": []}})
    spec["containers"][0]["volumeMounts"].insert(0, {"name": "yours-info", "mountPath": "/info"})
    spec["containers"][0]["tty"] = True
    budget["spec"]["maxUnavailable"] = "50%"
    changed = {("Deployment", "vllm-small"): body, ("PodDisruptionBudget", "litellm"): budget}
    assert [(item.kind, item.name, item.body) for item in patched.manifests] == [
        (item.kind, item.name, changed.get((item.kind, item.name), item.body)) for item in plain.manifests
    ]
    assert [pod.owner for pod in pods(patched) if restricted(pod.spec)] == []


@pytest.mark.parametrize("name", ["minimal", "two-nodes", "hpa-canary", "own-keys"])
def test_what_can_be_patched_is_declared(name: str):
    """Every object that a patch may be of is there under that name, and its container too."""
    deployed = rendered(f"variant:{name}")
    declared = {f"{item.kind}/{item.name}" for item in deployed.manifests}
    known = targets(deployed.plan.servers, deployed.plan.gateway)
    containers = {
        pod.owner.replace(" ", "/"): {container["name"] for container in pod.spec["containers"]}
        for pod in pods(deployed)
    }
    assert known.keys() - declared == set()
    assert {key: {target.container} for key, target in known.items() if target.container} == {
        key: containers[key] for key, target in known.items() if target.container
    }
