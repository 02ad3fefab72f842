"""The memory sum against published figures and start-up logs of vLLM, and what must hold for every model.

The logs are those of GPUs; nothing here was run on one.
"""

from dataclasses import dataclass, replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import Gpu, KvProfile
from planning.memory import (
    ACTIVATION_FLOOR_BYTES,
    BLOCK_TOKENS,
    Workload,
    activation_bytes,
    budget,
    cpu_budget,
    cuda_graph_bytes,
    kv_bytes_per_token,
    needed_bytes,
    state_bytes_per_sequence,
    visible_bytes,
    weight_bytes,
)
from planning.parallelism import Hardware, candidates, choose, rule_problems, try_fit
from planning.plan import MemoryBudget, Parallelism
from tests.unit.small_stack import CATALOG, GIB, properties

MODELS = {name: model for name, model in CATALOG.models.items() if model.architecture is not None}
H100 = CATALOG.gpus["nvidia-h100"]
ONE = Parallelism()


def gpu(visible_gib: float) -> Gpu:
    """A GPU that shows this much to CUDA."""
    return H100.model_copy(update={"cuda_gib": visible_gib})


def shape(name: str):
    """The architecture of a model that has one."""
    found = MODELS[name].architecture
    assert found is not None
    return found


# --- KV cache per token -----------------------------------------------------------------------------------------------

# Whole model, bf16 and fp8, bytes per token; 13 rows of start-up logs agree with it within 0.1 %. Sources: the models'
# config.json read through vLLM's own formula (vllm/v1/kv_cache_interface.py), read 2026-11-22.
KV_BYTES = {
    "deepseek-ai/DeepSeek-V3": (70_272, 35_136),
    "deepseek-ai/DeepSeek-R1": (70_272, 35_136),
    "deepseek-ai/DeepSeek-R1-0528": (70_272, 35_136),
    "deepseek-ai/DeepSeek-V3.1": (70_272, 35_136),
    # fp8 is B200's per-tensor kind; the packed fp8_ds_mla of Hopper is tested below
    "deepseek-ai/DeepSeek-V3.2": (78_324, 43_188),
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
    found = tuple(kv_bytes_per_token(shape(name), ONE, dtype) for dtype in ("auto", "fp8"))
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
    assert kv_bytes_per_token(shape(name), parallelism, "auto") == bytes_per_token


@pytest.mark.parametrize(
    ("name", "mib"),
    [
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 73.7),
        ("Qwen/Qwen3.8-27B", 146.8),
        ("Qwen/Qwen3.6-35B-A3B", 61.4),
        ("Qwen/Qwen3.5-122B-A10B", 146.5),
        ("Qwen/Qwen3.5-397B-A17B", 183.2),
    ],
)
def test_hybrids_keep_the_published_state_per_sequence(name, mib):
    """The Gated DeltaNet layers of a hybrid keep a fixed state, which TP divides."""
    assert round(state_bytes_per_sequence(shape(name), ONE) / 2**20, 1) == mib
    assert state_bytes_per_sequence(shape(name), Parallelism(2)) * 2 == state_bytes_per_sequence(shape(name), ONE)


def test_other_models_keep_no_state():
    """Attention alone needs nothing per sequence."""
    assert state_bytes_per_sequence(shape("Qwen/Qwen3-14B"), ONE) == 0


# --- start-up logs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """What vLLM logged: visible memory, flags, and GiB per GPU of weights and KV cache."""

    model: str
    visible_gib: float
    tensor: int
    utilization: float
    context: int
    seqs: int
    tokens: int
    weights_gib: float | None
    kv_gib: float


