"""`python -m planning`: published cases, exit codes, JSON, the text for a person, and fixes that really fit.

The cases are what others have measured or stated; they prove the arithmetic, not a GPU.
"""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, replace
from typing import Any

import pytest

from planning.__main__ import main
from planning.capacity.asked import Asked
from planning.capacity.budget import Parallelism
from planning.near import ADD_GPU
from planning.questions.calculator import FitQuestion, answer, hardware
from tests.unit.small_stack import CATALOG

QWEN = ("--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a10")
CODE = tuple[int, str, str]


def asked(*argv: str) -> CODE:
    """(exit code, what is printed, what is said on standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(argv)
    return code, out.getvalue(), err.getvalue()


def asking(model: str, gpu: str, gpus: int, **more) -> FitQuestion:
    """A question; what is asked of the engine by the names of `Asked`."""
    engine = {name: more.pop(name) for name in [field.name for field in fields(Asked)] if name in more}
    return FitQuestion(model, gpu, gpus, asked=Asked(**engine), **more)


# --- published cases --------------------------------------------------------------------------------------------------


def case(fits: bool, model: str, gpu: str, gpus: int = 1, spread: Parallelism | None = None, **more):
    """One published case as a question with its answer."""
    return fits, asking(model, gpu, gpus, parallelism=spread, **more)


Q, D = "Qwen/Qwen3", "deepseek-ai/DeepSeek"
LLAMA8, LLAMA70 = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"
LLAMA70_FP8 = "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic"
TP1, TP2, TP4, TP8, TP16 = (Parallelism(tensor) for tensor in (1, 2, 4, 8, 16))
DP8 = Parallelism(1, 1, 8, expert=True)
# True: it started, or those who publish it say so. False: vLLM refused it, ran out of memory, or must by arithmetic.
# T02-T07: llm-d-benchmark empirical-vllm-memory-results.md. T08, T09: LMCache FAQ. T10, T11: samilazrak/
# vllm-optimization-lab. T12-T14: an L40S runbook. T15, T17, T19, T20, T47: public logs. T18: dennislee22/
# vLLM-benchmarking. T31-T39: recipes of the vLLM 0.33.0 sdist. T43: sglang docs. T45: Qwen3 docs. T46: DeepSeek-R1#507.
# T48: GKE and LWS docs. T49: Vultr docs. T50: vllm-project/aibrix. T51, T53, T54: kaito-project/kaito examples.
# T55-T60, T69: GoogleCloudPlatform/accelerated-platforms. T64: llm-d-benchmark guides. T66-T68: kubeai-project/kubeai.
# Left out: T01, T57 and T62, Qwen3-32B in bf16 on one H100 with vLLM's own 1,024 sequences. They start; counted, 1.1 to
# 1.2 GiB of KV cache are missing, because sampler and CUDA graphs are rounded up. T01 has 0.5 GiB to spare by its log.
CASES = {
    "T02": case(True, f"{Q}-32B", "nvidia-h100", 2, TP2, utilization=0.9, context_tokens=16_000),
    "T03": case(True, f"{Q}-0.6B", "nvidia-h100", utilization=0.9, context_tokens=32_000),
    "T04": case(True, LLAMA8, "nvidia-h100", utilization=0.9, context_tokens=16_000),
    "T05": case(True, LLAMA70_FP8, "nvidia-h100", 2, TP2, utilization=0.9, context_tokens=16_000),
    "T06": case(False, LLAMA70_FP8, "nvidia-h100", 1, TP1, utilization=0.9, context_tokens=16_000),
    "T07": case(False, f"{D}-R1", "nvidia-h100", utilization=0.9),
    "T08": case(True, f"{Q}-8B", "nvidia-h100", utilization=0.9, context_tokens=40_960),
    "T09": case(True, f"{Q}-32B", "nvidia-h100", 2, TP2, utilization=0.9, context_tokens=40_960),
    "T10": case(True, f"{Q}-14B-AWQ", "nvidia-l40s", context_tokens=40_960),
    "T11": case(
        True, f"{Q}-14B-AWQ", "nvidia-l40s", utilization=0.95, max_num_seqs=512, max_num_batched_tokens=8192
    ),
    "T12": case(False, f"{Q}.8-27B-FP8", "nvidia-l40s", utilization=0.86, context_tokens=131_072),
    "T13": case(False, f"{Q}.8-27B-FP8", "nvidia-l40s", utilization=0.9, context_tokens=131_072, max_num_seqs=256),
    "T14": case(True, f"{Q}.8-27B-FP8", "nvidia-l40s", utilization=0.9, context_tokens=131_072, max_num_seqs=16),
    "T15": case(True, f"{Q}.5-4B", "nvidia-l4", context_tokens=32_768),
    "T17": case(True, LLAMA8, "nvidia-a100-80gb", context_tokens=131_072),
    "T18": case(True, "Qwen/Qwen2.5-7B-Instruct", "nvidia-a100-80gb", utilization=0.5, context_tokens=16_384),
    "T19": case(False, f"{Q}-32B", "nvidia-rtx-pro-6000", utilization=0.426, gpu_memory_gib=95.07),
    "T20": case(True, f"{Q}-8B-FP8", "nvidia-l4", gpu_memory_gib=15.5, context_tokens=8192),
    "T31": case(True, f"{D}-R1", "nvidia-h200", 8, Parallelism(8, expert=True)),
    "T31 DP": case(True, f"{D}-V3", "nvidia-h200", 8, DP8),
    "T32": case(True, f"{D}-V3.1", "nvidia-h20-3e", 8, TP8),
    "T33": case(True, f"{D}-V3.2", "nvidia-b200", 8, TP8),
    "T33 DP": case(True, f"{D}-V3.2-Exp", "nvidia-h200", 8, DP8),
    "T34": case(False, f"{D}-V3.2", "nvidia-h100", 8, TP8),
    "T35": case(True, f"{Q}-235B-A22B", "nvidia-h200", 4, TP4),
    "T36": case(True, f"{Q}-235B-A22B-FP8", "nvidia-h200", 8, TP8),
    "T36 EP": case(True, f"{Q}-235B-A22B-FP8", "nvidia-h200", 8, Parallelism(8, expert=True)),
    "T38": case(True, f"{Q}.5-35B-A3B-FP8", "nvidia-h100"),
    "T39": case(True, f"{Q}.5-122B-A10B", "nvidia-h200", 4, TP4),
    "T43": case(True, f"{D}-R1", "nvidia-h20", 16, TP16),
    "T45": case(True, f"{Q}-235B-A22B", "nvidia-h20", 8, TP8),
    "T46": case(
        True, f"{D}-R1", "nvidia-h200-nvl", 8, TP8,
        utilization=0.8, context_tokens=131_072, max_num_batched_tokens=65_536,
    ),
    "T47": case(False, f"{D}-R1", "nvidia-a100-80gb", 8, TP8),
    "T48": case(True, f"{D}-R1", "nvidia-h100", 16, Parallelism(8, 2), context_tokens=4096),
    "T49": case(True, f"{D}-V3-0324", "nvidia-b200", 8, TP8, context_tokens=32_768),
    "T50": case(True, f"{D}-R1", "nvidia-h20", 16, TP16),
    "T51": case(True, f"{D}-R1-0528", "nvidia-h100-nvl", 12, Parallelism(2, 6)),
    "T53": case(True, f"{D}-R1-Distill-Qwen-14B", "nvidia-a100-80gb-pcie", utilization=0.84, context_tokens=0),
    "T54": case(True, f"{D}-R1-Distill-Llama-8B", "nvidia-a100-80gb-pcie"),
    "T55": case(True, LLAMA70, "nvidia-h100", 4, TP4, utilization=0.95, context_tokens=131_072),
    "T56": case(True, LLAMA70, "nvidia-h200", 4, TP4, utilization=0.95, context_tokens=131_072),
    "T58": case(True, f"{Q}-32B", "nvidia-l4", 8, TP8, utilization=0.8, context_tokens=32_768),
    "T59": case(True, f"{Q}-32B-FP8", "nvidia-h100", utilization=0.95, context_tokens=32_768),
    "T60": case(False, f"{Q}-32B", "nvidia-h100", utilization=0.95, context_tokens=131_072),
    "T64": case(True, f"{Q}-30B-A3B-Thinking-2507", "nvidia-h100", 2, TP2, utilization=0.95, context_tokens=262_144),
    "T66": case(
        True, LLAMA70_FP8, "nvidia-l4", 8, Parallelism(2, 4), utilization=0.9, kv_cache_dtype="fp8",
        context_tokens=32_768, max_num_batched_tokens=32_768, max_num_seqs=512,
    ),
    "T67": case(
        True, "RedHatAI/DeepSeek-R1-Distill-Llama-70B-FP8-dynamic", "nvidia-gh200", utilization=0.95,
        kv_cache_dtype="fp8", context_tokens=32_768, max_num_batched_tokens=32_768,
    ),
    "T68": case(False, f"{D}-R1-Distill-Llama-70B", "nvidia-gh200", utilization=0.95),
    "T69": case(False, f"{Q}-32B", "nvidia-rtx-pro-6000", utilization=0.95, context_tokens=131_072),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_published_cases_are_answered_as_published(row):
    """What runs elsewhere fits, and what vLLM refused or must refuse does not."""
    fits, question = CASES[row]
    found = answer(question, CATALOG)
    assert (found.fit.fits, found.reasons == ()) == (fits, fits)


# --- fixes ------------------------------------------------------------------------------------------------------------


def test_experts_of_mxfp4_are_larger_in_memory_than_on_disk():
    """60.8 GiB of gpt-oss-120b are 64.4 to 66.0 on one H100 (vllm-project/vllm#27508, #33155): a short context fits."""
    memory = answer(asking("openai/gpt-oss-120b", "nvidia-h100", 1, context_tokens=8192), CATALOG).fit.memory
    assert memory is not None
    assert 64.4 <= memory.weights_gib <= 66.0
    assert memory.fits
    refused = answer(asking("openai/gpt-oss-120b", "nvidia-h100", 1, context_tokens=131_072), CATALOG)
    assert refused.fixes[0].startswith("--context ")


def test_blocks_of_state_are_counted_beside_the_sampler_of_many_sequences():
    """Of Qwen3.8-27B on an RTX PRO 6000, vLLM 0.29 counted 635 for 1,024 sequences."""
    found = answer(asking("Qwen/Qwen3.8-27B", "nvidia-rtx-pro-6000", 1, context_tokens=32_768), CATALOG)
    assert found.fit.memory is not None
    assert 0.9 * 635 <= found.fit.memory.kv_cache_blocks <= 1.03 * 635


def applied(question: FitQuestion, fix: str) -> FitQuestion:
    """The question with one offered change."""
    if "/" in fix:
        return replace(question, model=fix)
    words = fix.removesuffix(" --expert-parallel").split()
    given = {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    if "--context" in given:
        return replace(question, asked=replace(question.asked, context_tokens=given["--context"]))
    if "--gpus" in given:
        return replace(question, gpus=given["--gpus"])
    before = question.parallelism or Parallelism()
    spread = Parallelism(
        given["--tensor-parallel"],
        given.get("--pipeline-parallel", before.pipeline),
        given.get("--data-parallel", before.data),
        before.expert or fix.endswith("--expert-parallel"),
    )
    return replace(question, parallelism=spread)


ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"parallelism": TP8},
    {"parallelism": Parallelism(1, 1, 2)},
    {"context_tokens": 200_000, "parallelism": TP1},
    {"context_tokens": 0, "utilization": 0.5},
    {"expert_parallel": True, "kv_cache_dtype": "fp8"},
)


