"""The KV cache as vLLM lays it out: pages, groups of layers, blocks, and how many requests they hold.

Follows vLLM 0.33.0: groups and block counts in vllm/v1/core/kv_cache_planning.py, hybrid block enlargement in
vllm/platforms/interface.py; pages of layers are those of `planning.capacity.layers`. Per GPU of the fullest pipeline
stage; bytes and tokens. Pure functions.
"""

from dataclasses import dataclass, replace
from math import ceil, lcm

from catalog.architecture import Architecture
from catalog.schema import Gpu
from planning.capacity.budget import Parallelism
from planning.capacity.layers import (
    BLACKWELL,
    Cached,
    cached_layers,
    element_bytes,
    state_bytes_per_layer,
    token_bytes_per_layer,
)
from planning.capacity.remembered import remembered
from planning.capacity.tuning import USUAL, Tuning

# vllm/config/cache.py: what every backend on CUDA takes unless it is listed below.
BLOCK_TOKENS = 16
# Blocks of MLA backends (vllm/platforms/cuda.py picks them): FlashMLA with fp8 KV on compute capability 9.0, FlashInfer
# MLA on 10.x, the sparse backends of models with an indexer.
MLA_FP8_BLOCK_TOKENS, MLA_BLACKWELL_BLOCK_TOKENS, MLA_SPARSE_BLOCK_TOKENS = 64, 32, 64
# A hybrid with MLA has blocks of a multiple of this (_align_hybrid_block_size).
MLA_HYBRID_BLOCK_TOKENS = 128
# The CPU build's default block, and what its MLA backend takes (vllm/platforms/cpu.py).
CPU_BLOCK_TOKENS, CPU_MLA_BLOCK_TOKENS = 128, 16
# Kernel block of FlashInfer's Gated DeltaNet prefill, which compute capability 9.0 and later use
# (qwen_gdn_linear_attn.py): the attention block is a common multiple of it there.
GDN_PREFILL_BLOCK_TOKENS = 64
# Groups have as many layers as the smallest kind of them, or as the largest when that has less than so many times more.
CLOSE = 1.5


