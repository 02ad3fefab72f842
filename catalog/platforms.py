"""The shape of what is known about platforms: what nodes bring, where names are asked, identity, disks' readers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from catalog.entry import Entry

# What a node needs to give its GPUs to pods, and what the GPU Operator brings where the platform does not.
GpuPart = Literal["driver", "toolkit", "devicePlugin"]
GPU_PARTS: tuple[GpuPart, ...] = ("driver", "toolkit", "devicePlugin")


class Dns(Entry):
    """The far side of the questions that pods ask for names: pods of namespaces, addresses that no pod has, the port.

    The port is that which the far side listens on, behind a Service that of its pods.
    """

    namespaces: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    port: int = 53
    sources: Annotated[list[str], Field(min_length=1)]


class SpotNotice(Entry):
    """Seconds that pods have once the platform takes a spot node back."""

    pods_s: Annotated[int, Field(gt=0)]
    sources: Annotated[list[str], Field(min_length=1)]


class Platform(Entry):
    """One kind of cluster: who runs its nodes.

    `nodes_have`: parts that the nodes, or who runs them, bring themselves, so that the GPU Operator may not bring a
    second one; `operator_values`: further values of its chart; `critical_pods`: how many pods of Kubernetes' own
    priority classes a namespace must be given before there may be one, None: there may be any; `runtime_class`: that by
    which pods get the GPUs they ask for, where it is not the default; `refuses`: kinds of provisioning that no node
    comes of there → the rest of a sentence that says why, and what to write; `doubts`: the same of charts that do not
    run there of themselves; `other_names`: what else people write for it → what to write; `users_of_namespace`: whether
    pods run as a user and a group of a range that their namespace was given, and may name no other; `spot`: None:
    nobody has looked, or there are no such nodes.
    """

    name: str
    nodes_have: tuple[GpuPart, ...] = ()
    operator_values: Mapping[str, Any] = Field(default_factory=dict)
    critical_pods: str | None = None
    runtime_class: str | None = None
    refuses: Mapping[str, str] = Field(default_factory=dict)
    doubts: Mapping[str, str] = Field(default_factory=dict)
    other_names: Mapping[str, str] = Field(default_factory=dict)
    users_of_namespace: bool = False
    dns: Dns
    spot: SpotNotice | None = None
    sources: Annotated[list[str], Field(min_length=1)]


class Agent(Entry):
    """The address at which a pod asks for credentials inside of its node."""

    cidr: str
    port: int


class Credentials(Entry):
    """The parties asked for credentials: agents of the node, or, with `internet`, the platform's token service."""

    agents: list[Agent] = Field(default_factory=list)
    internet: bool = False


class WorkloadIdentity(Entry):
    """Proof of identity that pods of a platform give to its object store, whose URLs begin with `scheme`.

    `annotation` of a ServiceAccount names an identity, which is `like` a pattern; `pod_labels` ask for it. With it
    credentials are asked for as `annotated` says, without as `bare`; None: there are none then.
    """

    annotation: str
    pod_labels: dict[str, str] = Field(default_factory=dict)
    like: str
    example: str
    scheme: str
    annotated: Credentials
    bare: Credentials | None = None
    sources: Annotated[list[str], Field(min_length=1)]


class StorageClasses(Entry):
    """Names that a platform gives its storage classes, with `*` for any end.

    `disks`: of volumes that one node writes, so that ReadWriteMany is never bound; `shared`: of those that offer it.
    """

    disks: Annotated[list[str], Field(min_length=1)]
    shared: list[str] = Field(default_factory=list)
    sources: Annotated[list[str], Field(min_length=1)]


class PodResource(Entry):
    """A resource that pods ask their nodes for beside GPUs, under the name that its device plugin gives it.

    `needs`: the rest of a sentence about nodes and pods.
    """

    needs: str
    sources: Annotated[list[str], Field(min_length=1)]


class DiskReaders(Entry):
    """Nodes that may mount one volume of the platform's own disks to read it (access mode ReadOnlyMany); 0: none may.

    `better`: the kind of disk that has more, and how many.
    """

    driver: str
    nodes: int
    better: str | None = None
    sources: Annotated[list[str], Field(min_length=1)]
