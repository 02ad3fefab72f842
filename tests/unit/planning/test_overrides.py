"""Patches over objects: how they merge, what they may not change, and of which objects they are.

That a cluster accepts what comes out is not proved.
"""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from catalog.objects import FieldKind, load_objects
from planning.stack.merging import leaves, merged
from tests.unit.small_stack import planned, refusals, serving

SHAPES = load_objects()
DEFINITIONS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema/v1.36.0-local/_definitions.json"
CUSTOM = ("LeaderWorkerSet", "LeaderWorkerTemplate", "ScaledObject")
POD = {
    "nodeSelector": {"a": "1"},
    "tolerations": [{"key": "a"}],
    "containers": [
        {"name": "vllm", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x", "y"]},
        {"name": "side", "image": "s"},
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}],
}
MERGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "entries with a key": (
        {"containers": [{"name": "vllm", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}]},
        {
            "containers": [
                {
                    "name": "vllm",
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "B", "value": "3"},
                        {"name": "C", "value": "4"},
                    ],
                    "args": ["x", "y"],
                },
                POD["containers"][1],
            ]
        },
    ),
    "a new entry, before what the patch does not name": (
        {"volumes": [{"name": "yours-a", "configMap": {"name": "a"}}]},
        {"volumes": [{"name": "yours-a", "configMap": {"name": "a"}}, *POD["volumes"]]},
    ),
    "a list without a key": ({"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
    "a mapping": ({"nodeSelector": {"b": "2"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
    "null": ({"nodeSelector": None, "dnsPolicy": None}, {"nodeSelector": "gone"}),
    "null within an entry": (
        {"containers": [{"name": "side", "image": None}]},
        {"containers": [POD["containers"][0], {"name": "side"}]},
    ),
}


@pytest.mark.parametrize("case", MERGES)
def test_a_patch_merges_as_kubernetes_merges_strategic_ones(case: str):
    """By the keys of each list, in the order that the API server gives; all else is as before."""
    patch, changed = MERGES[case]
    expected = {key: value for key, value in {**POD, **changed}.items() if value != "gone"}
    assert merged(POD, patch, "PodSpec", SHAPES) == expected


def test_finalizers_are_added():
    """A list of words that Kubernetes merges keeps its own."""
    assert merged({"finalizers": ["a", "b"]}, {"finalizers": ["b", "c"]}, "ObjectMeta", SHAPES) == {
        "finalizers": ["a", "b", "c"]
    }


def test_fields_and_keys_are_those_of_kubernetes():
    """Every type has the fields of the published schema, and its lists merge by the published keys."""
    definitions = json.loads(DEFINITIONS.read_text(encoding="utf-8"))["$defs"]
    published: dict[str, list[Any]] = {}
    for name, definition in definitions.items():
        published.setdefault(name.rpartition(".")[2], []).append(definition.get("properties", {}))
    for name, fields in SHAPES.items():
        if name.startswith(CUSTOM):
            continue
        candidates = [{key: _merge(field) for key, field in found.items()} for found in published[name]]
        ours = {key: (kind.key, kind.adds) for key, kind in fields.items()}
        assert ours in [
            {key: how for key, how in found.items() if key not in ("status", "managedFields")} for found in candidates
        ], name


def _merge(field: Any) -> tuple[str | None, bool]:
    merges = "merge" in field.get("x-kubernetes-patch-strategy", "")
    key = field.get("x-kubernetes-patch-merge-key")
    return (key, merges and key is None) if "array" in str(field.get("type")) else (None, False)


def test_kinds_are_read_from_words():
    """A list by a key, a list of words that are added, one that is replaced, a mapping with free keys."""
    assert [
        SHAPES["PodSpec"]["containers"],
        SHAPES["ObjectMeta"]["finalizers"],
        SHAPES["PodSpec"]["tolerations"],
        SHAPES["PodSpec"]["nodeSelector"],
    ] == [
        FieldKind("Container", is_list=True, key="name"),
        FieldKind("text", is_list=True, adds=True),
        FieldKind("Toleration", is_list=True),
        FieldKind("text", is_free=True),
    ]


WORKLOAD = "Deployment/vllm-m"


def pod(**spec: Any) -> dict[str, Any]:
    """A patch of the pods of a Deployment."""
    return {"spec": {"template": {"spec": spec}}}


def container(**fields: Any) -> dict[str, Any]:
    """The same of the server's container."""
    return pod(containers=[{"name": "vllm", **fields}])


IN_POD, IN_CONTAINER = ".spec.template.spec", ".spec.template.spec.containers[0]"
REFUSED: dict[str, tuple[str, Any, str]] = {
    "no such object": (
        "Deployment/vllm-x",
        pod(dnsPolicy="Default"),
        ": no such object can be changed; did you mean 'Deployment/vllm-m'?",
    ),
    "a kind with a setting": (
        "NetworkPolicy/vllm-m",
        {"spec": {}},
        ": is decided by network.extraEgress and network.extraIngress; set those",
    ),
    "an unknown field": (
        WORKLOAD,
        pod(dnsConfigs={}),
        f"{IN_POD}.dnsConfigs: PodSpec has no such field; did you mean 'dnsConfig'?",
    ),
    "another kind of value": (
        WORKLOAD,
        {"spec": {"minReadySeconds": True}},
        ".spec.minReadySeconds: must be a whole number",
    ),
    "an entry without its key": (
        WORKLOAD,
        pod(containers=[{"stdin": True}]),
        f"{IN_CONTAINER}: needs name, by which Kubernetes tells which entry is meant",
    ),
    "a directive": (
        WORKLOAD,
        {"$patch": "replace"},
        ".$patch: directives are not known here; null takes a value away, and lists without a key are replaced",
    ),
    "selectors": (
        WORKLOAD,
        {"spec": {"selector": {"matchLabels": {"a": "b"}}}},
        ".spec.selector: pods are found by it",
    ),
    "replicas": (WORKLOAD, {"spec": {"replicas": 2}}, ".spec.replicas: is decided by models.m.replicas; set that"),
    "null above it": (
        WORKLOAD,
        {"spec": {"template": None}},
        ".spec.template: would take away what the stack needs; leave it out",
    ),
    "the name": (
        WORKLOAD,
        {"metadata": {"name": "x"}},
        ".metadata.name: is who it is to the engine, the cluster and everything that names it",
    ),
    "labels of selectors": (
        WORKLOAD,
        {"metadata": {"labels": {"llm-stack.io/model": "x"}}},
        (
            ".metadata.labels.llm-stack.io/model: labels of llm-stack.io are not yours: pods are found by such; write "
            "one of your own, e.g. example.com/model"
        ),
    ),
    "probes": (
        WORKLOAD,
        container(livenessProbe={"periodSeconds": 1}),
        f"{IN_CONTAINER}.livenessProbe: the kubelet asks as the times of a start demand",
    ),
    "the image": (
        WORKLOAD,
        container(image="x"),
        f"{IN_CONTAINER}.image: is decided by images, which pins and lists it; set that",
    ),
    "keys": (
        WORKLOAD,
        container(env=[{"name": "VLLM_API_KEY", "value": "x"}]),
        f"{IN_CONTAINER}.env: is decided by models.m.env and models.m.secretEnv; set those",
    ),
    "GPUs": (
        WORKLOAD,
        container(resources={"limits": {"nvidia.com/gpu": 8}}),
        (
            f"{IN_CONTAINER}.resources: is planned, and nodes have room for it; set models.m.cpus, models.m.memoryGib, "
            "or gpuPools.NAME.resources"
        ),
    ),
    "a capability": (
        WORKLOAD,
        container(securityContext={"capabilities": {"add": ["IPC_LOCK"]}}),
        f"{IN_CONTAINER}.securityContext: pods are restricted, by the Pod Security of their namespace",
    ),
    "the node's network": (
        WORKLOAD,
        pod(hostNetwork=True),
        f"{IN_POD}.hostNetwork: pods are restricted, by the Pod Security of their namespace",
    ),
    "another container": (
        WORKLOAD,
        pod(containers=[{"name": "side"}]),
        (
            f"{IN_CONTAINER}.name: no container is called 'side', and pods have those of the stack alone; its one is "
            "vllm"
        ),
    ),
    "a volume of the stack's": (
        WORKLOAD,
        pod(volumes=[{"name": "models", "configMap": {"name": "x"}}]),
        f"{IN_POD}.volumes[0].name: must begin with yours-, so that none of the stack's is meant",
    ),
    "a path of the host": (
        WORKLOAD,
        pod(volumes=[{"name": "yours-a", "hostPath": {"path": "/"}}]),
        (
            f"{IN_POD}.volumes[0].hostPath: is refused by restricted, or its room is counted nowhere; use "
            "models.m.extraVolumes, or one of projected, downwardAPI, ephemeral, configMap, secret, csi, "
            "persistentVolumeClaim"
        ),
    ),
    "a mount over the weights": (
        WORKLOAD,
        container(volumeMounts=[{"name": "yours-a", "mountPath": "/models/x"}]),
        f"{IN_CONTAINER}.volumeMounts[0].mountPath: /models/x would hide /models, where its weights are",
    ),
    "a token of Kubernetes": (
        WORKLOAD,
        pod(volumes=[{"name": "yours-a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
        f"{IN_POD}.volumes[0].projected: pods have no token of Kubernetes; give the audience it is for",
    ),
    "a way in": (
        "Service/litellm",
        {"spec": {"type": "LoadBalancer"}},
        ".spec.type: clients reach pods as the stack says; set gateway.expose for another way in",
    ),
    "what scales": (
        "ScaledObject/vllm-m",
        {"spec": {"triggers": []}},
        ".spec.triggers: is what was planned to come to rest; set models.m.scaling",
    ),
    "a secret": (
        "ScaledObject/vllm-m",
        {"spec": {"advanced": {"x": {"password": "p"}}}},
        ".spec.advanced.x.password: looks like a secret, which everybody would see; name a Secret that exists",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_stack_promises_stays(case: str):
    """Each is refused by its path, with the reason and the setting that there is."""
    name, patch, message = REFUSED[case]
    raw = {**serving(replicas={"min": 1, "max": 2}), "overrides": {name: patch}}
    assert refusals(raw) == [f"overrides.{name}{message}"]


def test_what_is_yours_is_said():
    """A patch is in the plan as it is written, and a warning names its fields."""
    patch = pod(schedulerName="volcano", dnsConfig={"options": [{"name": "ndots", "value": "2"}]})
    plan = planned({**serving(), "overrides": {WORKLOAD: patch}})
    assert (plan.overrides, [line for line in plan.warnings if line.startswith("overrides")]) == (
        {WORKLOAD: patch},
        [
            (
                f"overrides.{WORKLOAD}: spec.template.spec.schedulerName, spec.template.spec.dnsConfig.options[ndots]"
                ".name, spec.template.spec.dnsConfig.options[ndots].value are yours, and nothing is planned with it"
            )
        ],
    )
    assert dict(leaves({"a": [], "b": [{"name": "c", "d": 1}]})) == {"a": [], "b[c].name": "c", "b[c].d": 1}