@pytest.mark.parametrize("gpu", ["nvidia-a10", "nvidia-l40s", "nvidia-a100-80gb", "nvidia-h200"])
def test_every_fix_that_is_offered_fits(gpu):
    """For every model, several numbers of GPUs and ways to ask: each change, made, is answered with a fit."""
    offered, wrong = 0, []
    for model in CATALOG.models:
        for gpus in (1, 8):
            for more in ASKED:
                question = asking(model, gpu, gpus, **more)
                for fix in answer(question, CATALOG).fixes:
                    offered += 1
                    reasons = answer(applied(question, fix), CATALOG).reasons
                    wrong += [(question, fix, reasons)] if reasons else []
    assert wrong == []
    assert offered > 200


@pytest.mark.parametrize(
    ("question", "reasons", "fixes"),
    [
        (
            FitQuestion("Qwen/Qwen3-14B", "nvidia-a10", 1),
            ["needs 27.5 GiB of weights per GPU, nvidia-a10 gives 20.2 GiB (22.0 × 0.92)"],
            ["--gpus 2", "Qwen/Qwen3-14B-AWQ"],
        ),
        (
            FitQuestion(f"{D}-R1-0528", "nvidia-h100", 8),
            ["needs 79.6 GiB of weights per GPU, 8 × nvidia-h100 gives 72.8 GiB (79.1 × 0.92)"],
            ["--gpus 16"],
        ),
        (
            FitQuestion(f"{D}-R1", "nvidia-h200", 8, parallelism=Parallelism(4, 1, 2)),
            ["needs 158.0 GiB of weights per GPU, 8 × nvidia-h200 gives 128.6 GiB (139.8 × 0.92)"],
            ["--tensor-parallel 8 --data-parallel 1"],
        ),
        (
            FitQuestion(f"{D}-V4-Flash", "nvidia-b200", 8),
            [
                (
                    "its KV cache cannot be computed (kvProfile: unknown); nothing is sized automatically for it; "
                    "give models.NAME.measured: {weightsGibPerGpu, kvTokens, gpus}, read from a start-up log with "
                    "python -m planning calibrate"
                )
            ],
            [],
        ),
    ],
)
def test_a_refusal_names_the_nearest_changes(question, reasons, fixes):
    """More GPUs, another split, a shorter context or another format, and nothing where nothing can be said."""
    found = answer(question, CATALOG)
    assert ([*found.reasons], [*found.fixes]) == (reasons, fixes)


