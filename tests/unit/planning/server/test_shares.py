"""Servers that share a card: what they ask for, what vLLM is told, and what cannot be kept.

That a device plugin hands out slices of the one card there is, is what its documentation says; no card was shared here.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.capacity.cards import CONTEXT_BYTES, GIB, visible_bytes
from planning.plan import Plan
from planning.server.shares import utilization
from tests.unit.small_stack import A10, CATALOG, planned, properties, refusals, stack

L4 = {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1, "pricePerNodeHourUsd": 1.0, "gpuShare": {"slices": 10}}
CHAT = {"model": "Qwen/Qwen3-8B-AWQ", "gpuShare": 0.6, "contextTokens": 8192}
SEARCH = {"model": "Qwen/Qwen3-Embedding-0.6B", "gpuShare": 0.2, "contextTokens": 8192}
ORDER = {"model": "BAAI/bge-reranker-v2-m3", "gpuShare": 0.2}
LABEL = "nvidia.com/device-plugin.config"
GPU = CATALOG.gpus["nvidia-l4"]


def shared(models: dict[str, Any], pools: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """These models on one L4."""
    named = {name: {"pool": "l4", **model} for name, model in models.items()}
    return stack(gpuPools=pools or {"l4": L4}, models=named, **sections)


def trio() -> Plan:
    """The plan of chat, search and order on one card."""
    return planned(shared({"chat": CHAT, "search": SEARCH, "order": ORDER}))


def test_pods_ask_for_as_many_slices_as_their_share_has():
    """So the scheduler itself keeps the sum on the one card of a node."""
    plan = trio()
    assert [(server.name, server.resources.gpus) for server in plan.servers] == [
        ("vllm-chat", 6),
        ("vllm-order", 2),
        ("vllm-search", 2),
    ]
    pool = plan.pools["l4"]
    assert (pool.resource_name, pool.gpus_per_node, pool.cards_per_node) == ("nvidia.com/gpu.shared", 10, 1)
    assert pool.discovered["nvidia.com/gpu.replicas"] == "10"


def test_vllm_is_told_its_part_and_the_size_of_its_cache():
    """The part less half a GiB of CUDA's; an encoder has no cache to be told of."""
    for server in trio().servers:
        share = server.resources.gpu_share
        assert share is not None
        used = utilization(share, GPU)
        assert f"--gpu-memory-utilization={used:g}" in server.args
        told = [word for word in server.args if word.startswith("--kv-cache-memory-bytes=")]
        cache, needed = server.memory.kv_cache_gib, server.memory.needed_gib
        assert len(told) == (1 if cache else 0)
        assert all(needed < int(word.partition("=")[2]) / GIB <= max(0.95 * cache, 1.01 * needed) for word in told)
        assert server.reasons["gpuMemoryUtilization"].startswith(f"{used:g}: gpuShare {share:g}, less 0.5")


@given(st.lists(st.integers(1, 19), min_size=1, max_size=20), st.sampled_from(sorted(CATALOG.gpus)))
@properties(200)
def test_what_fits_by_shares_fits_by_bytes(slices, name):
    """Whenever shares are at most one in all, so are the parts of the card with a context for each server."""
    gpu = CATALOG.gpus[name]
    shares = [count / 20 for count in slices if count / 20 * visible_bytes(gpu) > 2 * CONTEXT_BYTES]
    while sum(shares) > 1 + 1e-9:
        shares.pop()
    taken = sum(utilization(share, gpu) * visible_bytes(gpu) + CONTEXT_BYTES for share in shares)
    assert taken <= visible_bytes(gpu) * (1 + 1e-6)


def test_a_server_pays_and_is_as_fast_as_its_share():
    """A fifth of the node's price, and the price of a token as on a card of its own."""
    (search,) = (server for server in trio().servers if server.name == "vllm-search")
    alone = {name: value for name, value in SEARCH.items() if name != "gpuShare"}
    (whole,) = planned(shared({"search": alone}, {"l4": {**L4, "gpuShare": None}})).servers
    assert search.cost is not None
    assert whole.cost is not None
    assert search.cost.usd_per_hour == pytest.approx(whole.cost.usd_per_hour / 5)
    assert search.cost.usd_per_input_token == pytest.approx(whole.cost.usd_per_input_token, rel=1e-3)


