"""`measured:`: figures from a start-up log are taken as they are, and contradictions are refused in exact words.

Does not prove that anybody's figures are right.
"""

import re
from typing import Any

import pytest

from catalog import load_catalog
from planning import resolve_stack
from planning.plan import Plan
from planning.plan.servers import ServerPlan
from preview.reporting.model_page import model_page
from preview.reporting.report import plain
from settings import Refused, validate
from tests.harness import minimal, on_cpu

UNKNOWN = "deepseek-ai/DeepSeek-V4-Flash"
FIGURES = {"weightsGibPerGpu": 79.0, "kvTokens": 150_000, "gpus": 2}
POOL = {"gpu": "nvidia-h20", "nodes": 1, "gpusPerNode": 8}


def config(pool: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    """One model, by default one that nobody can compute, on one node of eight H20."""
    return minimal(
        gpuPools={"l4": None, "h20": pool or POOL},
        models={"small": None, "v4": {"model": UNKNOWN, "pool": "h20"} | model},
    )


def plan(raw: dict[str, Any]) -> Plan:
    """The plan of a stack."""
    settings, problems = validate(raw)
    return resolve_stack(settings, load_catalog(), problems)


def server(**model: Any) -> ServerPlan:
    """The one server of `config`."""
    return plan(config(**model)).servers[0]


def refused(raw: dict[str, Any]) -> list[str]:
    """Every problem of a stack."""
    with pytest.raises(Refused) as caught:
        plan(raw)
    return [str(problem) for problem in caught.value.problems]


def test_a_model_that_cannot_be_computed_is_refused_with_the_key_that_helps():
    """The refusal says what to write, and where its numbers come from."""
    assert refused(config()) == [
        (
            "models.v4: its KV cache cannot be computed (kvProfile: unknown); nothing is sized automatically for it; "
            "give models.v4.measured: {weightsGibPerGpu, kvTokens, gpus}, "
            "read from a start-up log with python -m planning calibrate"
        )
    ]


def test_figures_are_used_as_they_are():
    """Weights, tokens, spread and what follows by division; the context is the longest of whole thousands."""
    found = server(measured=FIGURES)
    budget = found.memory
    assert (str(found.parallelism), budget.weights_gib, budget.kv_cache_tokens) == ("TP 2", 79.0, 150_000)
    assert (budget.context_tokens, budget.max_context_tokens) == (149_504, 150_000)
    assert budget.max_concurrency == pytest.approx(150_000 / 149_504)
    assert {"--tensor-parallel-size=2", "--max-model-len=149504", "--gpu-memory-utilization=0.92"} <= set(found.args)
    assert found.reasons["measured"] == "given, not computed"
    assert found.reasons["tensorParallel"] == "TP 2: as measured"


def test_everything_a_log_says_is_used():
    """Context, concurrency, KV GiB and utilisation; version and source are in the reason."""
    said = {"contextTokens": 121_344, "maxConcurrency": 1.3, "kvGibPerGpu": 7.7, "gpuMemoryUtilization": 0.95}
    found = server(measured={**FIGURES, **said, "vllm": "0.26.0", "source": "run of June"})
    budget = found.memory
    assert (budget.context_tokens, budget.max_concurrency, budget.kv_cache_gib) == (121_344, 1.3, 7.7)
    assert budget.activation_gib == pytest.approx(95.0 * 0.95 - 79.0 - 7.7)
    assert "--gpu-memory-utilization=0.95" in found.args
    assert found.reasons["measured"] == "given, not computed, vLLM 0.26.0, run of June"
    assert found.reasons["gpuMemoryUtilization"] == "0.95: as measured"
    assert found.reasons["contextTokens"] == "121344: as measured"


def test_a_shorter_context_divides_the_same_tokens():
    """The logged concurrency holds for the logged context only."""
    found = server(measured={**FIGURES, "contextTokens": 100_000, "maxConcurrency": 1.5}, contextTokens=50_000)
    assert (found.memory.context_tokens, found.memory.max_concurrency) == (50_000, 3.0)


def test_data_parallel_ranks_share_the_tokens():
    """`kvTokens` is the sum over the ranks; a sequence lives on one of them."""
    found = server(measured={**FIGURES, "gpus": 8, "dataParallel": 4})
    assert str(found.parallelism) == "TP 2 × DP 4"
    assert found.memory.context_tokens == 36_864


def test_a_model_that_can_be_computed_takes_the_figures_too():
    """What somebody read in a log stands above any sum."""
    figures = {"weightsGibPerGpu": 1.5, "kvTokens": 65_536, "gpus": 1}
    found = server(model="Qwen/Qwen3-0.6B", measured=figures, contextTokens=8192)
    assert (found.memory.weights_gib, found.memory.kv_cache_tokens, found.memory.max_concurrency) == (1.5, 65_536, 8.0)


def test_the_preview_says_that_figures_are_measured():
    """Below the bar, and among the reasons; no activations are claimed that nobody separated."""
    made = plan(config(measured=FIGURES))
    text = "\n".join(map(plain, model_page(made.servers[0], made.pools["h20"])(100)))
    assert "measured, not computed" in text
    assert "vLLM itself" in text
    assert re.search(r"\bmeasured +given, not computed", text)


def test_a_canary_with_another_checkpoint_needs_figures_of_its_own():
    """Those of the model are not taken for another checkpoint, but for the same one they are."""
    both = config(measured=FIGURES, canary={"weight": 10, "model": "deepseek-ai/DeepSeek-V4-Flash-0731"})
    assert refused(both) == [
        (
            "models.v4.canary: its KV cache cannot be computed (kvProfile: unknown); nothing is sized automatically "
            "for it; give models.v4.canary.measured: {weightsGibPerGpu, kvTokens, gpus}, "
            "read from a start-up log with python -m planning calibrate"
        )
    ]
    both["models"]["v4"]["canary"]["measured"] = {**FIGURES, "kvTokens": 140_000}
    assert [twin.memory.kv_cache_tokens for twin in plan(both).servers] == [150_000, 140_000]
    same = config(measured=FIGURES, canary={"weight": 10, "maxNumSeqs": 64})
    assert [twin.memory.kv_cache_tokens for twin in plan(same).servers] == [150_000, 150_000]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"measured": {**FIGURES, "tensorParallel": 4}},
            "models.v4.measured: gpus is 2, but tensorParallel × pipelineParallel × dataParallel is 4; they must agree",
        ),
        (
            {"measured": {**FIGURES, "gpus": 3, "pipelineParallel": 2}},
            "models.v4.measured: gpus is 3, but tensorParallel × pipelineParallel × dataParallel is 2; they must agree",
        ),
        (
            {"measured": {**FIGURES, "contextTokens": 160_000}},
            (
                "models.v4.measured: contextTokens (160000) exceeds the KV cache, 150000 tokens; "
                "vLLM does not start unless one sequence fits"
            ),
        ),
        (
            {"measured": {**FIGURES, "dataParallel": 2, "contextTokens": 80_000}},
            (
                "models.v4.measured: contextTokens (80000) exceeds the KV cache of one of 2 data-parallel ranks, "
                "75000 tokens; "
                "vLLM does not start unless one sequence fits"
            ),
        ),
        (
            {"measured": {**FIGURES, "maxConcurrency": 2}},
            "models.v4.measured: maxConcurrency needs contextTokens, the length it was logged for",
        ),
        (
            {"measured": FIGURES, "contextTokens": 200_000},
            (
                "models.v4.contextTokens: 200000 exceeds the 150000 tokens of KV cache that were measured for one "
                "sequence; use contextTokens: 149504"
            ),
        ),
        (
            {"measured": {**FIGURES, "contextTokens": 121_344}, "contextTokens": 130_000},
            (
                "models.v4.contextTokens: 130000 exceeds the 121344 it was measured with; "
                "use contextTokens: 121344, or measure again"
            ),
        ),
        (
            {"measured": FIGURES, "tensorParallel": 4},
            "models.v4.tensorParallel: 4 differs from the 2 that was measured; leave tensorParallel out",
        ),
        (
            {"measured": {**FIGURES, "gpuMemoryUtilization": 0.95}, "gpuMemoryUtilization": 0.9},
            (
                "models.v4.gpuMemoryUtilization: 0.9 differs from the 0.95 that was measured; "
                "leave gpuMemoryUtilization out"
            ),
        ),
        (
            {"measured": {**FIGURES, "gpus": 16, "tensorParallel": 8, "pipelineParallel": 2}},
            "models.v4.measured.gpus: 16 GPUs are needed, pool 'h20' has 8; use gpuPools.h20.nodes: 2",
        ),
        (
            {"measured": {**FIGURES, "weightsGibPerGpu": 90}},
            (
                "models.v4.measured.weightsGibPerGpu: 90 GiB of weights per GPU cannot have been measured here: "
                "pool 'h20' gives 87.4 GiB (95.0 × 0.92); use the figures of this GPU"
            ),
        ),
        (
            {"measured": {**FIGURES, "kvGibPerGpu": 10}},
            (
                "models.v4.measured.kvGibPerGpu: 79 GiB of weights and 10 GiB of KV cache per GPU cannot have been "
                "measured here: pool 'h20' gives 87.4 GiB (95.0 × 0.92)"
            ),
        ),
        ({"measured": {**FIGURES, "gpus": 0}}, "models.v4.measured.gpus: 0 must be at least 1"),
        ({"measured": {**FIGURES, "kvTokens": 0}}, "models.v4.measured.kvTokens: 0 must be at least 1"),
    ],
)
def test_contradictions_are_refused(model: dict[str, Any], message: str):
    """One problem each, in these words."""
    assert refused(config(**model)) == [message]


def test_a_spread_that_cannot_be_cut_into_nodes_is_refused():
    """TP 8 was not measured on nodes of four."""
    pool = {"gpu": "nvidia-h20", "nodes": 2, "gpusPerNode": 4}
    assert refused(config(pool, measured={**FIGURES, "gpus": 8})) == [
        "models.v4.measured: tensorParallel 8 does not fit into a node of 4 GPUs"
    ]


def test_cpu_pools_have_no_measured_profile():
    """There the KV cache is set, not found."""
    raw = on_cpu(models={"tiny": {"measured": {"weightsGibPerGpu": 1, "kvTokens": 10_000, "gpus": 1}}})
    assert refused(raw) == ["models.tiny.measured: pool 'cpu' has no GPUs; leave it out"]