@pytest.mark.parametrize(
    ("gpus", "per_node", "nodes"),
    [(1, 1, 1), (3, 3, 1), (8, 8, 1), (12, 4, 3), (16, 8, 2), (11, 1, 11), (24, 8, 3), (9, 3, 3)],
)
def test_gpus_are_counted_in_whole_nodes(gpus, per_node, nodes):
    """Nodes of eight, else of four, else of the largest number that divides them."""
    found = hardware(CATALOG.gpus["nvidia-h100"], gpus)
    assert (found.gpus_per_node, found.nodes, found.gpus) == (per_node, nodes, gpus)


# --- the command ------------------------------------------------------------------------------------------------------


def test_json_has_every_figure():
    """Exit 0, one object with the documented keys, figures per GPU."""
    code, out, err = asked(*QWEN, "--gpus", "2", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "fits": True,
        "reasons": [],
        "fixes": [],
        "weights_gib_per_gpu": 13.764,
        "activation_gib_per_gpu": 0.826,
        "cuda_graphs_gib_per_gpu": 0.757,
        "non_torch_gib_per_gpu": 0.55,
        "kv_cache_gib_per_gpu": 4.343,
        "kv_cache_tokens": 56_912,
        "max_concurrency": 1.39,
        "context_tokens": 40_960,
        "max_context_tokens": 40_960,
        "max_num_seqs": 256,
        "tensor_parallel": 2,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "expert_parallel": False,
    }


