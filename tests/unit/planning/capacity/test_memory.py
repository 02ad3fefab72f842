"""The memory sum against published figures, its parts by hand, and what must hold for every model.

Start-up logs are in tests/published_cases.yaml; nothing here was run on a GPU.
"""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.architecture import AttentionLayers
from catalog.schema import Gpu, KvProfile, WeightFormat
from planning import resolve_stack
from planning.capacity.budget import Parallelism
from planning.capacity.cards import RUNTIME_GIB, visible_bytes
from planning.capacity.kv_cache import Group, Layout, kv_cache_size, layout
from planning.capacity.layers import (
    attention_layers,
    element_bytes,
    head_bytes,
    state_bytes_per_layer,
    token_bytes_per_layer,
)
from planning.capacity.memory import (
    ENCODER_BYTES,
    GRAPH_BYTES,
    GRAPH_BYTES_PER_LAYER,
    WORKSPACE_BYTES,
    Workload,
    activation_bytes,
    body_bytes,
    budget,
    cpu_budget,
    cuda_graph_bytes,
    graph_batches,
    kv_layout,
    mla_absorbed_bytes,
    slot_bytes,
    weight_bytes,
)
from planning.capacity.non_torch import HELD_BYTES_PER_ELEMENT, MOST_HELD_BYTES, non_torch_bytes
from planning.capacity.parallelism import Hardware, candidates, choose, rule_problems, try_fit
from planning.capacity.rotary import rotary_bytes
from tests.unit.small_stack import CATALOG, CPU, GIB, checked, properties, serving

MODELS = {name: model for name, model in CATALOG.models.items() if model.architecture is not None}
H100 = CATALOG.gpus["nvidia-h100"]
ONE = Parallelism()
QWEN_14B, R1, V32 = "Qwen/Qwen3-14B", "deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3.2"


def gpu(visible_gib: float) -> Gpu:
    """A GPU that shows this much to CUDA."""
    return H100.model_copy(update={"cuda_gib": visible_gib})


def shape(name: str):
    """The architecture of a model that has one."""
    found = MODELS[name].architecture
    assert found is not None
    return found


def kv_bytes_per_token(name: str, parallelism: Parallelism, kv_cache_dtype: str) -> float:
    """Bytes of one token on the fullest stage."""
    layers = ceil(attention_layers(shape(name)) / parallelism.pipeline)
    return layers * token_bytes_per_layer(shape(name), parallelism.tensor, kv_cache_dtype)


# --- KV cache per token -----------------------------------------------------------------------------------------------

# Whole model, bf16 and fp8, bytes per token; 13 rows of start-up logs agree with it within 0.1 %. Sources: the models'
# config.json read through vLLM's own formula (vllm/v1/kv_cache_interface.py), read 2026-11-22.
KV_BYTES = {
    "deepseek-ai/DeepSeek-V3": (70_272, 35_136),
    "deepseek-ai/DeepSeek-R1": (70_272, 35_136),
    "deepseek-ai/DeepSeek-R1-0528": (70_272, 35_136),
    "deepseek-ai/DeepSeek-V3.1": (70_272, 35_136),
    # 61 × (1,152 + 132) with the indexer's keys; fp8 is Hopper's packed kind, 61 × (656 + 132); B200's is below
    "deepseek-ai/DeepSeek-V3.2": (78_324, 48_068),
    "Qwen/Qwen3-0.6B": (114_688, 57_344),
    "Qwen/Qwen3-1.7B": (114_688, 57_344),
    "Qwen/Qwen3-4B": (147_456, 73_728),
    "Qwen/Qwen3-8B": (147_456, 73_728),
    "Qwen/Qwen3-14B": (163_840, 81_920),
    "Qwen/Qwen3-32B": (262_144, 131_072),
    "Qwen/Qwen3-30B-A3B": (98_304, 49_152),
    "Qwen/Qwen3-235B-A22B": (192_512, 96_256),
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": (253_952, 126_976),
    "Qwen/Qwen2.5-1.5B-Instruct": (28_672, 14_336),
    "Qwen/Qwen2.5-7B-Instruct": (57_344, 28_672),
    "Qwen/Qwen2.5-14B-Instruct": (196_608, 98_304),
    "Qwen/Qwen2.5-32B-Instruct": (262_144, 131_072),
    "Qwen/Qwen2.5-72B-Instruct": (327_680, 163_840),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": (28_672, 14_336),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": (57_344, 28_672),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": (196_608, 98_304),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": (262_144, 131_072),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": (131_072, 65_536),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": (327_680, 163_840),
    "Qwen/Qwen3-Next-80B-A3B-Instruct": (24_576, 12_288),
    "Qwen/Qwen3.5-27B": (65_536, 32_768),
    "Qwen/Qwen3.6-27B": (65_536, 32_768),
    "Qwen/Qwen3.8-27B": (65_536, 32_768),
    "Qwen/Qwen3.5-35B-A3B": (20_480, 10_240),
    "Qwen/Qwen3.6-35B-A3B": (20_480, 10_240),
    "Qwen/Qwen3.5-122B-A10B": (24_576, 12_288),
    "Qwen/Qwen3.5-397B-A17B": (30_720, 15_360),
}


@pytest.mark.parametrize("name", KV_BYTES)
def test_kv_bytes_per_token_are_the_published_ones(name):
    """One GPU holds what the whole model needs: exactly the table, in bf16 and in fp8."""
    found = tuple(kv_bytes_per_token(name, ONE, dtype) for dtype in ("auto", "fp8"))
    assert found == KV_BYTES[name]


