"""CPU that the gateway spends on what passes through it, by the measured cost of each kind of thing."""

from catalog.engine import CpuCost, CpuCosts
from catalog.load import Catalog
from planning.plan.gateway_size import GatewayLoad
from planning.plan.servers import Pace

# Share of a core that a replica is planned to be busy: beyond it requests begin to wait for each other.
BUSY_SHARE = 0.6
# Planning figure, tokens per second of one answer: what the roofline leaves out (launching kernels, exchanging between
# GPUs, sampling) keeps answers without speculation below about this on every GPU, however many share a model.
FASTEST_ANSWER = 150.0


def costs(catalog: Catalog) -> CpuCosts:
    """Measured costs of the pinned gateway."""
    measured = catalog.litellm.cpu
    assert measured is not None, "its file has them; a test reads it"
    return measured


def cpu_s(load: GatewayLoad, cost: CpuCost) -> float:
    """Seconds of CPU per second, that is cores, which a load keeps busy."""
    return (load.chats * cost.chat_ms + load.streams * cost.stream_ms + load.chunks * cost.chunk_ms) / 1000


def written(pace: Pace) -> float:
    """Tokens per second that a busy replica writes."""
    return min(pace.busy, pace.sequences * FASTEST_ANSWER)
