"""How a replica is spread over GPUs: what vLLM would refuse, which way is the cheapest, and fixes that really fit."""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from catalog.schema import KvProfile, VendorName
from planning.capacity.asked import Asked, workload
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.capacity.parallelism import (
    Fit,
    Hardware,
    candidates,
    choose,
    rule_problems,
    try_fit,
    with_longest_context,
)
from planning.capacity.reason import Reason
from tests.unit.small_stack import A10, CATALOG, H100, H200, refusals, server, serving, stack

WORKLOAD = Workload(8192, 256, 2048, slices=CATALOG.vllm.slices, devices=CATALOG.vllm.devices[VendorName.NVIDIA])
GPUS = CATALOG.gpus
MODELS = CATALOG.models
YARN = (
    'args: [\'--hf-overrides\', \'{"max_position_embeddings":131072,"rope_parameters":{"rope_type":"yarn",'
    '"factor":4.0,"original_max_position_embeddings":32768}}\']'
)

UNKNOWN = "its KV cache cannot be computed (kvProfile: unknown); nothing is sized automatically for it"


def said(reasons: Sequence[Reason]) -> list[str]:
    """Reasons as sentences, of no place in particular."""
    return [reason.at("<place>") for reason in reasons]


def hardware(gpu: str, per_node: int, nodes: int = 1) -> Hardware:
    """GPUs with the link their type has."""
    return Hardware(GPUS[gpu], per_node, nodes, GPUS[gpu].nvlink_gb_per_s > 0)


