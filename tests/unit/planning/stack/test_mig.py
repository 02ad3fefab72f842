"""Pools of parts of cards (MIG): sizes from the catalogue, what pods and nodes are told, and what cannot be.

No card was cut here: memory is what others have published, and that the GPU Operator cuts as it is told is its word.
"""

from typing import Any

import pytest

from catalog.load import Catalog
from catalog.schema import Gpu
from planning.capacity.asked import default_batch
from planning.capacity.mig import Slice, slice_of
from planning.own_catalog import own_catalog
from planning.plan.pools import MigPlan, PoolPlan
from planning.stack.gpu_operator import gpu_operator_values
from settings.catalog_files import EntrySource, OwnFiles
from tests.unit.small_stack import CATALOG, H100, checked, planned, refusals, stack

CUT = {**H100, "nodes": 2, "pricePerNodeHourUsd": 56.0, "mig": {"profile": "3g.40gb"}}
CHAT = {"model": "Qwen/Qwen3-8B", "pool": "cut", "contextTokens": 8192}
LABEL, PRODUCT = "nvidia.com/mig.config", "NVIDIA-H100-80GB-HBM3-MIG-3g.40gb"
NAMED = {"provisioning": {"kind": "existing", "nodeNames": ["a", "b"]}}
SIZES = (
    "it has 1g.10gb (7 × 9.6 GiB), 1g.20gb (4 × 19.5 GiB), 2g.20gb (3 × 19.5 GiB), 3g.40gb (2 × 39.2 GiB), "
    "4g.40gb (1 × 39.2 GiB), 7g.80gb (1 × 78.5 GiB)"
)
NAME, GIVES = "NVIDIA H100 SXM 80 GB", "of weights per GPU, pool 'cut' gives 36.1 GiB (39.2 × 0.92)"
APART = "a server of pool 'cut' has one part of a card (3g.40gb), and parts do not reach each other"