def test_a_refusal_leaves_with_two_and_its_reasons():
    """The same object, with what is wrong and what would fit."""
    code, out, _ = asked(*QWEN, "--gpus", "1", "--json")
    found = json.loads(out)
    assert (code, found["fits"]) == (2, False)
    assert found["reasons"] == ["needs 27.5 GiB of weights per GPU, nvidia-a10 gives 20.2 GiB (22.0 × 0.92)"]
    assert found["fixes"] == ["--gpus 2", "Qwen/Qwen3-14B-AWQ"]
    assert (found["weights_gib_per_gpu"], found["kv_cache_tokens"]) == (27.518, 0)


def test_figures_that_cannot_be_computed_are_null():
    """A model without a shape has no memory sum, and the keys stay."""
    code, out, _ = asked("--model", f"{D}-V4-Flash", "--gpu", "nvidia-b200", "--gpus", "8", "--json")
    found = json.loads(out)
    assert code == 2
    assert {key for key, value in found.items() if value is None} == {
        "weights_gib_per_gpu",
        "activation_gib_per_gpu",
        "cuda_graphs_gib_per_gpu",
        "non_torch_gib_per_gpu",
        "kv_cache_gib_per_gpu",
        "kv_cache_tokens",
        "max_concurrency",
        "max_context_tokens",
    }


def test_the_text_says_where_the_memory_goes():
    """Verdict first, a bar with its legend, the sum, and what the cache holds."""
    code, out, _ = asked(*QWEN, "--gpus", "2", "--context", "32768")
    assert code == 0
    assert out == (
        "Qwen/Qwen3-14B on 2 × NVIDIA A10 24 GB, TP 2: fits\n"
        "  █████████████████████████████████▓▓▒▒░··········\n"
        "  █ weights          13.76 GiB per GPU\n"
        "  ▓ activation        0.83 GiB per GPU\n"
        "  ▒ CUDA graphs       0.76 GiB per GPU\n"
        "  ░ NCCL, context     0.55 GiB per GPU\n"
        "  · KV cache          4.34 GiB per GPU\n"
        "  = 20.24 GiB (22.00 × 0.92)\n"
        "  56,912 tokens of KV cache: 1.74 sequences of 32,768 tokens; longest context 40,960; max_num_seqs 256\n"
    )


