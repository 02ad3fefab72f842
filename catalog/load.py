"""Reads the catalogue: the YAML files beside this module become one frozen `Catalog`, or an error naming file and key.

Nothing is decided here. The only thing done to the data is inheritance between models (`like`), described in the head
of `models.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from catalog.charts import Chart, ChartContents
from catalog.compiled import read_yaml
from catalog.edges import Edge
from catalog.engine import Engine
from catalog.fabrics import Fabric
from catalog.own import NOTHING, Own
from catalog.platforms import DiskReaders, Platform, PodResource, StorageClasses, WorkloadIdentity
from catalog.schema import CpuCore, Gpu, Image, Instance, KnownBad, Model, Networks, TakenNamespace, VendorName
from catalog.stores import Store
from catalog.vendors import Vendor
from catalog.versions import UnknownBase, resolved

Shape = TypeVar("Shape")

ENGINES = ("vllm", "litellm", "dcgm-exporter", "kubernetes")
NETWORK_SECTIONS = ("metadataServices", "neverHubs", "privateNetworks", "publicEnds")
# They belong to one repository: a sibling that inherited them would claim somebody else's commit.
NEVER_INHERITED = frozenset({"revision", "manifestSha256", "conversion", "note", "sources"})
# Byte counts are those of the files, so a sibling in another format may not mix its own with them.
REPLACED_WHOLE = frozenset({"checkpoint"})


class CatalogError(ValueError):
    """The catalogue is not well formed; the message has one line `file: key: what is wrong` per fault."""


@dataclass(frozen=True)
class Catalog:
    """Everything known, by id: Hugging Face repository, GPU id, machine type, image name, chart name, engine name.

    `chart_images`: chart name → version → what is inside. `engines`: what the catalogue's own images have; `versions`:
    engine name → version → all that is known. `edges`: kind of route → controller. `own`: which entries are not of
    this project.

    Shapes and units are those of `catalog.schema`; sources are in the entries.
    """

    models: Mapping[str, Model]
    gpus: Mapping[str, Gpu]
    vendors: Mapping[VendorName, Vendor]
    instances: Mapping[str, Instance]
    cpu_core: CpuCore
    images: Mapping[str, Image]
    known_bad: tuple[KnownBad, ...]
    charts: Mapping[str, Chart]
    chart_images: Mapping[str, Mapping[str, ChartContents]]
    taken_namespaces: tuple[TakenNamespace, ...]
    networks: Networks
    platforms: Mapping[str, Platform]
    workload_identity: Mapping[str, WorkloadIdentity]
    disk_readers: Mapping[str, DiskReaders]
    storage_classes: Mapping[str, StorageClasses]
    pod_resources: Mapping[str, PodResource]
    fabrics: Mapping[str, Fabric]
    stores: Mapping[str, Store]
    edges: Mapping[str, Mapping[str, Edge]]
    engines: Mapping[str, Engine]
    versions: Mapping[str, Mapping[str, Engine]]
    own: Own = NOTHING

    def gpu_id(self, written: str) -> str | None:
        """The id of a GPU by that, or by the label that its nodes have or NVML's name for it; None: it is not known."""
        if written in self.gpus:
            return written
        label = written.replace(" ", "-")
        return next((name for name, gpu in self.gpus.items() if label in gpu.product_labels), None)

    def platform(self, name: str) -> Platform:
        """The platform of that name; what is true of any cluster, where it is not known."""
        return self.platforms.get(name) or next(iter(self.platforms.values()))

    def running(self, name: str, version: str) -> Self:
        """The same with this version of a program in place of the one that its image has."""
        if self.engines[name].version == version:
            return self
        return replace(self, engines={**self.engines, name: self.versions[name][version]})

    @property
    def vllm(self) -> Engine:
        """The engine of the servers."""
        return self.engines["vllm"]

    @property
    def litellm(self) -> Engine:
        """The gateway's program."""
        return self.engines["litellm"]

    @property
    def kubernetes(self) -> Engine:
        """Metrics that clusters export of themselves, and the newest of their versions known here."""
        return self.engines["kubernetes"]

    @property
    def dcgm(self) -> Engine:
        """The exporter of the metrics of GPUs."""
        return self.engines["dcgm-exporter"]


@cache
def load_catalog() -> Catalog:
    """Return the catalogue of this package, read once per process (10 ms). Raises CatalogError."""
    return read_catalog(Path(__file__).parent)


