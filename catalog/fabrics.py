"""The shape of what is known about networks between nodes: what pods ask for, what NCCL is told, who has none."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from catalog.entry import Entry


class Fabric(Entry):
    """One kind of network between nodes that a replica spans.

    `cards`: names of the resources that are its cards and nothing else, with `*` for any end, `perhaps`: those that may
    be; both empty: it needs none. `card`: the one that every cluster has, so that nobody needs to name it. `pages`:
    huge pages beside them, as amounts; `without_pages`: variables where a pod asks for none. `environment`: variables;
    `contradicts`: values of others that say the opposite. `image_lacks`: image of the catalogue → what is not in it
    that the network needs. `one_zone`: it does not leave a zone. `refuses`: platforms that have no such network, and
    `provisioning` the same of kinds of nodes → the rest of a sentence; `never`: why it is for nobody.
    """

    name: str
    cards: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    card: str | None = None
    pages: Mapping[str, str] = Field(default_factory=dict)
    environment: Mapping[str, str] = Field(default_factory=dict)
    without_pages: Mapping[str, str] = Field(default_factory=dict)
    contradicts: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    image_lacks: Mapping[str, str] = Field(default_factory=dict)
    one_zone: bool = False
    refuses: Mapping[str, str] = Field(default_factory=dict)
    provisioning: Mapping[str, str] = Field(default_factory=dict)
    never: str | None = None
    sources: Annotated[list[str], Field(min_length=1)]
