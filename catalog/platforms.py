"""The shape of what is known about platforms: what their nodes bring, pods' identity, how many nodes read a disk."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from catalog.entry import Entry

# What a node needs to give its GPUs to pods, and what the GPU Operator brings where the platform does not.
GpuPart = Literal["driver", "toolkit", "devicePlugin"]
GPU_PARTS: tuple[GpuPart, ...] = ("driver", "toolkit", "devicePlugin")


class Platform(Entry):
    """One kind of cluster: who runs its nodes.

    `nodes_have`: parts that the nodes, or who runs them, bring themselves, so that the GPU Operator may not bring a
    second one; `operator_values`: further values of its chart.
    """

    name: str
    nodes_have: tuple[GpuPart, ...] = ()
    operator_values: Mapping[str, Any] = Field(default_factory=dict)
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


class DiskReaders(Entry):
    """Nodes that may mount one volume of the platform's own disks to read it (access mode ReadOnlyMany); 0: none may.

    `better`: the kind of disk that has more, and how many.
    """

    driver: str
    nodes: int
    better: str | None = None
    sources: Annotated[list[str], Field(min_length=1)]