def read_catalog(folder: Path) -> Catalog:
    """Read a folder of YAML files, one for each field of the catalogue or several, and those of engines below.

    Raises CatalogError for a missing file, text that is no YAML, a missing or unknown section, and entries that do not
    have the shape of `catalog.schema`.
    """
    models, gpus, images, charts = (folder / f"{name}.yaml" for name in ("models", "gpus", "images", "charts"))
    hardware = _sections(gpus, "vendors", "gpus", "cpuCore", "instances")
    operators = _sections(charts, "charts", "takenNamespaces")
    bad, networks, platforms = (folder / f"{name}.yaml" for name in ("known-bad", "networks", "platforms"))
    inside = folder / "chart-images.yaml"
    platform = _sections(platforms, "platforms", "workloadIdentity", "diskReaders", "storageClasses", "podResources")
    pinned = _whole(images, "images", TypeAdapter(dict[str, Image]))
    versions = _engines(folder / "engines")
    return Catalog(
        models=_entries(
            models, TypeAdapter(dict[str, Model]), inherit(_label(models), _sections(models, "models")["models"])
        ),
        gpus=_entries(gpus, TypeAdapter(dict[str, Gpu]), hardware["gpus"]),
        vendors=_validated(gpus, TypeAdapter(dict[VendorName, Vendor]), hardware["vendors"], "vendors"),
        instances=_entries(gpus, TypeAdapter(dict[str, Instance]), hardware["instances"]),
        cpu_core=_validated(gpus, TypeAdapter(CpuCore), hardware["cpuCore"], "cpuCore"),
        images=pinned,
        known_bad=tuple(
            _validated(bad, TypeAdapter(list[KnownBad]), _sections(bad, "knownBad")["knownBad"], "knownBad")
        ),
        charts=_entries(charts, TypeAdapter(dict[str, Chart]), operators["charts"]),
        chart_images=_whole(inside, "chartImages", TypeAdapter(dict[str, dict[str, ChartContents]])),
        taken_namespaces=tuple(
            _validated(charts, TypeAdapter(list[TakenNamespace]), operators["takenNamespaces"], "takenNamespaces")
        ),
        networks=_validated(networks, TypeAdapter(Networks), _sections(networks, *NETWORK_SECTIONS)),
        platforms=_entries(platforms, TypeAdapter(dict[str, Platform]), platform["platforms"]),
        workload_identity=_entries(platforms, TypeAdapter(dict[str, WorkloadIdentity]), platform["workloadIdentity"]),
        disk_readers=_entries(platforms, TypeAdapter(dict[str, DiskReaders]), platform["diskReaders"]),
        storage_classes=_entries(platforms, TypeAdapter(dict[str, StorageClasses]), platform["storageClasses"]),
        pod_resources=_entries(platforms, TypeAdapter(dict[str, PodResource]), platform["podResources"]),
        fabrics=_whole(folder / "fabrics.yaml", "fabrics", TypeAdapter(dict[str, Fabric])),
        stores=_whole(folder / "stores.yaml", "stores", TypeAdapter(dict[str, Store])),
        edges=_whole(folder / "edges.yaml", "edges", TypeAdapter(dict[str, dict[str, Edge]])),
        engines=_pinned(versions, pinned),
        versions=versions,
    )


def inherit(file: str, entries: object) -> dict[str, object]:
    """Resolve `like` of every model: the other entry, changed by this one.

    `entries`: repository id → raw entry; `file` is for messages. Raises CatalogError for an unknown base and a circle.
    """
    if not isinstance(entries, dict):
        raise CatalogError(f"{file}: models: must be a mapping from repository id to entry")
    resolved: dict[str, object] = {}

    def resolve(name: str, chain: tuple[str, ...]) -> object:
        if name in chain:
            raise CatalogError(f"{file}: {name}: like: goes in a circle: {' → '.join((*chain, name))}")
        if name not in resolved:
            entry = entries[name]
            base_name = entry.get("like") if isinstance(entry, dict) else None
            if base_name is None:
                resolved[name] = entry
                return entry
            if not isinstance(base_name, str) or base_name not in entries:
                raise CatalogError(f"{file}: {name}: like: there is no entry '{base_name}'")
            base = resolve(base_name, (*chain, name))
            if not isinstance(base, dict):
                raise CatalogError(f"{file}: {base_name}: must be a mapping")
            resolved[name] = derived(base, entry)
        return resolved[name]

    return {name: resolve(name, ()) for name in entries}