# --- what vLLM refuses whatever the memory ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "gpu", "parallelism", "workload", "reasons"),
    [
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(4), WORKLOAD, []),
        ("Qwen/Qwen3-14B", "nvidia-h100", Parallelism(3), WORKLOAD, [
            "40 attention heads cannot be divided by tensorParallel 3",
            "intermediate size 17408 cannot be divided by tensorParallel 3",
            "151936 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 3",
        ]),
        ("Qwen/Qwen3-14B", "nvidia-h100", Parallelism(5), WORKLOAD, [
            "8 KV heads cannot be divided by, or copied to, tensorParallel 5",
            "intermediate size 17408 cannot be divided by tensorParallel 5",
            "151936 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 5",
        ]),
        ("Qwen/Qwen2.5-7B-Instruct", "nvidia-h100", Parallelism(7), WORKLOAD, [
            "4 KV heads cannot be divided by, or copied to, tensorParallel 7",
            "intermediate size 18944 cannot be divided by tensorParallel 7",
            "152064 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 7",
        ]),
        # one KV head per GPU, each twice
        ("Qwen/Qwen3-32B", "nvidia-h100", Parallelism(16), WORKLOAD, []),
        ("Qwen/Qwen3.5-27B", "nvidia-h100", Parallelism(12), WORKLOAD, [
            "16 linear-attention key heads cannot be divided by tensorParallel 12",
            "intermediate size 17408 cannot be divided by tensorParallel 12",
            "248320 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 12",
        ]),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia-h100", Parallelism(16), WORKLOAD, [
            "8 Mamba groups cannot be divided by tensorParallel 16",
        ]),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia-h100", Parallelism(8), WORKLOAD, []),
        # layers with heads of their own, each kind once
        ("XiaomiMiMo/MiMo-V2-Flash", "nvidia-h200", Parallelism(6), WORKLOAD, [
            "64 attention heads cannot be divided by tensorParallel 6",
            "intermediate size 16384 cannot be divided by tensorParallel 6",
            "expert intermediate size 2048 cannot be divided by tensorParallel 6",
            "152576 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 6",
        ]),
        ("Qwen/Qwen3-14B", "nvidia-h100", Parallelism(1, 41), WORKLOAD, ["pipelineParallel 41 exceeds the 40 layers"]),
        ("Qwen/Qwen3-14B", "nvidia-h100", Parallelism(expert=True), WORKLOAD, [
            "expertParallel needs a mixture-of-experts model",
        ]),
        ("Qwen/Qwen3-32B-FP8", "nvidia-h200", Parallelism(16), WORKLOAD, [
            "intermediate size 25600 / tensorParallel 16 = 1600 is not a multiple of the quantisation block 128",
        ]),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "nvidia-h200", Parallelism(5), WORKLOAD, [
            "8 KV heads cannot be divided by, or copied to, tensorParallel 5",
            "intermediate size 27648 cannot be divided by tensorParallel 5",
            "152064 rows of the vocabulary, in steps of 64, cannot be divided by tensorParallel 5",
        ]),
        # per-channel fp8 has no blocks
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "nvidia-h100", Parallelism(8), WORKLOAD, []),
        # the latent head of MLA is copied to every GPU
        ("deepseek-ai/DeepSeek-R1", "nvidia-h200", Parallelism(16), WORKLOAD, []),
        # public logs show an fp8 cache on 8.6
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(2), replace(WORKLOAD, kv_cache_dtype="fp8_e5m2"), []),
        ("Qwen/Qwen3-14B", "nvidia-a100-80gb", Parallelism(2), replace(WORKLOAD, kv_cache_dtype="fp8"), []),
        ("Qwen/Qwen3-14B", "nvidia-h200", Parallelism(2), replace(WORKLOAD, kv_cache_dtype="nvfp4"), [
        ]),
        ("Qwen/Qwen3-14B", "nvidia-b200", Parallelism(2), replace(WORKLOAD, kv_cache_dtype="nvfp4"), []),
        ("deepseek-ai/DeepSeek-R1", "nvidia-b200", Parallelism(8), replace(WORKLOAD, kv_cache_dtype="nvfp4"), [
            "vLLM has no kernel of nvidia GPUs for kvCacheDtype nvfp4 and latent attention (MLA)",
        ]),
        ("Qwen/Qwen3-32B", "nvidia-h100", Parallelism(16, decode_context=2), WORKLOAD, []),
        ("Qwen/Qwen3-32B", "nvidia-h100", Parallelism(8, decode_context=2), WORKLOAD, [
            "decode context parallel 2 needs as many TP ranks per KV head; 8 KV heads over 8",
        ]),
        ("deepseek-ai/DeepSeek-R1", "nvidia-h200", Parallelism(8, decode_context=8), WORKLOAD, []),
        ("deepseek-ai/DeepSeek-R1", "nvidia-h200", Parallelism(8, decode_context=3), WORKLOAD, [
            "decode context parallel 3 must divide tensorParallel 8",
        ]),
        ("Qwen/Qwen3-14B", "nvidia-l4", Parallelism(2), replace(WORKLOAD, kv_cache_dtype="fp8"), []),
        ("Qwen/Qwen3-14B", "nvidia-b200", Parallelism(2), replace(WORKLOAD, kv_cache_dtype="fp8"), []),
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(2), replace(WORKLOAD, context_tokens=40_960), []),
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(2), replace(WORKLOAD, context_tokens=131_072), [
            f"contextTokens 131072 exceeds the 40960 of the checkpoint, unless {YARN} stretches it",
        ]),
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(2), replace(WORKLOAD, context_tokens=131_073), [
            "contextTokens 131073 exceeds the 40960 of the checkpoint",
        ]),
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(2), replace(WORKLOAD, max_num_seqs=2048), []),
        ("Qwen/Qwen3-14B", "nvidia-a10", Parallelism(2), replace(WORKLOAD, max_num_seqs=2049), [
            "maxNumSeqs 2049 must be at most maxNumBatchedTokens, 2048: a step has a token for each",
        ]),
    ],
)  # fmt: skip
def test_rules_of_the_engine_are_said_in_words(model, gpu, parallelism, workload, reasons):
    """Heads, KV heads, slices, blocks, layers, precision, context and batch, each with its numbers."""
    assert said(rule_problems(MODELS[model], GPUS[gpu], parallelism, workload)) == reasons


