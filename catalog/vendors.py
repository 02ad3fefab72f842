"""The shape of what is known about makers of accelerators: what Kubernetes sees of all of theirs."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from catalog.entry import Entry


class Vendor(Entry):
    """Facts about all accelerators of a maker, as Kubernetes sees them.

    `resource`: what its device plugin offers, and the key of the taint that keeps other pods off; `product_label`: of
    nodes, written by its node labeller; `image`: of `images.yaml`, for servers; `operator`: the chart that brings the
    plugin, the labels and the metrics; None: the cluster has its own, which `needs` names. `driver_labels`: of nodes,
    any of which says the first number of the driver's version. `whole_cards`: label → its values on nodes that offer
    whole cards; without any, such nodes do not have it.
    """

    resource: str
    product_label: str
    image: str
    operator: str | None = None
    needs: str = ""
    driver_labels: tuple[str, ...] = ()
    whole_cards: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    sources: Annotated[list[str], Field(min_length=1)]
