"""GPU memory of one vLLM replica, by the same sum vLLM makes at start-up.

    budget   = visible memory × utilisation
    KV cache = budget − weights − activation peak − CUDA graphs − NCCL and context      (vllm/v1/worker/gpu_worker.py)
    fits     = one sequence of the wanted context needs no more than the KV cache       (vllm/v1/core/kv_cache_utils.py)

Everything is per GPU of the fullest pipeline stage, in bytes unless the name says GiB (2^30). Pure functions.
"""

from dataclasses import dataclass
from math import ceil

from catalog.schema import Architecture, Gpu, KvProfile, Model, WeightFormat
from planning.plan import MemoryBudget, Parallelism

GIB = 2**30
# KV blocks of vLLM on CUDA hold 16 tokens unless a backend enlarges them (vllm/config/cache.py, 0.33.0).
BLOCK_TOKENS = 16
# vLLM's default for --gpu-memory-utilization since 0.19 (vllm/config/cache.py, 0.33.0).
DEFAULT_UTILIZATION = 0.92
# NVML's total minus what CUDA shows, in GiB, where nobody has published a log; the largest gap seen is 0.9 (A100).
UNSEEN_GIB = 0.9
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
# Peak of the dummy sampler run, bytes per row and vocabulary entry: 37–47 in six published start-up logs (2025-2026).
SAMPLER_BYTES_PER_LOGIT = 40
# Body activations of a step of 8,192 tokens or fewer, beside the sampler; the same logs.
ACTIVATION_FLOOR_BYTES = int(0.3 * GIB)
# CUDA context and NCCL buffers: 0.13–0.15 GiB on one GPU, 0.54–0.55 GiB on two (llm-d-benchmark, vLLM 0.11, H100).
NON_TORCH_BYTES = int(0.15 * GIB)
NON_TORCH_PARALLEL_BYTES = int(0.55 * GIB)


@dataclass(frozen=True)
class Workload:
    """What one replica is asked to hold. `kv_cache_dtype` as vLLM names it; `auto` is the checkpoint's bf16."""

    context_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_dtype: str = "auto"
    utilization: float = DEFAULT_UTILIZATION
    eager: bool = False


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


def visible_bytes(gpu: Gpu) -> float:
    """What CUDA reports on this GPU: read in a log where somebody published one, else NVML's total less a margin."""
    return gpu.cuda_gib * GIB if gpu.cuda_gib is not None else gpu.memory_mib * 2**20 - UNSEEN_GIB * GIB


def attention_layers(shape: Architecture) -> int:
    """Layers that keep KV per token; the others of a hybrid model keep a fixed state per sequence."""
    return shape.layers - (shape.linear_attention.layers if shape.linear_attention else 0)


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


def weight_bytes(model: Model, parallelism: Parallelism) -> tuple[float, float]:
    """Bytes of the weights: (all of the model once, the fullest GPU of one replica).

    Counted from the shape, then scaled to the checkpoint's own size where that is known (the difference is what the
    shape leaves out: a vision tower, unquantised layers). Without a shape, the checkpoint is taken to divide evenly.
    """
    shape, loaded = model.architecture, model.checkpoint.loaded_bytes
    if shape is None:
        total = float(loaded or model.checkpoint.disk_bytes or 0)
        return total, total / parallelism.gpus
    tp, pp = parallelism.tensor, parallelism.pipeline
    linear = LINEAR_BYTES.get(model.checkpoint.format, 1.0)
    layers = layer_tensors(shape, linear, parallelism)
    embedding = shape.vocab_size * shape.hidden_size * 2
    head = 0 if shape.tied_embeddings else embedding
    counted = sum(part.total_bytes for part in layers) + embedding + head
    # the fullest stage has ceil(layers / PP) layers and one end of the network: embedding or head
    share = ceil(shape.layers / pp) / shape.layers
    ends = (embedding + head) / tp if pp == 1 else embedding / tp
    fullest = share * sum(part.total_bytes / part.shards for part in layers) + ends
    scale = loaded / counted if loaded else 1.0
    return counted * scale, fullest * scale


def kv_element_bytes(kv_cache_dtype: str) -> int:
    """Bytes of one cached element: 1 for every fp8 kind, 2 for bf16 and fp16."""
    return 1 if kv_cache_dtype.startswith("fp8") else 2


