"""What a replica and a token cost: exact for one case, ordered for all.

The figures per token are a roofline estimate, not a measurement; nothing here proves a throughput.
"""

from dataclasses import replace

import pytest

from catalog.schema import Gpu, Model
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.memory import Workload, budget, weight_bytes
from planning.plan.pools import PoolPlan
from planning.plan.servers import Cost
from planning.stack.cost import estimate, list_price, pace_of
from planning.tasks import task_of
from tests.unit import small_stack
from tests.unit.small_stack import A10, CATALOG, CPU, planned, refusals, server, serving

MODEL = CATALOG.models["Qwen/Qwen3-14B"]
GPU = CATALOG.gpus["nvidia-a10"]
PRICED = {**A10, "pricePerNodeHourUsd": 2.84}

# Cards that the image of vLLM is built for.
RUNNING = [name for name, gpu in CATALOG.gpus.items() if gpu.gfx_target or gpu.capability >= (7, 5)]


def memory(parallelism: Parallelism) -> MemoryBudget:
    """The memory of Qwen3-14B on A10s."""
    return budget(MODEL, GPU, parallelism, Workload(32_768, 256, 2048))


def priced(
    model: Model, gpu: Gpu, pool: PoolPlan, parallelism: Parallelism, memory: MemoryBudget, sequences: int
) -> Cost | None:
    """The cost of a replica at the pace of its hardware."""
    pace = pace_of(model, gpu, pool, parallelism, memory, sequences)
    return estimate(model, gpu, pool, parallelism, pace)


def test_qwen3_14b_on_two_a10s_is_exact():
    """Bandwidth decides: 0.6 of two A10s over 27.5 GiB a token alone, thirteen sequences of 4,096 tokens together."""
    pool = planned(serving(PRICED)).pools["a10"]
    found = priced(MODEL, GPU, pool, Parallelism(2), memory(Parallelism(2)), 256)
    assert found is not None
    alone = 0.6 * 600e9 * 2 / 29_536_614_400
    together = 56_912 / 4096
    compute = 0.4 * 125e12 * 2 / (2 * 14_768_307_200)
    per_second = 2.84 / 3600
    assert found.usd_per_hour == 2.84
    assert found.usd_per_million_tokens == pytest.approx(
        (per_second / (alone * together) * 1e6, per_second / alone * 1e6)
    )
    assert found.usd_per_input_token == float(f"{per_second / compute:.4g}")
    assert found.usd_per_output_token == float(f"{per_second / (alone * together):.4g}")


def test_a_replica_pays_for_its_share_of_the_node():
    """One of two GPUs is half a node; a replica over two nodes pays both."""
    pool = planned(serving(PRICED)).pools["a10"]
    found = [priced(MODEL, GPU, pool, Parallelism(tp, pp), memory(Parallelism(2)), 256) for tp, pp in ((1, 1), (2, 2))]
    assert [item.usd_per_hour for item in found if item] == [1.42, 5.68]


def test_one_sequence_at_a_time_is_the_dear_end_of_the_range():
    """With max_num_seqs 1 busy and alone are the same."""
    pool = planned(serving(PRICED)).pools["a10"]
    found = priced(MODEL, GPU, pool, Parallelism(2), memory(Parallelism(2)), 1)
    assert found is not None
    assert found.usd_per_million_tokens is not None
    assert found.usd_per_million_tokens[0] == found.usd_per_million_tokens[1]


def test_without_a_price_a_public_list_stands_in():
    """A pool that nobody priced costs what a public cloud asks for the GPU, and says whose price it is."""
    pool = planned(serving({"gpu": "nvidia-a10g", "nodes": 2, "gpusPerNode": 4}, model="Qwen/Qwen3-8B")).pools["a10"]
    assert (pool.usd_per_node_hour, pool.reasons["pricePerNodeHourUsd"]) == (
        4.024,
        "estimate: on-demand price of g5.xlarge per GPU; give yours",
    )


@pytest.mark.parametrize(
    ("gpu", "price", "why"),
    [
        ("nvidia-h100", 6.88, "on-demand price of p5.48xlarge per GPU"),
        (
            "nvidia-h100-nvl",
            6.88 * 3900 / 3350,
            "on-demand price of p5.48xlarge per GPU with NVIDIA H100 SXM 80 GB, by memory bandwidth",
        ),
        (
            "nvidia-rtx-5090",
            3.36312,
            (
                "on-demand price of g7e.2xlarge per GPU with NVIDIA RTX PRO 6000 Blackwell Server Edition 96 GB, by "
                "memory bandwidth"
            ),
        ),
    ],
)
def test_a_gpu_that_no_list_has_is_priced_like_its_kin(gpu, price, why):
    """By memory bandwidth, which is what decoding waits for."""
    found = list_price(CATALOG, gpu)
    assert found is not None
    assert found == (pytest.approx(price), why)


def test_no_pool_of_the_catalogue_is_free():
    """Every GPU, and CPUs, have a price and a speed, so tokens of a model there cost something."""
    free = [gpu for gpu in CATALOG.gpus if not list_price(CATALOG, gpu)]
    slow = [name for name, gpu in CATALOG.gpus.items() if not (gpu.memory_gb_per_s and gpu.bf16_tflops)]
    assert (free, slow) == ([], [])
    pools = [CPU]
    pools += [{"gpu": gpu, "nodes": 1, "gpusPerNode": CATALOG.gpus[gpu].gpus_per_node or 8} for gpu in RUNNING]
    for pool in pools:
        plan = planned(serving(pool, model="Qwen/Qwen3-0.6B", contextTokens=4096))
        (route,) = plan.gateway.routes
        assert 0 < route.input_cost_per_token <= route.output_cost_per_token
        assert not [warning for warning in plan.warnings if "zero" in warning]


