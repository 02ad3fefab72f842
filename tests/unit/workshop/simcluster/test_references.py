"""What a pod refers to and what of it is missing; that a pod waits for it is for the cluster tests."""

from typing import Any

import pytest

from workshop.simcluster.references import (
    BAD_ENVIRONMENT,
    BAD_MOUNT,
    READY_TO_START,
    Reference,
    references,
    status,
    unstarted,
    waits,
)
from workshop.simcluster.stages import Behaviour, stages

ENVIRONMENT = [
    {"name": "plain", "value": "v"},
    {"name": "field", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "a", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    {"name": "b", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    {"name": "c", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "k", "optional": True}}},
]
VOLUMES = [
    {"name": "empty", "emptyDir": {}},
    {"name": "a", "secret": {"secretName": "vs"}},
    {"name": "b", "configMap": {"name": "vc", "items": [{"key": "k", "path": "p"}]}},
    {"name": "c", "configMap": {"name": "maybe", "optional": True}},
    {
        "name": "d",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"secret": {"name": "ps", "items": [{"key": "k", "path": "p"}]}},
                {"configMap": {"name": "pc"}},
            ]
        },
    },
]


def pod(node: str = "node", conditions: list[dict[str, str]] | None = None, **more: Any) -> dict[str, Any]:
    """A pod with every kind of reference."""
    containers = [{"name": "main", "env": ENVIRONMENT, "envFrom": [{"secretRef": {"name": "whole"}}]}]
    first = [{"name": "first", "envFrom": [{"configMapRef": {"name": "cw"}}, {"secretRef": {"name": "whole"}}]}]
    spec = {"nodeName": node, "volumes": VOLUMES, "initContainers": first, "containers": containers}
    return {"metadata": {}, "spec": spec, "status": {"conditions": conditions}, **more}


def test_references_of_a_pod():
    """Volumes, projected ones too, and environments of all containers, each once; nothing that is optional."""
    key = frozenset({"k"})
    assert references(pod()) == [
        Reference("Secret", "vs", mounted=True),
        Reference("ConfigMap", "vc", key, mounted=True),
        Reference("Secret", "ps", key, mounted=True),
        Reference("ConfigMap", "pc", mounted=True),
        Reference("ConfigMap", "cw"),
        Reference("Secret", "whole"),
        Reference("Secret", "s", key),
        Reference("ConfigMap", "c", key),
    ]


MOUNTED, READ = Reference("ConfigMap", "m", frozenset({"x", "y"}), mounted=True), Reference("Secret", "s")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ({("ConfigMap", "m"): frozenset({"x", "y", "z"}), ("Secret", "s"): frozenset()}, None),
        (
            {("ConfigMap", "m"): frozenset({"x", "y"}), ("Secret", "s"): None},
            (BAD_ENVIRONMENT, "Secret 's' does not exist"),
        ),
        (
            {("ConfigMap", "m"): frozenset({"x"}), ("Secret", "s"): None},
            (BAD_MOUNT, "ConfigMap 'm' has no key y; Secret 's' does not exist"),
        ),
    ],
)
def test_what_a_pod_says_of_it(present: dict[tuple[str, str], frozenset[str] | None], expected: tuple[str, str] | None):
    """The kubelet's condition and reasons, with every name that is missing; and the page for a person has both."""
    found = status([MOUNTED, READ], present)
    if expected is None:
        assert found == {"conditions": [{"type": READY_TO_START, "status": "True"}]}
        return
    why = dict(zip(("reason", "message"), expected, strict=True))
    assert found == {"conditions": [{"type": READY_TO_START, "status": "False", **why}], **why}
    assert unstarted({"metadata": {}, "status": found}) == f"{expected[0]}: {expected[1]}"


def test_pods_that_are_looked_at():
    """Those on a node that have not started and have not been let: nothing else is asked for."""
    said = [{"type": READY_TO_START, "status": value} for value in ("False", "True")]
    plain = pod()
    plain["spec"] |= {"volumes": [], "initContainers": [], "containers": [{"name": "main"}]}
    assert [
        waits(item)
        for item in (
            pod(),
            pod(conditions=said[:1]),
            pod(conditions=said[1:]),
            pod(node=""),
            pod(status={"podIP": "10.0.0.1"}),
            pod(metadata={"deletionTimestamp": "now"}),
            plain,
        )
    ] == [True, True, False, False, False, False, False]


def test_a_kubelet_waits_for_the_condition():
    """The stage in which a pod starts is the only one that asks for it."""
    asking = [item["metadata"]["name"] for item in stages(Behaviour()) if READY_TO_START in str(item)]
    assert asking == ["pod-created"]
