"""Layers of a model by what they keep of a request: attention of each kind, states of linear attention. Bytes per GPU.

Follows vLLM 0.33.0: page sizes in vllm/v1/kv_cache_interface.py, states in
vllm/model_executor/layers/mamba/mamba_utils.py. Pure functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog.architecture import Architecture, AttentionLayers
from catalog.schema import Gpu
from planning.capacity.remembered import remembered

# One MLA record with its own scales in the fp8_ds_mla layout, bytes per token and layer.
FP8_DS_MLA_BYTES = 656
# Major of the compute capability of data centre cards with kernels of their own.
BLACKWELL = 10


@dataclass(frozen=True)
class Attention:
    """Layers of like attention, with everything that `catalog.architecture.AttentionLayers` may leave out."""

    layers: int
    kind: str
    window_tokens: int
    heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int
    keeps_cache: bool = True


@remembered
def attention_groups(shape: Architecture) -> tuple[Attention, ...]:
    """Groups of layers that attend; without any of its own, a model has one, of all layers without a state."""
    if shape.attention:
        return tuple(_resolved(shape, group) for group in shape.attention)
    linear, mamba = shape.linear_attention, shape.mamba
    layers = shape.layers - (linear.layers if linear else 0) - (mamba.layers if mamba else 0)
    dims = (shape.attention_heads, shape.kv_heads, shape.head_dim, shape.head_dim)
    return (Attention(layers, "full", 0, *dims),) if layers else ()


def _resolved(shape: Architecture, group: AttentionLayers) -> Attention:
    head_dim = group.head_dim or shape.head_dim
    return Attention(
        group.layers,
        group.kind,
        group.window_tokens or 0,
        group.attention_heads or shape.attention_heads,
        group.kv_heads or shape.kv_heads,
        head_dim,
        group.value_head_dim or head_dim,
        group.keeps_cache,
    )


def attention_layers(shape: Architecture) -> int:
    """Layers that attend; the others of a hybrid model keep a fixed state per sequence, or nothing."""
    return sum(group.layers for group in attention_groups(shape))


def element_bytes(kv_cache_dtype: str) -> int:
    """Bytes of one cached element: 1 for every fp8 kind, 2 for bf16 and fp16, 4 for float32."""
    if kv_cache_dtype == "float32":
        return 4
    return 1 if kv_cache_dtype.startswith("fp8") else 2


def head_bytes(head_dim: int, kv_cache_dtype: str, value_head_dim: int = 0) -> float:
    """Bytes of K and V of one token and head. Scales: one byte per 16 fp4 values, 4 bytes per head for K and V each."""
    width = head_dim + (value_head_dim or head_dim)
    if kv_cache_dtype.startswith("nvfp4"):
        return width / 2 + width / 16
    if kv_cache_dtype.endswith("_per_token_head"):
        return (width / 2 if kv_cache_dtype.startswith("int4") else width) + 8
    return width * element_bytes(kv_cache_dtype)


def group_token_bytes(group: Attention, tensor: int, kv_cache_dtype: str) -> float:
    """Bytes one token costs in one layer of this group: max(1, kv heads / TP) × K and V of a head."""
    return max(1, group.kv_heads // tensor) * head_bytes(group.head_dim, kv_cache_dtype, group.value_head_dim)


def token_bytes_per_layer(shape: Architecture, tensor: int, kv_cache_dtype: str, gpu: Gpu | None = None) -> float:
    """Bytes one token costs in one attention layer of the model's own heads on one GPU.

    GQA: max(1, kv heads / TP) × K and V of a head. MLA: (kv rank + rope) × element, one head that every
    TP rank holds; models with a sparse indexer keep its key beside it, and their fp8 means fp8_ds_mla but on compute
    capability 10.x.
    """
    if shape.mla is None:
        return max(1, shape.kv_heads // tensor) * head_bytes(shape.head_dim, kv_cache_dtype)
    return latent_token_bytes(shape, kv_cache_dtype, is_blackwell(gpu)) + indexer_token_bytes(shape)


def is_blackwell(gpu: Gpu | None) -> bool:
    """Whether this card has the kernels of compute capability 10.x."""
    return gpu is not None and gpu.capability[0] == BLACKWELL


def latent_token_bytes(shape: Architecture, kv_cache_dtype: str, blackwell: bool) -> float:
    """Bytes of one token's latent record in one layer of MLA."""
    assert shape.mla is not None, "callers have checked"
    element, indexer = element_bytes(kv_cache_dtype), shape.mla.indexer_head_dim
    if kv_cache_dtype == "fp8_ds_mla" or (indexer and element == 1 and not blackwell):
        return FP8_DS_MLA_BYTES
    return (shape.mla.kv_lora_rank + shape.mla.rope_head_dim) * element