@pytest.mark.parametrize(
    ("name", "parallelism", "bytes_per_token"),
    [
        ("Qwen/Qwen3-32B", Parallelism(2), 131_072),
        ("Qwen/Qwen3-32B", Parallelism(8), 32_768),
        # 8 KV heads on 16 GPUs: each is there twice, so TP beyond the heads saves nothing
        ("Qwen/Qwen3-32B", Parallelism(16), 32_768),
        ("Qwen/Qwen3-32B", Parallelism(2, 2), 65_536),
        # 64 layers on 3 stages: the fullest has 22
        ("Qwen/Qwen3-32B", Parallelism(1, 3), 90_112),
        # MLA has one latent head, the same on every rank
        ("deepseek-ai/DeepSeek-R1", Parallelism(8), 70_272),
        ("deepseek-ai/DeepSeek-R1", Parallelism(8, 2), 31 * 1_152),
    ],
)
def test_kv_bytes_per_gpu_follow_heads_and_layers(name, parallelism, bytes_per_token):
    """TP divides KV heads until there is one per GPU, PP divides layers, and MLA is divided by PP alone."""
    assert kv_bytes_per_token(name, parallelism, "auto") == bytes_per_token


@pytest.mark.parametrize(
    ("name", "mib"),
    [
        # 73.7 with a state in fp32, which vLLM keeps in the model's dtype: its config has no rule for this family
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 37.7),
        ("Qwen/Qwen3.8-27B", 146.8),
        ("Qwen/Qwen3.6-35B-A3B", 61.4),
        ("Qwen/Qwen3.5-122B-A10B", 146.5),
        ("Qwen/Qwen3.5-397B-A17B", 183.2),
    ],
)
def test_hybrids_keep_the_published_state_per_sequence(name, mib):
    """The Gated DeltaNet layers of a hybrid keep a fixed state, which TP divides."""
    gdn = shape(name).linear_attention
    assert gdn is not None
    assert round(gdn.layers * state_bytes_per_layer(shape(name), 1) / 2**20, 1) == mib
    assert state_bytes_per_layer(shape(name), 2) * 2 == state_bytes_per_layer(shape(name), 1)


def test_other_models_keep_no_state():
    """Attention alone needs nothing per sequence."""
    assert state_bytes_per_layer(shape(QWEN_14B), 1) == 0
    assert layout(shape(QWEN_14B), ONE, gpu=H100).groups == (Group(1, 16, shared=True),)


@pytest.mark.parametrize(
    ("dtype", "element", "head"),
    [
        ("auto", 2, 2 * 128 * 2),
        ("bfloat16", 2, 2 * 128 * 2),
        ("fp8", 1, 2 * 128),
        ("fp8_e5m2", 1, 2 * 128),
        # K and V each have a scale of 4 bytes
        ("fp8_per_token_head", 1, 2 * (128 + 4)),
        ("int8_per_token_head", 2, 2 * (128 + 4)),
        ("int4_per_token_head", 2, 2 * (64 + 4)),
        # half a byte per value, and a byte of scale for 16 of them
        ("nvfp4", 2, 2 * (64 + 8)),
    ],
)
def test_a_head_takes_what_its_dtype_says(dtype, element, head):
    """K and V of one head of 128, with the scales of the kinds that have their own."""
    assert (element_bytes(dtype), head_bytes(128, dtype)) == (element, head)


def test_the_packed_mla_record_has_its_own_size():
    """fp8_ds_mla: 512 fp8 values, 16 bytes of scales and 64 bf16 of rope, whatever the model's other keys."""
    record = 512 + 16 + 2 * 64
    assert token_bytes_per_layer(shape(R1), 8, "fp8_ds_mla") == record
    assert token_bytes_per_layer(shape(V32), 8, "fp8_ds_mla") == record + 132
    assert token_bytes_per_layer(shape(V32), 8, "fp8") == record + 132


@pytest.mark.parametrize(("gpu_id", "bytes_per_token"), [("nvidia-h100", 48_068), ("nvidia-b200", 43_188)])
def test_fp8_of_a_sparse_model_depends_on_the_gpu(gpu_id, bytes_per_token):
    """Hopper's FlashMLA packs 656 bytes; FlashInfer on 10.x takes plain fp8 and no fp8_ds_mla: 61 × (576 + 132)."""
    cut = layout(shape(V32), ONE, kv_cache_dtype="fp8", gpu=CATALOG.gpus[gpu_id])
    assert cut.block_bytes / cut.block_tokens == bytes_per_token


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gpu_id", "dtype", "tokens"),
    [
        (QWEN_14B, "nvidia-a10", "auto", 16),
        (QWEN_14B, None, "auto", 128),
        (R1, None, "auto", 16),
        (R1, "nvidia-h100", "auto", 16),
        (R1, "nvidia-h100", "fp8", 64),
        (R1, "nvidia-b200", "fp8", 32),
        (V32, "nvidia-h100", "auto", 64),
        (V32, "nvidia-b200", "auto", 64),
        # a page holds a state of 48 × 128 × 128 × 4 + 3 × 10,240 × 2 = 3,207,168 bytes: 783 tokens of 4,096 bytes,
        # in steps of 16, or of 64 where FlashInfer prefills
        ("Qwen/Qwen3.8-27B", "nvidia-l40s", "auto", 784),
        ("Qwen/Qwen3.8-27B", "nvidia-h100", "auto", 832),
    ],
)
def test_a_block_has_the_tokens_its_backend_takes(name, gpu_id, dtype, tokens):
    """16, but for the CPU build, MLA kernels and hybrid models."""
    on = CATALOG.gpus[gpu_id] if gpu_id else None
    assert layout(shape(name), ONE, kv_cache_dtype=dtype, gpu=on).block_tokens == tokens


