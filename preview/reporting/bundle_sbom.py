"""A bundle as a bill of materials: CycloneDX 1.6, JSON.

Made of what the bundle says alone, without a date or a drawn number, so that the same stack gives the same document.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from preview.reporting.bundle import Bundle, BundleChart, BundleImage, Weights

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
# Types of package-url whose names are theirs (package-url/purl-spec, PURL-TYPES; helm is among those proposed).
HUBS = {"huggingface": "huggingface", "modelscope": "generic"}


def cyclonedx(bundle: Bundle) -> str:
    """Images as containers, charts as applications, checkpoints as models with their files."""
    components = [
        *(_image(image) for image in bundle.images),
        *(_chart(chart) for chart in bundle.charts),
        # one checkpoint may be kept in several places
        *{_reference(checkpoint): _weights(checkpoint) for checkpoint in bundle.weights}.values(),
    ]
    stack = {"type": "application", "bom-ref": "stack", "name": f"{bundle.project}/{bundle.stack}"}
    document: dict[str, Any] = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": stack,
            "properties": [_property("not-known", line) for line in bundle.not_known],
        },
        "components": components,
        "dependencies": [{"ref": "stack", "dependsOn": [component["bom-ref"] for component in components]}],
    }
    drawn = uuid5(NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return json.dumps({"serialNumber": f"urn:uuid:{drawn}", **document}, indent=2, ensure_ascii=False) + "\n"


def _property(name: str, value: str) -> Mapping[str, str]:
    return {"name": f"llm-stack:{name}", "value": value}


def _image(image: BundleImage) -> dict[str, Any]:
    named, _, digest = image.source.partition("@")
    place, _, last = named.rpartition("/")
    name, _, tag = last.partition(":")
    repository = f"{place}/{name}" if place else name
    # the version of an oci purl is a digest, and nothing else
    known = f"@{quote(digest, safe='')}" if digest else ""
    qualifiers = f"repository_url={quote(repository, safe='')}" + (f"&tag={quote(tag)}" if tag else "")
    return {
        "type": "container",
        "bom-ref": f"image:{image.source}",
        "name": repository,
        "version": tag or digest,
        "purl": f"pkg:oci/{quote(name)}{known}?{qualifiers}",
        **({"hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]} if digest else {}),
        "properties": [
            *(_property("used-by", user) for user in image.used_by),
            *([_property("pulled-as", image.reference)] if image.reference != image.source else []),
        ],
    }


def _chart(chart: BundleChart) -> dict[str, Any]:
    place = chart.repository or chart.reference.rpartition("/")[0]
    address = f"?repository_url={quote(place, safe='')}" if place else ""
    return {
        "type": "application",
        "bom-ref": f"chart:{chart.name}",
        "name": chart.name,
        "version": chart.version,
        "purl": f"pkg:helm/{quote(chart.name)}@{quote(chart.version, safe='')}{address}",
        "properties": [_property("kind", "helm chart")],
    }


def _reference(checkpoint: Weights) -> str:
    return f"weights:{checkpoint.repository}@{checkpoint.revision}"


def _weights(checkpoint: Weights) -> dict[str, Any]:
    ref = _reference(checkpoint)
    files = [
        {
            "type": "file",
            "bom-ref": f"{ref}/{file.name}",
            "name": file.name,
            **({"hashes": [{"alg": "SHA-256", "content": file.sha256}]} if file.sha256 else {}),
            "properties": [_property("bytes", str(file.size_bytes))],
        }
        for file in checkpoint.files
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": checkpoint.repository,
        "version": checkpoint.revision,
        "purl": f"pkg:{HUBS[checkpoint.hub]}/{quote(checkpoint.repository)}@{quote(checkpoint.revision, safe='')}",
        "properties": [_property("bytes" if checkpoint.counted else "bytes-estimated", str(checkpoint.size_bytes))],
        **({"components": files} if files else {}),
    }
