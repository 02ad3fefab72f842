"""Ways of a user through the network rules of one workload: where each leads, and on which ports."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from planning.plan.pods import AddressBlock


@dataclass(frozen=True)
class Flow:
    """One way, out of the pods (`outward`) or into them: addresses, or pods of a namespace with these labels.

    `ports`: the first and the last of each range, those that the far side of the connection listens on.
    """

    name: str
    outward: bool
    ports: tuple[tuple[int, int], ...]
    protocol: str = "TCP"
    blocks: tuple[AddressBlock, ...] = ()
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def has_port(self, port: int) -> bool:
        """Whether the port is one of its own."""
        return any(first <= port <= last for first, last in self.ports)

    def __str__(self) -> str:
        peers = ", ".join(block.cidr for block in self.blocks)
        if self.namespace:
            labelled = ",".join(f"{key}={text}" for key, text in self.labels.items())
            peers = f"pods {labelled} of {self.namespace}" if labelled else f"all pods of {self.namespace}"
        ports = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.ports)
        return f"{'way out' if self.outward else 'way in'} {self.name}: {peers}, {self.protocol} {ports}"
