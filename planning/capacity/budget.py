"""The memory that one replica takes of its GPUs, and its spread over them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryBudget:
    """GPU memory of the fullest GPU of one replica, GiB, and what its KV cache holds. For CPU: of one process.

    `needed_gib` is what one sequence of `context_tokens` needs of the KV cache, `fits` whether it is there.
    """

    visible_gib: float
    utilization: float
    weights_gib: float
    activation_gib: float
    cuda_graphs_gib: float
    non_torch_gib: float
    kv_cache_gib: float
    kv_cache_tokens: int
    kv_cache_blocks: int
    needed_gib: float
    fits: bool
    context_tokens: int
    max_context_tokens: int
    max_concurrency: float

    @property
    def budget_gib(self) -> float:
        """Memory that vLLM may use: visible memory times utilisation."""
        return self.visible_gib * self.utilization


@dataclass(frozen=True)
class Parallelism:
    """The spread of one replica over GPUs."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: bool = False
    decode_context: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.tensor * self.pipeline * self.data

    def __str__(self) -> str:
        parts = [f"TP {self.tensor}"]
        parts += [f"PP {self.pipeline}"] if self.pipeline > 1 else []
        parts += [f"DP {self.data}"] if self.data > 1 else []
        parts += ["EP"] if self.expert else []
        parts += [f"DCP {self.decode_context}"] if self.decode_context > 1 else []
        return " × ".join(parts)