def test_every_reason_is_given_at_once():
    """Rules and memory together, so that one look is enough."""
    workload = replace(WORKLOAD, context_tokens=300_000, kv_cache_dtype="nvfp4_4over6")
    fit = try_fit(MODELS["Qwen/Qwen3-32B"], hardware("nvidia-a10", 2), Parallelism(3), workload)
    assert [reason.text.split()[0] for reason in fit.reasons] == [
        "64", "intermediate", "151936", "contextTokens", "kvCacheDtype", "TP", "needs",
    ]  # fmt: skip
    assert not fit.fits


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (WORKLOAD, "needs 27.5 GiB of weights per GPU, <place> gives 20.2 GiB (22.0 × 0.92)"),
        (replace(WORKLOAD, utilization=1), "needs 27.5 GiB of weights per GPU, <place> gives 22.0 GiB (22.0 × 1.00)"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named_with_need_and_have(workload, reason):
    """Qwen3-14B in bf16 on one A10."""
    fit = try_fit(MODELS["Qwen/Qwen3-14B"], hardware("nvidia-a10", 1), Parallelism(), workload)
    assert said(fit.reasons) == [reason]


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (
            Workload(32_768, 512, 2048),
            # 20.24 − 15.26 − 1.48 − 1.00 − 0.15 GiB are 1,073 blocks of 2.25 MiB, one of them held back
            "needs 4.5 GiB of KV cache per GPU for 32768 tokens, <place> leaves 2.7 GiB, enough for 19376 tokens",
        ),
        # 15.26 + 5.42 + 1.00 + 0.15 GiB: 18.125 bytes × 2,048 × 151,936 for the sampler and its penalties alone
        (Workload(1, 2048, 2048), "needs 21.5 GiB per GPU before any KV cache, <place> gives 20.2 GiB (22.0 × 0.92)"),
    ],
)  # fmt: skip
def test_what_is_left_for_the_cache_is_named(workload, reason):
    """Qwen3-8B on one A10: weights fit; the sampler of many sequences leaves too little cache, or none."""
    found = try_fit(MODELS["Qwen/Qwen3-8B"], hardware("nvidia-a10", 1), Parallelism(), workload)
    assert said(found.reasons) == [reason]


def test_a_hybrid_model_needs_a_state_block_for_every_sequence():
    """VLLM refuses to capture graphs for more sequences than there are blocks; eager execution does not ask."""
    model, where = MODELS["Qwen/Qwen3.5-27B"], hardware("nvidia-h100", 1)
    fit = try_fit(model, where, Parallelism(), Workload(4096, 512, 2048))
    assert fit.memory is not None
    blocks = fit.memory.kv_cache_blocks
    assert 0 < blocks < 512
    assert said(fit.reasons) == [
        f"maxNumSeqs 512 exceeds the {blocks} state blocks <place> leaves; use maxNumSeqs: {blocks}",
    ]
    assert try_fit(model, where, Parallelism(), Workload(4096, blocks, 2048)).fits
    assert try_fit(model, where, Parallelism(), Workload(4096, 512, 2048, eager=True)).fits


def test_a_utilisation_leaves_room_for_the_cuda_context():
    """2.3 % of an A10's 22 GiB are 0.51 GiB, which is enough; 2 % are 0.44, which is not."""
    model, where = MODELS["Qwen/Qwen3-4B"], hardware("nvidia-a10", 1)
    assert try_fit(model, where, Parallelism(), replace(WORKLOAD, utilization=0.977)).fits
    assert said(try_fit(model, where, Parallelism(), replace(WORKLOAD, utilization=0.98)).reasons) == [
        "gpuMemoryUtilization 0.98 leaves 0.44 GiB of <place>, the CUDA context needs 0.5",
    ]


# --- which way is chosen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "where", "expected"),
    [
        # NVLink: TP up to the node, then whole nodes
        ("Qwen/Qwen3-14B", hardware("nvidia-h100", 4, 2), ["TP 1", "TP 2", "TP 4", "TP 4 × PP 2"]),
        # PCIe: TP stops at 2, stages go on; parts of a node, or whole nodes
        (
            "Qwen/Qwen3-14B",
            hardware("nvidia-a10", 4, 2),
            ["TP 1", "TP 2", "TP 1 × PP 2", "TP 1 × PP 3", "TP 2 × PP 2", "TP 1 × PP 4", "TP 2 × PP 4", "TP 1 × PP 8"],
        ),
        # three GPUs per node: TP 2 would leave one idle or cut a pair
        ("Qwen/Qwen3-14B", hardware("nvidia-a10", 3, 2), ["TP 1", "TP 1 × PP 2", "TP 1 × PP 3", "TP 1 × PP 6"]),
        ("Qwen/Qwen3-14B", hardware("nvidia-a10", 1, 3), ["TP 1", "TP 1 × PP 2", "TP 1 × PP 3"]),
        ("Qwen/Qwen2.5-7B-Instruct", hardware("nvidia-h100", 8), ["TP 1", "TP 2", "TP 4"]),
    ],
)
def test_candidates_come_cheapest_first(model, where, expected):
    """Fewest GPUs, then fewest nodes, then tensor before pipeline parallelism."""
    assert [str(parallelism) for parallelism in candidates(MODELS[model], where)] == expected