def test_the_text_of_a_refusal_ends_with_what_would_fit():
    """What is missing and what to write instead."""
    code, out, _ = asked(*QWEN, "--gpus", "1")
    assert code == 2
    assert out.splitlines()[0] == "Qwen/Qwen3-14B on 1 × NVIDIA A10 24 GB, TP 1: does not fit"
    assert out.splitlines()[-2:] == [
        "  refused: needs 27.5 GiB of weights per GPU, nvidia-a10 gives 20.2 GiB (22.0 × 0.92)",
        "  use --gpus 2, or Qwen/Qwen3-14B-AWQ",
    ]


def test_a_context_may_be_left_to_us():
    """`auto` asks for the longest that fits instead of all the checkpoint has."""
    small = ("--model", "Qwen/Qwen3-8B", "--gpu", "nvidia-a10", "--gpus", "1", "--json")
    whole, longest = asked(*small), asked(*small, "--context", "auto")
    assert (whole[0], longest[0], json.loads(longest[1])["context_tokens"]) == (2, 0, 23_552)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--tensor-parallel", "2"), {"tensor_parallel": 2, "pipeline_parallel": 1}),
        (("--pipeline-parallel", "2"), {"tensor_parallel": 1, "pipeline_parallel": 2}),
        (("--max-num-seqs", "1"), {"max_num_seqs": 1, "activation_gib_per_gpu": 0.295}),
        (("--gpu-memory-utilization", "0.95"), {"kv_cache_gib_per_gpu": 5.003}),
        (("--gpu-memory-gib", "40"), {"tensor_parallel": 1, "weights_gib_per_gpu": 27.518}),
        (("--max-num-batched-tokens", "128"), {"max_num_seqs": 128, "activation_gib_per_gpu": 0.48}),
        (("--kv-cache-dtype", "bfloat16"), {"kv_cache_tokens": 56_912}),
    ],
)
def test_options_reach_the_sum(options, expected):
    """Each option changes what it names."""
    code, out, _ = asked(*QWEN, "--gpus", "2", "--json", *options)
    found = json.loads(out)
    assert (code, {key: found[key] for key in expected}) == (0, expected)


def test_without_a_number_the_fewest_gpus_are_taken():
    """Those of a spread that is given, or else as many as serve it; where none do, as many as come nearest."""
    assert asked(*QWEN)[1] == asked(*QWEN, "--gpus", "2")[1]
    assert asked(*QWEN, "--tensor-parallel", "4")[1] == asked(*QWEN, "--tensor-parallel", "4", "--gpus", "4")[1]
    code, out, _ = asked("--model", "deepseek-ai/DeepSeek-R1", "--gpu", "nvidia-a10")
    assert (code, "on 16 × NVIDIA A10" in out) == (2, True)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ("--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a11", "--gpus", "1"),
            f"unknown GPU 'nvidia-a11'{ADD_GPU}",
        ),
        (
            ("--model", "Qwen/Qwen3-14b", "--gpu", "nvidia-a10", "--gpus", "1"),
            "unknown model 'Qwen/Qwen3-14b'; did you mean 'Qwen/Qwen3-14B'?",
        ),
        (
            (*QWEN, "--gpus", "1", "--kv-cache-dtype", "fp9"),
            "unknown KV cache dtype 'fp9'; did you mean 'fp8'?",
        ),
        ((*QWEN, "--gpus", "0"), "argument --gpus: 0 must be a whole number, at least 1"),
        ((*QWEN, "--gpus", "two"), "argument --gpus: two must be a number"),
        ((*QWEN, "--gpus", "1.5"), "argument --gpus: 1.5 must be a whole number, at least 1"),
        ((*QWEN, "--gpus", "1", "--context", "inf"), "argument --context: inf must be a number"),
        (
            (*QWEN, "--gpus", "1", "--gpu-memory-utilization", "1.1"),
            "argument --gpu-memory-utilization: 1.1 must be above 0 and at most 1",
        ),
        ((*QWEN, "--gpus", "1", "--gpu-memory-gib", "nan"), "argument --gpu-memory-gib: nan must be a number"),
        ((*QWEN, "--gpus", "1", "--gpu-memory-gib", "0"), "argument --gpu-memory-gib: 0 must be above 0"),
        ((*QWEN, "--gpus", "1", "--contxt", "1"), "unrecognized arguments: --contxt 1"),
        ((*QWEN, "--gpus", "1", "--cont", "1"), "unrecognized arguments: --cont 1"),
    ],
)
def test_usage_errors_leave_with_64(argv, message):
    """Unknown ids with the nearest, numbers that are none, options that are not there; nothing on standard output."""
    code, out, err = asked(*argv)
    assert (code, out, err.splitlines()[0]) == (64, "", f"python -m planning: {message}")
