"""Obstacles to a start that has room for a request: memory that nothing of the sum counts, or that options ask for."""

from catalog.schema import Model
from planning.capacity import flags
from planning.capacity.budget import MemoryBudget
from planning.capacity.cards import CONTEXT_BYTES, UNIFIED_HOST_BYTES
from planning.capacity.memory import GIB, Workload
from planning.capacity.reason import PLACE, Reason

CONTEXT = "the CUDA context needs"


def start_problems(
    model: Model, memory: MemoryBudget, workload: Workload, *, alone: bool, unified: bool
) -> list[Reason]:
    """Obstacles to a start although a request would fit: memory beside the budget, state blocks of hybrid models.

    `alone`: nothing else is wrong, so that fewer sequences would mend it; `unified`: the memory is the CPU's too.
    """
    problems = []
    beside = memory.visible_gib * (1 - memory.utilization)
    needed, whose = (
        (UNIFIED_HOST_BYTES, "the system and the server itself need") if unified else (CONTEXT_BYTES, CONTEXT)
    )
    if beside < needed / GIB:
        text = f"gpuMemoryUtilization {memory.utilization:g} leaves {beside:.2f} GiB of {PLACE}, {whose}"
        problems.append(Reason(f"{text} {needed / GIB:.1f}"))
    problems += _asked_cache_problems(memory, workload)
    hybrid = model.architecture is not None and model.architecture.keeps_state
    if hybrid and not workload.eager and workload.max_num_seqs > memory.kv_cache_blocks:
        text = f"maxNumSeqs {workload.max_num_seqs} exceeds the {memory.kv_cache_blocks} state blocks {PLACE} leaves"
        mend = f"maxNumSeqs: {memory.kv_cache_blocks}" if alone and not problems else ""
        problems.append(Reason(text, fix=mend))
    return problems


def _asked_cache_problems(memory: MemoryBudget, workload: Workload) -> list[Reason]:
    """A KV cache of a given size that does not find room on the card: vLLM does not look (gpu_worker.py)."""
    tuning = workload.tuning
    if not tuning.kv_cache_bytes and not tuning.kv_cache_blocks:
        return []
    beside = memory.weights_gib + memory.activation_gib + memory.cuda_graphs_gib + memory.non_torch_gib
    most = memory.visible_gib - beside - CONTEXT_BYTES / GIB
    if memory.kv_cache_gib <= most:
        return []
    option = flags.NUM_GPU_BLOCKS_OVERRIDE if tuning.kv_cache_blocks else flags.KV_CACHE_MEMORY_BYTES
    text = (
        f"{option} asks for {memory.kv_cache_gib:.1f} GiB of KV cache per GPU, {PLACE} has room for {most:.1f} beside"
    )
    text += f" {beside:.1f} GiB of everything else and {CONTEXT_BYTES / GIB:.1f} of the CUDA context"
    return [Reason(text, fix="less, or leave it out")]
