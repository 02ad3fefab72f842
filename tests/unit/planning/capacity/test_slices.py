"""Slices of matrices: what vLLM loads in each format, what it refuses and for which part, and the layouts offered.

Does not prove that a GPU's kernels take what is loaded; tests/vllm/test_slices.py asks vLLM's own checks.
"""

from dataclasses import replace
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.architecture import AttentionLayers, LatentAttention, Mamba2, ModelPart
from catalog.schema import Checkpoint, Model, WeightFormat
from planning.capacity.asked import Asked
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.capacity.slices import slice_problems
from planning.questions.calculator import FitQuestion, answer
from tests.unit.small_stack import CATALOG, H100, refusals, server, serving

WORKLOAD = Workload(8192, 256, 2048, slices=CATALOG.vllm.slices)
QWEN_MOE = CATALOG.models["Qwen/Qwen3-30B-A3B-FP8"]
H100_GPU, A100_GPU = CATALOG.gpus["nvidia-h100"], CATALOG.gpus["nvidia-a100-80gb"]


def shaped(kind: WeightFormat, *, group: int | None = None, **changes: object) -> Model:
    """Qwen3-30B-A3B in another format and with other figures; `experts`, `shared`: sizes of theirs."""
    shape = QWEN_MOE.architecture
    assert shape is not None
    assert shape.moe is not None
    moe = shape.moe.model_copy(
        update={
            "intermediate_size": changes.pop("experts", shape.moe.intermediate_size),
            "shared_intermediate_size": changes.pop("shared", 0),
        }
    )
    checkpoint = Checkpoint(format=kind, group_size=group)
    return QWEN_MOE.model_copy(
        update={"architecture": shape.model_copy(update={"moe": moe, **changes}), "checkpoint": checkpoint}
    )


def dense(kind: WeightFormat, *, group: int | None = None, **changes: object) -> Model:
    """The same without experts."""
    model = shaped(kind, group=group)
    assert model.architecture is not None
    return model.model_copy(update={"architecture": model.architecture.model_copy(update={"moe": None, **changes})})


def said(model: Model, parallelism: Parallelism, gpu=H100_GPU) -> list[str]:
    """What is wrong with its slices."""
    return [reason.at("<place>") for reason in slice_problems(model, gpu, parallelism, WORKLOAD)]


BLOCK, AWQ, GPTQ = WeightFormat.FP8_BLOCK128, WeightFormat.AWQ_INT4, WeightFormat.GPTQ_INT4
ODD = "is not a multiple of the quantisation block"
LEAST = "128, nor of 32, the smallest that blocks of experts are made"
NO_KERNEL = "128, and smaller blocks need compute capability 8.9, NVIDIA A100 SXM 80 GB has 8.0"