def test_candidates_end_where_layers_and_heads_end():
    """A pool of any size is looked through at once."""
    vast = hardware("nvidia-a10", 10**9, 10**9)
    found = [*candidates(MODELS["Qwen/Qwen3-14B"], vast)]
    assert max(parallelism.pipeline for parallelism in found) == 40
    assert len(found) == 80


@pytest.mark.parametrize(
    ("model", "where", "workload", "chosen"),
    [
        ("Qwen/Qwen3-14B", hardware("nvidia-a10", 2, 4), Workload(32_768, 256, 2048), "TP 2"),
        ("Qwen/Qwen3-14B", hardware("nvidia-a10", 1, 4), Workload(32_768, 256, 2048), "TP 1 × PP 2"),
        ("Qwen/Qwen3-14B", hardware("nvidia-h200", 8), Workload(32_768, 256, 16_384), "TP 1"),
        ("Qwen/Qwen3-8B", hardware("nvidia-a10", 2), Workload(8192, 256, 2048), "TP 1"),
        ("deepseek-ai/DeepSeek-R1-0528", hardware("nvidia-h200", 8), Workload(163_840, 256, 8192), "TP 8"),
        ("deepseek-ai/DeepSeek-R1-0528", hardware("nvidia-h100", 8, 2), Workload(32_768, 256, 8192), "TP 8 × PP 2"),
        ("Qwen/Qwen3-235B-A22B-FP8", hardware("nvidia-h200", 8), Workload(32_768, 256, 8192), "TP 2"),
        ("Qwen/Qwen3.5-397B-A17B", hardware("nvidia-h200", 8), Workload(32_768, 128, 8192), "TP 8"),
    ],
)
def test_the_cheapest_way_that_fits_is_chosen(model, where, workload, chosen):
    """The smallest TP × PP that holds weights and one sequence."""
    fit = choose(MODELS[model], where, workload)
    assert (str(fit.parallelism), said(fit.reasons)) == (chosen, [])


@pytest.mark.parametrize("gpu", ["nvidia-a10", "nvidia-l40s", "nvidia-a100-80gb", "nvidia-h200", "nvidia-b200"])
@pytest.mark.parametrize("per_node", [1, 3, 5, 8])
def test_what_is_chosen_breaks_no_rule(gpu, per_node):
    """For every model: the chosen TP divides heads and node, and a fit has no rule against it."""
    where = hardware(gpu, per_node, 4)
    for name, model in MODELS.items():
        fit = choose(model, where, WORKLOAD)
        if model.architecture is None:
            assert (fit.fits, fit.memory) == (False, None)
            continue
        assert model.architecture.attention_heads % fit.parallelism.tensor == 0, name
        assert per_node % fit.parallelism.tensor == 0, name
        if fit.fits:
            assert rule_problems(model, GPUS[gpu], fit.parallelism, WORKLOAD) == [], name


def test_the_nearest_miss_is_reported():
    """When nothing fits, the reasons are those of the way that came closest.

    Of the 79.6 GiB, 0.24 are the absorbed copies of MLA: 61 × 128 heads / 8 × 512 × 256 × 2 bytes; 0.04 is the
    table of positions: 163,840 × 64 × 4 bytes.
    """
    fit = choose(MODELS["deepseek-ai/DeepSeek-R1-0528"], hardware("nvidia-h100", 8), WORKLOAD)
    assert (str(fit.parallelism), said(fit.reasons)) == (
        "TP 8",
        ["needs 79.6 GiB of weights per GPU, <place> gives 72.8 GiB (79.1 × 0.92)"],
    )