def test_a_sequence_needs_whole_blocks():
    """One token takes a block of 16, and 17 tokens take two; a block has 40 layers of 4,096 bytes a token."""
    cut = layout(shape(QWEN_14B), ONE, gpu=H100)
    assert [cut.blocks_needed(tokens) for tokens in (1, 16, 17)] == [1, 1, 2]
    assert cut.block_bytes == 16 * 163_840


def test_decode_context_parallelism_cuts_a_sequence_over_ranks():
    """With DCP 4 a rank keeps a quarter: 64 tokens are one block of each, 65 are two of one."""
    cut = layout(shape(R1), Parallelism(8, decode_context=4), gpu=H100)
    assert [cut.blocks_needed(tokens) for tokens in (64, 65)] == [1, 2]


def test_hybrid_layers_are_cut_into_groups_of_equal_size():
    """Qwen3.8-27B has 16 attention and 48 linear layers: groups of 16, so four blocks hold a first token."""
    cut = layout(shape("Qwen/Qwen3.8-27B"), ONE, gpu=CATALOG.gpus["nvidia-l40s"])
    assert cut.groups == (Group(1, 784, shared=True), Group(3, 0, more_blocks=1))
    assert cut.block_bytes == 16 * 784 * 4096
    assert [cut.blocks_needed(tokens) for tokens in (1, 784, 785)] == [4, 4, 5]


def test_a_sliding_window_keeps_the_window_and_what_is_in_flight():
    """Of 40 layers 30 see 1,024 tokens: three groups of 10, which keep 1,023 + 2,048 tokens and a block."""
    kinds = (AttentionLayers(layers=10), AttentionLayers(layers=30, kind="sliding", window_tokens=1024))
    windowed = shape(QWEN_14B).model_copy(update={"attention": kinds})
    cut = layout(windowed, ONE, gpu=H100, in_flight_tokens=2048)
    assert cut.groups == (Group(1, 16, shared=True), Group(3, 16, 3071, more_blocks=1))
    assert cut.block_bytes == 10 * 16 * 4096
    # below the window all four groups grow; 3,071 tokens are 192 blocks, above it one group grows
    assert cut.blocks_needed(160) == 10 + 3 * 11
    assert cut.blocks_needed(16_000) == 1000 + 3 * 193


def test_the_null_block_is_held_back_from_requests_but_counted_in_the_log():
    """Four blocks hold three of one request: 49 tokens need a fourth, and the log says 4 ÷ 4."""
    cut = layout(shape(QWEN_14B), ONE, gpu=H100)
    three, four = (kv_cache_size(cut, 4.9 * cut.block_bytes, tokens) for tokens in (48, 49))
    assert (three.blocks, three.needed_blocks, three.fits) == (4, 3, True)
    assert (three.tokens, three.concurrency) == (64, pytest.approx(4 / 3))
    assert (four.needed_blocks, four.fits, four.tokens, four.concurrency) == (4, False, 49, 1)
    assert four.needed_bytes == 4 * 16 * 163_840
    assert cut.longest_context(4, 40_960) == 48
    assert kv_cache_size(cut, -1.0, 1).blocks == 0


# --- the parts of the sum ---------------------------------------------------------------------------------------------


def test_the_sum_is_exact():
    """Qwen3-14B on two A10s, term by term: budget, weights, activation, graphs, NCCL, and the cache that is left."""
    found = budget(MODELS[QWEN_14B], CATALOG.gpus["nvidia-a10"], Parallelism(2), Workload(32_768, 256, 2048))
    # norms and biases (1.2 MB) and the table of 40,960 positions are on both GPUs; all else is halved
    weights = (29_536_614_400 / 2 + 40 * 2 * 5120 * 2 / 2 + 40_960 * 128 * 2) / GIB
    # the sampler's rows with the step's hidden states, the penalties of 256 slots, and workspaces
    activation = (14 * 256 * 151_936 + 2 * 2048 * 5120 + 4.125 * 256 * 151_936) / GIB + 0.15
    graphs = 2 * 51 * 40 * 0.19 / 1024
    parts = {
        "visible_gib": 22.0,
        "utilization": 0.92,
        "weights_gib": pytest.approx(weights, rel=1e-4),
        "activation_gib": pytest.approx(activation),
        "cuda_graphs_gib": pytest.approx(graphs, rel=1e-5),
        "non_torch_gib": pytest.approx(0.55),
        "kv_cache_gib": pytest.approx(20.24 - weights - activation - graphs - 0.55, abs=0.001),
    }
    assert {name: getattr(found, name) for name in parts} == parts
    # 40 layers × 2 × 4 heads × 128 × 2 bytes, in blocks of 16; 32,768 tokens are 2,048 of them
    assert found.kv_cache_blocks == int(found.kv_cache_gib * GIB / (16 * 81_920))
    assert found.needed_gib == 2048 * 16 * 81_920 / GIB == 2.5
    assert found.max_concurrency == found.kv_cache_blocks / 2048
    assert found.kv_cache_tokens == found.kv_cache_blocks * 16
    assert (found.fits, found.context_tokens, found.max_context_tokens) == (True, 32_768, 40_960)
    assert found.budget_gib == pytest.approx(20.24)