def cutting(pool: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Qwen3-8B on halves of sixteen H100s, with changes to the pool, the model and the stack."""
    return stack(gpuPools={"cut": {**CUT, **(pool or {})}}, models={"m": {**CHAT, **(model or {})}}, **more)


def pool_of(raw: dict[str, Any]) -> PoolPlan:
    """The one pool of a stack."""
    return planned(raw).pools["cut"]


def part(card: str, profile: str) -> Slice:
    """A part of a card of the catalogue."""
    cut = slice_of(CATALOG.gpus[card], profile, named=True)
    assert cut is not None
    return cut


def test_a_part_is_a_smaller_card_without_links():
    """Memory as the driver lists it, bandwidth and compute by its slices, the card's kernels."""
    half, card = part("nvidia-h100", "3g.40gb"), CATALOG.gpus["nvidia-h100"]
    assert (half.memory_mib, half.cuda_gib, half.capability) == (40192, 39.25, card.capability)
    assert (half.memory_gb_per_s, half.bf16_tflops, half.nvlink_gb_per_s) == (1675, 989 * 3 / 7, 0)
    assert half.product_labels == [PRODUCT]


def test_no_part_has_more_than_its_share_of_the_card():
    """All parts of a card together have no more memory than it, and no two profiles one name."""
    shares = {
        (name, profile): entry.memory_mib / gpu.memory_mib * gpu.mig.memory_slices / entry.memory_slices
        for name, gpu in CATALOG.gpus.items()
        if gpu.mig
        for profile, entry in gpu.mig.profiles.items()
    }
    assert {key for key, share in shares.items() if not 0.86 < share <= 1} == set()
    assert {name.partition("-mig-")[0] for name, _ in shares} >= {"nvidia-a30", "nvidia-h200", "nvidia-b200"}


def test_steps_are_as_large_as_those_of_the_card():
    """VLLM may see the card's memory when it chooses its steps, whose memory is then there."""
    card, engine = CATALOG.gpus["nvidia-h100"], CATALOG.vllm
    assert default_batch(engine, part("nvidia-h100", "1g.10gb")) == default_batch(engine, card)


def test_pods_ask_for_one_part_and_pay_for_it():
    """Sixteen parts of eight cards: each is half of a card's price, though a seventh of the card stays unused."""
    plan = planned(cutting())
    pool, (server,) = plan.pools["cut"], plan.servers
    assert (pool.resource_name, pool.gpus_per_node, pool.gpus) == ("nvidia.com/mig-3g.40gb", 16, 32)
    assert (server.resources.gpus, server.nodes_per_replica, str(server.parallelism)) == (1, 1, "TP 1")
    assert server.memory.visible_gib == 39.25
    assert server.cost is not None
    assert server.cost.usd_per_hour == 3.5
    assert pool.reasons["mig"] == (
        "3g.40gb: 2 of each card, 39.25 GiB each, with 3/7 of its compute and 4/8 of its bandwidth, $3.5/h each; "
        "unused and paid for: 1 of 7 compute slices of each card"
    )


def test_a_small_part_leaves_room_for_the_cuda_context():
    """A twelfth of it would not; vLLM is told a little less."""
    small = {"gpu": "nvidia-a30", "mig": {"profile": "1g.6gb"}, "nodes": 1, "gpusPerNode": 4}
    (server,) = planned(cutting(small, {"model": "Qwen/Qwen3-0.6B"})).servers
    assert "--gpu-memory-utilization=0.91" in server.args
    assert server.reasons["gpuMemoryUtilization"] == "0.91: the rest is for the CUDA context"


def test_nodes_that_are_cut_are_none_of_a_pool_of_whole_cards():
    """They have other resources, so neither takes what the other was promised."""
    raw = cutting()
    raw["gpuPools"]["whole"] = H100
    assert [line for line in planned(raw).warnings if "whole" in line and "finds" in line] == []


def test_nodes_are_found_by_their_parts_and_tainted_as_cards():
    """Nobody who asks for a whole card gets a part, and nodes keep others off as they do with whole cards."""
    pool = pool_of(cutting())
    assert (pool.node_selector, pool.node_affinity) == ({"nvidia.com/mig-3g.40gb.product": PRODUCT}, ())
    assert pool.gpu_taint == {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert [toleration["key"] for toleration in pool.tolerations] == ["nvidia.com/gpu"]
    assert pool.whole_cards == {
        "nvidia.com/mig-3g.40gb.replicas": ("0", "1"),
        "nvidia.com/mig-3g.40gb.sharing-strategy": ("none",),
    }
    assert LABEL not in pool.node_labels


def test_named_nodes_are_told_to_cut_their_cards():
    """By the label that the operator's MIG manager obeys; whoever is on them is named in a warning."""
    raw = cutting({**NAMED, "mig": {"profile": "1g.10gb", "strategy": "single"}}, {"model": "Qwen/Qwen3-0.6B"})
    plan = planned(raw)
    pool = plan.pools["cut"]
    assert pool.node_labels == {"node-role": "gpu-inference", "gpu-type": "h100", LABEL: "all-1g.10gb"}
    product = "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"
    assert pool.mig == MigPlan(
        card="nvidia-h100",
        card_resource="nvidia.com/gpu",
        profile="1g.10gb",
        strategy="single",
        per_card=7,
        config=(LABEL, "all-1g.10gb"),
        cut_by_us=True,
        labels={"nvidia.com/gpu.product": (product,)},
        memory_label="nvidia.com/gpu.memory",
    )
    assert (pool.resource_name, pool.gpus_per_node, pool.expected_gpu_memory_mib) == ("nvidia.com/gpu", 56, 9856)
    facts = {key.partition(".com/gpu.")[2]: value for key, value in pool.discovered.items()}
    assert (facts["product"], facts["count"], facts["memory"]) == (product, "56", "9856")
    assert [line.partition(",")[0] for line in plan.warnings if "cut" in line] == [
        f"pool cut: its nodes get the label {LABEL}=all-1g.10gb"
    ]


@pytest.mark.parametrize(
    ("platform", "strategy", "values"),
    [
        ("generic", "mixed", {"mig": {"strategy": "mixed"}, "migManager": {"enabled": True}}),
        ("generic", "single", {"mig": {"strategy": "single"}, "migManager": {"enabled": True}}),
        # the platform's own plugin offers what the platform has cut, and nobody may undo that
        ("gke", "single", {"mig": {"strategy": "single"}, "migManager": {"enabled": False}}),
    ],
)
def test_the_operator_offers_parts_as_pools_have_them(platform: str, strategy: str, values: dict[str, Any]):
    """Its strategy is that of the pools, and its MIG manager is on where its own plugin offers what that cuts."""
    cluster = {"context": "c", "identifier": "i", "platform": platform}
    raw = cutting({"mig": {"profile": "3g.40gb", "strategy": strategy}}, cluster=cluster)
    chart = gpu_operator_values(checked(raw), CATALOG)
    assert {key: chart[key] for key in values} == values
    cut = pool_of({**raw, "gpuPools": {"cut": {**raw["gpuPools"]["cut"], **NAMED}}}).mig
    assert cut is not None
    assert cut.cut_by_us == (platform == "generic")


@pytest.mark.parametrize(
    ("pool", "model", "message"),
    [
        (
            {"mig": {"profile": "MIG 3g.40GB"}},
            {},
            f"gpuPools.cut.mig.profile: {NAME} has no 'MIG 3g.40GB'; did you mean '3g.40gb'? {SIZES}",
        ),
        ({"mig": {"profile": "half"}}, {}, f"gpuPools.cut.mig.profile: {NAME} has no 'half'; {SIZES}"),
        (
            {"gpuLink": "nvlink"},
            {},
            "gpuPools.cut.gpuLink: is nvlink, and parts of cards have no link; leave it out",
        ),
        ({"gpu": "amd-mi300x"}, {}, "gpuPools.cut.mig: is of NVIDIA's cards, and amd-mi300x is none; leave it out"),
        (
            {"gpu": PRODUCT},
            {},
            (
                f"gpuPools.cut.gpu: unknown GPU '{PRODUCT}'; it is a part of a card: use gpu: nvidia-h100 and "
                "mig: {profile: 3g.40gb}"
            ),
        ),
        (
            {"gpuShare": {"slices": 4}, "gpusPerNode": 1},
            {},
            "gpuPools.cut: mig and gpuShare are two ways to divide a card; leave one of them out",
        ),
        (
            {"resources": {"nvidia.com/mig-1g.10gb": 1}},
            {},
            (
                "gpuPools.cut.resources.nvidia.com/mig-1g.10gb: is decided by the plan; set gpu, gpusPerNode, "
                "gpuShare or mig of the pool"
            ),
        ),
        (
            {},
            {"tensorParallel": 2},
            f"models.m.tensorParallel: is 2, but {APART}; use 1, a larger gpuPools.cut.mig.profile, or whole cards",
        ),
        ({}, {"dataParallel": 2}, f"models.m.dataParallel: is 2, but {APART}; use 1 and replicas"),
        (
            {},
            {"gpuShare": 0.5},
            (
                "models.m.gpuShare: pool 'cut' does not share its cards; each server has a part of its own, 3g.40gb; "
                "leave it out"
            ),
        ),
        (
            {},
            {"model": "Qwen/Qwen3-32B"},
            f"models.m: needs 61.0 GiB {GIVES}; use gpuPools.cut.mig.profile: 7g.80gb, or Qwen/Qwen3-32B-AWQ",
        ),
        ({}, {"model": "Qwen/Qwen3-235B-A22B"}, f"models.m: needs 437.9 GiB {GIVES}; use gpuPools.cut without mig"),
        (
            {},
            {"replicas": {"min": 1, "max": 40}},
            (
                "models.m.replicas.max: 40 replicas of 1 slices do not fit pool 'cut' (32 slices, room for 32); use at "
                "most 32, or more nodes"
            ),
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(pool: dict[str, Any], model: dict[str, Any], message: str):
    """Profiles of other cards, servers over several parts, models too large for one, and more replicas than parts."""
    assert refusals(cutting(pool, model)) == [message]


def test_a_card_that_is_not_cut_names_those_that_are():
    """An L4 has no MIG."""
    (refusal,) = refusals(cutting({"gpu": "nvidia-l4"}))
    assert refusal.startswith(
        "gpuPools.cut.mig: NVIDIA L4 24 GB is cut into no parts that are known; leave it out, or "
    )
    assert refusal.endswith(", nvidia-a800-80gb, nvidia-a800-80gb-pcie, nvidia-h800-pcie")


def test_bought_nodes_and_several_ways_to_name_parts_are_refused():
    """Who buys nodes counts cards; a device plugin has one strategy, and a platform's may have no names for parts."""
    bought = {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"]}
    (refusal,) = refusals(cutting({"provisioning": bought}))
    assert refusal.startswith("gpuPools.cut: mig needs nodes that are there: who buys nodes counts their GPUs")
    raw = cutting()
    raw["gpuPools"]["other"] = {**CUT, "mig": {"profile": "1g.10gb", "strategy": "single"}}
    why = "is single, and that of pool 'cut' is mixed: the device plugin has one for all nodes; use mixed"
    assert refusals(raw) == [f"gpuPools.other.mig.strategy: {why}"]
    (refusal,) = refusals(cutting(cluster={"context": "c", "identifier": "i", "platform": "gke"}))
    assert refusal.startswith("gpuPools.cut.mig.strategy: is told to the GPU Operator's device plugin, and nodes of ")


def own(entry: dict[str, Any]) -> Catalog:
    """The catalogue with a card of the user's own."""
    return own_catalog(CATALOG, OwnFiles({}, (EntrySource({"gpus": {"acme": entry}}),)))


def test_cards_of_ones_own_are_cut_by_what_their_entry_says():
    """`like` passes profiles on; parts that are more than their card are refused."""
    inherited = own({"like": "nvidia-h100", "productLabels": ["ACME"], "sources": ["mine"]})
    assert inherited.own.faults == ()
    assert inherited.gpus["acme"].mig == CATALOG.gpus["nvidia-h100"].mig
    profile = {"instances": 2, "slices": 4, "memorySlices": 4, "memoryMib": 40192}
    mig = {"slices": 7, "memorySlices": 8, "profiles": {"4g.40gb": profile}, "sources": ["mine"]}
    card = CATALOG.gpus["nvidia-h100"].model_dump(mode="json", by_alias=True, exclude_unset=True)
    broken = own({**card, "productLabels": ["ACME"], "mig": mig})
    assert [fault.message.partition("; ")[0] for fault in broken.own.faults] == [
        "4g.40gb: 2 × 4 slices are more than the card's 7"
    ]
    assert isinstance(inherited.gpus["acme"], Gpu)
