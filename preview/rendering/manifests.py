"""Resources as Kubernetes objects: which of them are plain manifests, what they are called, and their YAML files.

Owns the selection and the files. The objects are what the program passed, `<secret>` in place of secrets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from planning.stack.identity import CLAIM
from preview.rendering.former import former_urns
from preview.rendering.recorder import RELEASE_TYPE, autoname
from preview.rendering.records import Options, Record

try:
    from yaml import CSafeDumper as FastDumper
    from yaml import CSafeLoader as FastLoader
except ImportError:  # PyYAML built without libyaml: slower, same result
    from yaml import SafeDumper as FastDumper
    from yaml import SafeLoader as FastLoader

HEADER = "# Rendered by python -m preview"


class Category(StrEnum):
    """Use of a manifest: an object is created, a patch changes fields of one that exists, a release is Helm's."""

    OBJECT = "object"
    PATCH = "patch"
    RELEASE = "release"


@dataclass(frozen=True)
class Manifest:
    """One Kubernetes object, patch or Helm release, and the resource it comes from.

    `namespace` is empty for what is cluster-wide or names none; `component` is `Class/name` of the component that owns
    it, empty at the top; `file` is the name of its YAML file; the engine takes what has one of `former_urns` for it.
    """

    category: Category
    api_version: str
    kind: str
    namespace: str
    name: str
    logical_name: str
    component: str
    file: str
    urn: str
    body: Mapping[str, Any]
    options: Options
    former_urns: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind} {self.name}{where}"

    @property
    def needs_engine(self) -> bool:
        """Whether an engine alone can make it: a chart's objects, and the claim on a namespace for its own state."""
        return self.category is Category.RELEASE or self.name == CLAIM


def component_label(urn: str) -> str:
    """`Class/name` from a component's URN; empty for the stack."""
    if not urn:
        return ""
    *_, qualified, name = urn.split("::")
    return f"{qualified.split('$')[-1].rpartition(':')[2]}/{name}"


def collect_manifests(records: Sequence[Record]) -> tuple[Manifest, ...]:
    """All objects, patches and releases among `records`, in order; components and providers are none of them."""
    written: list[Manifest] = []
    taken: set[str] = set()
    former = former_urns(records)
    for record in records:
        manifest = _manifest(record)
        if manifest is None:
            continue
        stem = _stem(manifest)
        # two groups may share a kind, and `a-b` + `c` reads like `a` + `b-c`
        file = next(name for count in range(1, len(records) + 2) if (name := _numbered(stem, count)) not in taken)
        taken.add(file)
        written.append(replace(manifest, file=file, former_urns=former.get(record.urn, ())))
    return tuple(written)


def _manifest(record: Record) -> Manifest | None:
    if not record.custom or not record.type.startswith("kubernetes:"):
        return None
    inputs = record.inputs
    if record.type == RELEASE_TYPE:
        name = str(inputs.get("name", autoname(record.name)))
        place = str(inputs.get("namespace", ""))
        return _of(record, Category.RELEASE, "helm.sh/v3", "Release", place, name, inputs)
    api_version, kind = inputs.get("apiVersion"), inputs.get("kind")
    if api_version is None or kind is None:
        return None
    metadata = inputs.get("metadata") or {}
    name = str(metadata.get("name", autoname(record.name)))
    body = {**inputs, "metadata": {**metadata, "name": name}}
    category = Category.PATCH if record.type.endswith("Patch") else Category.OBJECT
    return _of(record, category, api_version, kind, str(metadata.get("namespace", "")), name, body)


def _of(
    record: Record, category: Category, api_version: str, kind: str, namespace: str, name: str, body: Mapping[str, Any]
) -> Manifest:
    return Manifest(
        category=category,
        api_version=api_version,
        kind=kind,
        namespace=namespace,
        name=name,
        logical_name=record.name,
        component=component_label(record.parent),
        file="",
        urn=record.urn,
        body=body,
        options=record.options,
    )


def _stem(manifest: Manifest) -> str:
    kind = f"patch-{manifest.kind}" if manifest.category is Category.PATCH else manifest.kind
    parts = (kind, manifest.namespace, manifest.name)
    return "-".join(part for part in parts if part).lower().replace("/", "-").replace(":", "-")


def _numbered(stem: str, count: int) -> str:
    return f"{stem}.yaml" if count == 1 else f"{stem}-{count}.yaml"


def foreign_files(directory: Path) -> list[str]:
    """Names in `directory` that no former run of `write` left there; such a directory is not ours to write into."""
    if not directory.exists():
        return []
    if not directory.is_dir():
        return [directory.name]
    return sorted(entry.name for entry in directory.iterdir() if not _is_ours(entry))


def _is_ours(file: Path) -> bool:
    if file.suffix != ".yaml" or file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(len(HEADER)) == HEADER.encode()


def write(manifests: Iterable[Manifest], directory: Path, stack: str) -> None:
    """One YAML file per object in `directory`, which is created; files of a former run go first.

    The caller has checked that `foreign_files(directory)` is empty.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.iterdir():
        file.unlink()
    for manifest in manifests:
        owner = f", {manifest.component}" if manifest.component else ""
        text = f"{HEADER}: stack {stack}{owner}\n{as_yaml(manifest.body)}"
        (directory / manifest.file).write_text(text, encoding="utf-8")


def read(directory: Path) -> dict[str, Any]:
    """Bodies by file name, as `write` wrote them."""
    files = directory.glob("*.yaml")
    return {file.name: yaml.load(file.read_bytes(), FastLoader) for file in files}


def as_yaml(body: Any) -> str:
    """YAML in a stable order: apiVersion, kind, metadata first, names before the rest, then the alphabet."""
    return yaml.dump(_ordered(body), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16)


_FIRST = ("apiVersion", "kind", "metadata", "name")


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), key))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(element) for element in value] if isinstance(value, list) else value


class _Dumper(FastDumper):  # pyright: ignore[reportGeneralTypeIssues] - one of two classes
    """Text of several lines as a block, so that scripts and configuration files can be read; no anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
