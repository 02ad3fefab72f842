"""The size of the gateway: the load it is planned for, what that costs, and how many replicas follow."""

from dataclasses import dataclass

from catalog.engine import CpuCost


@dataclass(frozen=True)
class GatewayLoad:
    """Rates at the gateway, per second: answers given whole, streams that begin, and tokens and chunks of these."""

    chats: float
    streams: float
    tokens: float
    chunks: float


@dataclass(frozen=True)
class GatewayScaling:
    """Rules for adding and removing replicas by the CPU they use, in per cent of what they request."""

    cpu_percent: int
    up_percent: int
    """Replicas that may come within `period_s`, in per cent of those there are."""
    down_replicas: int
    period_s: int
    down_after_s: int


@dataclass(frozen=True)
class GatewaySize:
    """Replicas of the gateway and the sum behind them; `cores`: what the load takes.

    `scaling` is None where the number is fixed.
    """

    load: GatewayLoad
    cost: CpuCost
    cores: float
    fewest: int
    most: int
    scaling: GatewayScaling | None
    reason: str
    load_reason: str
    warnings: tuple[str, ...]

    @property
    def reasons(self) -> dict[str, str]:
        """Both reasons, as parts of the gateway's."""
        return {"replicas": self.reason, "capacity": self.load_reason}
