"""The shape of what is known about makers of accelerators: what Kubernetes sees of all of theirs."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from catalog.entry import Entry


class ClaimedParts(Entry):
    """Parts of cards as a driver publishes them: of which class and kind, and by which attribute their profile."""

    device_class: str
    kind: str
    profile: str


class Claims(Entry):
    """A maker's driver for dynamic resource allocation: what it publishes of each GPU, and what it needs.

    `driver`: its name, and the domain of its attributes; `device_class`: that of whole cards; `kind`: the value of
    their attribute `type`; `product`: the attribute that is the label of nodes, spaces apart; `driver_version`: that
    with the version of the kernel's driver; `parts`: None: it has none that we know. `without`: ids of GPUs that it is
    not known to publish; `blind`: kinds of provisioning that buy no node for a claim → the rest of a sentence, with
    what to do. `needs`: of nodes, where the operator brings the driver, and `brings`: what must bring it where no
    operator does, the rest of a sentence each.
    """

    driver: str
    device_class: str
    kind: str
    product: str
    driver_version: str
    parts: ClaimedParts | None = None
    without: tuple[str, ...] = ()
    blind: Mapping[str, str] = Field(default_factory=dict)
    needs: str
    brings: str
    sources: Annotated[list[str], Field(min_length=1)]


class Vendor(Entry):
    """Facts about all accelerators of a maker, as Kubernetes sees them.

    `resource`: what its device plugin offers, and the key of the taint that keeps other pods off; `product_label`: of
    nodes, written by its node labeller; `image`: of `images.yaml`, for servers; `operator`: the chart that brings the
    plugin, the labels and the metrics; None: the cluster has its own, which `needs` names. `driver_labels`: of nodes,
    any of which says the first number of the driver's version. `whole_cards`: label → its values on nodes that offer
    whole cards; without any, such nodes do not have it. `claims`: None: no driver is known that its GPUs are claimed
    from.
    """

    resource: str
    product_label: str
    image: str
    operator: str | None = None
    needs: str = ""
    driver_labels: tuple[str, ...] = ()
    whole_cards: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    claims: Claims | None = None
    sources: Annotated[list[str], Field(min_length=1)]