def test_a_gpu_nobody_has_measured_shows_its_total_less_a_margin():
    """Without a log, 0.9 GiB of NVML's total are taken off."""
    unseen = CATALOG.gpus["nvidia-h100-pcie"]
    assert unseen.cuda_gib is None
    assert visible_bytes(unseen) == 81_559 * 2**20 - 0.9 * GIB
    assert visible_bytes(H100) == 79.10 * GIB


@pytest.mark.parametrize(
    ("gpu_id", "seqs", "tokens", "expected"),
    [
        ("nvidia-h100", 256, 2048, 14 * 256 * 151_936 + 2 * 2048 * 5120),
        # a step of 128 tokens has 128 rows to sample at most
        ("nvidia-h100", 256, 128, 14 * 128 * 151_936 + 2 * 128 * 5120),
        ("nvidia-rtx-pro-6000", 256, 2048, 14 * 256 * 151_936 + 2 * 2048 * 5120),
        # one sequence: the body of the step is the peak
        ("nvidia-h100", 1, 131_072, 131_072 * 2 * (4 * 5120 + 2 * 17_408)),
    ],
)
def test_activation_is_the_sampler_or_the_body_of_a_step(gpu_id, seqs, tokens, expected):
    """Whichever is larger, and beside it the penalties of every slot and the workspaces."""
    found = activation_bytes(shape(QWEN_14B), CATALOG.gpus[gpu_id], Workload(1, seqs, tokens), ONE)
    assert found == expected + 4.125 * seqs * 151_936 + WORKSPACE_BYTES


def test_a_vision_encoder_is_profiled_unless_it_is_left_out():
    """With few sequences the encoder is the peak; `--language-model-only` gives it and its weights back."""
    name = "Qwen/Qwen3.8-27B"
    seen, blind = (Workload(1, 1, 16, language_model_only=only) for only in (False, True))
    stays = 4.125 * shape(name).vocab_size + WORKSPACE_BYTES
    assert activation_bytes(shape(name), H100, seen, ONE) == ENCODER_BYTES + stays
    assert activation_bytes(shape(name), H100, blind, ONE) < ENCODER_BYTES
    (all_of_it, _), (language, _) = (
        weight_bytes(MODELS[name], ONE, language_model_only=only) for only in (False, True)
    )
    assert all_of_it - language == shape(name).vision_tower_bytes > 0


def test_the_body_of_a_mixture_of_experts_works_in_chunks():
    """A fused pass takes 16,384 tokens at most: Qwen3-30B-A3B has 8 experts of 768 for each of them."""
    for tokens, chunk in ((4096, 4096), (65_536, 16_384)):
        expected = 8 * tokens * 2048 + chunk * 8 * 2 * (2048 + 2 * 768)
        assert body_bytes(shape("Qwen/Qwen3-30B-A3B"), Workload(1, 1, tokens), 1) == expected


def test_latent_attention_works_on_a_prefill_workspace():
    """DeepSeek-R1, TP 8: latent rows and 16 heads of 128 + 64 + 128 for eight contexts, or 65,536 tokens."""
    body = 4096 * 2 * (4 * 7168 + 2 * 18_432 / 8)
    moe = 8 * 4096 * 7168 + 4096 * 8 * 2 * (7168 + 2 * 2048 / 8)
    for context, held in ((1000, 8000), (163_840, 65_536)):
        workspace = held * 2 * (576 + 16 * 320)
        assert body_bytes(shape(R1), Workload(context, 1, 4096), 8) == max(body, moe) + workspace
    indexed = [body_bytes(shape(V32), Workload(tokens, 1, 4096), 8) for tokens in (65_536, 65_537)]
    assert indexed[1] - indexed[0] == 8 * 5 * 132


@pytest.mark.parametrize(
    ("gpu_id", "seqs", "tokens", "batches"),
    [
        # 1, 2, 4; 8 to 248 by 8 (31); 256 to 512 by 16 (17)
        ("nvidia-h100", 256, 8192, 3 + 31 + 17),
        ("nvidia-h100", 1024, 8192, 3 + 31 + 17),
        # 1, 2, 4, 8, 16, 24, 32
        ("nvidia-h100", 16, 8192, 7),
        # twice five sequences: 1, 2, 4, 8 and the largest, 10
        ("nvidia-h100", 5, 8192, 5),
        # no batch is larger than a step
        ("nvidia-h100", 256, 4, 3),
        # 256 to 1,024 by 16 (49)
        ("nvidia-b200", 1024, 8192, 3 + 31 + 49),
    ],
)
def test_graphs_are_captured_for_vllms_batch_sizes(gpu_id, seqs, tokens, batches):
    """Twice the sequences, at most 512, or 1,024 on Blackwell; a piecewise and a full graph of each."""
    workload = Workload(4096, seqs, tokens)
    assert graph_batches(CATALOG.gpus[gpu_id], workload) == batches
    gpu, hybrid = CATALOG.gpus[gpu_id], shape("Qwen/Qwen3.8-27B")
    assert cuda_graph_bytes(hybrid, gpu, workload) == 2 * batches * GRAPH_BYTES
    assert (
        cuda_graph_bytes(shape("Qwen/Qwen2.5-7B-Instruct"), gpu, workload) == 2 * batches * 28 * GRAPH_BYTES_PER_LAYER
    )
    # 80 layers
    assert cuda_graph_bytes(shape("Qwen/Qwen2.5-72B-Instruct"), gpu, workload) == 2 * batches * GRAPH_BYTES


