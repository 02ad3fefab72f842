"""Bytes that go between the nodes of a replica, and what TCP makes of them: exact figures from shapes.

How fast anything is, nobody measured: a time here is a number of bytes over a rate.
"""

from dataclasses import replace

import pytest

from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.plan.fabrics import Traffic
from planning.server.fabric import traffic
from tests.unit.small_stack import CATALOG, H100, planned, serving

R1 = "deepseek-ai/DeepSeek-R1"
STEP = Workload(context_tokens=8192, max_num_seqs=64, max_num_batched_tokens=2048)
# hidden size of DeepSeek-R1 in bf16, and its layers with experts: 61 but the first three
WIDTH, EXPERT_LAYERS = 7168 * 2, 58


@pytest.mark.parametrize(
    ("model", "parallelism", "expected"),
    [
        (R1, Parallelism(8, 2), (2 * WIDTH, 1, 0)),
        (R1, Parallelism(8, 4), (2 * WIDTH, 3, 0)),
        # stages within a node send nothing between nodes: four of four GPUs are on two
        (R1, Parallelism(4, 4), (2 * WIDTH, 1, 0)),
        # ranks of their own nodes exchange in every layer with experts, each with all others
        (R1, Parallelism(8, 1, 2, expert=True), (0, 0, 2 * WIDTH * EXPERT_LAYERS)),
        (R1, Parallelism(8, 1, 3, expert=True), (0, 0, 2 * 2 * WIDTH * EXPERT_LAYERS)),
        # four nodes, two to a rank: each node has one other with the same layers
        (R1, Parallelism(8, 2, 2, expert=True), (2 * WIDTH, 1, 2 * WIDTH * EXPERT_LAYERS)),
        # within one node
        (R1, Parallelism(4, 1, 2, expert=True), (0, 0, 0)),
        # ranks of a model without experts have nothing to say to each other
        ("Qwen/Qwen3-14B", Parallelism(8, 1, 2), (0, 0, 0)),
        ("Qwen/Qwen3-14B", Parallelism(8, 2), (2 * 5120 * 2, 1, 0)),
    ],
)
def test_a_token_is_so_many_bytes_between_nodes(model: str, parallelism: Parallelism, expected: tuple[int, int, int]):
    """Hidden states and residual at each boundary between nodes; those of every layer with experts, there and back."""
    sent = traffic(CATALOG.models[model], parallelism, STEP, gpus_per_node=8)
    stage, boundaries, experts = expected
    assert sent == Traffic(stage, boundaries, experts, chunk_tokens=2048, sequences=64)


def test_what_is_not_known_is_left_out():
    """Another way to the experts is not counted, and of a model without a shape nothing is said."""
    spread, model = Parallelism(8, 2, 2, expert=True), CATALOG.models[R1]
    sent = traffic(model, spread, STEP, gpus_per_node=8, counts_experts=False)
    assert sent == Traffic(2 * WIDTH, 1, None, chunk_tokens=2048, sequences=64)
    assert traffic(model.model_copy(update={"architecture": None}), spread, STEP, gpus_per_node=8) is None


def test_numbers_of_four_bytes_are_twice_as_wide():
    """The dtype is the model's, as its arguments have it."""
    sent = traffic(CATALOG.models[R1], Parallelism(8, 2), replace(STEP, dtype="float32"), gpus_per_node=8)
    assert sent is not None
    assert sent.stage_bytes == 4 * WIDTH


ONE_LINK = (
    "28,672 bytes of each token from one stage to the next (hidden states and residual): 8,192 tokens of prompts take "
    "188, 75.2 and 18.8 ms at 10, 25 and 100 Gbit/s, a token each of 256 sequences 5.87, 2.35 and 0.587 ms"
)
LINKS = (
    "28,672 bytes of each token from one stage to the next (hidden states and residual), over each of 3 links: 2,048 "
    "tokens of prompts take 47, 18.8 and 4.7 ms at 10, 25 and 100 Gbit/s, a token each of 64 sequences 1.47, 0.587 and "
    "0.147 ms"
)
EXPERTS = (
    "1,662,976 bytes of each token to the experts of other nodes and back: 8,192 tokens of prompts take 10,898, "
    "4,359 and 1,090 ms at 10, 25 and 100 Gbit/s, a token each of 256 sequences 341, 136 and 34.1 ms"
)


@pytest.mark.parametrize(
    ("nodes", "model", "cost"),
    [
        (2, {}, ONE_LINK),
        (
            4,
            {"tensorParallel": 8, "pipelineParallel": 4, "maxNumBatchedTokens": 2048, "maxNumSeqs": 64},
            LINKS,
        ),
        (2, {"tensorParallel": 8, "dataParallel": 2, "expertParallel": True}, EXPERTS),
    ],
)
def test_tcp_says_what_it_costs(nodes: int, model: dict[str, int], cost: str):
    """For each replica over several nodes without another network, by the size of what goes over it alone."""
    plan = planned(serving({**H100, "nodes": nodes}, model=R1, **model))
    assert [line for line in plan.warnings if "TCP" in line] == [
        (
            f"vllm-m: TCP between its {nodes} nodes carries {cost}; latency and the CPU's work come on top; "
            "gpuPools.a10.interconnect names a faster network, where its nodes have one"
        )
    ]


def test_another_network_costs_nothing_that_is_told():
    """With InfiniBand no figure of TCP is shown, nor for a replica on one node."""
    joined = {**H100, "nodes": 2, "interconnect": "rdma", "resources": {"rdma/ib": 1}}
    plans = [planned(serving(joined, model=R1)), planned(serving(H100))]
    assert [line for plan in plans for line in plan.warnings if "TCP" in line] == []