def test_tokens_of_a_cpu_server_are_exact():
    """32 cores: 0.6 of 2.74 GB/s each over the model's bytes alone, 0.4 of their float32 speed for prompts."""
    item = server(serving(CPU, model="Qwen/Qwen3-0.6B", contextTokens=4096))
    model = CATALOG.models["Qwen/Qwen3-0.6B"]
    total, parameters = weight_bytes(model, Parallelism())[0], model.parameters
    assert item.cost is not None
    per_hour = round(32 * 0.031611 + 128 * 0.004237, 4)
    compute = 0.4 * 0.064e12 * 32 / (2 * (parameters or total))
    alone = min(0.6 * 2.74e9 * 32 / total, compute)
    assert item.cost.usd_per_hour == per_hour
    assert item.cost.usd_per_million_tokens is not None
    assert item.cost.usd_per_million_tokens[1] == pytest.approx(per_hour / 3600 / alone * 1e6)
    assert item.cost.usd_per_input_token == float(f"{per_hour / 3600 / compute:.4g}")


def test_float32_is_never_cheaper_than_bf16():
    """Twice the bytes, and no tensor cores."""
    costs = [
        server(serving(PRICED, model="Qwen/Qwen3-0.6B", contextTokens=4096, args=args)).cost
        for args in ([], ["--dtype=float32"])
    ]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0].usd_per_output_token < costs[1].usd_per_output_token
    assert costs[0].usd_per_input_token < costs[1].usd_per_input_token


GIVEN = {"input": 0.1, "output": 0.4}


def test_a_given_price_goes_before_the_estimate():
    """For a model and its canary; the gateway says whose prices are given."""
    canary = {"weight": 10, "model": "Qwen/Qwen3-14B-AWQ"}
    plan = planned(serving(priceUsdPerMillionTokens=GIVEN, canary=canary))
    assert {(route.input_cost_per_token, route.output_cost_per_token) for route in plan.gateway.routes} == {
        (1e-7, 4e-7)
    }
    assert plan.gateway.reasons["priceUsdPerMillionTokens"] == "given for m"


@pytest.fixture
def unknown(monkeypatch):
    """A GPU whose price nobody knows: an A10 without kin and machines."""
    bare = GPU.model_copy(update={"priced_like": None})
    catalog = replace(CATALOG, gpus={**CATALOG.gpus, "nvidia-a10": bare})
    monkeypatch.setattr(small_stack, "CATALOG", catalog)


@pytest.mark.usefixtures("unknown")
def test_a_price_of_zero_is_said_aloud():
    """A warning with the fix, and a reason of the gateway."""
    plan = planned(serving())
    assert plan.servers[0].cost is None
    assert plan.gateway.reasons["priceUsdPerMillionTokens"] == (
        "estimated from the pools' prices; zero for vllm-m, of which nothing is known"
    )
    warning = "vllm-m: its tokens are charged at zero, so no budget ends; give models.m.priceUsdPerMillionTokens"
    assert warning in plan.warnings


@pytest.mark.usefixtures("unknown")
def test_a_budget_without_a_price_is_refused():
    """With a database keys may have budgets: a price has to be given, and is then taken."""
    gateway = {"existingSecret": "k", "database": {"existingSecret": "pg"}}
    raw = {**serving(), "gateway": gateway}
    reason = (
        "models.m.priceUsdPerMillionTokens: is needed: keys of gateway.database may have budgets, and nothing is known "
        "to estimate what tokens cost, which at zero would never use one up; write e.g. {input: 0.1, output: 0.4}"
    )
    assert refusals(raw) == [reason]
    priced = {**serving(priceUsdPerMillionTokens=GIVEN), "gateway": gateway}
    assert [route.output_cost_per_token for route in planned(priced).gateway.routes] == [4e-7]


@pytest.mark.parametrize("gpu", RUNNING)
def test_busy_is_never_dearer_than_alone_nor_input_than_output(gpu):
    """For every model, on eight of every GPU whose speed is known."""
    pool = {"gpu": gpu, "nodes": 1, "gpusPerNode": 8, "pricePerNodeHourUsd": 10}
    plan = planned(serving(pool, model="Qwen/Qwen3-8B", contextTokens=4096))
    checked = 0
    for name, model in CATALOG.models.items():
        if model.architecture is None:
            continue
        spread = Parallelism(8)
        amount = budget(model, CATALOG.gpus[gpu], spread, Workload(1024, 64, 2048))
        found = priced(model, CATALOG.gpus[gpu], plan.pools["a10"], spread, amount, 64)
        assert found is not None
        assert found.usd_per_million_tokens is not None
        busy, alone = found.usd_per_million_tokens
        assert 0 < busy <= alone, name
        assert found.usd_per_input_token > 0, name
        if task_of(model).writes:
            assert found.usd_per_input_token <= found.usd_per_output_token, name
        else:
            assert found.usd_per_output_token == 0, name
        checked += 1
    assert checked > 80