@pytest.mark.parametrize(
    ("model", "parallelism", "gpu", "reasons"),
    [
        # fp8 blocks of experts are made smaller: 768 / 4 = 192 is three of 64, 768 / 8 = 96 three of 32
        (QWEN_MOE, Parallelism(4), H100_GPU, []),
        (QWEN_MOE, Parallelism(8), H100_GPU, []),
        # but no smaller than 32: 1408 / 8 = 176 is eleven of 16
        (shaped(BLOCK, experts=1408), Parallelism(8), H100_GPU, [
            f"expert intermediate size 1408 / tensorParallel 8 = 176 {ODD} {LEAST}",
        ]),
        (shaped(BLOCK, experts=1408), Parallelism(8, expert=True), H100_GPU, []),
        (shaped(BLOCK, experts=1408), Parallelism(2), H100_GPU, []),
        # and not for a hidden size that they do not divide
        (shaped(BLOCK, experts=768, hidden_size=2064), Parallelism(4), H100_GPU, [
            f"expert intermediate size 768 / tensorParallel 4 = 192 {ODD} {LEAST}",
        ]),
        # only kernels of cards that have fp8 take such blocks
        (QWEN_MOE, Parallelism(4), A100_GPU, [
            f"expert intermediate size 768 / tensorParallel 4 = 192 {ODD} {NO_KERNEL}",
        ]),
        (QWEN_MOE, Parallelism(2), A100_GPU, []),
        (QWEN_MOE, Parallelism(4, expert=True), A100_GPU, []),
        # experts that are whole may be odd, too
        (shaped(BLOCK, experts=704), Parallelism(), H100_GPU, []),
        (shaped(BLOCK, experts=704), Parallelism(expert=True), A100_GPU, [
            f"expert intermediate size 704 {ODD} {NO_KERNEL}",
        ]),
        # without expert parallelism, data-parallel ranks cut the same experts
        (QWEN_MOE, Parallelism(8, 1, 4), H100_GPU, [
            f"expert intermediate size 768 / tensorParallel 8 / dataParallel 4 = 24 {ODD} {LEAST}",
        ]),
        (QWEN_MOE, Parallelism(8, 1, 4, expert=True), H100_GPU, []),
        # experts that all tokens pass are dense: never made smaller, and expert parallelism leaves them cut
        (shaped(BLOCK, shared=512), Parallelism(8), H100_GPU, [
            f"shared expert intermediate size 512 / tensorParallel 8 = 64 {ODD} 128",
        ]),
        (shaped(BLOCK, shared=512), Parallelism(8, expert=True), H100_GPU, [
            f"shared expert intermediate size 512 / tensorParallel 8 = 64 {ODD} 128",
        ]),
        (shaped(BLOCK, shared=512), Parallelism(4, expert=True), H100_GPU, []),
        # dense layers, cut or whole
        (dense(BLOCK, intermediate_size=25600), Parallelism(16), H100_GPU, [
            f"intermediate size 25600 / tensorParallel 16 = 1600 {ODD} 128",
        ]),
        (dense(BLOCK, intermediate_size=1000), Parallelism(), H100_GPU, []),
        (dense(BLOCK, head_dim=80), Parallelism(4), H100_GPU, []),
        (dense(BLOCK, head_dim=80), Parallelism(8), H100_GPU, [
            f"attention output 2560 / tensorParallel 8 = 320 {ODD} 128",
        ]),
        # groups of AWQ and GPTQ: those of dense matrices must be whole, those of experts go down to 32
        (dense(AWQ, group=128, intermediate_size=29568), Parallelism(2), A100_GPU, [
            f"intermediate size 29568 / tensorParallel 2 = 14784 {ODD} 128",
        ]),
        (dense(GPTQ, group=64, intermediate_size=29568), Parallelism(2), A100_GPU, []),
        (dense(GPTQ, group=32, intermediate_size=29568), Parallelism(8), A100_GPU, [
            f"intermediate size 29568 / tensorParallel 8 = 3696 {ODD} 32",
        ]),
        (dense(AWQ, group=128, intermediate_size=29696), Parallelism(8), A100_GPU, []),
        # a scale of a whole channel is never cut through
        (dense(GPTQ, group=0, intermediate_size=29568), Parallelism(8), A100_GPU, []),
        (shaped(GPTQ, group=0, experts=1408), Parallelism(8), A100_GPU, []),
        (dense(GPTQ, group=None, intermediate_size=29568), Parallelism(2), A100_GPU, [
            f"intermediate size 29568 / tensorParallel 2 = 14784 {ODD} 128",
        ]),
        (shaped(AWQ, group=128), Parallelism(8), A100_GPU, []),
        (shaped(GPTQ, group=128, experts=1408), Parallelism(8), A100_GPU, [
            f"expert intermediate size 1408 / tensorParallel 8 = 176 {ODD} {LEAST}",
        ]),
        (shaped(GPTQ, group=128, shared=512), Parallelism(8), A100_GPU, [
            f"shared expert intermediate size 512 / tensorParallel 8 = 64 {ODD} 128",
        ]),
        # 16 numbers of NVFP4 share a scale; a scale per channel or none is never cut through
        (shaped(WeightFormat.NVFP4, experts=1416), Parallelism(8), H100_GPU, [
            f"expert intermediate size 1416 / tensorParallel 8 = 177 {ODD} 16",
        ]),
        (shaped(WeightFormat.NVFP4, experts=1408), Parallelism(8), H100_GPU, []),
        (shaped(WeightFormat.FP8_CHANNEL, experts=1416, shared=520), Parallelism(8), H100_GPU, []),
        (shaped(WeightFormat.BF16, experts=1416, shared=520), Parallelism(8), A100_GPU, []),
        # whatever the format, what is cut must be whole
        (shaped(WeightFormat.BF16, experts=1412, shared=516), Parallelism(8), A100_GPU, [
            "shared expert intermediate size 516 cannot be divided by tensorParallel 8",
            "expert intermediate size 1412 cannot be divided by tensorParallel 8",
        ]),
        # the vocabulary is filled up to a multiple of 64 before it is cut
        (dense(WeightFormat.BF16, vocab_size=50257), Parallelism(3), A100_GPU, []),
        (dense(WeightFormat.BF16, vocab_size=151936), Parallelism(3), A100_GPU, [
            "151936 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 3",
        ]),
    ],
)  # fmt: skip
def test_slices_are_judged_as_the_engine_loads_them(model, parallelism, gpu, reasons):
    """Each format with its blocks, each part by its name."""
    assert said(model, parallelism, gpu) == reasons