def test_eager_execution_captures_no_graphs():
    """`--enforce-eager` gives the memory of the CUDA graphs back."""
    workload = Workload(4096, 256, 2048)
    assert cuda_graph_bytes(shape(R1), H100, workload) == 51 * 20 * 2**20
    assert cuda_graph_bytes(shape(R1), H100, replace(workload, eager=True)) == 0


@pytest.mark.parametrize(
    ("parallelism", "gib"),
    [
        (ONE, 0.15),
        (Parallelism(2), 0.55),
        (Parallelism(1, 4), 0.55),
        (Parallelism(4), 1.35),
        (Parallelism(8), 1.5),
        (Parallelism(8, 2), 1.5),
    ],
)
def test_nccl_grows_with_the_ranks_that_exchange_tensors(parallelism, gib):
    """0.15 GiB on one GPU, 0.4 more for each TP rank or the first stage, 1.5 at most; capability 12 holds more."""
    small, large = shape("Qwen/Qwen3-4B"), shape("Qwen/Qwen2.5-72B-Instruct")
    rtx = CATALOG.gpus["nvidia-rtx-5090"]
    assert non_torch_bytes(small, H100, parallelism, sorts=False) / GIB == pytest.approx(gib)
    more = [
        non_torch_bytes(each, rtx, parallelism, sorts=False) - non_torch_bytes(each, H100, parallelism, sorts=False)
        for each in (small, large)
    ]
    assert more == [HELD_BYTES_PER_ELEMENT * 36 * 2560, MOST_HELD_BYTES]


@pytest.mark.parametrize("card", sorted(name for name, each in CATALOG.gpus.items() if each.unified_memory))
def test_what_vllm_takes_of_the_host_counts_where_the_memory_is_the_cpus_too(card):
    """It reads what the system has available, before and after: 2.2 and 4.6 GiB on two DGX Sparks, vLLM 0.27."""
    small, unified = shape("Qwen/Qwen3-0.6B"), CATALOG.gpus[card]
    alone = unified.model_copy(update={"unified_memory": False})
    more = non_torch_bytes(small, unified, ONE, sorts=False) - non_torch_bytes(small, alone, ONE, sorts=False)
    assert more == RUNTIME_GIB * GIB


def test_latent_attention_keeps_its_absorbed_projection():
    """DeepSeek-R1: 61 layers × 128 heads × 512 × (128 + 128) in bf16, over TP and stages."""
    assert mla_absorbed_bytes(shape(R1), ONE) == 61 * 128 * 512 * 256 * 2
    assert mla_absorbed_bytes(shape(R1), Parallelism(8, 2)) == 31 * 128 * 512 * 256 * 2 / 8
    assert mla_absorbed_bytes(shape(QWEN_14B), ONE) == 0


def test_pipeline_stages_hold_one_end_of_the_network():
    """Two stages of Qwen3-14B: 20 layers and the embedding each, with norms whole."""
    total, fullest = weight_bytes(MODELS[QWEN_14B], Parallelism(1, 2))
    embedding = 151_936 * 5120 * 2
    assert total == pytest.approx(29_536_614_400)
    assert fullest == pytest.approx((total - 2 * embedding) / 2 + embedding, rel=1e-3)


def test_expert_parallel_spreads_experts_over_data_parallel_ranks():
    """With DP 8 each GPU holds all of the attention; experts are whole on each, or an eighth of them with EP."""
    model = MODELS[R1]
    _, sliced = weight_bytes(model, Parallelism(1, 1, 8))
    _, spread = weight_bytes(model, Parallelism(1, 1, 8, expert=True))
    moe = shape(R1).moe
    assert moe is not None
    experts = 58 * 256 * 3 * 7168 * 2048 * (1 + 4 / 128**2)
    assert sliced / GIB == pytest.approx(626.9, abs=0.1)
    assert (sliced - spread) == pytest.approx(experts * 7 / 8, rel=0.001)


@pytest.mark.parametrize(
    ("gpu", "tensor", "inner", "hidden"),
    [
        ("nvidia-h100", 1, 2944, 3072),
        ("amd-mi300x", 1, 3072, 3072),
        ("nvidia-h100", 8, 8 * 384, 3072),
        ("amd-mi300x", 8, 8 * 512, 3072),
    ],
)
def test_experts_in_mxfp4_are_filled_up_for_the_kernels_of_the_card(gpu, tensor, inner, hidden):
    """2,880 wide and 2,880 deep: Marlin's tiles are of 128 and 256, those of ROCm of 256 both ways."""
    name = "openai/gpt-oss-120b"
    raw = serving({"gpu": gpu, "nodes": 1, "gpusPerNode": 8}, model=name, contextTokens=8192, tensorParallel=tensor)
    weights = resolve_stack(checked(raw), CATALOG).servers[0].memory.weights_gib
    experts = 36 * 128 * 3 * inner * hidden * (0.5 + 1 / 32) / GIB
    stored = 36 * 128 * 3 * 2944 * 3072 * (0.5 + 1 / 32) / GIB
    tables = rotary_bytes(MODELS[name]) / GIB
    rest = weight_bytes(MODELS[name], ONE)[0] / GIB - stored - tables
    # routers and norms are whole on every card, too
    assert weights == pytest.approx((experts + rest) / tensor + tables, rel=0.005)


