"""GPU memory that torch does not allocate and that grows after vLLM's first look: NCCL, kernels, the host."""

from catalog.schema import Architecture, Gpu
from planning.capacity.budget import Parallelism
from planning.capacity.cards import GIB, RUNTIME_GIB

# 0.13–0.15 GiB on one GPU, 0.54–0.55 GiB on two, 1.7 GiB on four over PCIe, 1.4 GiB on eight over NVLink (public logs,
# vLLM 0.11–0.30).
NON_TORCH_BYTES, NON_TORCH_BYTES_PER_RANK, MOST_NON_TORCH_BYTES = int(0.15 * GIB), int(0.4 * GIB), int(1.5 * GIB)
# What cards of compute capability 12 hold beside weights where FlashInfer samples, others next to nothing: bytes per
# layer and element of the hidden size, and the most seen (public logs of an RTX 5090, vLLM 0.28: 0.1 GiB with
# Qwen3-Embedding-0.6B, 1.65 with Qwen3-14B-AWQ; those of Qwen3-4B with 0.29 agree).
HELD_CAPABILITY, HELD_BYTES_PER_ELEMENT, MOST_HELD_BYTES = 12, 8700, int(1.65 * GIB)


def non_torch_bytes(shape: Architecture, gpu: Gpu, parallelism: Parallelism, *, sorts: bool) -> float:
    """NCCL and kernels' own buffers, which grow with the ranks that exchange tensors, up to a point.

    `sorts`: logits are sampled by sorting. Where the memory is the CPU's too, vLLM reads what the system has available
    (vllm/utils/mem_utils.py), so what its own process takes of the host is in the sum.
    """
    ranks = max(parallelism.tensor, min(parallelism.gpus, 2))
    holds = gpu.capability[0] == HELD_CAPABILITY and not sorts
    held = min(MOST_HELD_BYTES, HELD_BYTES_PER_ELEMENT * shape.layers * shape.hidden_size) if holds else 0
    host = RUNTIME_GIB * GIB if gpu.unified_memory else 0
    return host + held + min(MOST_NON_TORCH_BYTES, NON_TORCH_BYTES + NON_TORCH_BYTES_PER_RANK * (ranks - 1))
