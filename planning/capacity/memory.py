"""GPU memory of one vLLM replica, by the same sum vLLM makes at start-up.

    budget   = visible memory × utilisation
    KV cache = budget − weights − activation peak − CUDA graphs − NCCL and context      (vllm/v1/worker/gpu_worker.py)
    fits     = one sequence of the wanted context needs no more than the KV cache       (planning/capacity/kv_cache.py)

Everything is per GPU of the fullest pipeline stage, in bytes unless the name says GiB (2^30). Pure functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from types import MappingProxyType

from catalog.devices import Devices
from catalog.schema import Architecture, Gpu, KvProfile, Model, WeightFormat
from catalog.slices import Slices
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.cards import DEFAULT_UTILIZATION, GIB, RUNTIME_GIB, visible_bytes
from planning.capacity.drafts import draft_weight_bytes
from planning.capacity.kv_cache import KvCacheSize, Layout, kv_cache_size, layout
from planning.capacity.layers import is_blackwell
from planning.capacity.lora import lora_bytes
from planning.capacity.non_torch import non_torch_bytes
from planning.capacity.rotary import rotary_bytes
from planning.capacity.tuning import USUAL, Tuning
from planning.capacity.weights import MARLIN, draft_head_bytes, layer_share_bytes, mla_absorbed_bytes, weight_bytes

# Transient peak of the sampler's trial run, bytes per row and vocabulary entry. Model Runner V2 with the sampler of
# FlashInfer needs 14: bf16 logits 2, fp32 copy 4, top-k mask 4, softmax 4 (v1/worker/gpu/sample/sampler.py).
# Where FlashInfer does not sample, the logits are sorted: 36 in logs of vLLM 0.26 and 0.27 on compute capability 12.
SAMPLER_BYTES_PER_LOGIT, SORTING_SAMPLER_BYTES_PER_LOGIT = 14, 36
# What the sampler keeps per sequence slot and vocabulary entry: an int32 count and one bit (sample/penalties.py).
PENALTY_BYTES_PER_LOGIT = 4 + 1 / 8
# Workspaces no term below counts: attention metadata, block tables, rounding of the allocator. vLLM takes 150 MiB
# off the cache size it suggests, too (vllm/v1/worker/gpu_worker.py).
WORKSPACE_BYTES = int(0.15 * GIB)
# Peak of profiling a vision encoder with the largest image its processor allows: what logs of multimodal models
# leave beside the other terms (vLLM 0.26–0.30).
ENCODER_BYTES = int(1.4 * GIB)
# One captured CUDA graph, and the most that one of a model without linear attention takes per layer (logs of 28 to 94
# layers); there are two kinds, piecewise and full, of every batch size vLLM captures.
GRAPH_BYTES, GRAPH_BYTES_PER_LAYER = 10 * 2**20, int(0.19 * 2**20)
# The largest batch vLLM captures (vllm/config/vllm.py), on compute capability 10 and elsewhere.
LARGEST_GRAPH_BATCH, LARGEST_GRAPH_BATCH_BLACKWELL = 512, 1024
# Tokens one fused-MoE pass takes at a time (VLLM_FUSED_MOE_CHUNK_SIZE).
MOE_CHUNK_TOKENS = 16 * 1024
# Tokens of the chunked-prefill workspace of MLA backends, at most (model_executor/layers/attention/mla_attention.py).
MLA_WORKSPACE_TOKENS = 64 * 1024
# Logits of the sparse indexer, which vLLM computes in chunks of this size (VLLM_SPARSE_INDEXER_MAX_LOGITS_MB).
INDEXER_LOGITS_BYTES = 512 * 2**20
# Gather buffer of the sparse indexer: this many bytes per token of context (mla/indexer.py: 8 × 5 × 132).
INDEXER_BYTES_PER_TOKEN = 5280
FLOAT32 = ("float32", "float")  # two names of one dtype; all others of a model take 2 bytes


@dataclass(frozen=True)
class Workload:
    """Load that one replica must hold. Dtypes as vLLM names them; `auto` is bf16, of the cache that of the model.

    `concurrency`: sequences of the whole context that must fit at once; vLLM itself asks for one. `samples`: it answers
    with tokens, not only reads them. `tokens_given`: somebody asked for that many in a step. `slices`, `no_loras`,
    `devices`: what the engine cuts, adapts and runs on (that of the GPU's vendor; None: it is not asked).
    """

    context_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_dtype: str = "auto"
    utilization: float = DEFAULT_UTILIZATION
    eager: bool = False
    language_model_only: bool = False
    max_loras: int = 0
    max_lora_rank: int = 16
    concurrency: int = 1
    dtype: str = "auto"
    quantization: str = ""
    samples: bool = True
    tuning: Tuning = USUAL
    tokens_given: bool = False
    slices: Mapping[WeightFormat, Slices] = field(default_factory=lambda: MappingProxyType({}))
    no_loras: frozenset[str] = frozenset()
    devices: Devices | None = field(default=None, compare=False)

    @property
    def step_tokens(self) -> int:
        """Tokens of one step: a whole context where prompts are not cut, unless a number was given."""
        whole = self.tuning.whole_prompts and not self.tokens_given
        return max(self.max_num_batched_tokens, self.context_tokens if whole else 0)

    @property
    def model_bytes(self) -> int:
        """Bytes of a number in the model's dtype: of weights that are not quantised, and of activations."""
        return 4 if self.dtype in FLOAT32 else 2


def slot_bytes(shape: Architecture, workload: Workload, parallelism: Parallelism) -> float:
    """Slots of LoRA adapters on one GPU."""
    slots, rank = workload.max_loras, workload.max_lora_rank
    return lora_bytes(shape, parallelism, slots=slots, rank=rank, model_bytes=workload.model_bytes) if slots else 0


def activation_bytes(shape: Architecture, gpu: Gpu, workload: Workload, parallelism: Parallelism) -> float:
    """Bytes that the profile run adds to the weights: the largest of its phases, and what stays allocated.

    Phases: the body of one step of max_num_batched_tokens; the sampler over min(max_num_seqs, that) × vocabulary, with
    the step's hidden states still there; the vision encoder.
    """
    tokens = workload.step_tokens
    rows = min(workload.max_num_seqs, tokens)
    sorts = sorts_logits(gpu, workload)
    per_logit = SORTING_SAMPLER_BYTES_PER_LOGIT if sorts else SAMPLER_BYTES_PER_LOGIT
    # logits of float32 need no copy in fp32, so they take no more in the sampler than those of bf16
    sampled = shape.vocab_size if workload.samples else 0
    sampler = per_logit * rows * sampled + workload.model_bytes * tokens * shape.hidden_size
    encoder = (
        ENCODER_BYTES * workload.model_bytes / 2 if shape.vision_tower_bytes and not workload.language_model_only else 0
    )
    stays = PENALTY_BYTES_PER_LOGIT * workload.max_num_seqs * sampled + WORKSPACE_BYTES
    return max(sampler, body_bytes(shape, workload, parallelism.tensor), encoder) + stays


def body_bytes(shape: Architecture, workload: Workload, tensor: int) -> float:
    """Peak inside one layer of a step: residual, normed copy, attention in and out, the widest feed-forward."""
    tokens, hidden, element = workload.step_tokens, shape.hidden_size, workload.model_bytes
    shared = shape.moe.shared_intermediate_size if shape.moe else 0
    widest = max(shape.intermediate_size if not shape.moe or shape.moe.dense_layers else 0, shared)
    peak = tokens * element * (4 * hidden + 2 * widest / tensor)
    if shape.moe:
        chunk = min(tokens, MOE_CHUNK_TOKENS) * shape.moe.experts_per_token
        inner = hidden + 2 * shape.moe.intermediate_size / tensor
        peak = max(peak, element * (4 * tokens * hidden + chunk * inner))
    if shape.mla:
        # the prefill workspace and its up-projected keys and values
        held = min(8 * workload.context_tokens, MLA_WORKSPACE_TOKENS)
        mla = shape.mla
        heads = shape.attention_heads / tensor * (mla.nope_head_dim + mla.rope_head_dim + mla.value_head_dim)
        peak += held * element * (mla.kv_lora_rank + mla.rope_head_dim + heads)
        if mla.indexer_head_dim:
            peak += workload.context_tokens * INDEXER_BYTES_PER_TOKEN + INDEXER_LOGITS_BYTES
    return peak


def graph_batches(gpu: Gpu, workload: Workload) -> int:
    """Number of batch sizes that vLLM captures: 1, 2, 4, every 8 below 256, every 16 to the largest, which is one.

    With guesses also what so many sequences take in a step of that many tokens each (_set_cudagraph_sizes).
    """
    tuning, blackwell = workload.tuning, is_blackwell(gpu)
    most = tuning.largest_graph_batch or (LARGEST_GRAPH_BATCH_BLACKWELL if blackwell else LARGEST_GRAPH_BATCH)
    if tuning.graph_batches:
        return len({size for size in tuning.graph_batches if size <= workload.step_tokens})
    ceiling = most if tuning.largest_graph_batch else min(2 * workload.max_num_seqs, most)
    largest = min(ceiling, workload.step_tokens)
    small = 32 if tuning.performance == "interactivity" else 0
    return _usual_batches(largest, most, small, workload.max_num_seqs, 1 + tuning.draft_tokens)


@lru_cache(maxsize=1024)
def _usual_batches(largest: int, most: int, small: int, sequences: int, tokens: int) -> int:
    """Number of sizes up to `largest`; `small`: every one up to it, `tokens`: of one sequence in a step."""
    usual = (*(range(1, small + 1) or (1, 2, 4)), *range(8, 256, 8), *range(256, most + 1, 16))
    sizes = {size for size in (*usual, largest) if size <= largest}
    if tokens > 1:
        sizes |= {count * tokens for count in usual if count <= sequences and count * tokens <= largest}
    return len(sizes)


def cuda_graph_bytes(shape: Architecture, gpu: Gpu, workload: Workload) -> float:
    """The estimate vLLM takes off before the cache: a piecewise and a full graph per batch size; 0 in eager mode."""
    if workload.eager:
        return 0
    graph = GRAPH_BYTES if shape.linear_attention else min(GRAPH_BYTES, GRAPH_BYTES_PER_LAYER * shape.layers)
    return 2 * graph_batches(gpu, workload) * graph


def sorts_logits(gpu: Gpu, workload: Workload) -> bool:
    """Whether this version of vLLM samples by sorting on this GPU."""
    return workload.devices is not None and gpu.capability[0] in workload.devices.sorts_logits


def budget(model: Model, gpu: Gpu, parallelism: Parallelism, workload: Workload) -> MemoryBudget:
    """The whole sum for one replica on this GPU; `kv_cache_gib` < 0 means that the weights alone do not fit.

    Raises ValueError for a model whose KV profile is unknown: nothing honest can be computed for it.
    """
    shape = model.architecture
    if shape is None or model.kv_profile is KvProfile.UNKNOWN:
        raise ValueError("the KV profile of this model is unknown")
    visible = visible_bytes(gpu)
    only, element = workload.language_model_only, workload.model_bytes
    rounded = workload.devices.rounded.get(WeightFormat.MXFP4, MARLIN) if workload.devices else MARLIN
    _, weights = weight_bytes(model, parallelism, language_model_only=only, model_bytes=element, multiples=rounded)
    weights += mla_absorbed_bytes(shape, parallelism, element) + slot_bytes(shape, workload, parallelism)
    weights += tuned_weight_bytes(model, parallelism, workload) + rotary_bytes(model, element)
    activation = activation_bytes(shape, gpu, workload, parallelism)
    graphs = cuda_graph_bytes(shape, gpu, workload)
    non_torch = non_torch_bytes(shape, gpu, parallelism, sorts=sorts_logits(gpu, workload))
    free = ceil(visible * workload.utilization) - weights - activation - graphs - non_torch
    if tuning_bytes := asked_cache_bytes(model, gpu, parallelism, workload):
        free = tuning_bytes
    return _filled(model, gpu, parallelism, workload, free, (visible, weights, activation, graphs, non_torch))


def tuned_weight_bytes(model: Model, parallelism: Parallelism, workload: Workload) -> float:
    """Weights that options add to one GPU (a draft head), or take from it (those of layers that stay outside)."""
    added = draft_head_bytes(model) / parallelism.tensor if workload.tuning.draft_head else 0
    added += draft_weight_bytes(workload.tuning, parallelism, workload.model_bytes)
    return added - offloaded_bytes(model, parallelism, workload)


def offloaded_bytes(model: Model, parallelism: Parallelism, workload: Workload) -> float:
    """Weights of one GPU that stay in the memory of the pod: what was asked for, as far as there are layers."""
    if not workload.tuning.offloaded_bytes:
        return 0
    layers = layer_share_bytes(model, parallelism, model_bytes=workload.model_bytes)
    return min(workload.tuning.offloaded_bytes, layers)


def asked_cache_bytes(model: Model, gpu: Gpu, parallelism: Parallelism, workload: Workload) -> float:
    """The KV cache of one GPU that options ask for whatever is free; 0: none do."""
    blocks = workload.tuning.kv_cache_blocks
    if not blocks or model.architecture is None:
        return workload.tuning.kv_cache_bytes
    return blocks * kv_layout(model.architecture, gpu, parallelism, workload).block_bytes


def cpu_budget(model: Model, memory_gib: int, kv_cache_gib: int, workload: Workload) -> MemoryBudget:
    """The budget of a CPU server, whose KV cache is given by VLLM_CPU_KVCACHE_SPACE; `memory_gib` is the node's."""
    total, weights = weight_bytes(model, Parallelism(), model_bytes=workload.model_bytes)
    slots = slot_bytes(model.architecture, workload, Parallelism()) if model.architecture else 0
    slots += rotary_bytes(model, workload.model_bytes)
    total, weights = total + slots, weights + slots
    parts = (memory_gib * GIB, weights, RUNTIME_GIB * GIB, 0, 0)
    free = min(kv_cache_gib * GIB, memory_gib * GIB * workload.utilization - total - RUNTIME_GIB * GIB)
    return _filled(model, None, Parallelism(), workload, free, parts)


def kv_layout(shape: Architecture, gpu: Gpu | None, parallelism: Parallelism, workload: Workload) -> Layout:
    """Division of the KV cache for this workload; `gpu` None: the CPU build."""
    return layout(
        shape,
        parallelism,
        kv_cache_dtype=workload.kv_cache_dtype,
        gpu=gpu,
        in_flight_tokens=in_flight_tokens(gpu, parallelism, workload),
        step_tokens=workload.step_tokens,
        model_bytes=workload.model_bytes,
        tuning=workload.tuning,
    )


def in_flight_tokens(gpu: Gpu | None, parallelism: Parallelism, workload: Workload) -> int:
    """Tokens scheduled but not yet done: a step per stage, and one more with asynchronous scheduling, as on GPUs."""
    return (parallelism.pipeline + (1 if gpu else 0)) * workload.step_tokens


def _filled(
    model: Model,
    gpu: Gpu | None,
    parallelism: Parallelism,
    workload: Workload,
    free: float,
    parts: tuple[float, float, float, float, float],
) -> MemoryBudget:
    shape = model.architecture
    assert shape is not None, "callers have checked"
    visible, weights, activation, graphs, non_torch = parts
    if model.kv_profile is KvProfile.NONE:
        # what is left stays free, and as many run at once as are let in
        free, longest = min(free, 0), model.context.config_tokens
        size = KvCacheSize(0, 0, 0, 0, tokens=0, concurrency=workload.max_num_seqs, fits=free >= 0)
    else:
        cut = kv_layout(shape, gpu, parallelism, workload)
        size = kv_cache_size(cut, free, workload.context_tokens)
        longest = cut.longest_context(size.blocks, model.context.config_tokens)
    return MemoryBudget(
        visible_gib=visible / GIB,
        utilization=workload.utilization,
        weights_gib=weights / GIB,
        activation_gib=activation / GIB,
        cuda_graphs_gib=graphs / GIB,
        non_torch_gib=non_torch / GIB,
        kv_cache_gib=free / GIB,
        kv_cache_tokens=size.tokens * parallelism.data,
        kv_cache_blocks=size.blocks,
        needed_gib=size.needed_bytes / GIB,
        fits=size.fits,
        context_tokens=workload.context_tokens,
        max_context_tokens=longest,
        max_concurrency=size.concurrency * parallelism.data,
    )