def test_the_checkpoint_divides_evenly_where_the_shape_is_unknown():
    """DeepSeek-V4-Flash has only bytes: 148.66 GiB over eight GPUs."""
    total, fullest = weight_bytes(CATALOG.models["deepseek-ai/DeepSeek-V4-Flash"], Parallelism(8))
    assert (total, fullest * 8) == (159_622_459_555, total)


@pytest.mark.parametrize("name", [name for name, model in CATALOG.models.items() if model.architecture is None])
def test_nothing_is_computed_for_an_unknown_cache(name):
    """A model whose cache nobody can compute gets no number at all."""
    assert CATALOG.models[name].kv_profile is KvProfile.UNKNOWN
    with pytest.raises(ValueError, match="the KV profile of this model is unknown"):
        budget(CATALOG.models[name], H100, Parallelism(8), Workload(4096, 16, 2048))


def test_a_cpu_server_has_the_cache_it_is_given():
    """Weights, the runtime and the given cache in the node's memory; a node that is too small leaves less."""
    model = MODELS["Qwen/Qwen3-8B-AWQ"]
    total = weight_bytes(model, ONE)[0] / GIB
    workload = Workload(8192, 16, 2048, utilization=0.9)
    roomy, small = cpu_budget(model, 128, 5, workload), cpu_budget(model, 12, 5, workload)
    # 5 GiB are 284 blocks of 128 tokens × 147,456 bytes; 64 of them hold 8,192 tokens, and one is held back
    assert (roomy.kv_cache_gib, roomy.kv_cache_blocks) == (5, 284)
    assert (roomy.kv_cache_tokens, roomy.max_context_tokens) == (284 * 128, 283 * 128)
    assert small.kv_cache_gib == pytest.approx(12 * 0.9 - total - 40_960 * 128 * 2 / GIB - 4)


# --- float32 ----------------------------------------------------------------------------------------------------------

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    ("dtype", "tokens"),
    [("bfloat16", 46_592), ("float32", 23_296), ("float", 23_296), ("auto", 46_592), ("half", 46_592)],
)
def test_the_cache_of_a_cpu_server_follows_its_dtype(dtype, tokens):
    """VLLM 0.32.0 logged 46,592 tokens of SmolLM2-135M in 1 GiB with bfloat16, and 23,296 with float32."""
    workload = Workload(2048, 16, 2048, utilization=0.9, dtype=dtype)
    found = cpu_budget(MODELS[SMOLLM], 8, 1, workload)
    # 30 layers × 2 × 3 heads × 64 × 2 or 4 bytes, in blocks of 128
    assert (found.kv_cache_tokens, found.kv_cache_blocks) == (tokens, tokens // 128)
    assert found.weights_gib * GIB == (134_515_008 + 8192 * 64) * workload.model_bytes


@pytest.mark.parametrize(
    ("kv_cache_dtype", "factor"), [("auto", 2), ("bfloat16", 1), ("fp8", 1), ("nvfp4", 1), ("fp8_per_token_head", 1)]
)
def test_a_cache_of_its_own_dtype_does_not_follow_the_models(kv_cache_dtype, factor):
    """Only `auto` means the dtype of the model."""
    wide, usual = (
        layout(shape(QWEN_14B), ONE, kv_cache_dtype=kv_cache_dtype, gpu=H100, model_bytes=size) for size in (4, 2)
    )
    assert wide == replace(usual, block_bytes=usual.block_bytes * factor)


@pytest.mark.parametrize("stored", [2, 4])
def test_the_state_of_linear_attention_follows_the_dtype(stored):
    """Convolutions are kept in the model's dtype, and so is a state of 2 bytes; one in fp32 stays as it is."""
    usual = shape("Qwen/Qwen3.5-27B")
    gdn = usual.linear_attention
    assert gdn is not None
    changed = gdn.model_copy(update={"state_bytes_per_element": stored})
    found = usual.model_copy(update={"linear_attention": changed})
    elements = gdn.value_heads * gdn.key_head_dim * gdn.value_head_dim
    convolutions = (gdn.conv_kernel - 1) * (2 * gdn.key_heads * gdn.key_head_dim + gdn.value_heads * gdn.value_head_dim)
    sizes = [state_bytes_per_layer(found, 1, model_bytes) for model_bytes in (2, 4)]
    assert sizes == [elements * stored + convolutions * 2, elements * 4 + convolutions * 4]


def test_what_is_computed_in_the_models_dtype_takes_its_bytes():
    """Bodies, LoRA slots and absorbed projections double; of the sampler only the hidden states do."""
    usual, wide = (Workload(4096, 1, 4096, max_loras=1, dtype=dtype) for dtype in ("auto", "float32"))
    for name in (QWEN_14B, "Qwen/Qwen3-30B-A3B", R1):
        assert body_bytes(shape(name), wide, 1) == 2 * body_bytes(shape(name), usual, 1)
        assert slot_bytes(shape(name), wide, ONE) == 2 * slot_bytes(shape(name), usual, ONE)
    assert mla_absorbed_bytes(shape(R1), ONE, 4) == 2 * mla_absorbed_bytes(shape(R1), ONE)
    many = [Workload(1, 256, 2048, dtype=dtype) for dtype in ("auto", "float32")]
    peaks = [activation_bytes(shape(QWEN_14B), H100, workload, ONE) for workload in many]
    assert peaks[1] - peaks[0] == 2 * 2048 * 5120


# --- what must hold for every model -----------------------------------------------------------------------------------

PARALLEL = st.builds(
    Parallelism,
    tensor=st.sampled_from([1, 2, 4, 8, 16]),
    pipeline=st.integers(1, 6),
    data=st.sampled_from([1, 2, 8]),
    expert=st.booleans(),
)
WORKLOAD = st.builds(
    Workload,
    context_tokens=st.integers(1, 300_000),
    max_num_seqs=st.integers(1, 2048),
    max_num_batched_tokens=st.integers(1, 65_536),
    kv_cache_dtype=st.sampled_from(["auto", "fp8", "bfloat16"]),
    utilization=st.floats(0.05, 1),
    eager=st.booleans(),
)
NAME = st.sampled_from(sorted(MODELS))


def hardware(visible_gib: float, nvlink: bool) -> Hardware:
    """Two nodes of eight GPUs of this size."""
    return Hardware(gpu(visible_gib), 8, 2, nvlink)


@given(
    NAME,
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 2),
    WORKLOAD,
    st.floats(40, 200),
    st.floats(0, 100),
    st.integers(0, 2000),
    st.integers(0, 299_999),
)
@properties(400)
def test_more_memory_fewer_sequences_or_a_shorter_context_never_refuse_a_fit(
    name, tensor, pipeline, workload, visible, more, fewer, shorter
):
    """What fits still fits when there is more memory, or less is asked of it."""
    model, parallelism = MODELS[name], Parallelism(tensor, pipeline)
    asked = replace(workload, context_tokens=min(workload.context_tokens, model.context.config_tokens))
    if not try_fit(model, hardware(visible, nvlink=True), parallelism, asked).fits:
        return
    easier = replace(
        asked,
        max_num_seqs=max(1, asked.max_num_seqs - fewer),
        context_tokens=max(1, asked.context_tokens - shorter),
    )
    assert try_fit(model, hardware(visible + more, nvlink=True), parallelism, asked).reasons == ()
    assert try_fit(model, hardware(visible, nvlink=True), parallelism, easier).reasons == ()


