"""The shape of what is known about platforms: how pods prove there who they are."""

from typing import Annotated

from pydantic import Field

from catalog.schema import Entry


class Agent(Entry):
    """Where a pod asks for credentials inside of its node."""

    cidr: str
    port: int


class WorkloadIdentity(Entry):
    """How pods of a platform prove who they are to its object store, whose URLs begin with `scheme`.

    `annotation` of a ServiceAccount names an identity, which is `like` a pattern; `pod_labels` ask for it; `agents`
    and, with `internet`, the platform's token service are asked for credentials.
    """

    annotation: str
    pod_labels: dict[str, str] = Field(default_factory=dict)
    like: str
    example: str
    scheme: str
    agents: list[Agent] = Field(default_factory=list)
    internet: bool = False
    sources: Annotated[list[str], Field(min_length=1)]
