"""Bytes of weights on the fullest GPU: every kind of parameter, how it is stored, and what divides it.

In bytes unless the name says GiB (2^30). Pure functions.
"""

from dataclasses import dataclass
from math import ceil

from catalog.schema import Architecture, Model, WeightFormat
from planning.capacity.budget import Parallelism
from planning.capacity.kv_cache import attention_layers
from planning.tasks import task_of

# Bytes that store one linear weight. Scales: fp8 128×128 blocks one fp32 per 16,384 weights; int4 one fp16 scale and
# one 4-bit zero per group of 128; NVFP4 one fp8 scale per 16 weights.
LINEAR_BYTES = {
    WeightFormat.BF16: 2.0,
    WeightFormat.FP8_BLOCK128: 1.0 + 4 / 128**2,
    WeightFormat.FP8_CHANNEL: 1.0,
    WeightFormat.AWQ_INT4: 0.5 + 2.5 / 128,
    WeightFormat.GPTQ_INT4: 0.5 + 2.5 / 128,
    WeightFormat.NVFP4: 0.5 + 1 / 16,
}

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


def layer_tensors(shape: Architecture, linear_bytes: float, parallelism: Parallelism) -> list[Tensors]:
    """Parameters of all layers together, by kind. Shapes as in vLLM's model definitions; biases and norms included."""
    tp, hidden, heads = parallelism.tensor, shape.hidden_size, shape.attention_heads
    parts: list[Tensors] = []
    if shape.mla:
        mla, qk_dim = shape.mla, shape.mla.nope_head_dim + shape.mla.rope_head_dim
        query_in = mla.q_lora_rank or hidden
        # down-projections are replicated: hidden × (q rank + kv rank + rope)
        down = hidden * (mla.q_lora_rank + mla.kv_lora_rank + mla.rope_head_dim)
        down += hidden * mla.indexer_head_dim + mla.q_lora_rank * mla.indexer_heads * mla.indexer_head_dim
        up = query_in * heads * qk_dim + mla.kv_lora_rank * heads * (mla.nope_head_dim + mla.value_head_dim)
        parts += [
            Tensors(shape.layers * down, linear_bytes, 1),
            Tensors(shape.layers * (up + heads * mla.value_head_dim * hidden), linear_bytes, tp),
        ]
    else:
        full = attention_layers(shape)
        # q (twice as wide with an output gate) and o are cut by heads; k and v by kv heads, then replicated
        q_and_o = hidden * heads * shape.head_dim * (3 if shape.gated_attention else 2)
        k_and_v = 2 * hidden * shape.kv_heads * shape.head_dim
        parts += [
            Tensors(full * q_and_o, linear_bytes, tp),
            Tensors(full * k_and_v, linear_bytes, min(tp, shape.kv_heads)),
        ]
        if shape.qkv_bias:
            parts.append(Tensors(full * (heads + 2 * shape.kv_heads) * shape.head_dim, 2, min(tp, shape.kv_heads)))
    if shape.linear_attention:
        gdn = shape.linear_attention
        keys, values = gdn.key_heads * gdn.key_head_dim, gdn.value_heads * gdn.value_head_dim
        # q, k, v, gate z in; out; b and a are one number per value head
        weights = hidden * (2 * keys + 2 * values) + values * hidden + 2 * hidden * gdn.value_heads
        parts.append(Tensors(gdn.layers * weights, linear_bytes, tp))
    moe_layers = shape.layers - shape.moe.dense_layers if shape.moe else 0
    dense = (shape.layers - moe_layers) * 3 * hidden * shape.intermediate_size
    parts.append(Tensors(dense, linear_bytes, tp))
    if shape.moe:
        experts = shape.moe.experts * 3 * hidden * shape.moe.intermediate_size
        spread = tp * parallelism.data if parallelism.expert else tp
        parts += [
            Tensors(moe_layers * experts, linear_bytes, spread),
            Tensors(moe_layers * 3 * hidden * shape.moe.shared_intermediate_size, linear_bytes, tp),
            Tensors(moe_layers * hidden * shape.moe.experts, 2, 1),
        ]
    parts.append(Tensors(shape.layers * 2 * hidden, 2, 1))
    return parts


def counted_bytes(shape: Architecture, linear_bytes: float, parallelism: Parallelism) -> tuple[float, float]:
    """Bytes of the language model by its shape: (all of it once, the fullest GPU)."""
    tp, pp = parallelism.tensor, parallelism.pipeline
    layers = layer_tensors(shape, linear_bytes, parallelism)
    embedding = shape.vocab_size * shape.hidden_size * 2
    head = 0 if shape.tied_embeddings else embedding
    # the fullest stage has ceil(layers / PP) layers and one end of the network: embedding or head
    share = ceil(shape.layers / pp) / shape.layers
    ends = (embedding + head) / tp if pp == 1 else embedding / tp
    fullest = share * sum(part.total_bytes / part.shards for part in layers) + ends
    return sum(part.total_bytes for part in layers) + embedding + head, fullest


def weight_bytes(
    model: Model, parallelism: Parallelism, *, language_model_only: bool = False, model_bytes: int = 2
) -> tuple[float, float]:
    """Bytes of the weights: (all of the model once, the fullest GPU of one replica).

    A bf16 checkpoint is loaded into the dtype of the model, `model_bytes` each; kernels of all others take 2.
    Counted from the shape and scaled to the checkpoint's own size where that is known. A vision tower is sharded like
    the rest, and left out with `language_model_only`. Without a shape, the checkpoint is taken to divide evenly.
    """
    if model_bytes != 2 and model.checkpoint.format is WeightFormat.BF16:
        total, fullest = weight_bytes(model, parallelism, language_model_only=language_model_only)
        return total * model_bytes / 2, fullest * model_bytes / 2
    shape, loaded = model.architecture, model.checkpoint.loaded_bytes
    if shape is None:
        total = float(loaded or model.checkpoint.disk_bytes or 0)
        return total, total / parallelism.gpus
    if not task_of(model).writes:
        # vLLM drops the head of a model that only reads (models/adapters.py)
        shape = shape.model_copy(update={"tied_embeddings": True})
    linear = LINEAR_BYTES.get(model.checkpoint.format, 1.0)
    counted, fullest = counted_bytes(shape, linear, parallelism)
    if not loaded:
        return counted, fullest
    tower = min(shape.vision_tower_bytes, loaded)
    language = loaded - tower
    tower_bytes = 0 if language_model_only else tower
    return float(language + tower_bytes), fullest * language / counted + tower_bytes / parallelism.tensor


def mla_absorbed_bytes(shape: Architecture, parallelism: Parallelism, model_bytes: int = 2) -> float:
    """Copies MLA makes of its kv up-projection while loading: layers × heads / TP × rank × (nope + value)."""
    if shape.mla is None:
        return 0
    width = shape.mla.kv_lora_rank * (shape.mla.nope_head_dim + shape.mla.value_head_dim)
    return ceil(shape.layers / parallelism.pipeline) * shape.attention_heads * width * model_bytes / parallelism.tensor


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
    linear = LINEAR_BYTES.get(model.checkpoint.format, 1.0)
    layers = sum(part.total_bytes for part in layer_tensors(shape, linear, parallelism))
    return fullest * layers / max(counted_bytes(shape, linear, parallelism)[0], total)