def test_the_operator_configures_the_device_plugin():
    """Everywhere where all pools share alike, else by a label that other nodes do not have."""
    alone = trio().releases["gpu-operator"].values["devicePlugin"]
    assert isinstance(alone, dict)
    config = alone["config"]
    assert (config["create"], config["default"]) == (True, "slices-10")
    sharing = json.loads(config["data"]["slices-10"])["sharing"]["timeSlicing"]
    assert sharing == {
        "renameByDefault": True,
        "failRequestsGreaterThanOne": False,
        "resources": [{"name": "nvidia.com/gpu", "replicas": 10}],
    }
    named = {**L4, "provisioning": {"kind": "existing", "nodeNames": ["gpu-1"]}}
    models = {"chat": CHAT, "big": {"model": "Qwen/Qwen3-14B", "pool": "a10"}}
    plan = planned(shared(models, {"l4": named, "a10": A10}))
    beside: Any = plan.releases["gpu-operator"].values["devicePlugin"]
    assert (beside["config"]["default"], plan.pools["l4"].node_labels[LABEL]) == ("whole-cards", "slices-10")
    assert LABEL not in plan.pools["a10"].node_labels
    assert "devicePlugin" not in planned(stack()).releases["gpu-operator"].values


def test_nothing_that_keeps_servers_apart_is_promised():
    """One sentence per pool names who shares."""
    said = [text for text in trio().warnings if "share cards" in text]
    assert [text.partition(":")[0] for text in said] == ["pool l4"]
    assert "(vllm-chat 0.6, vllm-order 0.2, vllm-search 0.2)" in said[0]


WHOLE = {key: value for key, value in L4.items() if key != "gpuShare"}


@pytest.mark.parametrize(
    ("models", "pools", "wanted"),
    [
        (
            {"chat": {**CHAT, "gpuShare": 0.7}, "search": SEARCH, "order": ORDER},
            None,
            (
                "gpuPools.l4.nodes: 11 slices are needed at least "
                "(vllm-chat 1 × 7, vllm-order 1 × 2, vllm-search 1 × 2), 1 nodes give 10"
            ),
        ),
        (
            {"chat": {**CHAT, "gpuShare": 0.3}},
            None,
            (
                "models.chat: needs 7.3 GiB per GPU before any KV cache, pool 'l4' gives 5.9 GiB (22.0 × 0.27); "
                "use gpuShare: 0.5"
            ),
        ),
        (
            {"chat": {**CHAT, "gpuShare": 0.55}},
            None,
            "models.chat.gpuShare: 0.55 is no whole number of the 10 slices; use 0.5 or 0.6",
        ),
        (
            {"chat": {**CHAT, "gpuShare": None}},
            None,
            "models.chat.gpuShare: is missing: pool 'l4' shares its cards; give a part of one, e.g. 0.3",
        ),
        (
            {"chat": CHAT},
            {"l4": WHOLE},
            (
                "models.chat.gpuShare: pool 'l4' does not share its cards; give gpuPools.l4.gpuShare, "
                "e.g. {slices: 10}, or leave it out"
            ),
        ),
        (
            {"chat": {**CHAT, "dataParallel": 2}},
            None,
            "models.chat.gpuShare: is of one card, and this server asks for several; leave parallelism out",
        ),
        (
            {"chat": {**CHAT, "gpuMemoryUtilization": 0.5}},
            None,
            "models.chat.gpuMemoryUtilization: follows from gpuShare; leave it out",
        ),
        (
            {"chat": {**CHAT, "args": ["--kv-cache-memory-bytes=1G"]}},
            None,
            "models.chat.args: --kv-cache-memory-bytes follows from gpuShare; leave it out",
        ),
        (
            {"chat": CHAT},
            {"l4": {**L4, "gpusPerNode": 4}},
            "gpuPools.l4: gpuShare needs nodes of one GPU (gpusPerNode: 1): of several, slices are handed out of any",
        ),
        (
            {"chat": CHAT},
            {"l4": {**L4, "provisioning": {"kind": "karpenter", "instanceTypes": ["g6.xlarge"]}}},
            "gpuPools.l4: gpuShare needs nodes that are there: who buys nodes counts their GPUs, and not slices",
        ),
        (
            {"chat": CHAT, "big": {"model": "Qwen/Qwen3-14B", "pool": "a10"}},
            {"l4": L4, "a10": A10},
            (
                "gpuPools.l4.provisioning.labels: other pools have whole cards, so the nodes of this one must say that "
                f"theirs are shared: label them {LABEL}=slices-10, and write it here"
            ),
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(models, pools, wanted):
    """Each with what to write instead."""
    assert refusals(shared(models, pools)) == [wanted]


def test_cards_of_cpus_are_not_shared():
    """Neither by a pool without any, nor by a server there."""
    cpu = {"gpu": "none", "nodes": 1, "cpusPerNode": 8, "memoryGibPerNode": 32}
    said = refusals(shared({"chat": {"model": "Qwen/Qwen3-0.6B", "gpuShare": 0.5}}, {"l4": cpu}))
    assert said == ["models.chat.gpuShare: pool 'l4' has no GPUs; leave it out"]
