"""What a replica costs, and the range a token costs by the roofline of its GPUs. Estimates, and named so."""

from catalog.schema import Gpu, Model
from planning.memory import weight_bytes
from planning.plan import Cost, MemoryBudget, Parallelism, PoolPlan

# Share of peak memory bandwidth and of peak FLOPs that decode reaches in practice; both are usual planning figures.
BANDWIDTH_SHARE = 0.6
FLOPS_SHARE = 0.4
# Sequences that decode together when a replica is busy but not full.
BUSY_SEQUENCES = 32
# Tokens such a sequence holds on average; few requests use a whole context.
TYPICAL_SEQUENCE_TOKENS = 4096


def cost(
    model: Model,
    gpu: Gpu | None,
    pool: PoolPlan,
    parallelism: Parallelism,
    memory: MemoryBudget,
    max_num_seqs: int,
    model_bytes: int = 2,
) -> Cost | None:
    """USD per hour of one replica and USD per million generated tokens (busy, alone). None without a price.

    What a GPU does in float32 (`model_bytes` 4) the catalogue does not know, so nothing is estimated for it.
    """
    if pool.usd_per_node_hour is None:
        return None
    per_hour = pool.usd_per_node_hour * (parallelism.gpus / pool.gpus_per_node if gpu else 1)
    if gpu is None or gpu.memory_gb_per_s is None or gpu.bf16_tflops is None or model_bytes != 2:
        return Cost(per_hour, None, 0.0, 0.0)
    total, _ = weight_bytes(model, parallelism)
    parameters = model.parameters or total
    active = model.active_parameters or parameters
    alone = BANDWIDTH_SHARE * gpu.memory_gb_per_s * 1e9 * parallelism.gpus / (total * active / parameters)
    compute = FLOPS_SHARE * gpu.bf16_tflops * 1e12 * parallelism.gpus / (2 * active)
    together = max(1.0, min(BUSY_SEQUENCES, max_num_seqs, memory.kv_cache_tokens / TYPICAL_SEQUENCE_TOKENS))
    busy = max(alone, min(alone * together, compute))
    per_second = per_hour / 3600
    return Cost(
        usd_per_hour=per_hour,
        usd_per_million_tokens=(per_second / busy * 1e6, per_second / alone * 1e6),
        usd_per_input_token=_short(per_second / max(compute, busy)),
        usd_per_output_token=_short(per_second / busy),
    )


def _short(price: float) -> float:
    """Four digits: an estimate has no more, and a configuration file is read by people."""
    return float(f"{price:.4g}")
