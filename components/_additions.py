"""Additions of a user to pods, in Kubernetes' spelling: beside ours, in place of nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from components import _k8s
from planning.plan.additions import (
    AddedVolume,
    Additions,
    ClaimFiles,
    ConfigMapFiles,
    DriverFiles,
    EmptyFolder,
    SecretFiles,
)
from planning.plan.flows import Flow


def template_metadata(
    additions: Additions, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Metadata of a pod template: ours, and what is added."""
    every = {**additions.annotations, **(annotations or {})}
    return {"labels": {**additions.labels, **labels}, **({"annotations": every} if every else {})}


def account_metadata(metadata: Any, additions: Additions, annotations: Mapping[str, str] | None = None) -> Any:
    """Metadata of the ServiceAccount: ours, and what is added."""
    every = {**additions.account_annotations, **(annotations or {})}
    return _k8s.annotated(metadata, every) if every else metadata


def priority(additions: Additions) -> dict[str, str]:
    """The part of a pod spec that says who goes first."""
    return {"priorityClassName": additions.priority_class} if additions.priority_class else {}


def secrets(additions: Additions) -> list[dict[str, Any]]:
    """Variables of the container from Secrets that exist."""
    return [_k8s.secret_env(entry.name, entry.secret, entry.entry) for entry in additions.secrets]


def mounts(additions: Additions) -> list[dict[str, Any]]:
    """Mounts of the container."""
    return [
        {"name": added.name, "mountPath": added.mount_path, **({"readOnly": True} if added.read_only else {})}
        for added in additions.volumes
    ]


def volumes(additions: Additions) -> list[dict[str, Any]]:
    """Volumes of the pod but those of its scratch space, which that declares."""
    return [_volume(added) for added in additions.volumes if not isinstance(added.source, EmptyFolder)]


def ingress(flows: Sequence[Flow]) -> list[dict[str, Any]]:
    """Rules of a policy for the ways in."""
    return [{"from": _peers(flow), "ports": _ports(flow)} for flow in flows if not flow.outward]


def egress(flows: Sequence[Flow]) -> list[dict[str, Any]]:
    """Rules of a policy for the ways out."""
    return [{"to": _peers(flow), "ports": _ports(flow)} for flow in flows if flow.outward]


def _peers(flow: Flow) -> list[dict[str, Any]]:
    if flow.namespace is None:
        blocks = [(block.cidr, list(block.excluded)) for block in flow.blocks]
        return [{"ipBlock": {"cidr": cidr, **({"except": closed} if closed else {})}} for cidr, closed in blocks]
    return [{**_k8s.namespace_pods(flow.namespace), **(_k8s.pods(flow.labels) if flow.labels else {})}]


def _ports(flow: Flow) -> list[dict[str, Any]]:
    return [
        {"port": first, "protocol": flow.protocol, **({"endPort": last} if last > first else {})}
        for first, last in flow.ports
    ]


def _volume(added: AddedVolume) -> dict[str, Any]:
    match added.source:
        case ConfigMapFiles(name=name):
            source: dict[str, Any] = {"configMap": {"name": name}}
        case SecretFiles(name=name):
            source = {"secret": {"secretName": name}}
        case EmptyFolder():
            raise AssertionError("is a part of the scratch space")
        case ClaimFiles(name=name):
            claim = {"claimName": name, **({"readOnly": True} if added.read_only else {})}
            source = {"persistentVolumeClaim": claim}
        case DriverFiles(driver=driver, attributes=attributes, secret=secret):
            asked = {"volumeAttributes": dict(attributes)} if attributes else {}
            login = {"nodePublishSecretRef": {"name": secret}} if secret else {}
            source = {"csi": {"driver": driver, "readOnly": True, **asked, **login}}
    return {"name": added.name, **source}