def test_a_context_of_our_choice_is_the_longest_useful_one():
    """Qwen3-8B on one A10 gets what is left, in whole thousands; with room it gets all the checkpoint has."""
    # 20.24 − 15.26 − 0.82 − 1.00 − 0.15 GiB are 1,372 blocks of 2.25 MiB: 1,371 × 16 = 21,936 tokens
    small = choose(MODELS["Qwen/Qwen3-8B"], hardware("nvidia-a10", 1), WORKLOAD, auto_context=True)
    large = choose(MODELS["Qwen/Qwen3-8B"], hardware("nvidia-h200", 1), WORKLOAD, auto_context=True)
    assert [(str(fit.parallelism), fit.memory.context_tokens if fit.memory else 0) for fit in (small, large)] == [
        ("TP 1", 23_552),
        ("TP 1", 40_960),
    ]


def test_the_longest_context_of_a_given_way_is_found():
    """A parallelism of the user's keeps its place, and a cache for less than a thousand tokens is still one."""
    model = MODELS["Qwen/Qwen3-8B"]
    fit = with_longest_context(model, hardware("nvidia-a10", 2), Parallelism(2), WORKLOAD)
    assert (fit.fits, fit.memory.context_tokens if fit.memory else 0) == (True, 40_960)
    none = with_longest_context(model, hardware("nvidia-a10", 2), Parallelism(), Workload(1, 2048, 2048))
    assert (none.fits, none.memory.context_tokens if none.memory else 0) == (False, 1)


def test_a_model_without_a_computable_cache_is_never_sized():
    """The refusal says why nothing can be said."""
    fit = choose(MODELS["deepseek-ai/DeepSeek-V4-Flash"], hardware("nvidia-b200", 8), WORKLOAD)
    assert fit == Fit(
        Parallelism(),
        None,
        (Reason(UNKNOWN, computable=False),),
    )
    assert MODELS["deepseek-ai/DeepSeek-V4-Flash"].kv_profile is KvProfile.UNKNOWN


# --- refusals of a stack, and their fixes -----------------------------------------------------------------------------

A10_AND_H200 = {"a10": A10, "h200": H200}
QWEN = {"model": "Qwen/Qwen3-14B", "pool": "a10", "contextTokens": 32768}


def test_qwen3_14b_does_not_fit_one_a10():
    """The refusal of the product's own example: need, have, and the nearest changes that fit."""
    assert refusals(stack(gpuPools=A10_AND_H200, models={"qwen3-14b": {**QWEN, "tensorParallel": 1}})) == [
        ("models.qwen3-14b: needs 27.5 GiB of weights per GPU, pool 'a10' gives 20.2 GiB (22.0 × 0.92); "
        "use tensorParallel: 2, or Qwen/Qwen3-14B-AWQ, or pool 'h200'")
    ]  # fmt: skip