@given(NAME, WORKLOAD, st.floats(10, 200), st.floats(0, 100), st.booleans())
@properties(150)
def test_more_memory_never_refuses_what_is_chosen(name, workload, visible, more, nvlink):
    """The choice of parallelism does not break that either: a larger GPU holds what a smaller one held."""
    if choose(MODELS[name], hardware(visible, nvlink), workload).fits:
        assert choose(MODELS[name], hardware(visible + more, nvlink), workload).reasons == ()


@given(NAME, PARALLEL, WORKLOAD, st.floats(10, 200), st.integers(1, 300_000))
@properties(300)
def test_a_longer_context_never_means_more_sequences(name, parallelism, workload, visible, other):
    """Concurrency never rises with the context, nor do the tokens of a cache that grows with it alone.

    But for a block's rounding. States and windows take their blocks of any context, so a short one has fewer tokens.
    Only latent attention has fewer blocks then: its workspaces grow.
    """
    model, on = MODELS[name], gpu(visible)
    short, long = sorted((workload.context_tokens, other))
    shorter, longer = (
        budget(model, on, parallelism, replace(workload, context_tokens=tokens)) for tokens in (short, long)
    )
    assert longer.max_concurrency <= shorter.max_concurrency
    if model.kv_profile is KvProfile.HYBRID or shape(name).attention:
        return
    block = kv_layout(shape(name), on, parallelism, workload).block_tokens
    whole = ceil(short / block) * block
    # one token for the rounding of a float, on every data-parallel rank
    assert longer.kv_cache_tokens <= shorter.max_concurrency * whole + parallelism.data
    if model.kv_profile is KvProfile.GQA:
        assert longer.kv_cache_blocks == shorter.kv_cache_blocks


@given(NAME, PARALLEL)
@properties(300)
def test_all_gpus_together_hold_at_least_the_checkpoint(name, parallelism):
    """No parallelism makes weights disappear: the fullest GPU times their number is no less than the checkpoint."""
    total, fullest = weight_bytes(MODELS[name], parallelism)
    loaded = MODELS[name].checkpoint.loaded_bytes
    assert loaded is None or total == pytest.approx(loaded)
    assert fullest * parallelism.gpus >= total * (1 - 1e-9)
    assert fullest <= total * (1 + 1e-9)


@given(NAME, PARALLEL, st.booleans())
@properties(300)
def test_float32_doubles_what_is_stored_in_bf16(name, parallelism, only):
    """A bf16 checkpoint takes twice its bytes however it is spread; of others nothing is said, they are refused."""
    model = MODELS[name]
    usual = weight_bytes(model, parallelism, language_model_only=only)
    wide = weight_bytes(model, parallelism, language_model_only=only, model_bytes=4)
    plain = model.checkpoint.format is WeightFormat.BF16
    assert wide == (tuple(2 * size for size in usual) if plain else usual)
    found = rule_problems(model, H100, ONE, Workload(1, 1, 1, dtype="float32"))
    refused = [reason for reason in found if "--dtype" in reason.text]
    assert len(refused) == (0 if plain else 1)


