"""Every rendered object against the published schemas: Kubernetes' own, strict, and those of the custom resources.

Unknown fields are errors, as they are for the API server's strict field validation. Not proved: defaults and rules that
are code or CEL on a cluster, admission webhooks, and the values of Helm charts.
"""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.harness import CRDS, VARIANTS, every_stack, planned_jobs, rendered, stack
from tests.schemas import WITHOUT_SCHEMA, crd_schemas, faults, is_custom

EVERY = pytest.mark.parametrize("name", every_stack())
HAVE_CRDS = pytest.mark.skipif(
    not CRDS.is_dir(), reason="the folder ../shared/crds is not there: custom resources were not checked"
)
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1.0.0"}]}},
    },
}


def bodies(name: str, *, custom: bool) -> list[Any]:
    """The objects and patches of a stack that are, or are not, custom resources; Helm releases are neither."""
    return [item.body for item in rendered(name).manifests if item.kind != "Release" and is_custom(item.body) == custom]


@EVERY
def test_objects_meet_the_schema_of_the_planned_kubernetes_version(name: str):
    """Every built-in object and every patch is valid, and has no unknown field, in the stack's Kubernetes version."""
    version = rendered(name).plan.kubernetes
    found = bodies(name, custom=False)
    assert {kubernetes_validate.validate(body, version, strict=True) for body in found} == {version}
    kinds = {body["kind"] for body in found}
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= kinds
    assert ("Job" in kinds) == any(planned_jobs(rendered(name).plan).values())


@EVERY
def test_objects_keep_the_rules_that_no_schema_has(name: str):
    """Names, labels, quantities, numbers of 32 bits, and the size of annotations; releases included."""
    deployed = rendered(name)
    assert [fault for item in deployed.manifests for fault in faults(item, deployed.plan.kubernetes)] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"replicaz": 1}, "'replicaz' was unexpected"),
        ({"replicas": "one"}, "is not of type 'integer'"),
        ({"template": {"spec": {"containers": [{"image": "i:1.0.0"}]}}}, "'name' is a required property"),
    ],
)
def test_a_wrong_object_is_really_noticed(change: dict[str, Any], message: str):
    """A misspelt field, a wrong type and a missing part are errors."""
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **change}}
    with pytest.raises(kubernetes_validate.ValidationError, match=message):
        kubernetes_validate.validate(wrong, "1.36", strict=True)


@HAVE_CRDS
@EVERY
def test_custom_resources_meet_their_schemas(name: str):
    """Every custom resource whose schema is known is valid and has no unknown field; a few kinds have none."""
    faults = []
    for body in bodies(name, custom=True):
        validator = crd_schemas().get((body["apiVersion"], body["kind"]))
        if validator is None:
            faults += [] if body["kind"] in WITHOUT_SCHEMA else [f"{body['kind']}: no schema"]
            continue
        faults += [
            f"{body['kind']} {body['metadata']['name']} {error.json_path}: {error.message}"
            for error in validator.iter_errors(body)
        ]
    assert faults == []


@HAVE_CRDS
def test_every_kind_of_custom_resource_is_among_the_stacks():
    """The stacks together have each custom resource the program can declare, so none escapes its schema."""
    kinds = {body["kind"] for name in every_stack() for body in bodies(name, custom=True)}
    assert kinds == {
        "Cluster",
        "ComputeClass",
        "EC2NodeClass",
        "GCPBackendPolicy",
        "HTTPRoute",
        "HealthCheckPolicy",
        "LeaderWorkerSet",
        "NodePool",
        "PodMonitor",
        "PrometheusRule",
        "Route",
        "ScaledObject",
    }


@HAVE_CRDS
@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("ScaledObject", ("spec", "minReplicaCountt"), 1, "minReplicaCountt"),
        ("ScaledObject", ("spec", "triggers"), None, "is not of type 'array'"),
        ("LeaderWorkerSet", ("spec", "leaderWorkerTemplate", "sizes"), 2, "sizes"),
        (
            "LeaderWorkerSet",
            ("spec", "leaderWorkerTemplate", "workerTemplate", "spec", "hostNetworks"),
            True,
            "hostNetworks",
        ),
        ("PodMonitor", ("spec", "podMetricEndpoints"), [], "podMetricEndpoints"),
        ("NodePool", ("spec", "disruption", "consolidateAfter"), 5, "is not of type 'string'"),
    ],
)
def test_a_wrong_custom_resource_is_really_noticed(kind: str, path: tuple[str, ...], value: Any, message: str):
    """A misspelt field and a wrong type are errors, at any depth."""
    body = yaml.safe_load(yaml.safe_dump(stack(VARIANTS["two-nodes"]).objects(kind)[0]))
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    validator = crd_schemas()[(body["apiVersion"], kind)]
    assert [error for error in validator.iter_errors(body) if message in error.message]
