"""Additions of a user to the pods of one workload, beyond what is planned: all of it is theirs, and shown as such."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from planning.plan.access import SecretVariable
from planning.plan.flows import Flow


@dataclass(frozen=True)
class ConfigMapFiles:
    """Entries of a ConfigMap that exists."""

    name: str


@dataclass(frozen=True)
class SecretFiles:
    """Entries of a Secret that exists."""

    name: str


@dataclass(frozen=True)
class EmptyFolder:
    """Space of the pod's own on the disk of its node."""

    gib: int


@dataclass(frozen=True)
class ClaimFiles:
    """A claim that exists."""

    name: str


@dataclass(frozen=True)
class DriverFiles:
    """Files that a CSI driver makes for the pod."""

    driver: str
    attributes: Mapping[str, str]
    secret: str | None


VolumeSource = ConfigMapFiles | SecretFiles | EmptyFolder | ClaimFiles | DriverFiles


@dataclass(frozen=True)
class AddedVolume:
    """One volume of the pod, under a name that none of ours has, and where its container finds it."""

    name: str
    mount_path: str
    read_only: bool
    source: VolumeSource


@dataclass(frozen=True)
class Additions:
    """Additions to the pods of a server, or of the gateway; without any, the pods are as planned.

    `environment`: values of the gateway's; those of a server are among its own, which the plan looks at.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    account_annotations: Mapping[str, str] = field(default_factory=dict)
    priority_class: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretVariable, ...] = ()
    volumes: tuple[AddedVolume, ...] = ()
    flows: tuple[Flow, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys of the gateway's file, by section."""

    @property
    def folders_mib(self) -> dict[str, int]:
        """Volumes on the node's disk, by name, MiB."""
        return {added.name: added.source.gib * 1024 for added in self.volumes if isinstance(added.source, EmptyFolder)}

    def __iter__(self) -> Iterator[str]:
        """A line for each kind of addition, for a reader."""
        for words, pairs in (
            ("pod labels", self.labels),
            ("pod annotations", self.annotations),
            ("annotations of the ServiceAccount", self.account_annotations),
        ):
            if pairs:
                yield f"{words}: {', '.join(f'{key}={value}' for key, value in pairs.items())}"
        if self.priority_class:
            yield f"PriorityClass {self.priority_class}"
        if self.environment:
            yield f"variables: {', '.join(sorted(self.environment))}"
        if self.secrets:
            sources = (f"{entry.name} from {entry.entry} of Secret {entry.secret}" for entry in self.secrets)
            yield f"variables: {', '.join(sources)}"
        for volume in self.volumes:
            how = "read-only" if volume.read_only else "writable"
            yield f"{volume.mount_path}: {_origin(volume.source)}, {how}"
        yield from map(str, self.flows)
        for section, values in self.settings.items():
            yield from (f"{section}.{key}: {value}" for key, value in values.items())


def _origin(source: VolumeSource) -> str:
    match source:
        case ConfigMapFiles(name=name):
            return f"ConfigMap {name}"
        case SecretFiles(name=name):
            return f"Secret {name}"
        case EmptyFolder(gib=gib):
            return f"{gib:,} GiB of the node's disk"
        case ClaimFiles(name=name):
            return f"claim {name}"
        case DriverFiles(driver=driver):
            return f"CSI driver {driver}"
