"""The memory of a GPU: what CUDA shows of it, and the share of it that a server takes unless it is told. Bytes."""

from math import floor

from catalog.schema import Gpu

GIB = 2**30
# vLLM's default for --gpu-memory-utilization since 0.19 (vllm/config/cache.py, 0.33.0).
DEFAULT_UTILIZATION = 0.92
# NVML's total minus what CUDA shows, in GiB, where nobody has published a log; the largest gap seen is 0.9 (A100).
UNSEEN_GIB = 0.9
# CUDA context and handles are made before vLLM looks: they must find room beside what utilisation claims.
CONTEXT_BYTES = int(0.5 * GIB)
# Of a memory that is the CPU's too: 4 GiB for the system and its daemons, 12 for a server of one GPU
# (planning/server/resources.py).
UNIFIED_HOST_BYTES = 16 * GIB

# Resident memory of one vLLM process beside weights and KV cache: its CPU build had 4.5 GiB with 0.25 + 1 GiB of those
# (2026-11).
RUNTIME_GIB = 4


def visible_bytes(gpu: Gpu) -> float:
    """Bytes that CUDA reports on this GPU: from a log where one is published, else NVML's total less a margin."""
    return gpu.cuda_gib * GIB if gpu.cuda_gib is not None else gpu.memory_mib * 2**20 - UNSEEN_GIB * GIB


def default_utilization(gpu: Gpu) -> float:
    """VLLM's own, but no more than leaves room for the CUDA context, of which small parts of cards have no twelfth.

    Of a memory that is the CPU's too, it leaves room for the system and the server itself.
    """
    visible, outside = visible_bytes(gpu), UNIFIED_HOST_BYTES if gpu.unified_memory else CONTEXT_BYTES
    return min(DEFAULT_UTILIZATION, floor(100 * (visible - outside) / visible) / 100)