def derived(base: Mapping[str, object], entry: Mapping[str, object]) -> dict[str, object]:
    """The entry that is `like` the base: what passes on of that, changed by what the entry itself says."""
    passed_on = {key: value for key, value in base.items() if key not in NEVER_INHERITED}
    return _merged(passed_on, {key: value for key, value in entry.items() if key != "like"})


def _merged(base: Mapping[str, object], change: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in change.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and key not in REPLACED_WHOLE:
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def _engines(folder: Path) -> Mapping[str, Mapping[str, Engine]]:
    """Every version of every program of which there is a file."""
    paths: dict[str, dict[str, Path]] = {}
    files: dict[str, dict[str, Mapping[str, object]]] = {}
    for path in sorted(folder.glob("*.yaml")):
        raw = _parsed(path)
        if not isinstance(raw, dict) or not {"engine", "version"} <= set(raw):
            raise CatalogError(f"{_label(path)}: engine: must say engine and version")
        name, version = str(raw["engine"]), str(raw["version"])
        if version in files.setdefault(name, {}):
            raise CatalogError(f"{_label(path)}: version: a second file for {name} {version}")
        files[name][version], paths.setdefault(name, {})[version] = raw, path
    missing = [name for name in ENGINES if name not in files]
    if missing:
        raise CatalogError(f"{folder.parent.name}/{folder.name}: no file for {', '.join(missing)}")
    adapter = TypeAdapter(Engine)
    versions: dict[str, Mapping[str, Engine]] = {}
    for name, written in files.items():
        try:
            whole = resolved(written)
        except (UnknownBase, ValueError) as error:
            raise CatalogError(f"{folder.parent.name}/{folder.name}: {name}: like: {error}") from error
        # a fault is that of the file it is in, not of those that are like it
        ordered = sorted(whole, key=lambda version: "like" in written[version])
        known = {version: _validated(paths[name][version], adapter, whole[version]) for version in ordered}
        versions[name] = MappingProxyType({version: known[version] for version in whole})
    return MappingProxyType(versions)


def _pinned(versions: Mapping[str, Mapping[str, Engine]], images: Mapping[str, Image]) -> Mapping[str, Engine]:
    """Of each program the version that its image has, or the only one."""
    pinned = {}
    for name, known in versions.items():
        pins = images[name].version.removeprefix("v") if name in images else next(iter(known))
        if pins not in known:
            has = ", ".join(known)
            raise CatalogError(f"catalog/images.yaml: {name}: version: there is no file of {pins}, only of {has}")
        pinned[name] = known[pins]
    return MappingProxyType(pinned)


def _label(path: Path) -> str:
    """Name a file from the catalogue's folder on, so that messages are the same on every machine."""
    return "/".join(path.parts[-3 if path.parent.name == "engines" else -2 :])


def _parsed(path: Path) -> object:
    try:
        return read_yaml(path)
    except OSError as error:
        raise CatalogError(f"{_label(path)}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CatalogError(f"{_label(path)}: {' '.join(str(error).split())}") from error


def _sections(path: Path, *names: str) -> dict[str, object]:
    """Return the top level of a file, which must have exactly these sections."""
    content = _parsed(path)
    sections = set(content) if isinstance(content, dict) else set()
    if not isinstance(content, dict) or sections != set(names):
        has = ", ".join(sorted(map(str, sections))) or "nothing"
        raise CatalogError(f"{_label(path)}: must have {' and '.join(names)}, has {has}")
    return content


def _entries(path: Path, adapter: TypeAdapter[dict[str, Shape]], raw: object) -> Mapping[str, Shape]:
    return MappingProxyType(_validated(path, adapter, raw))


def _whole(path: Path, section: str, adapter: TypeAdapter[dict[str, Shape]]) -> Mapping[str, Shape]:
    return _entries(path, adapter, _sections(path, section)[section])


def _validated(path: Path, adapter: TypeAdapter[Shape], raw: object, key: str = "") -> Shape:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False):
            first, *keys = [key, *fault["loc"]] if key else [*fault["loc"]] or ["top level"]
            where = ": ".join([str(first), ".".join(map(str, keys))] if keys else [str(first)])
            lines.append(f"{_label(path)}: {where}: {fault['msg']}")
        raise CatalogError("\n".join(lines)) from error