def kv_bytes_per_token(shape: Architecture, parallelism: Parallelism, kv_cache_dtype: str) -> float:
    """KV bytes one token costs on the fullest GPU.

    GQA: 2 (K and V) × layers × max(1, kv heads / TP) × head dim × bytes. MLA: layers × (kv rank + rope) × bytes, the
    same on every TP rank.
    """
    element, pp = kv_element_bytes(kv_cache_dtype), parallelism.pipeline
    if shape.mla:
        stored = (shape.mla.kv_lora_rank + shape.mla.rope_head_dim) * element
        # DeepSeek V3.2 keeps the indexer's key beside it: 1 byte per element and a 4-byte scale per 128 elements
        stored += shape.mla.indexer_head_dim + shape.mla.indexer_head_dim // 32
        return ceil(shape.layers / pp) * stored
    heads = max(1, shape.kv_heads // parallelism.tensor)
    return ceil(attention_layers(shape) / pp) * 2 * heads * shape.head_dim * element


def state_bytes_per_sequence(shape: Architecture, parallelism: Parallelism) -> float:
    """Fixed state one sequence of a hybrid model keeps in its linear-attention layers, on the fullest GPU.

    Per layer: value heads × key dim × value dim (fp32 by default) + (conv kernel − 1) × channels in bf16.
    """
    gdn = shape.linear_attention
    if gdn is None:
        return 0
    state = gdn.value_heads * gdn.key_head_dim * gdn.value_head_dim * gdn.state_bytes_per_element
    channels = 2 * gdn.key_heads * gdn.key_head_dim + gdn.value_heads * gdn.value_head_dim
    return ceil(gdn.layers / parallelism.pipeline) * (state + (gdn.conv_kernel - 1) * channels * 2) / parallelism.tensor


def activation_bytes(shape: Architecture, workload: Workload, parallelism: Parallelism) -> float:
    """Peak of the profile run: the sampler over max_num_seqs × vocabulary, or the body of a very large step."""
    rows = min(workload.max_num_seqs, workload.max_num_batched_tokens)
    sampler = SAMPLER_BYTES_PER_LOGIT * rows * shape.vocab_size
    widest = max(shape.intermediate_size, shape.moe.shared_intermediate_size if shape.moe else 0)
    # per token in bf16: residual, normed copy, attention in and out; gate and up of the widest feed-forward
    per_token = 2 * (4 * shape.hidden_size + 2 * widest / parallelism.tensor)
    return max(sampler, workload.max_num_batched_tokens * per_token) + ACTIVATION_FLOOR_BYTES


def cuda_graph_bytes(shape: Architecture, workload: Workload) -> float:
    """Captured graphs: 0.2–0.3 GiB for 8B, 1.1 GiB for 27B models in logs of vLLM 0.26–0.30; linear between."""
    if workload.eager:
        return 0
    return (0.1 + 3e-6 * shape.layers * shape.hidden_size) * GIB


def budget(model: Model, gpu: Gpu, parallelism: Parallelism, workload: Workload) -> MemoryBudget:
    """The whole sum for one replica on this GPU; `kv_cache_gib` < 0 means that the weights alone do not fit.

    Raises ValueError for a model whose KV profile is unknown: nothing honest can be computed for it.
    """
    shape = model.architecture
    if shape is None or model.kv_profile is KvProfile.UNKNOWN:
        raise ValueError("the KV profile of this model is unknown")
    visible = visible_bytes(gpu)
    _, weights = weight_bytes(model, parallelism)
    activation = activation_bytes(shape, workload, parallelism)
    graphs = cuda_graph_bytes(shape, workload)
    non_torch = NON_TORCH_BYTES if parallelism.gpus == 1 else NON_TORCH_PARALLEL_BYTES
    free = visible * workload.utilization - weights - activation - graphs - non_torch
    return _filled(model, parallelism, workload, free, (visible, weights, activation, graphs, non_torch))


def cpu_budget(model: Model, memory_gib: int, kv_cache_gib: int, workload: Workload) -> MemoryBudget:
    """The same for a CPU server, whose KV cache is given by VLLM_CPU_KVCACHE_SPACE; `memory_gib` is the node's."""
    total, weights = weight_bytes(model, Parallelism())
    parts = (memory_gib * GIB, weights, CPU_RUNTIME_GIB * GIB, 0, 0)
    free = min(kv_cache_gib * GIB, memory_gib * GIB * workload.utilization - total - CPU_RUNTIME_GIB * GIB)
    return _filled(model, Parallelism(), workload, free, parts)


# Resident memory of vLLM's CPU build beside weights and KV cache: 4.5 GiB with 0.25 + 1 GiB of those (2026-11).
CPU_RUNTIME_GIB = 4


def needed_bytes(shape: Architecture, parallelism: Parallelism, workload: Workload, context_tokens: int) -> float:
    """KV bytes one sequence of `context_tokens` needs on the fullest GPU, in whole blocks."""
    blocks = ceil(context_tokens / BLOCK_TOKENS)
    per_token = kv_bytes_per_token(shape, parallelism, workload.kv_cache_dtype)
    return blocks * BLOCK_TOKENS * per_token + state_bytes_per_sequence(shape, parallelism)


def _filled(
    model: Model,
    parallelism: Parallelism,
    workload: Workload,
    free: float,
    parts: tuple[float, float, float, float, float],
) -> MemoryBudget:
    shape = model.architecture
    assert shape is not None, "callers have checked"
    visible, weights, activation, graphs, non_torch = parts
    per_token = kv_bytes_per_token(shape, parallelism, workload.kv_cache_dtype)
    state = state_bytes_per_sequence(shape, parallelism)
    need = needed_bytes(shape, parallelism, workload, workload.context_tokens)
    concurrency = max(0.0, free / need) * parallelism.data
    # vLLM logs int(concurrency × max_model_len): for dense models that is free / bytes per token
    tokens = int(concurrency * workload.context_tokens) if state else int(max(0.0, free) / per_token) * parallelism.data
    longest = int(max(0.0, free - state) / per_token) // BLOCK_TOKENS * BLOCK_TOKENS
    return MemoryBudget(
        visible_gib=visible / GIB,
        utilization=workload.utilization,
        weights_gib=weights / GIB,
        activation_gib=activation / GIB,
        cuda_graphs_gib=graphs / GIB,
        non_torch_gib=non_torch / GIB,
        kv_cache_gib=free / GIB,
        kv_cache_tokens=tokens // BLOCK_TOKENS * BLOCK_TOKENS,
        context_tokens=workload.context_tokens,
        max_context_tokens=min(longest, model.context.config_tokens),
        max_concurrency=concurrency,
    )