def kept(model: Model, **checkpoint: object) -> Model:
    """The same, with its checkpoint stored otherwise."""
    return model.model_copy(update={"checkpoint": model.checkpoint.model_copy(update=checkpoint)})


@pytest.mark.parametrize(
    ("model", "ranks", "reasons"),
    [
        (shaped(BLOCK), 4, [f"expert intermediate size 768 / tensorParallel 4 = 192 {ODD} 128"]),
        (shaped(BLOCK), 2, []),
        (shaped(GPTQ, group=128), 4, [f"expert intermediate size 768 / tensorParallel 4 = 192 {ODD} 128"]),
        (shaped(GPTQ, group=64), 4, []),
        (dense(BLOCK), 8, []),
    ],
)
def test_experts_of_compressed_tensors_keep_their_blocks(model, ranks, reasons):
    """Nothing makes them smaller (create_weights of its two kinds of experts); the same in its usual method loads."""
    assert said(kept(model, method="compressed-tensors"), Parallelism(ranks)) == reasons
    assert said(model, Parallelism(ranks)) == []


ATTENTION, EXPERTS, SHARED_PART = ModelPart.ATTENTION, ModelPart.EXPERTS, ModelPart.SHARED_EXPERTS


@pytest.mark.parametrize(
    ("model", "parts", "reasons"),
    [
        # left alone, in a checkpoint in blocks
        (dense(BLOCK, head_dim=80), {ATTENTION: WeightFormat.BF16}, []),
        (shaped(BLOCK, shared=512), {SHARED_PART: WeightFormat.BF16}, []),
        (shaped(BLOCK, experts=1408), {EXPERTS: WeightFormat.FP8_CHANNEL}, []),
        # in blocks, in a checkpoint that has none
        (dense(WeightFormat.BF16, head_dim=80), {ATTENTION: BLOCK}, [
            f"attention output 2560 / tensorParallel 8 = 320 {ODD} 128",
        ]),
        (shaped(WeightFormat.FP8_CHANNEL, experts=1408), {EXPERTS: AWQ}, [
            f"expert intermediate size 1408 / tensorParallel 8 = 176 {ODD} {LEAST}",
        ]),
        (shaped(GPTQ, group=32, shared=512), {SHARED_PART: BLOCK}, [
            f"shared expert intermediate size 512 / tensorParallel 8 = 64 {ODD} 128",
        ]),
    ],
)  # fmt: skip
def test_each_part_is_judged_by_its_own_format(model, parts, reasons):
    """Parts that a checkpoint leaves alone have no blocks, whatever the rest has, and the other way round."""
    assert said(kept(model, parts=parts), Parallelism(8)) == reasons


def test_every_kind_of_layers_has_its_own_slices():
    """Layers with heads of their own, and Mamba2 mixers: each once."""
    wide = (AttentionLayers(layers=24), AttentionLayers(layers=24, attention_heads=24, head_dim=80, kv_heads=8))
    model = dense(BLOCK, attention=wide, kv_heads=8)
    assert said(model, Parallelism(8)) == [f"attention output 1920 / tensorParallel 8 = 240 {ODD} 128"]
    mixers = dense(BLOCK, mamba=Mamba2(layers=4, heads=24, head_dim=80, state_size=128))
    assert said(mixers, Parallelism(8)) == [f"Mamba output 1920 / tensorParallel 8 = 240 {ODD} 128"]
    assert said(kept(mixers, parts={ModelPart.STATE: WeightFormat.BF16}), Parallelism(8)) == []


def test_projections_of_latent_attention_end_with_a_block():
    """Queries, keys and values of MLA are cut one by one: 20 heads of 192 over 4 ranks are 960, of 256 are 1,280."""
    mla = LatentAttention(q_lora_rank=768, kv_lora_rank=512, rope_head_dim=64, nope_head_dim=128, value_head_dim=128)
    model = dense(BLOCK, mla=mla, attention_heads=20)
    assert said(model, Parallelism(4)) == [f"MLA query projection 3840 / tensorParallel 4 = 960 {ODD} 128"]
    assert said(model, Parallelism(2)) == []


@given(
    experts=st.integers(1, 64).map(lambda steps: steps * 32),
    hidden=st.integers(1, 64).map(lambda steps: steps * 16),
    tensor=st.sampled_from([1, 2, 4, 8, 16]),
    expert=st.booleans(),
)
def test_fp8_experts_load_where_a_block_divides_slice_and_hidden_size(experts, hidden, tensor, expert):
    """The rule of refine_fp8_moe_block_shape, for any size."""
    width = experts if expert else experts / tensor
    loads = width % 128 == 0 or (width % 1 == 0 and gcd(128, int(width), hidden) >= 32)
    model = shaped(BLOCK, experts=experts, hidden_size=hidden, vocab_size=1024)
    assert (said(model, Parallelism(tensor, expert=expert)) == []) == loads


