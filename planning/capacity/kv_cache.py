"""The KV cache as vLLM lays it out: pages, groups of layers, blocks, and how many requests they hold.

Follows vLLM 0.33.0: page sizes in vllm/v1/kv_cache_interface.py, groups and block counts in
vllm/v1/core/kv_cache_planning.py, hybrid block enlargement in vllm/platforms/interface.py. Per GPU of the fullest
pipeline stage; bytes and tokens. Pure functions.
"""

from dataclasses import dataclass
from math import ceil, lcm

from catalog.schema import Architecture, Gpu
from planning.capacity.budget import Parallelism
from planning.capacity.tuning import USUAL, Tuning

# vllm/config/cache.py: what every backend on CUDA takes unless it is listed below.
BLOCK_TOKENS = 16
# Blocks of MLA backends (vllm/platforms/cuda.py picks them): FlashMLA with fp8 KV on compute capability 9.0, FlashInfer
# MLA on 10.x, the sparse backends of models with an indexer.
MLA_FP8_BLOCK_TOKENS, MLA_BLACKWELL_BLOCK_TOKENS, MLA_SPARSE_BLOCK_TOKENS = 64, 32, 64
# The CPU build's default block, and what its MLA backend takes (vllm/platforms/cpu.py).
CPU_BLOCK_TOKENS, CPU_MLA_BLOCK_TOKENS = 128, 16
# Kernel block of FlashInfer's Gated DeltaNet prefill, which compute capability 9.0 and later use
# (qwen_gdn_linear_attn.py): the attention block is a common multiple of it there.
GDN_PREFILL_BLOCK_TOKENS = 64
# One MLA record with its own scales in the fp8_ds_mla layout, bytes per token and layer.
FP8_DS_MLA_BYTES = 656


