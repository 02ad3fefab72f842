"""What is published of the shape of objects: Kubernetes' own schemas, strict, and those of custom resources.

Not known to them: defaults and rules that are code or CEL on a cluster. What of these is simple is written down here.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

from preview.rendering.manifests import Manifest
from tests.harness import CRDS, walk

# Not among the collected schemas: GKE's ComputeClass, of which Google publishes none; CloudNativePG's Cluster, which a
# simulated cluster checks (workshop/simcluster/crds.yaml); and kinds of edges, which tests/components/test_edges.py
# holds to their schemas where those are there.
WITHOUT_SCHEMA = {"ComputeClass", "Cluster", "GCPBackendPolicy", "HealthCheckPolicy", "Route"}
BUILT_IN = {
    "",
    "apps",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
}
# The newest version that kubernetes-validate has schemas of.
NEWEST_SCHEMA = 37
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"\d{1,12}(\.\d{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
MOST_ANNOTATION_BYTES = 256 * 1024


@cache
def _read_once() -> None:
    """The package reads megabytes of JSON for every object; here each file is read once."""
    utils.schema_contents = cache(utils.schema_contents)


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


def faults(manifest: Manifest, kubernetes: str) -> list[str]:
    """Everything that is wrong with one rendered object, patch or release; empty when a cluster would take it."""
    body: Any = manifest.body
    name = f"{manifest.kind} {manifest.name}"
    found = [f"{name}: {fault}" for fault in _rules(body)]
    if manifest.kind == "Release":
        return found
    if not is_custom(body):
        _read_once()
        version = f"1.{min(int(kubernetes.partition('.')[2]), NEWEST_SCHEMA)}"
        try:
            kubernetes_validate.validate(body, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{name}: {error.message}")
    elif validator := crd_schemas().get((body["apiVersion"], body["kind"])):
        found += [f"{name} {error.json_path}: {error.message}" for error in validator.iter_errors(body)]
    return found


def _rules(body: Any) -> Iterator[str]:
    """What the API server checks besides schemas, as far as it depends on what a user may write."""
    for path, value in walk(body):
        last = path.rpartition(".")[2]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**31:
            yield f"{path}: {value} is no number of 32 bits"
        if isinstance(value, str) and "\0" in value:
            yield f"{path}: holds NUL"
        if last == "metadata" and isinstance(value, dict):
            yield from _metadata(path, value)
        if last in ("matchLabels", "nodeSelector") and isinstance(value, dict):
            yield from _labels(path, value)
        if last in ("requests", "limits") and isinstance(value, dict):
            yield from (f"{path}.{key}: {item}" for key, item in value.items() if not QUANTITY.fullmatch(str(item)))
        if isinstance(value, dict) and ".env[" in path and not VARIABLE.fullmatch(str(value.get("name", "x"))):
            yield f"{path}: {value['name']!r} is no name of a variable"


def _metadata(path: str, metadata: dict[str, Any]) -> Iterator[str]:
    name = metadata.get("name", "x")
    if len(name) > 253 or not SUBDOMAIN.fullmatch(name):
        yield f"{path}.name: {name!r}"
    yield from _labels(f"{path}.labels", metadata.get("labels") or {})
    given = metadata.get("annotations") or {}
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in given.items()) > MOST_ANNOTATION_BYTES:
        yield f"{path}.annotations: too many bytes"
    yield from (f"{path}.annotations: {key!r}" for key in given if not LABEL_KEY.fullmatch(key))


def _labels(path: str, labels: dict[str, Any]) -> Iterator[str]:
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(str(value)):
            yield f"{path}: {key!r}: {value!r}"
