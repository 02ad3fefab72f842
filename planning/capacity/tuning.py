"""Options that change how one replica divides its memory, beside the load it is planned for. All off by default."""

from dataclasses import dataclass, field

from catalog.schema import Model


@dataclass(frozen=True)
class Tuning:
    """Options of memory. Bytes are of one GPU; 0 is not asked for.

    `prefix_caching`: hybrid models keep states of prefixes, which the product leaves off. `kv_cache_bytes` and
    `kv_cache_blocks`: in place of what is free; the second goes before the first. `draft_tokens`: guesses per step;
    `draft_head`: by the checkpoint's own MTP layer; `draft`: by a model or a head beside it, which `draft_reads_tokens`
    or hidden states; otherwise by looking prompts up. `offloaded_bytes`: weights of layers that stay in the memory of
    the pod. `kv_offload_gib`: more cache there, of all tensor-parallel ranks.
    `whole_prompts`: prompts are not cut, so a step has room for a whole context. `performance`: vLLM's own word.
    `graph_batches` and `largest_graph_batch`: of the CUDA graphs that are captured, in place of vLLM's own choice.
    """

    prefix_caching: bool = False
    kv_cache_bytes: int = 0
    kv_cache_blocks: int = 0
    draft_tokens: int = 0
    draft_head: bool = False
    # large to hash, and few have one
    draft: Model | None = field(default=None, hash=False)
    draft_reads_tokens: bool = False
    offloaded_bytes: float = 0
    kv_offload_gib: float = 0
    whole_prompts: bool = False
    performance: str = "balanced"
    graph_batches: tuple[int, ...] = ()
    largest_graph_batch: int = 0


USUAL = Tuning()
