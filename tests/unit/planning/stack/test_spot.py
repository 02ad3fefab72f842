"""Nodes that are bought: choices in order, the end of a server on spot nodes, and whole nodes in the costs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan import Plan
from planning.plan.pools import Choice, Karpenter
from preview.reporting.summary import bill
from tests.unit.small_stack import planned, properties, stack

SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 4096}
ON_AWS, ON_GKE = {"kind": "karpenter", "amiAlias": "al2023@v1"}, {"kind": "computeClass"}
ONE, TWO = {"min": 1, "max": 1}, {"min": 2, "max": 2}
WAYS = ["on-demand", "reserved", "spot"]


def bought(platform: str, provisioning: dict[str, Any], **model: Any) -> Plan:
    """The plan of servers of one GPU on bought nodes of eight A10s for $8 an hour."""
    types = {"karpenter": "instanceTypes", "computeClass": "machineTypes"}[provisioning["kind"]]
    pool = {"gpu": "nvidia-a10", "nodes": 2, "gpusPerNode": 8, "pricePerNodeHourUsd": 8}
    return planned(
        stack(
            cluster={"context": "test", "identifier": "test-1", "platform": platform},
            gpuPools={"a10": {**pool, "provisioning": {types: ["x"], **provisioning}}},
            models={"m": {**SMALL, "replicas": TWO, **model}},
        )
    )


def about_spot(plan: Plan) -> list[str]:
    """The warnings that speak of spot nodes."""
    return [warning for warning in plan.warnings if "spot" in warning]


@pytest.mark.parametrize(
    ("how", "choices"),
    [
        ({}, [("a", "on-demand"), ("b", "on-demand")]),
        ({"order": "price"}, [("ab", "on-demand")]),
        ({"order": "price", "capacityTypes": ["spot", "on-demand"]}, [("ab", "spot on-demand")]),
        # Karpenter would try spot first
        ({"order": "price", "capacityTypes": ["on-demand", "spot"]}, [("ab", "on-demand"), ("ab", "spot")]),
        ({"capacityTypes": ["spot", "on-demand"], "instanceTypes": ["a"]}, [("a", "spot on-demand")]),
        (
            {"capacityTypes": ["spot", "on-demand"]},
            [("a", "spot"), ("b", "spot"), ("a", "on-demand"), ("b", "on-demand")],
        ),
    ],
)
def test_what_karpenter_buys_is_in_the_order_that_is_written(how, choices):
    """As many NodePools as it takes to say so, and one where Karpenter's own order is the same."""
    found = bought("eks", {**ON_AWS, "instanceTypes": ["a", "b"], **how}).pools["a10"].provisioning
    assert isinstance(found, Karpenter)
    several = len(choices) > 1
    assert found.choices == tuple(
        Choice(
            tuple(types),
            tuple(ways.split()),
            f"a10.{rank + 1}" if rank else "a10",
            100 - rank if several else None,
        )
        for rank, (types, ways) in enumerate(choices)
    )


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True),
    st.lists(st.sampled_from(WAYS), min_size=1, unique=True),
    st.sampled_from(["written", "price"]),
)
@properties(60)
def test_every_type_may_be_bought_in_every_way_once(types, ways, order):
    """Choices are all pairs of the lists, each in one choice, and those of one type in the order of the ways."""
    reserved = {"reservation": {"ids": ["cr-1"]}} if "reserved" in ways else {}
    how = {**ON_AWS, "instanceTypes": types, "capacityTypes": ways, "order": order, **reserved}
    found = bought("eks", how).pools["a10"].provisioning
    assert isinstance(found, Karpenter)
    pairs = [(kind, way) for choice in found.choices for way in choice.capacity_types for kind in choice.machine_types]
    assert sorted(pairs) == sorted((kind, way) for kind in types for way in ways)
    assert [way for kind, way in pairs if kind == types[0]] == ways


@pytest.mark.parametrize(
    ("platform", "provisioning", "model", "drain_s", "warnings"),
    [
        ("eks", {**ON_AWS}, {}, 205, []),
        ("eks", {**ON_AWS, "capacityTypes": ["spot"]}, {}, 90, []),
        ("eks", {**ON_AWS, "capacityTypes": ["spot"]}, {"maxOutputTokens": 500}, 25, []),
        (
            "eks",
            {**ON_AWS, "capacityTypes": ["on-demand", "spot"]},
            {"drainTimeoutS": 300},
            300,
            [
                (
                    "vllm-m: drainTimeoutS 300 is for updates alone: a spot node is gone 120 s after its notice, of "
                    "which answers have 90"
                )
            ],
        ),
        (
            "eks",
            {**ON_AWS, "capacityTypes": ["spot"]},
            {"replicas": ONE},
            90,
            [
                (
                    "vllm-m: its one replica may be on a spot node; when that is taken back nothing answers until the "
                    "next is loaded: use replicas.min: 2, or a pool of capacity type on-demand"
                )
            ],
        ),
        (
            "gke",
            {**ON_GKE, "capacityTypes": ["spot"]},
            {},
            205,
            [
                (
                    "pool a10: a spot node gives its pods 15 s, in which no server ends: answers that run then are "
                    "cut, and the gateway asks another replica"
                )
            ],
        ),
        (
            "generic",
            {**ON_AWS, "capacityTypes": ["spot"]},
            {},
            205,
            ["pool a10: how long pods of a spot node have is not known of platform generic"],
        ),
    ],
)
def test_a_server_on_spot_nodes_ends_within_the_notice(platform, provisioning, model, drain_s, warnings):
    """Answers get what the notice leaves, unless somebody says otherwise, and what is lost all the same is told."""
    plan = bought(platform, provisioning, **model)
    assert (plan.servers[0].timing.drain_s, about_spot(plan)) == (drain_s, warnings)


def test_a_shorter_drain_says_why():
    """The reason stands where the value would be written."""
    reasons = bought("eks", {**ON_AWS, "capacityTypes": ["spot"]}).servers[0].reasons
    assert reasons["drainTimeoutS"] == "90: a spot node is gone 120 s after its notice, of which 30 are for its end"
    assert "drainTimeoutS" not in bought("eks", ON_AWS).servers[0].reasons


@pytest.mark.parametrize(
    ("replicas", "total", "idle"),
    [
        (ONE, (8.0, 8.0), "$8.00/h, of which $7.00"),
        ({"min": 8, "max": 8}, (8.0, 8.0), None),
        ({"min": 2, "max": 10}, (8.0, 16.0), "$8.00/h, of which $6.00"),
    ],
)
def test_nodes_that_are_bought_are_billed_whole(replicas, total, idle):
    """One GPU of eight costs the node, and a sentence says how much of it stands idle."""
    plan = bought("eks", ON_AWS, replicas=replicas)
    found = bill(plan)
    why = "pool a10: nodes are bought whole, so its fewest replicas cost {} are for what stands idle: use smaller "
    sentences = [warning for warning in plan.warnings if "bought whole" in warning]
    assert (found.fewest, found.most) == total
    assert sentences == ([why.format(idle) + "machine types, or more replicas"] if idle else [])


def test_nodes_that_are_there_are_paid_by_their_parts():
    """Who has nodes already shares them with others: one GPU of eight is an eighth."""
    pool = {"gpu": "nvidia-a10", "nodes": 2, "gpusPerNode": 8, "pricePerNodeHourUsd": 8}
    plan = planned(stack(gpuPools={"a10": pool}, models={"m": SMALL}))
    assert (bill(plan).most, [warning for warning in plan.warnings if "whole" in warning]) == (1.0, [])
