"""Definitions of the kinds that are not Kubernetes' own: those of Go modules, and minimal schemas, by crds.yaml."""

import contextlib
import fnmatch
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from workshop.cache import OWNER_ONLY, write_secret
from workshop.kubernetes import is_ready
from workshop.problems import Impossible
from workshop.process import run
from workshop.simcluster.api import Api, wait_until
from workshop.simcluster.paths import cache
from workshop.simcluster.toolchain import find_go

SOURCES = Path(__file__).with_name("crds.yaml")
FETCH_TIMEOUT_S, ESTABLISH_TIMEOUT_S = 600, 60
KIND = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
Definition = dict[str, Any]
# PyYAML may be built without libyaml: slower, same result
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def install_definitions(api: Api) -> None:
    """Makes a cluster know these kinds, and waits until they are served."""
    present = {body["metadata"]["name"] for body in api.items(*KIND)}
    for definition in definitions():
        if definition["metadata"]["name"] not in present:
            api.create(definition)
    wait_until(
        lambda: all(is_ready(body, "Established") for body in api.items(*KIND)),
        ESTABLISH_TIMEOUT_S,
        "definitions of custom resources are not established",
    )


def definitions() -> list[Definition]:
    """All definitions, from the cache after the first time. Raises `Impossible` when a module cannot be fetched."""
    text = SOURCES.read_bytes()
    # JSON, because reading 3 MB of it takes a hundredth of the time YAML takes
    cached = cache() / "crds" / f"{hashlib.sha256(text + Path(__file__).read_bytes()).hexdigest()[:12]}.json"
    # one that cannot be read is as good as none
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads(cached.read_text(encoding="utf-8"))
    read = list(_read(yaml.safe_load(text)))
    cached.parent.mkdir(exist_ok=True, mode=OWNER_ONLY)
    write_secret(cached, json.dumps(read))
    return read


def _read(sources: Mapping[str, Any]) -> Iterator[Definition]:
    go = find_go()
    for entry in sources["modules"]:
        with zipfile.ZipFile(_fetch(go, entry)) as archive:
            for pattern in entry["files"]:
                yield from _matching(archive, entry, pattern)
    yield from sources["own"]


def _matching(archive: zipfile.ZipFile, entry: Mapping[str, Any], pattern: str) -> Iterator[Definition]:
    """The definitions in all files of a module that fit the pattern, without what only people read."""
    wildcard = f"{entry['module']}@{entry['version']}/{pattern}"
    names = fnmatch.filter(archive.namelist(), wildcard)
    if not names:
        raise Impossible(f"{entry['module']} {entry['version']}: has no file {pattern}")
    for name in sorted(names):
        for document in yaml.load_all(archive.read(name), FAST_LOADER):
            if document and document["kind"] == KIND[1]:
                yield without_descriptions(document)


def without_descriptions(value: Any) -> Any:
    """A schema without its prose, which is three quarters of it. A property that is named so stays."""
    if isinstance(value, list):
        return [without_descriptions(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_descriptions(inner)
        for key, inner in value.items()
        if not (key == "description" and isinstance(inner, str))
    }


def _fetch(go: Path, entry: Mapping[str, Any]) -> Path:
    """The archive of a module, fetched or from Go's cache; only one that has the sum we pinned."""
    module = f"{entry['module']}@{entry['version']}"
    # outside of any module, so that its own dependencies do not matter
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    late = f"{module}: not fetched within {FETCH_TIMEOUT_S} s"
    done = run([go, "mod", "download", "-json", module], FETCH_TIMEOUT_S, late, cwd=cache(), env=environment)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"Error": done.stderr.strip() or "go says nothing"}
    # an error beside the archive is about building it (a newer Go), which nobody does here
    if "Zip" not in answer:
        raise Impossible(f"{module}: cannot be fetched: {str(answer.get('Error', 'unknown')).splitlines()[0]}")
    if answer.get("Sum") != entry["sum"]:
        raise Impossible(f"{module}: has the sum {answer.get('Sum')}, crds.yaml expects {entry['sum']}")
    return Path(answer["Zip"])
