"""A bundle written down: for a person, for a program, for Hauler; the other ways have modules of their own."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import yaml

from preview.reporting.bundle import Bundle, BundleChart, Weights
from preview.reporting.bundle_sbom import cyclonedx
from preview.reporting.bundle_script import copy_script
from preview.reporting.wording import gib

# Where a hub has a file, by its kind (huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE; modelscope
# hub/file_download.py, get_file_download_url).
ENDPOINTS = {"huggingface": "https://huggingface.co", "modelscope": "https://www.modelscope.cn"}
FILE_URLS = {
    "huggingface": "{endpoint}/{repository}/resolve/{revision}/{name}",
    "modelscope": "{endpoint}/api/v1/models/{repository}/repo?Revision={revision}&FilePath={name}",
}
HAULER = "content.hauler.cattle.io/v1"


def text(bundle: Bundle) -> str:
    """For a person: one line per thing, what it is for below it, and last what is not known."""
    return "\n".join(_lines(bundle)) + "\n"


def _lines(bundle: Bundle) -> Iterator[str]:
    yield f"{bundle.project} · {bundle.stack}: what a network without internet needs"
    yield f"\nImages ({len(bundle.images)})"
    for image in bundle.images:
        yield f"  {image.source}"
        if image.reference != image.source:
            yield f"    pulled as {image.reference}"
        yield f"    {', '.join(image.used_by)}"
    yield f"\nCharts ({len(bundle.charts)})"
    for chart in bundle.charts:
        yield f"  {chart.name} {chart.version} of {chart.repository or chart.reference}"
    total = sum(checkpoint.size_bytes for checkpoint in bundle.weights)
    yield f"\nWeights ({len(bundle.weights)}, {gib(total / 2**30)} GiB)"
    for checkpoint in bundle.weights:
        size = f"{'' if checkpoint.counted else 'about '}{checkpoint.size_bytes:,} bytes"
        yield f"  {checkpoint.repository} @ {checkpoint.revision}, {size}"
        yield f"    {checkpoint.place}"
        yield from (
            f"    {file.size_bytes:>15,}  {file.sha256 or 'hash not known'}  {file.name}" for file in checkpoint.files
        )
    yield "\nNot needed while it runs: PyPI, npm, packages of a distribution; no pod installs anything"
    if bundle.not_known:
        yield "\nNot known"
        yield from (f"  {line}" for line in bundle.not_known)


def as_json(bundle: Bundle) -> str:
    """The bundle as one JSON document."""
    images = [{**asdict(image), "pinned": image.pinned} for image in bundle.images]
    return json.dumps({**asdict(bundle), "images": images}, indent=2, ensure_ascii=False) + "\n"


def hauler(bundle: Bundle) -> str:
    """A manifest for `hauler store sync` (hauler-dev/hauler@923a92d pkg/apis/hauler.cattle.io/v1, 2026-08).

    Files are those of weights that are known by name; what Hauler would not fetch is said in comments.
    """
    documents = {
        "Images": {"images": [{"name": _one_name(image.source)} for image in bundle.images]},
        "Charts": {"charts": [_hauler_chart(chart) for chart in bundle.charts]},
        "Files": {"files": [entry for checkpoint in bundle.weights for entry in _hauler_files(checkpoint)]},
    }
    name = f"{bundle.project}-{bundle.stack}".lower().replace("_", "-").replace(".", "-")
    written = [
        yaml.safe_dump(
            {
                "apiVersion": HAULER,
                "kind": kind,
                "metadata": {"name": f"{name}-{kind.lower()}"},
                "spec": spec,
            },
            sort_keys=False,
            width=2**16,
        )
        for kind, spec in documents.items()
        if any(spec.values())
    ]
    notes = "".join(f"# not in here: {line}\n" for line in bundle.not_known)
    return notes + "---\n".join(written)


def _one_name(reference: str) -> str:
    """By tag or by digest: with both Hauler's parser (go-containerregistry, name.ParseReference) drops the tag."""
    repository, at, digest = reference.partition("@")
    return f"{repository.rpartition(':')[0] or repository}@{digest}" if at and ":" in _last(repository) else reference


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _hauler_chart(chart: BundleChart) -> Mapping[str, Any]:
    if chart.repository:
        return {"name": chart.reference, "repoURL": chart.repository, "version": chart.version}
    if chart.reference.startswith("oci://"):
        place, _, name = chart.reference.rpartition("/")
        return {"name": name, "repoURL": place, "version": chart.version}
    return {"name": chart.reference, "version": chart.version}


def _hauler_files(checkpoint: Weights) -> Iterator[Mapping[str, str]]:
    endpoint = (checkpoint.endpoint or ENDPOINTS[checkpoint.hub]).rstrip("/")
    for file in checkpoint.files:
        url = FILE_URLS[checkpoint.hub].format(
            endpoint=endpoint, repository=checkpoint.repository, revision=checkpoint.revision, name=quote(file.name)
        )
        yield {"path": url, "name": f"{checkpoint.directory}/{file.name}".replace("/", "--")}


FORMATS: Mapping[str, Callable[[Bundle], str]] = {
    "text": text,
    "json": as_json,
    "hauler": hauler,
    "cyclonedx": cyclonedx,
    "copy-script": copy_script,
}