@given(NAME, PARALLEL, WORKLOAD, st.floats(20, 200))
@properties(300)
def test_float32_never_holds_more(name, parallelism, workload, visible):
    """With float32 weights, activations and cache take no less, and fewer or as many tokens and contexts fit."""
    on = gpu(visible)
    usual, wide = (
        budget(MODELS[name], on, parallelism, replace(workload, dtype=dtype)) for dtype in ("auto", "float32")
    )
    assert wide.weights_gib >= usual.weights_gib
    assert wide.activation_gib >= usual.activation_gib
    assert wide.kv_cache_gib <= usual.kv_cache_gib
    if MODELS[name].kv_profile is KvProfile.HYBRID:
        return  # its blocks are enlarged to whole states, which rounds another way
    assert wide.needed_gib >= usual.needed_gib
    assert wide.max_context_tokens <= usual.max_context_tokens
    assert wide.max_concurrency <= usual.max_concurrency


@given(NAME, PARALLEL, WORKLOAD, st.floats(20, 200))
@properties(300)
def test_the_longest_context_is_the_longest(name, parallelism, workload, visible):
    """The context that is offered fits, and one token more does not, unless the checkpoint ends before."""
    model, on = MODELS[name], gpu(visible)
    found = budget(model, on, parallelism, workload)
    if model.kv_profile is KvProfile.NONE:
        return  # no cache limits it
    cut = kv_layout(shape(name), on, parallelism, workload)
    longest, limit = found.max_context_tokens, model.context.config_tokens
    assert 0 <= longest <= limit
    assert longest == 0 or cut.blocks_needed(longest) < found.kv_cache_blocks
    assert longest == limit or cut.blocks_needed(longest + 1) >= found.kv_cache_blocks


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any cut of a cache that has layers at all."""
    block, count = st.integers(1, 40), st.integers(1, 4)
    kinds = [
        st.builds(Group, count, block, shared=st.just(True)),
        st.builds(Group, count, block, st.integers(1, 200), st.integers(0, 1)),
        st.builds(Group, count, st.just(0), more_blocks=count),
    ]
    groups = draw(st.lists(st.one_of(kinds), min_size=1, max_size=4))
    return Layout(16, 1.0, tuple(groups), draw(st.sampled_from([1, 2, 4])))


@given(layouts(), st.integers(0, 80), st.integers(1, 400))
@properties(1000)
def test_the_longest_context_is_the_one_that_a_search_finds(cut, blocks, limit):
    """It is the largest context whose blocks leave one over, sliding windows included."""
    fitting = (tokens for tokens in range(limit, 0, -1) if cut.blocks_needed(tokens) < blocks)
    assert cut.longest_context(blocks, limit) == next(fitting, 0)


@given(NAME, WORKLOAD)
@properties(150)
def test_candidates_are_what_vllm_would_take(name, workload):
    """TP of every candidate divides heads and node, stages have a layer at least, and no GPU is used twice."""
    model = MODELS[name]
    for nvlink in (True, False):
        for parallelism in candidates(model, hardware(80, nvlink)):
            assert shape(name).attention_heads % parallelism.tensor == 0
            assert 8 % parallelism.tensor == 0
            assert parallelism.pipeline <= shape(name).layers
            assert parallelism.gpus <= 16
            assert ceil(parallelism.gpus / 8) * 8 == parallelism.gpus or parallelism.gpus < 8
            assert not [each for each in rule_problems(model, H100, parallelism, workload) if "pipeline" in each.text]


# --- encoders ---------------------------------------------------------------------------------------------------------


def encoder(name: str = "Qwen/Qwen3-0.6B"):
    """A model of this shape that keeps nothing of a request."""
    return MODELS[name].model_copy(update={"kv_profile": KvProfile.NONE})


def test_who_keeps_nothing_leaves_the_rest_free():
    """All sequences run at once at the whole context; weights and activation are those of its like."""
    workload = Workload(8192, 64, 2048)
    found, like = (budget(model, H100, ONE, workload) for model in (encoder(), MODELS["Qwen/Qwen3-0.6B"]))
    cache = {
        "kv_cache_gib": 0,
        "kv_cache_tokens": 0,
        "kv_cache_blocks": 0,
        "needed_gib": 0,
        "max_context_tokens": MODELS["Qwen/Qwen3-0.6B"].context.config_tokens,
        "max_concurrency": 64,
    }
    assert found == replace(like, **cache)
    assert try_fit(encoder(), Hardware(H100, 1, 1, nvlink=False), ONE, workload).fits


def test_who_keeps_nothing_still_has_to_fit():
    """What is too much before any cache is too much without one."""
    small = Hardware(CATALOG.gpus["nvidia-a10"], 1, 1, nvlink=False)
    fit = try_fit(encoder("Qwen/Qwen3-8B"), small, ONE, Workload(8192, 2048, 2048))
    assert fit.memory is not None
    assert (fit.memory.fits, fit.memory.kv_cache_gib < 0) == (False, True)
    need = fit.memory.budget_gib - fit.memory.kv_cache_gib
    said = f"needs {need:.1f} GiB per GPU before any KV cache, it gives 20.2 GiB (22.0 × 0.92)"
    assert [reason.at("it") for reason in fit.reasons] == [said]


def test_on_cpus_too_nothing_is_set_aside_for_it():
    """No memory for a cache, and no sentence about one."""
    catalog = replace(CATALOG, models={**CATALOG.models, "example/encoder": encoder()})
    raw = serving(CPU, model="example/encoder", contextTokens=8192)
    (found,) = resolve_stack(checked(raw), catalog).servers
    assert (found.memory.kv_cache_gib, found.env["VLLM_CPU_KVCACHE_SPACE"], "kvCache" in found.reasons) == (
        0,
        "0",
        False,
    )