# --- layouts that people asked for ------------------------------------------------------------------------------------


def asked(model: str, gpu: str, gpus: int, parallelism: Parallelism) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """Whether it fits, why not, and what would, for a short context."""
    question = FitQuestion(model, gpu, gpus, Asked(context_tokens=8192), parallelism)
    found = answer(question, CATALOG)
    return found.fit.fits, found.reasons, found.fixes


SHARED = f"shared expert intermediate size 512 / tensorParallel 8 = 64 {ODD} 128"


@pytest.mark.parametrize(
    ("model", "gpu", "gpus", "parallelism", "answered"),
    [
        ("Qwen/Qwen3.6-35B-A3B-FP8", "nvidia-h100", 8, Parallelism(8, expert=True),
         (False, (SHARED,), ("--tensor-parallel 4",))),
        ("Qwen/Qwen3.6-35B-A3B-FP8", "nvidia-h100", 8, Parallelism(8), (False, (SHARED,), ("--tensor-parallel 4",))),
        ("Qwen/Qwen3.6-35B-A3B-FP8", "nvidia-h100", 8, Parallelism(4), (True, (), ())),
        ("Qwen/Qwen3.6-35B-A3B-FP8", "nvidia-h100", 8, Parallelism(4, expert=True), (True, (), ())),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct-FP8", "nvidia-h200", 8, Parallelism(8),
         (False, (SHARED,), ("--tensor-parallel 4",))),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "nvidia-h100", 4, Parallelism(4), (True, (), ())),
        ("Qwen/Qwen3-235B-A22B-FP8", "nvidia-h100", 8, Parallelism(8), (True, (), ())),
        ("Qwen/Qwen3-235B-A22B-FP8", "nvidia-a100-80gb", 8, Parallelism(8), (
            False,
            (f"expert intermediate size 1536 / tensorParallel 8 = 192 {ODD} {NO_KERNEL}",),
            ("--tensor-parallel 8 --expert-parallel", "--tensor-parallel 4"),
        )),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", "nvidia-a100-80gb", 2, Parallelism(2), (True, (), ())),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", "nvidia-a10", 8, Parallelism(8), (True, (), ())),
    ],
)  # fmt: skip
def test_layouts_from_the_field_are_answered_as_they_run(model, gpu, gpus, parallelism, answered):
    """What loads fits; what does not is refused for the right part, with the widest layout that loads."""
    assert asked(model, gpu, gpus, parallelism) == answered


def test_heads_that_six_gpus_do_not_divide_are_spread_over_two_and_stages():
    """64 heads on a node of six L40S: neither 6 nor 3 ranks, but pairs and stages."""
    question = FitQuestion("meta-llama/Llama-3.3-70B-Instruct", "nvidia-l40s", 6, Asked(context_tokens=32_768))
    assert str(answer(question, CATALOG).fit.parallelism) == "TP 2 × PP 2"


def test_a_stack_is_told_the_widest_layout_that_loads():
    """Of the layouts that a broken rule leaves, the one nearest to what was asked for."""
    model = {"model": "Qwen/Qwen3.6-35B-A3B-FP8", "contextTokens": 8192}
    assert refusals(serving(H100, **model, tensorParallel=8, expertParallel=True)) == [
        f"models.m: {SHARED}; use tensorParallel: 4"
    ]
    assert str(server(serving(H100, **model, tensorParallel=4, expertParallel=True)).parallelism) == "TP 4 × EP"


def test_rules_are_those_of_the_workloads_engine():
    """An engine whose file has no rule for a format cuts it anywhere that is whole."""
    bare = replace(WORKLOAD, slices={})
    assert slice_problems(shaped(BLOCK, shared=512), H100_GPU, Parallelism(8), bare) == []


def test_every_format_with_blocks_has_a_rule():
    """Formats without one hold a scale for a whole channel, or none, or are filled up to whole blocks (mxfp4)."""
    without = {WeightFormat.BF16, WeightFormat.FP8_CHANNEL, WeightFormat.MIXED, WeightFormat.MXFP4}
    assert {kind for kind in WeightFormat if kind not in CATALOG.vllm.slices} == without


def test_no_model_of_the_catalogue_is_refused_whole():
    """A checkpoint that nothing cuts is loaded as it is, on cards that have fp8."""
    assert [name for name, model in CATALOG.models.items() if said(model, Parallelism())] == []