def test_deepseek_r1_needs_eight_h200_or_two_nodes_of_h100():
    """Refused on 8×H100 with the number of nodes that would do; on 8×H200 it is TP 8."""
    assert refusals(serving(H100, model="deepseek-ai/DeepSeek-R1-0528", contextTokens="leave out")) == [
        ("models.m: needs 79.6 GiB of weights per GPU, pool 'a10' gives 72.8 GiB (79.1 × 0.92); "
        "use gpuPools.a10.nodes: 2")
    ]  # fmt: skip
    accepted = server(serving(H200, model="deepseek-ai/DeepSeek-R1-0528", contextTokens="leave out"))
    assert (accepted.parallelism, accepted.memory.context_tokens) == (Parallelism(8), 163_840)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            serving(tensorParallel=3),
            "tensorParallel 3 does not fit into a node of 2 GPUs; use tensorParallel: 2",
        ),
        (
            serving(pipelineParallel=3),
            (
                "TP 1 × PP 3 (3 GPUs) does not divide into whole nodes of 2 GPUs; use tensorParallel: 2 with "
                "pipelineParallel: 1"
            ),
        ),
        (
            serving({**A10, "gpusPerNode": 3}, tensorParallel=2, pipelineParallel=3),
            (
                "TP 2 × PP 3 (6 GPUs) does not divide into whole nodes of 3 GPUs; use tensorParallel: 1 with "
                "pipelineParallel: 2"
            ),
        ),
        (
            serving(H100, model="Qwen/Qwen3.6-35B-A3B-FP8", tensorParallel=8, expertParallel=True),
            (
                "shared expert intermediate size 512 / tensorParallel 8 = 64 is not a multiple of the quantisation "
                "block 128; use tensorParallel: 4"
            ),
        ),
        (
            serving(kvCacheDtype="nvfp4_4over6"),
            (
                "kvCacheDtype nvfp4_4over6 needs compute capability 10.x with heads of 64, 128, 256 or 512; NVIDIA A10 "
                "24 GB is compute capability 8.6, the model has heads of 128 and bf16 weights; use kvCacheDtype: fp8, "
                "or kvCacheDtype: auto"
            ),
        ),
        (serving(expertParallel=True), "expertParallel needs a mixture-of-experts model"),
        (
            serving(contextTokens=131_072),
            (
                f"contextTokens 131072 exceeds the 40960 of the checkpoint, unless {YARN} stretches it; "
                "use contextTokens: 40960"
            ),
        ),
        (
            serving(model="Qwen/Qwen3-8B", tensorParallel=1),
            (
                "needs 4.5 GiB of KV cache per GPU for 32768 tokens, pool 'a10' leaves 3.3 GiB, enough for 24160 "
                "tokens; use tensorParallel: 2, or contextTokens: 23552, or Qwen/Qwen3-8B-FP8, or Qwen/Qwen3-8B-AWQ"
            ),
        ),
        (
            serving(model="deepseek-ai/DeepSeek-V4-Flash", kvCacheDtype="auto"),
            (
                "its KV cache cannot be computed (kvProfile: unknown); nothing is sized automatically for it; "
                "give models.m.measured: {weightsGibPerGpu, kvTokens, gpus}, read from a start-up log with "
                "python -m planning calibrate"
            ),
        ),
    ],
)
def test_refusals_of_a_server(raw, said):
    """What cannot run is refused at the model, with changes that fit where there are any."""
    assert refusals(raw) == [f"models.m: {said}"]


def test_an_fp8_cache_fits_on_an_a10():
    """Half the bytes per token, so twice the blocks of the same memory."""
    plain, halved = server(serving()).memory, server(serving(kvCacheDtype="fp8")).memory
    assert halved.kv_cache_gib == plain.kv_cache_gib
    assert halved.kv_cache_blocks // 2 == plain.kv_cache_blocks


@pytest.mark.parametrize(
    "override",
    [
        ["--hf-overrides", '{"max_position_embeddings":131072,"rope_parameters":{}}'],
        ['--hf-overrides={"max_position_embeddings":131072}'],
        ['--hf-overrides={"text_config":{"max_position_embeddings":131072}}'],
    ],
)
def test_a_context_that_is_stretched_in_the_arguments_is_planned(override):
    """The length in the user's override counts, and the memory for it is found."""
    found = server(serving(contextTokens=131_072, args=override))
    assert (str(found.parallelism), found.memory.context_tokens) == ("TP 2 × PP 2", 131_072)


@pytest.mark.parametrize(
    "override",
    [
        '{"rope_parameters":{"rope_type":"yarn","factor":4.0}}',
        '{"max_position_embeddings":65536}',
        '{"max_position_embeddings":"131072"}',
        '"max_position_embeddings"',
        "{not json",
    ],
)
def test_an_override_that_does_not_lengthen_the_context_does_not_count(override):
    """VLLM looks at max_position_embeddings alone: a RoPE factor beside it is refused at start, and so it is here."""
    said = refusals(serving(contextTokens=131_072, args=[f"--hf-overrides={override}"]))
    assert [text[:74] for text in said] == [
        "models.m: contextTokens 131072 exceeds the 40960 of the checkpoint, unless"
    ]


def fixes(said: str) -> list[str]:
    """The changes a refusal offers, less advice that names no value."""
    offered = [fix for tail in said.split("; use ")[1:] for fix in tail.split(", or ")]
    return [fix for fix in offered if not fix.startswith("a smaller")]


def applied(raw: dict[str, Any], fix: str) -> dict[str, Any]:
    """The configuration with one fix written into it, as a reader would."""
    changed = deepcopy(raw)
    model = changed["models"]["m"]
    if found := re.fullmatch(r"pool '(.+)'", fix):
        model["pool"] = found[1]
    elif found := re.fullmatch(r"gpuPools\.(.+)\.nodes: (\d+)", fix):
        changed["gpuPools"][found[1]]["nodes"] = int(found[2])
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", fix):
        model["model"] = fix
    else:
        parts = [part.split(": ") for part in fix.split(" with ")]
        model |= {key: int(value) if value.isdigit() else value for key, value in parts}
    return changed