@dataclass(frozen=True)
class Layout:
    """Division of one GPU's cache: blocks of `block_tokens` tokens and `block_bytes` bytes, shared by all groups.

    One block is one page of each layer of a group. A request needs one block per `full_groups` and block of context,
    `window_blocks` (at most, of `window_groups`) for sliding windows, and `state_pages` per `state_groups`.
    """

    block_tokens: int
    block_bytes: float
    full_groups: int
    window_groups: int
    window_tokens: int
    state_groups: int
    decode_context: int
    state_pages: int = 1

    def blocks_needed(self, context_tokens: int) -> int:
        """Blocks one request of this context needs.

        Full attention: ceil(ceil(context / DCP) / block). Sliding window: ceil(min(window − 1 + in flight, context) /
        block) + 1. Linear attention: its pages of state.
        """
        full = ceil(ceil(context_tokens / self.decode_context) / self.block_tokens)
        window = ceil(min(self.window_tokens, context_tokens) / self.block_tokens) + 1
        return self.full_groups * full + self.window_groups * window + self.state_groups * self.state_pages

    def longest_context(self, blocks: int, limit_tokens: int) -> int:
        """The longest context, at most `limit_tokens`, of which one request fits beside the null block; 0: none."""
        if self.blocks_needed(limit_tokens) < blocks:
            return limit_tokens
        if self.window_groups or not self.full_groups:
            return self._searched(blocks, limit_tokens)
        spare = blocks - 1 - self.state_groups * self.state_pages
        return max(0, spare // self.full_groups * self.block_tokens * self.decode_context)

    def _searched(self, blocks: int, limit_tokens: int) -> int:
        """The longest context by bisection, as vLLM does it: with sliding windows the need has a bend."""
        low, high = 0, limit_tokens
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.blocks_needed(middle) < blocks else (low, middle - 1)
        return low


@dataclass(frozen=True)
class KvCacheSize:
    """Capacity of a KV cache of some size. `tokens` and `concurrency`: as vLLM logs them; `fits`: one request does."""

    blocks: int
    needed_blocks: int
    block_bytes: float
    block_tokens: int
    tokens: int
    concurrency: float
    fits: bool

    @property
    def needed_bytes(self) -> float:
        """Bytes one request needs, as vLLM says them in its refusal."""
        return self.needed_blocks * self.block_bytes


def element_bytes(kv_cache_dtype: str) -> int:
    """Bytes of one cached element: 1 for every fp8 kind, 2 for bf16 and fp16, 4 for float32."""
    if kv_cache_dtype == "float32":
        return 4
    return 1 if kv_cache_dtype.startswith("fp8") else 2


def head_bytes(head_dim: int, kv_cache_dtype: str) -> float:
    """Bytes of K and V of one token and head. Scales: one byte per 16 fp4 values, 4 bytes per head for K and V each."""
    if kv_cache_dtype.startswith("nvfp4"):
        return 2 * (head_dim / 2 + head_dim / 16)
    if kv_cache_dtype.endswith("_per_token_head"):
        return 2 * (head_dim / 2 if kv_cache_dtype.startswith("int4") else head_dim) + 8
    return 2 * head_dim * element_bytes(kv_cache_dtype)


def attention_layers(shape: Architecture) -> int:
    """Layers that keep KV per token; the others of a hybrid model keep a fixed state per sequence."""
    return shape.layers - (shape.linear_attention.layers if shape.linear_attention else 0)


def token_bytes_per_layer(shape: Architecture, tensor: int, kv_cache_dtype: str, gpu: Gpu | None = None) -> float:
    """Bytes one token costs in one attention layer on one GPU.

    GQA: max(1, kv heads / TP) × K and V of a head. MLA: (kv rank + rope) × element, one head that every
    TP rank holds; models with a sparse indexer keep its key beside it (128 fp8 and a scale), and their fp8 means
    fp8_ds_mla but on compute capability 10.x.
    """
    if shape.mla is None:
        return max(1, shape.kv_heads // tensor) * head_bytes(shape.head_dim, kv_cache_dtype)
    element, indexer = element_bytes(kv_cache_dtype), shape.mla.indexer_head_dim
    record = (shape.mla.kv_lora_rank + shape.mla.rope_head_dim) * element
    blackwell = gpu is not None and gpu.compute_capability.startswith("10.")
    if kv_cache_dtype == "fp8_ds_mla" or (indexer and element == 1 and not blackwell):
        record = FP8_DS_MLA_BYTES
    return record + (indexer + indexer // 32 if indexer else 0)


def state_bytes_per_layer(shape: Architecture, tensor: int, model_bytes: int = 2, draft_tokens: int = 0) -> int:
    """Fixed state of one sequence in one linear-attention layer on one GPU; `model_bytes`: of the model's dtype.

    value heads × key dim × value dim (fp32 by default) + (conv kernel − 1 + guesses) × channels in the model's dtype,
    over TP.
    """
    gdn = shape.linear_attention
    if gdn is None:
        return 0
    # a state of 2 bytes is one in the model's dtype
    element = max(gdn.state_bytes_per_element, model_bytes)
    state = gdn.value_heads * gdn.key_head_dim * gdn.value_head_dim * element
    channels = 2 * gdn.key_heads * gdn.key_head_dim + gdn.value_heads * gdn.value_head_dim
    return (state + (gdn.conv_kernel - 1 + draft_tokens) * channels * model_bytes) // tensor


def block_tokens(shape: Architecture, gpu: Gpu | None, kv_cache_dtype: str) -> int:
    """Tokens of one block before a hybrid model enlarges it; `gpu` None: the CPU build."""
    if gpu is None:
        return CPU_MLA_BLOCK_TOKENS if shape.mla else CPU_BLOCK_TOKENS
    if shape.mla is None:
        return BLOCK_TOKENS
    if shape.mla.indexer_head_dim:
        return MLA_SPARSE_BLOCK_TOKENS
    major = int(gpu.compute_capability.partition(".")[0])
    if major == 10:
        return MLA_BLACKWELL_BLOCK_TOKENS
    return MLA_FP8_BLOCK_TOKENS if major == 9 and element_bytes(kv_cache_dtype) == 1 else BLOCK_TOKENS


def is_native_gdn(gpu: Gpu | None) -> bool:
    """Whether FlashInfer's Gated DeltaNet prefill runs on this GPU."""
    return gpu is not None and int(gpu.compute_capability.partition(".")[0]) >= 9


def state_pages(gpu: Gpu | None, tuning: Tuning) -> int:
    """Pages of state that one request keeps per group of linear attention (MambaSpec, max_memory_usage_bytes).

    One without the cache of prefixes. With it the running one and the last one that may be found again, and one more
    where FlashInfer's prefill writes it on its way (qwen_gdn_linear_attn.py, get_kv_cache_spec). One more for each
    guessed token, after which it may have to go on.
    """
    return (2 + is_native_gdn(gpu) if tuning.prefix_caching else 1) + tuning.draft_tokens


def hybrid_block_tokens(
    shape: Architecture,
    gpu: Gpu | None,
    tensor: int,
    kv_cache_dtype: str,
    base: int,
    model_bytes: int = 2,
    draft_tokens: int = 0,
) -> int:
    """The attention block of a hybrid model: so large that one page of it holds one layer's state."""
    if shape.linear_attention is None:
        return base
    step = lcm(base, GDN_PREFILL_BLOCK_TOKENS) if is_native_gdn(gpu) else base
    page = step * token_bytes_per_layer(shape, tensor, kv_cache_dtype)
    return step * ceil(state_bytes_per_layer(shape, tensor, model_bytes, draft_tokens) / page)


def layout(
    shape: Architecture,
    parallelism: Parallelism,
    *,
    kv_cache_dtype: str = "auto",
    gpu: Gpu | None = None,
    in_flight_tokens: int = 8192,
    model_bytes: int = 2,
    tuning: Tuning = USUAL,
) -> Layout:
    """The layout on the fullest stage; `gpu` None: the CPU build; `model_bytes`: of a number in the model's dtype.

    All groups have equally many layers: those of the smallest kind, or of the largest when the two are close (the last
    group of a kind is padded).
    """
    if kv_cache_dtype == "auto" and model_bytes == 4:
        kv_cache_dtype = "float32"
    base = block_tokens(shape, gpu, kv_cache_dtype)
    block = hybrid_block_tokens(shape, gpu, parallelism.tensor, kv_cache_dtype, base, model_bytes, tuning.draft_tokens)
    stages, window = parallelism.pipeline, shape.sliding_window
    # a draft head attends to the whole context
    attention = ceil(attention_layers(shape) / stages) + tuning.draft_head
    sliding = min(ceil(window.layers / stages), attention) if window else 0
    linear = ceil(shape.linear_attention.layers / stages) if shape.linear_attention else 0
    kinds = [count for count in (attention - sliding, sliding, linear) if count]
    size = max(kinds) if max(kinds) < 1.5 * min(kinds) else min(kinds)
    return Layout(
        block_tokens=block,
        block_bytes=size * block * token_bytes_per_layer(shape, parallelism.tensor, kv_cache_dtype, gpu),
        full_groups=ceil((attention - sliding) / size),
        window_groups=ceil(sliding / size),
        window_tokens=window.tokens - 1 + in_flight_tokens if window else 0,
        state_groups=ceil(linear / size),
        decode_context=parallelism.decode_context,
        state_pages=state_pages(gpu, tuning),
    )


def kv_cache_size(cut: Layout, kv_bytes: float, context_tokens: int) -> KvCacheSize:
    """Capacity of `kv_bytes` of KV cache per GPU.

    vLLM keeps one null block back when it checks whether a request fits, and counts it when it logs concurrency.
    """
    blocks = max(0, int(kv_bytes // cut.block_bytes))
    needed = cut.blocks_needed(context_tokens)
    return KvCacheSize(
        blocks=blocks,
        needed_blocks=needed,
        block_bytes=cut.block_bytes,
        block_tokens=cut.block_tokens,
        tokens=int(blocks / needed * context_tokens),
        concurrency=blocks / needed,
        fits=needed < blocks,
    )
