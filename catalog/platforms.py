"""The shape of what is known about platforms: how pods prove there who they are, and how many nodes read a disk."""

from typing import Annotated

from pydantic import Field

from catalog.entry import Entry


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