ASKED = (
    {},
    {"tensorParallel": 1, "contextTokens": 16_384},
    {"contextTokens": 131_072},
    {"tensorParallel": 2, "pipelineParallel": 2, "dataParallel": 2},
    {"gpuMemoryUtilization": 0.5, "maxNumSeqs": 1024},
    {"expertParallel": True, "kvCacheDtype": "fp8"},
)


@pytest.mark.parametrize("gpu", [("nvidia-a10", 2), ("nvidia-a100-40gb", 3), ("nvidia-h100", 8)])
def test_every_fix_that_is_offered_fits(gpu):
    """For every model and several ways to ask too much: each offered change, written down, is accepted."""
    here = {"gpu": gpu[0], "nodes": 1, "gpusPerNode": gpu[1]}
    pools = {"here": here, "there": {**H200, "nodes": 2}}
    kinds, wrong = set(), []
    for name in MODELS:
        for asked in ASKED:
            pinned = {"revision": "a" * 40} if MODELS[name].conversion else {}
            raw = stack(gpuPools=pools, models={"m": {"model": name, "pool": "here", **pinned, **asked}})
            for fix in {fix for said in refusals(raw) for fix in fixes(said)}:
                kinds.add("sibling" if "/" in fix else fix.split(":")[0].split("'")[0])
                wrong += [(name, asked, fix, said) for said in refusals(applied(raw, fix))]
    assert wrong == []
    assert len(kinds) >= 4


@pytest.mark.parametrize(("tokens", "offered"), [(37_000, True), (40_000, False)])
def test_another_pool_is_tried_with_its_own_defaults(tokens, offered):
    """On an H100 vLLM takes steps of 8,192 tokens, whose activations an A10's steps of 2,048 do not have."""
    # 79.10 × 0.91 − 61.02 − 1.24 − 0.04 − 0.15 = 9.5 GiB hold 38,992 tokens; steps of 2,048 would leave 10.3 GiB
    model = {"model": "Qwen/Qwen3-32B", "pool": "here", "contextTokens": tokens, "maxNumSeqs": 1}
    model |= {"gpuMemoryUtilization": 0.91}
    pools = {"here": {**A10, "nodes": 1, "gpusPerNode": 1}, "there": {**H100, "gpusPerNode": 1}}
    (said,) = refusals(stack(gpuPools=pools, models={"m": model}))
    assert ("pool 'there'" in fixes(said)) == offered


def test_a_sibling_is_the_same_model_in_another_format():
    """Qwen3-4B is not answered with the 2507 models, whose names begin like its own."""
    said = refusals(
        serving(
            {**A10, "gpusPerNode": 1, "nodes": 1}, model="Qwen/Qwen3-4B", gpuMemoryUtilization=0.41, contextTokens=8192
        )
    )
    assert [fixes(text) for text in said] == [["gpuPools.a10.nodes: 2", "Qwen/Qwen3-4B-FP8", "Qwen/Qwen3-4B-AWQ"]]


@pytest.mark.parametrize(
    ("gpu", "refined"),
    [("nvidia-a100-80gb", False), ("nvidia-l40s", True), ("nvidia-h100", True), ("amd-mi300x", True)],
)
def test_blocks_of_experts_are_made_smaller_on_cards_that_have_fp8(gpu, refined):
    """From compute capability 8.9 on, that one included; AMD's kernels have no such floor."""
    model = MODELS["Qwen/Qwen3-30B-A3B-Instruct-2507-FP8"]
    needed = workload(Asked(context_tokens=8192), model, GPUS[gpu], CATALOG.vllm)
    reasons = said(rule_problems(model, GPUS[gpu], Parallelism(4), needed))
    why = (
        "expert intermediate size 768 / tensorParallel 4 = 192 is not a multiple of the quantisation block 128, and "
        f"smaller blocks need compute capability 8.9, {GPUS[gpu].name} has {GPUS[gpu].compute_capability}"
    )
    assert [reason for reason in reasons if "block" in reason] == ([] if refined else [why])
