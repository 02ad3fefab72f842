"""What a replica and a token cost: exact for one case, ordered for all.

The figures per token are a roofline estimate, not a measurement; nothing here proves a throughput.
"""

import pytest

from planning.cost import cost
from planning.memory import Workload, budget
from planning.plan import Cost, MemoryBudget, Parallelism
from tests.unit.small_stack import A10, CATALOG, CPU, planned, server, serving

MODEL = CATALOG.models["Qwen/Qwen3-14B"]
GPU = CATALOG.gpus["nvidia-a10"]
PRICED = {**A10, "pricePerNodeHourUsd": 2.84}


def memory(parallelism: Parallelism) -> MemoryBudget:
    """The memory of Qwen3-14B on A10s."""
    return budget(MODEL, GPU, parallelism, Workload(32_768, 256, 2048))


def test_qwen3_14b_on_two_a10s_is_exact():
    """Bandwidth decides: 0.6 of two A10s over 27.5 GiB a token alone, thirteen sequences of 4,096 tokens together."""
    pool = planned(serving(PRICED)).pools["a10"]
    found = cost(MODEL, GPU, pool, Parallelism(2), memory(Parallelism(2)), 256)
    assert found is not None
    alone = 0.6 * 600e9 * 2 / 29_536_614_400
    together = 53_904 / 4096
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
    found = [cost(MODEL, GPU, pool, Parallelism(tp, pp), memory(Parallelism(2)), 256) for tp, pp in ((1, 1), (2, 2))]
    assert [item.usd_per_hour for item in found if item] == [1.42, 5.68]


def test_one_sequence_at_a_time_is_the_dear_end_of_the_range():
    """With max_num_seqs 1 busy and alone are the same."""
    pool = planned(serving(PRICED)).pools["a10"]
    found = cost(MODEL, GPU, pool, Parallelism(2), memory(Parallelism(2)), 1)
    assert found is not None
    assert found.usd_per_million_tokens is not None
    assert found.usd_per_million_tokens[0] == found.usd_per_million_tokens[1]


def test_without_a_price_nothing_is_charged():
    """No guess: the server has no cost, and the plan says so."""
    plan = planned(serving())
    assert plan.servers[0].cost is None
    assert plan.warnings == ("vllm-m: the price of pool a10 is not known, so tokens are charged at zero",)


@pytest.mark.parametrize(
    ("pool", "model"),
    [
        ({**CPU, "pricePerNodeHourUsd": 1.36}, "Qwen/Qwen3-8B-AWQ"),
        # no FLOPs are known of an A10G
        ({"gpu": "nvidia-a10g", "nodes": 1, "gpusPerNode": 1, "pricePerNodeHourUsd": 1.36}, "Qwen/Qwen3-8B"),
    ],
)
def test_where_no_throughput_can_be_estimated_the_hour_has_a_price_and_tokens_have_none(pool, model):
    """CPU servers, and GPUs whose speed nobody has published."""
    assert server(serving(pool, model=model, contextTokens=8192)).cost == Cost(1.36, None, 0.0, 0.0)


@pytest.mark.parametrize("gpu", [name for name, item in CATALOG.gpus.items() if item.bf16_tflops])
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
        found = cost(model, CATALOG.gpus[gpu], plan.pools["a10"], spread, amount, 64)
        assert found is not None
        assert found.usd_per_million_tokens is not None
        busy, alone = found.usd_per_million_tokens
        assert 0 < busy <= alone, name
        assert 0 < found.usd_per_input_token <= found.usd_per_output_token, name
        checked += 1
    assert checked > 80