def indexer_token_bytes(shape: Architecture) -> int:
    """Bytes of one token's key in one sparse indexer: fp8 and a scale of 4 bytes per 128; 0: it has none."""
    width = shape.mla.indexer_head_dim if shape.mla else 0
    return width + width // 32


def state_bytes_per_layer(shape: Architecture, tensor: int, model_bytes: int = 2, draft_tokens: int = 0) -> int:
    """Fixed state of one sequence in one layer that keeps one, on one GPU; `model_bytes`: of the model's dtype.

    Linear attention: value heads × key dim × value dim. Mamba2: heads × head dim × state. Both (fp32 or the model's
    dtype) and (conv kernel − 1 + guesses) × channels in the model's dtype, over TP.
    """
    if gdn := shape.linear_attention:
        elements = gdn.value_heads * gdn.key_head_dim * gdn.value_head_dim
        channels = 2 * gdn.key_heads * gdn.key_head_dim + gdn.value_heads * gdn.value_head_dim
        kernel, stored = gdn.conv_kernel, gdn.state_bytes_per_element
    elif mamba := shape.mamba:
        elements = mamba.heads * mamba.head_dim * mamba.state_size
        # groups that TP does not divide are copied, so that every rank has those of its heads
        groups = mamba.groups if mamba.groups % tensor == 0 else tensor
        channels = mamba.heads * mamba.head_dim + 2 * groups * mamba.state_size
        kernel, stored = mamba.conv_kernel, mamba.state_bytes_per_element
    else:
        return 0
    # a state of 2 bytes is one in the model's dtype
    state = elements * max(stored, model_bytes)
    return (state + (kernel - 1 + draft_tokens) * channels * model_bytes) // tensor


@dataclass(frozen=True)
class Cached:
    """Layers that keep the same of a token (`token_bytes`), or a state per sequence (`state_bytes`)."""

    layers: int
    kind: str
    window_tokens: int
    token_bytes: float
    state_bytes: int = 0


@remembered
def cached_layers(
    shape: Architecture, tensor: int, kv_cache_dtype: str, blackwell: bool, model_bytes: int, draft_tokens: int
) -> tuple[Cached, ...]:
    """All layers that keep something of a request on one GPU, before pipeline stages divide them; like ones once."""
    kinds: dict[Cached, int] = {}
    for kind in _each(shape, tensor, kv_cache_dtype, blackwell, model_bytes, draft_tokens):
        alike = replace(kind, layers=0)
        kinds[alike] = kinds.get(alike, 0) + kind.layers
    return tuple(replace(kind, layers=layers) for kind, layers in kinds.items())


def _each(
    shape: Architecture, tensor: int, kv_cache_dtype: str, blackwell: bool, model_bytes: int, draft_tokens: int
) -> Iterator[Cached]:
    groups = attention_groups(shape)
    if shape.mla:
        layers = sum(group.layers for group in groups)
        yield Cached(layers, "full", 0, latent_token_bytes(shape, kv_cache_dtype, blackwell))
        if indexer := indexer_token_bytes(shape):
            yield Cached(shape.mla.indexer_layers or layers, "full", 0, indexer)
    else:
        for group in groups:
            if group.keeps_cache:
                size = group_token_bytes(group, tensor, kv_cache_dtype)
                yield Cached(group.layers, group.kind, group.window_tokens, size)
    state = state_bytes_per_layer(shape, tensor, model_bytes, draft_tokens)
    for kept in (shape.linear_attention, shape.mamba):
        if kept:
            yield Cached(kept.layers, "state", 0, 0, state)