@dataclass(frozen=True)
class Group:
    """`count` groups of like layers, each with blocks of its own.

    Blocks of `block_tokens` tokens of the context, at most of `most_tokens` (None: of all), and `more_blocks` whatever
    the context is; 0 tokens: only those. `shared`: ranks of decode context parallelism divide the tokens.
    """

    count: int
    block_tokens: int
    most_tokens: int | None = None
    more_blocks: int = 0
    shared: bool = False

    def blocks(self, context_tokens: int, decode_context: int) -> int:
        """Blocks that one request of this context has in all of the groups."""
        if not self.block_tokens:
            return self.count * self.more_blocks
        tokens = context_tokens if self.most_tokens is None else min(self.most_tokens, context_tokens)
        if self.shared:
            tokens = -(-tokens // decode_context)
        return self.count * (-(-tokens // self.block_tokens) + self.more_blocks)

    def most_context(self, blocks: int, decode_context: int) -> int | None:
        """Tokens of the longest context that takes no more than so many blocks in these groups alone; None: any."""
        if not self.block_tokens or self.most_tokens is not None:
            return None
        tokens = max(blocks // self.count - self.more_blocks, 0) * self.block_tokens
        return tokens * decode_context if self.shared else tokens


@dataclass(frozen=True)
class Layout:
    """Division of one GPU's cache into blocks of `block_bytes` bytes, shared by all groups of layers.

    One block is one page of each layer of a group; `block_tokens`: of attention before pages of several sizes are made
    equal.
    """

    block_tokens: int
    block_bytes: float
    groups: tuple[Group, ...]
    decode_context: int = 1

    def blocks_needed(self, context_tokens: int) -> int:
        """Blocks one request of this context needs.

        Full attention: ceil(ceil(context / DCP) / block). Sliding window: ceil(min(window − 1 + in flight, context) /
        block) + 1. Chunks: ceil(min(chunk + in flight, context) / block). Linear attention: its pages of state.
        """
        return sum(group.blocks(context_tokens, self.decode_context) for group in self.groups)

    def longest_context(self, blocks: int, limit_tokens: int) -> int:
        """The longest context, at most `limit_tokens`, of which one request fits beside the null block; 0: none."""
        if self.blocks_needed(limit_tokens) < blocks:
            return limit_tokens
        bounds = [group.most_context(blocks - 1, self.decode_context) for group in self.groups]
        low, high = 0, min((limit_tokens, *(bound for bound in bounds if bound is not None)))
        if self.blocks_needed(high) < blocks:
            return high
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


def block_tokens(shape: Architecture, major: int | None, kv_cache_dtype: str) -> int:
    """Tokens of one block before a hybrid model enlarges it, by the major of a card's compute capability.

    None: the CPU build. The same number is meant wherever a function here takes one.
    """
    if major is None:
        return CPU_MLA_BLOCK_TOKENS if shape.mla else CPU_BLOCK_TOKENS
    if shape.mla is None:
        return BLOCK_TOKENS
    if shape.mla.indexer_head_dim:
        return MLA_SPARSE_BLOCK_TOKENS
    if major == BLACKWELL:
        return MLA_BLACKWELL_BLOCK_TOKENS
    return MLA_FP8_BLOCK_TOKENS if major == 9 and element_bytes(kv_cache_dtype) == 1 else BLOCK_TOKENS


def is_native_gdn(shape: Architecture, major: int | None) -> bool:
    """Whether FlashInfer's Gated DeltaNet prefill runs for this model on this GPU."""
    if shape.linear_attention is None or shape.linear_attention.kind != "gated-delta-net":
        return False
    return major is not None and major >= 9


def state_pages(shape: Architecture, major: int | None, tuning: Tuning) -> int:
    """Pages of state that one request keeps per group of linear attention (MambaSpec, max_memory_usage_bytes).

    One without the cache of prefixes. With it the running one and the last one that may be found again, and one more
    where FlashInfer's prefill writes it on its way (qwen_gdn_linear_attn.py, get_kv_cache_spec). One more for each
    guessed token, after which it may have to go on.
    """
    return (2 + is_native_gdn(shape, major) if tuning.prefix_caching else 1) + tuning.draft_tokens


def hybrid_block_tokens(
    shape: Architecture, major: int | None, tensor: int, kv_cache_dtype: str, model_bytes: int, draft_tokens: int
) -> int:
    """The attention block of a hybrid model: so large that one page of it holds one layer's state."""
    base = block_tokens(shape, major, kv_cache_dtype)
    if not shape.keeps_state:
        return base
    step = lcm(base, GDN_PREFILL_BLOCK_TOKENS) if is_native_gdn(shape, major) else base
    if shape.mla:
        step = max(step, MLA_HYBRID_BLOCK_TOKENS)
    page = step * token_bytes_per_layer(shape, tensor, kv_cache_dtype)
    return step * ceil(state_bytes_per_layer(shape, tensor, model_bytes, draft_tokens) / page)


def layout(
    shape: Architecture,
    parallelism: Parallelism,
    *,
    kv_cache_dtype: str = "auto",
    gpu: Gpu | None = None,
    in_flight_tokens: int = 8192,
    step_tokens: int = 8192,
    model_bytes: int = 2,
    tuning: Tuning = USUAL,
) -> Layout:
    """The layout on the fullest stage; `gpu` None: the CPU build; `model_bytes`: of a number in the model's dtype.

    `step_tokens`: of one step, which is what vLLM keeps room for of an encoder's output (CrossAttentionSpec).
    All groups have equally many layers: those of the smallest kind, or of the largest when the two are close (the last
    group of a kind is padded), and equally large pages. A hybrid's state fills a page of attention.
    """
    if kv_cache_dtype == "auto" and model_bytes == 4:
        kv_cache_dtype = "float32"
    major = gpu.capability[0] if gpu else None
    return _layout(shape, parallelism, kv_cache_dtype, major, (in_flight_tokens, step_tokens), model_bytes, tuning)


@remembered
def _layout(
    shape: Architecture,
    parallelism: Parallelism,
    kv_cache_dtype: str,
    major: int | None,
    tokens: tuple[int, int],
    model_bytes: int,
    tuning: Tuning,
) -> Layout:
    """Of a card nothing matters here but `major`, of its compute capability; `tokens`: in flight, and of one step."""
    tensor, guesses = parallelism.tensor, tuning.draft_tokens
    block = hybrid_block_tokens(shape, major, tensor, kv_cache_dtype, model_bytes, guesses)
    blackwell = major == BLACKWELL
    kinds = cached_layers(shape, tensor, kv_cache_dtype, blackwell, model_bytes, guesses)
    if tuning.draft_head:
        kinds = _with_draft_head(kinds)
    beside = tuning.draft.architecture if tuning.draft else None
    if beside:
        # each stage is planned as the one that has the draft
        drafts = cached_layers(beside, tensor, kv_cache_dtype, blackwell, model_bytes, guesses)
        kinds += tuple(replace(kind, layers=kind.layers * parallelism.pipeline) for kind in drafts)
    group_layers, page_bytes = [kind.layers for kind in kinds], [block * kind.token_bytes for kind in kinds]
    pages, draft = state_pages(shape, major, tuning), tuning.draft_head
    if len({(kind.kind, kind.window_tokens) for kind in kinds}) <= 1:
        # layers that all hold the same tokens are one group, whatever the sizes of their pages
        on_stage = [ceil((layers - draft) / parallelism.pipeline) + draft for layers in group_layers]
        block_bytes = sum(layers * page for layers, page in zip(on_stage, page_bytes, strict=True))
        return Layout(
            block,
            block_bytes,
            tuple(_group(kind, 1, block, tokens, pages) for kind in kinds[:1]),
            parallelism.decode_context,
        )
    least, most, largest = min(group_layers), max(group_layers), max(page_bytes)
    size = most if most < CLOSE * least else least
    groups = tuple(
        _group(kind, ceil(kind.layers / size), _unified_block(block, page, largest), tokens, pages)
        for kind, page in zip(kinds, page_bytes, strict=True)
    )
    on_stage = ceil((size - draft) / parallelism.pipeline) + draft
    return Layout(block, on_stage * largest, groups, parallelism.decode_context)


def _with_draft_head(kinds: tuple[Cached, ...]) -> tuple[Cached, ...]:
    """One layer more of the first kind that keeps the whole context, as a draft head does."""
    whole = next((at for at, kind in enumerate(kinds) if kind.kind == "full"), None)
    return tuple(replace(kind, layers=kind.layers + (at == whole)) for at, kind in enumerate(kinds))


def _unified_block(block: int, page_bytes: float, largest_page_bytes: float) -> int:
    """Tokens of a block of a kind whose pages are made as large as the largest: more of them, or a page not filled."""
    if not page_bytes or largest_page_bytes % page_bytes:
        return block
    return int(block * largest_page_bytes // page_bytes)


def _group(kind: Cached, count: int, block: int, tokens: tuple[int, int], pages: int) -> Group:
    """Blocks that groups of this kind take of a request; `tokens`: in flight, and of one step."""
    in_flight_tokens, step_tokens = tokens
    match kind.kind:
        case "full":
            return Group(count, block, shared=True)
        case "sliding":
            return Group(count, block, kind.window_tokens - 1 + in_flight_tokens, more_blocks=1)
        case "chunked":
            return Group(count, block, kind.window_tokens + in_flight_tokens)
        case "cross":
            return Group(count, 0, more_blocks=ceil(step_tokens / block))
        case _:
            return Group(count, 0, more_blocks=pages)


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
