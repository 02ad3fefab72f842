"""Pace of a replica by the roofline of its hardware, and the range a token costs. Estimates, and named so."""

from math import ceil

from catalog.load import Catalog
from catalog.schema import CpuCore, Gpu, Model
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.memory import weight_bytes
from planning.plan.pools import PoolPlan
from planning.plan.servers import Cost, Pace
from planning.tasks import task_of

# Share of peak memory bandwidth and of peak FLOPs that decode reaches in practice; both are usual planning figures.
BANDWIDTH_SHARE = 0.6
FLOPS_SHARE = 0.4
# Sequences that decode together when a replica is busy but not full.
BUSY_SEQUENCES = 32
# Tokens such a sequence holds on average; few requests use a whole context.
TYPICAL_SEQUENCE_TOKENS = 4096
# What GPUs do in float32, outside of their tensor cores, of what they do in bf16: the least of the catalogue's, an H100
# with 67 of 989 TFLOPS (NVIDIA H100 datasheet). A price that is too high is noticed, one that is too low is not.
FLOAT32_SHARE = 1 / 16


def estimate(
    model: Model,
    hardware: Gpu | CpuCore,
    pool: PoolPlan,
    parallelism: Parallelism,
    pace: Pace | None,
    gpu_share: float = 1,
) -> Cost | None:
    """USD per hour of one replica and USD per million tokens written, or else read (busy, alone). None without a price.

    A replica on CPUs has its node to itself.
    """
    if pool.usd_per_node_hour is None:
        return None
    share = 1 if isinstance(hardware, CpuCore) else parallelism.gpus * gpu_share / pool.cards_per_node
    per_hour = pool.usd_per_node_hour * share
    if pace is None:
        return Cost(per_hour, None, 0.0, 0.0)
    per_second = per_hour / 3600
    return Cost(
        usd_per_hour=per_hour,
        usd_per_million_tokens=(per_second / pace.busy * 1e6, per_second / pace.alone * 1e6),
        usd_per_input_token=_short(per_second / max(pace.reads, pace.busy)),
        usd_per_output_token=_short(per_second / pace.busy) if task_of(model).writes else 0.0,
    )


def nodes_usd_per_hour(pool: PoolPlan, shares: float) -> float:
    """USD per hour of nodes of which servers take `shares`, USD per hour by their parts of them.

    Nodes that are bought for the stack are bought whole, as few as hold the parts. 0 without a price.
    """
    price = pool.usd_per_node_hour or 0.0
    if not pool.bought or not price:
        return shares
    return ceil(round(shares / price, 6)) * price


def pace_of(
    model: Model,
    hardware: Gpu | CpuCore,
    pool: PoolPlan,
    parallelism: Parallelism,
    memory: MemoryBudget,
    max_num_seqs: int,
    model_bytes: int = 2,
    gpu_share: float = 1,
) -> Pace | None:
    """Throughput of one replica by the roofline of its hardware; None where too little is known of that.

    `model_bytes` 4: the model runs in float32, in which a GPU is slower; `gpu_share`: what it has of each while all are
    busy.
    """
    match hardware:
        case Gpu():
            gb_per_s, tflops, units = hardware.memory_gb_per_s, hardware.bf16_tflops, parallelism.gpus * gpu_share
            flops_share = FLOPS_SHARE * (1 if model_bytes == 2 else FLOAT32_SHARE)
        case CpuCore():
            gb_per_s, tflops, units = hardware.memory_gb_per_s, hardware.tflops, pool.cpus_per_node or 1
            flops_share = FLOPS_SHARE
    total, _ = weight_bytes(model, parallelism, model_bytes=model_bytes)
    if gb_per_s is None or tflops is None or not total:
        return None
    parameters = model.parameters or total
    active = model.active_parameters or parameters
    compute = flops_share * tflops * 1e12 * units / (2 * active)
    if not task_of(model).writes:
        # all tokens of a prompt are computed at once
        return Pace(alone=compute, busy=compute, reads=compute, sequences=1.0)
    together = max(1.0, min(BUSY_SEQUENCES, max_num_seqs, memory.kv_cache_tokens / TYPICAL_SEQUENCE_TOKENS))
    alone = min(BANDWIDTH_SHARE * gb_per_s * 1e9 * units / (total * active / parameters), compute)
    busy = max(alone, min(alone * together, compute))
    return Pace(alone=alone, busy=busy, reads=compute, sequences=together)


def list_price(catalog: Catalog, gpu: str) -> tuple[float, str] | None:
    """(USD per GPU-hour on demand, by which machine type), the lowest; by a kin's where no list has it.

    What its owner says it costs comes before all of them.
    """
    known = catalog.gpus.get(gpu)
    if known is not None and known.usd_per_hour is not None:
        return known.usd_per_hour, f"what {known.name} costs by catalog"
    prices = [
        (machine.usd_per_hour / machine.gpus, name)
        for name, machine in catalog.instances.items()
        if machine.gpu == gpu and machine.usd_per_hour is not None
    ]
    if prices:
        price, name = min(prices)
        return price, f"on-demand price of {name} per GPU"
    kin = catalog.gpus.get(known.priced_like) if known and known.priced_like else None
    if known is None or kin is None or not known.memory_gb_per_s or not kin.memory_gb_per_s:
        return None
    listed = list_price(catalog, known.priced_like or "")
    ratio = known.memory_gb_per_s / kin.memory_gb_per_s
    return (listed[0] * ratio, f"{listed[1]} with {kin.name}, by memory bandwidth") if listed else None


def _short(price: float) -> float:
    """Four digits: an estimate has no more, and a configuration file is read by people."""
    return float(f"{price:.4g}")
