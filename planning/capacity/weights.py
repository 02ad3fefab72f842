"""Bytes of weights on the fullest GPU: every kind of parameter, how it is stored, and what divides it.

In bytes unless the name says GiB (2^30). Pure functions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from catalog.architecture import Architecture, ModelPart
from catalog.schema import Checkpoint, Model, WeightFormat
from planning.capacity.budget import Parallelism
from planning.capacity.layers import attention_groups, attention_layers
from planning.capacity.remembered import remembered
from planning.tasks import task_of

# Bytes that store one linear weight. Scales: fp8 128×128 blocks one fp32 per 16,384 weights; int4 one fp16 scale and
# one 4-bit zero per group of 128; NVFP4 one fp8 scale per 16 weights, MXFP4 one byte per 32.
LINEAR_BYTES = {
    WeightFormat.BF16: 2.0,
    WeightFormat.FP8_BLOCK128: 1.0 + 4 / 128**2,
    WeightFormat.FP8_CHANNEL: 1.0,
    WeightFormat.AWQ_INT4: 0.5 + 2.5 / 128,
    WeightFormat.GPTQ_INT4: 0.5 + 2.5 / 128,
    WeightFormat.NVFP4: 0.5 + 1 / 16,
    WeightFormat.MXFP4: 0.5 + 1 / 32,
}
# Scale and zero of one group of int4 weights.
GROUP_BYTES = 2.5
# Experts in MXFP4 are laid out anew for Marlin: this GPU's share of the inner size and the hidden size become multiples
# of these (model_executor/layers/fused_moe/oracle/mxfp4.py). The engine's file has those of other vendors.
MARLIN = (128, 256)

# Files differ from what is loaded by headers, too; the smallest MTP layer known has a hundred times this.
LEAST_HEAD_BYTES = 10**6


@dataclass(frozen=True)
class Tensors:
    """One kind of parameter of the whole model: how many, how stored, and what divides them over GPUs."""

    parameters: float
    bytes_per_parameter: float
    shards: int

    @property
    def total_bytes(self) -> float:
        """Bytes over all GPUs if each were stored once."""
        return self.parameters * self.bytes_per_parameter


def part_bytes(checkpoint: Checkpoint) -> Mapping[ModelPart, float]:
    """Bytes of one linear weight of each part of the model."""
    return {part: _linear_bytes(checkpoint.parts.get(part, checkpoint.format), checkpoint) for part in ModelPart}


def _linear_bytes(kind: WeightFormat, checkpoint: Checkpoint) -> float:
    size = checkpoint.group_size if kind in (WeightFormat.AWQ_INT4, WeightFormat.GPTQ_INT4) else None
    if size is None:
        return LINEAR_BYTES.get(kind, 1.0)
    return 0.5 + (GROUP_BYTES / size if size else 0)


def layer_tensors(
    shape: Architecture,
    stored: Mapping[ModelPart, float],
    parallelism: Parallelism,
    multiples: tuple[int, int] = MARLIN,
) -> list[Tensors]:
    """Parameters of all layers together, by kind. Shapes as in vLLM's model definitions; biases and norms included.

    `stored`: bytes of one linear weight of each part. `multiples`: of the sizes of experts in MXFP4.
    """
    latent = shape.mla is not None
    attention = _latent_tensors if latent else _attention_tensors
    return [
        *attention(shape, stored[ModelPart.ATTENTION], parallelism.tensor),
        *_state_tensors(shape, stored[ModelPart.STATE], parallelism.tensor),
        *_feed_forward_tensors(shape, stored, parallelism, multiples),
        Tensors(shape.layers * 2 * shape.hidden_size, 2, 1),
    ]


def _latent_tensors(shape: Architecture, linear_bytes: float, tensor: int) -> Iterator[Tensors]:
    """Attention with latents (MLA). Down-projections are replicated: hidden × (q rank + kv rank + rope)."""
    mla, hidden, heads, layers = shape.mla, shape.hidden_size, shape.attention_heads, attention_layers(shape)
    assert mla is not None, "callers have checked"
    query_in = mla.q_lora_rank or hidden
    down = hidden * (mla.q_lora_rank + mla.kv_lora_rank + mla.rope_head_dim)
    indexer = hidden * mla.indexer_head_dim + mla.q_lora_rank * mla.indexer_heads * mla.indexer_head_dim
    up = query_in * heads * (mla.nope_head_dim + mla.rope_head_dim)
    up += mla.kv_lora_rank * heads * (mla.nope_head_dim + mla.value_head_dim)
    yield Tensors(layers * down + (mla.indexer_layers or layers) * indexer, linear_bytes, 1)
    yield Tensors(layers * (up + heads * mla.value_head_dim * hidden), linear_bytes, tensor)


def _attention_tensors(shape: Architecture, linear_bytes: float, tensor: int) -> Iterator[Tensors]:
    """Attention with heads. q (twice as wide with an output gate) and o are cut by heads; k and v by kv heads."""
    hidden = shape.hidden_size
    for group in attention_groups(shape):
        query = group.heads * group.head_dim * (2 if shape.gated_attention else 1)
        shards = min(tensor, group.kv_heads)
        # layers that read another's cache have no keys and values of their own
        keys, values = (group.keeps_cache * group.kv_heads * dim for dim in (group.head_dim, group.value_head_dim))
        yield Tensors(group.layers * hidden * (query + group.heads * group.value_head_dim), linear_bytes, tensor)
        yield Tensors(group.layers * hidden * (keys + values), linear_bytes, shards)
        if shape.qkv_bias:
            yield Tensors(group.layers * (query + keys + values), 2, shards)


def _state_tensors(shape: Architecture, linear_bytes: float, tensor: int) -> Iterator[Tensors]:
    """Layers that keep a state: projections in and out, and short convolutions."""
    hidden = shape.hidden_size
    if gdn := shape.linear_attention:
        keys, values = gdn.key_heads * gdn.key_head_dim, gdn.value_heads * gdn.value_head_dim
        if gdn.kind == "kda":
            # q, k, v in, out, one number per head, and two gates through a bottleneck of a head's size
            weights = hidden * (2 * keys + 2 * values + gdn.value_heads)
            weights += gdn.value_head_dim * (2 * hidden + keys + values)
        else:
            # q, k, v, gate z in; out; b and a are one number per value head
            weights = hidden * (2 * keys + 2 * values) + values * hidden + 2 * hidden * gdn.value_heads
        yield Tensors(gdn.layers * weights, linear_bytes, tensor)
        yield Tensors(gdn.layers * (2 * keys + values) * gdn.conv_kernel, 2, tensor)
    if mamba := shape.mamba:
        inner, shared = mamba.heads * mamba.head_dim, 2 * mamba.groups * mamba.state_size
        yield Tensors(mamba.layers * hidden * (3 * inner + shared + mamba.heads), linear_bytes, tensor)
        yield Tensors(mamba.layers * (inner + shared) * mamba.conv_kernel, 2, tensor)


def _feed_forward_tensors(
    shape: Architecture, stored: Mapping[ModelPart, float], parallelism: Parallelism, multiples: tuple[int, int]
) -> Iterator[Tensors]:
    """Dense feed-forward layers; experts, what all tokens share, and routers."""
    tp, hidden, moe, matrices = parallelism.tensor, shape.hidden_size, shape.moe, 3 if shape.gated_mlp else 2
    layers = shape.layers if shape.feed_forward_layers is None else shape.feed_forward_layers
    routed = layers - moe.dense_layers if moe else 0
    yield Tensors((layers - routed) * matrices * hidden * shape.intermediate_size, stored[ModelPart.DENSE], tp)
    if moe is None:
        return
    spread = tp * parallelism.data if parallelism.expert else tp
    inner, outer = moe.intermediate_size, moe.hidden_size or hidden
    if stored[ModelPart.EXPERTS] == LINEAR_BYTES[WeightFormat.MXFP4]:
        share = inner if parallelism.expert else ceil(inner / tp)
        of_share, of_hidden = multiples
        inner = ceil(share / of_share) * of_share * (inner // share if share else 1)
        outer = ceil(outer / of_hidden) * of_hidden
    shared = matrices * hidden * moe.shared_intermediate_size
    yield Tensors(routed * moe.experts * matrices * outer * inner, stored[ModelPart.EXPERTS], spread)
    yield Tensors(routed * shared, stored[ModelPart.SHARED_EXPERTS], tp)
    yield Tensors(routed * hidden * moe.experts, 2, 1)
    if moe.hidden_size:
        # into the narrower space of the experts and out of it
        yield Tensors(routed * 2 * hidden * moe.hidden_size, stored[ModelPart.SHARED_EXPERTS], 1)


def counted_bytes(
    shape: Architecture,
    stored: Mapping[ModelPart, float],
    parallelism: Parallelism,
    multiples: tuple[int, int] = MARLIN,
) -> tuple[float, float]:
    """Bytes of the language model by its shape: (all of it once, the fullest GPU)."""
    tp, pp = parallelism.tensor, parallelism.pipeline
    layers = layer_tensors(shape, stored, parallelism, multiples)
    embedding = shape.vocab_size * shape.hidden_size * 2
    head, extra = 0 if shape.tied_embeddings else embedding, shape.extra_parameters * 2
    # the fullest stage has ceil(layers / PP) layers and one end of the network: embedding or head
    share = ceil(shape.layers / pp) / shape.layers
    ends = (embedding + head + extra) / tp if pp == 1 else (embedding + extra) / tp
    fullest = share * sum(part.total_bytes / part.shards for part in layers) + ends
    return sum(part.total_bytes for part in layers) + embedding + head + extra, fullest


def parameter_count(shape: Architecture, *, active: bool = False) -> int:
    """Parameters of the language model; `active`: of them those that one token goes through."""
    stored = part_bytes(Checkpoint(format=WeightFormat.BF16))
    if active and shape.moe:
        chosen = shape.moe.model_copy(update={"experts": shape.moe.experts_per_token})
        shape = shape.model_copy(update={"moe": chosen})
    layers = sum(part.parameters for part in layer_tensors(shape, stored, Parallelism()))
    embedding = shape.vocab_size * shape.hidden_size * (1 if shape.tied_embeddings else 2)
    return round(layers) + embedding + shape.extra_parameters


def weight_bytes(
    model: Model,
    parallelism: Parallelism,
    *,
    language_model_only: bool = False,
    model_bytes: int = 2,
    multiples: tuple[int, int] = MARLIN,
) -> tuple[float, float]:
    """Bytes of the weights: (all of the model once, the fullest GPU of one replica).

    A bf16 checkpoint is loaded into the dtype of the model, `model_bytes` each; kernels of all others take 2.
    Counted from the shape and scaled to the checkpoint's own size where that is known. A vision tower is sharded like
    the rest, and left out with `language_model_only`. Without a shape, the checkpoint is taken to divide evenly.
    `multiples`: of the sizes of experts in MXFP4 on this GPU; the checkpoint's own size is that on NVIDIA's.
    """
    if model_bytes != 2 and model.checkpoint.format is WeightFormat.BF16:
        total, fullest = weight_bytes(model, parallelism, language_model_only=language_model_only)
        return total * model_bytes / 2, fullest * model_bytes / 2
    return _loaded_bytes(model, parallelism, language_model_only, multiples)


@remembered
def _loaded_bytes(
    model: Model, parallelism: Parallelism, language_model_only: bool, multiples: tuple[int, int]
) -> tuple[float, float]:
    shape, loaded = model.architecture, model.checkpoint.loaded_bytes
    if shape is None:
        total = float(loaded or model.checkpoint.disk_bytes or 0)
        return total, total / parallelism.gpus
    if not task_of(model).writes:
        # vLLM drops the head of a model that only reads (models/adapters.py)
        shape = shape.model_copy(update={"tied_embeddings": True})
    stored = part_bytes(model.checkpoint)
    counted, fullest = counted_bytes(shape, stored, parallelism)
    if multiples != MARLIN:
        _, fullest = counted_bytes(shape, stored, parallelism, multiples)
    tower = min(shape.vision_tower_bytes, loaded) if loaded else shape.vision_tower_bytes
    language = loaded - tower if loaded else counted
    tower_bytes = 0 if language_model_only else tower
    return float(language + tower_bytes), fullest * language / counted + tower_bytes / parallelism.tensor


def mla_absorbed_bytes(shape: Architecture, parallelism: Parallelism, model_bytes: int = 2) -> float:
    """Copies MLA makes of its kv up-projection while loading: layers × heads / TP × rank × (nope + value)."""
    if shape.mla is None:
        return 0
    width = shape.mla.kv_lora_rank * (shape.mla.nope_head_dim + shape.mla.value_head_dim)
    return (
        ceil(attention_layers(shape) / parallelism.pipeline)
        * shape.attention_heads
        * width
        * model_bytes
        / parallelism.tensor
    )


def draft_head_bytes(model: Model) -> int:
    """Bytes of the MTP layer of a checkpoint, all of it: what is on disk and is not loaded without it; 0: not known.

    Embedding and head are those of the model itself (vllm/model_executor/models/qwen3_5_mtp.py, deepseek_mtp.py).
    """
    disk, loaded = model.checkpoint.disk_bytes, model.checkpoint.loaded_bytes
    return disk - loaded if disk and loaded and disk - loaded > LEAST_HEAD_BYTES else 0


def layer_share_bytes(model: Model, parallelism: Parallelism, *, model_bytes: int = 2) -> float:
    """Bytes of the layers on the fullest GPU, without embedding, head and towers."""
    shape, (total, fullest) = model.architecture, weight_bytes(model, parallelism, model_bytes=model_bytes)
    if shape is None:
        return 0
    stored = part_bytes(model.checkpoint)
    layers = sum(part.total_bytes for part in layer_tensors(shape, stored, parallelism))
    return fullest * layers / max(counted_bytes(shape, stored, parallelism)[0], total)
