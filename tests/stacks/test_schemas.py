"""Every rendered object against the published schemas: Kubernetes' own, strict, and those of the custom resources.

Unknown fields are errors, as they are for the API server's strict field validation. Not proved: defaults and rules that
are code or CEL on a cluster, admission webhooks, and the values of Helm charts.
"""

from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from tests.harness import CRDS, VARIANTS, every_stack, planned_jobs, rendered, stack

EVERY = pytest.mark.parametrize("name", every_stack())
# GKE's ComputeClass is not among the collected schemas: Google publishes none.
WITHOUT_SCHEMA = {"ComputeClass"}
BUILT_IN = {"", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"}
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


@pytest.fixture(autouse=True, scope="module")
def _schemas_read_once():
    """The package reads megabytes of JSON for every object; here each file is read once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


@cache
def crd_schemas() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    """(apiVersion, kind) → validator that allows no unknown field."""
    found = {}
    for file in sorted(CRDS.glob("*.yaml")):
        for definition in yaml.load_all(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if not definition or definition["kind"] != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[key] = jsonschema.Draft202012Validator(schema)
    return found


def closed(schema: Any) -> Any:
    """An OpenAPI schema as JSON schema without unknown fields, except where the CRD keeps them."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {
        key: value if key in ("enum", "default", "required", "example") else closed(value)
        for key, value in schema.items()
    }
    properties = schema.get("properties")
    if isinstance(properties, dict) and "type" in schema:
        result["properties"] = {name: closed(item) for name, item in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        result["type"] = [schema["type"], "null"]
    return result


def is_custom(body: Any) -> bool:
    """Whether an object's kind is defined by a CRD."""
    return body["apiVersion"].rpartition("/")[0] not in BUILT_IN


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
    """Every custom resource whose schema is known is valid and has no unknown field; one kind has none."""
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
        "ComputeClass",
        "EC2NodeClass",
        "HTTPRoute",
        "LeaderWorkerSet",
        "NodePool",
        "PodMonitor",
        "PrometheusRule",
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