# T01-T05: llm-d-benchmark config_explorer/empirical-vllm-memory-results.md, vLLM 0.11, H100 of 79.18 GiB.
# T08, T09: LMCache FAQ, vLLM V1 of 2025, H100. T10: samilazrak/vllm-optimization-lab, vLLM 0.29, L40S.
# T17: public log, vLLM 0.30, A100 80 GB. Sequences and tokens are vLLM's defaults for the GPU where the log has none.
LOGS = {
    "T01": Log("Qwen/Qwen3-32B", 79.18, 1, 0.9, 16_000, 1024, 8192, 61.03, 4.45),
    "T02": Log("Qwen/Qwen3-32B", 79.18, 2, 0.9, 16_000, 1024, 8192, 30.59, 34.49),
    "T03": Log("Qwen/Qwen3-0.6B", 79.18, 1, 0.9, 16_000, 1024, 8192, 1.12, 64.45),
    "T04": Log("meta-llama/Llama-3.1-8B-Instruct", 79.18, 1, 0.9, 16_000, 1024, 8192, 14.99, 51.38),
    "T05": Log("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 79.18, 2, 0.9, 16_000, 1024, 8192, 33.88, 32.00),
    "T08": Log("Qwen/Qwen3-8B", 79.10, 1, 0.9, 40_960, 1024, 8192, None, 50.32),
    "T09": Log("Qwen/Qwen3-32B", 79.10, 2, 0.9, 40_960, 1024, 8192, None, 33.66),
    "T10": Log("Qwen/Qwen3-14B-AWQ", 44.39, 1, 0.92, 40_960, 256, 2048, 9.44, 29.09),
    "T17": Log("meta-llama/Llama-3.1-8B-Instruct", 79.10, 1, 0.92, 131_072, 256, 2048, 15.0, 56.21),
}
# T01 is the one row whose KV cache misses its 10 %: measured 4.45 GiB, counted 2.91. vLLM 0.11 did not yet take 1.1 GiB
# of CUDA graphs off, and little is left beside 61 GiB of weights: 2 % of the budget are missed, on the safe side.
KV_LOGS = sorted(set(LOGS) - {"T01"})


def counted(log: Log) -> MemoryBudget:
    """The sum for the conditions of a log."""
    workload = Workload(log.context, log.seqs, log.tokens, utilization=log.utilization)
    return budget(MODELS[log.model], gpu(log.visible_gib), Parallelism(log.tensor), workload)


@pytest.mark.parametrize("row", [row for row, log in LOGS.items() if log.weights_gib is not None])
def test_weights_are_those_that_were_measured(row):
    """Weights per GPU are within 2 % of the log."""
    assert counted(LOGS[row]).weights_gib == pytest.approx(LOGS[row].weights_gib, rel=0.02)


@pytest.mark.parametrize("row", KV_LOGS)
def test_the_kv_cache_is_the_one_that_was_measured(row):
    """The KV cache is within 10 % of the log, with the visible memory and the flags of its row."""
    assert counted(LOGS[row]).kv_cache_gib == pytest.approx(LOGS[row].kv_gib, rel=0.10)


@pytest.mark.parametrize("row", LOGS)
def test_no_more_is_promised_than_was_measured(row):
    """The sum errs on the side that starts: never more KV cache than the log, nor less by over 4 % of the budget."""
    found = counted(LOGS[row])
    assert 0 <= LOGS[row].kv_gib - found.kv_cache_gib < 0.04 * found.budget_gib


# --- the parts of the sum ---------------------------------------------------------------------------------------------


def test_the_sum_is_exact():
    """Qwen3-14B on two A10s, term by term: budget, weights, activation, graphs, NCCL, and the cache that is left."""
    found = budget(MODELS["Qwen/Qwen3-14B"], CATALOG.gpus["nvidia-a10"], Parallelism(2), Workload(32_768, 256, 2048))
    # norms and biases (1.2 MB) are on both GPUs; all else is halved
    weights = (29_536_614_400 / 2 + 40 * 2 * 5120 * 2 / 2) / GIB
    parts = {
        "visible_gib": 22.0,
        "utilization": 0.92,
        "weights_gib": pytest.approx(weights, rel=1e-4),
        "activation_gib": pytest.approx((40 * 256 * 151_936 + int(0.3 * GIB)) / GIB),
        "cuda_graphs_gib": pytest.approx(0.1 + 3e-6 * 40 * 5120),
        "non_torch_gib": pytest.approx(0.55),
        "kv_cache_gib": pytest.approx(20.24 - weights - 1.749 - 0.7144 - 0.55, abs=0.001),
    }
    assert {name: getattr(found, name) for name in parts} == parts
    # 40 layers × 2 × 4 heads × 128 × 2 bytes, in blocks of 16
    assert found.kv_cache_tokens == int(found.kv_cache_gib * GIB / 81_920) // 16 * 16
    assert found.max_concurrency == pytest.approx(found.kv_cache_gib * GIB / (32_768 * 81_920))
    assert (found.context_tokens, found.max_context_tokens) == (32_768, 40_960)
    assert found.budget_gib == pytest.approx(20.24)


def test_a_gpu_nobody_has_measured_shows_its_total_less_a_margin():
    """Without a log, 0.9 GiB of NVML's total are taken off."""
    unseen = CATALOG.gpus["nvidia-h100-pcie"]
    assert unseen.cuda_gib is None
    assert visible_bytes(unseen) == 81_559 * 2**20 - 0.9 * GIB
    assert visible_bytes(H100) == 79.10 * GIB


@pytest.mark.parametrize(
    ("seqs", "tokens", "expected"),
    [
        (256, 2048, 40 * 256 * 151_936),
        # a step of 128 tokens has 128 rows to sample at most
        (256, 128, 40 * 128 * 151_936),
        # one sequence: the body of the step is the peak
        (1, 131_072, 131_072 * 2 * (4 * 5120 + 2 * 17_408)),
    ],
)
def test_activation_is_the_sampler_or_the_body_of_a_step(seqs, tokens, expected):
    """Whichever is larger, and the floor beside it."""
    found = activation_bytes(shape("Qwen/Qwen3-14B"), Workload(1, seqs, tokens), ONE)
    assert found == expected + ACTIVATION_FLOOR_BYTES


def test_eager_execution_captures_no_graphs():
    """`--enforce-eager` gives the memory of the CUDA graphs back."""
    workload = Workload(4096, 256, 2048)
    assert cuda_graph_bytes(shape("Qwen/Qwen3-8B"), workload) / GIB == pytest.approx(0.1 + 3e-6 * 36 * 4096)
    assert cuda_graph_bytes(shape("Qwen/Qwen3-8B"), replace(workload, eager=True)) == 0


def test_a_sequence_needs_whole_blocks():
    """One token takes a block of 16, and 17 tokens take two."""
    a_block = BLOCK_TOKENS * 163_840
    found = [needed_bytes(shape("Qwen/Qwen3-14B"), ONE, Workload(1, 1, 1), tokens) for tokens in (1, 16, 17)]
    assert found == [a_block, a_block, 2 * a_block]


def test_pipeline_stages_hold_one_end_of_the_network():
    """Two stages of Qwen3-14B: 20 layers and the embedding each, with norms whole."""
    total, fullest = weight_bytes(MODELS["Qwen/Qwen3-14B"], Parallelism(1, 2))
    embedding = 151_936 * 5120 * 2
    assert total == pytest.approx(29_536_614_400)
    assert fullest == pytest.approx((total - 2 * embedding) / 2 + embedding, rel=1e-3)


def test_expert_parallel_spreads_experts_over_data_parallel_ranks():
    """With DP 8 each GPU holds all of the attention; experts are whole on each, or an eighth of them with EP."""
    model = MODELS["deepseek-ai/DeepSeek-R1"]
    _, sliced = weight_bytes(model, Parallelism(1, 1, 8))
    _, spread = weight_bytes(model, Parallelism(1, 1, 8, expert=True))
    moe = shape("deepseek-ai/DeepSeek-R1").moe
    assert moe is not None
    experts = 58 * 256 * 3 * 7168 * 2048 * (1 + 4 / 128**2)
    assert sliced / GIB == pytest.approx(626.9, abs=0.1)
    assert (sliced - spread) == pytest.approx(experts * 7 / 8, rel=0.001)


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
    assert (roomy.kv_cache_gib, roomy.kv_cache_tokens, roomy.max_context_tokens) == (5, 36_400, 36_400)
    assert small.kv_cache_gib == pytest.approx(12 * 0.9 - total - 4)


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
    """Concurrency never rises with the context, and the tokens of a cache without states do not change with it."""
    model = MODELS[name]
    shorter, longer = (
        budget(model, gpu(visible), parallelism, replace(workload, context_tokens=tokens))
        for tokens in sorted((workload.context_tokens, other))
    )
    assert longer.max_concurrency <= shorter.max_concurrency
    if model.kv_profile is not KvProfile.HYBRID:
        assert longer.kv_cache_tokens == shorter.kv_cache_tokens


@given(NAME, PARALLEL)
@properties(300)
def test_all_gpus_together_hold_at_least_the_checkpoint(name, parallelism):
    """No parallelism makes weights disappear: the fullest GPU times their number is no less than the checkpoint."""
    total, fullest = weight_bytes(MODELS[name], parallelism)
    loaded = MODELS[name].checkpoint.loaded_bytes
    assert loaded is None or total == pytest.approx(loaded)
    assert fullest * parallelism.gpus >= total * (1 - 1e-9)
    assert fullest <= total * (1 + 1e-9)


@given(NAME, PARALLEL, WORKLOAD, st.floats(20, 200))
@properties(300)
def test_the_longest_context_is_the_longest(name, parallelism, workload, visible):
    """The context that is offered fits, and one block more does not, unless the checkpoint ends before."""
    model = MODELS[name]
    found = budget(model, gpu(visible), parallelism, workload)
    longest, limit = found.max_context_tokens, model.context.config_tokens
    assert longest <= limit
    if longest <= 0:
        return
    free, architecture = found.kv_cache_gib * GIB, shape(name)
    assert needed_bytes(architecture, parallelism, workload, longest) <= free * (1 + 1e-9)
    if longest < limit:
        more = needed_bytes(architecture, parallelism, workload, longest + BLOCK_TOKENS)
        assert more > free * (1 - 1e-9)


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
            assert not [text for text in rule_problems(model, H100, parallelism, workload) if "pipeline" in text]
