"""Two stacks of one cluster: names that never meet, what both would own, and what both count.

Does not prove what an API server does with both.
"""

from typing import Any

import pytest

from planning.plan.pools import Shared
from planning.stack.beside import beside_warnings, owned_twice, same_cluster
from planning.stack.identity import name_on_cluster
from settings.schema import ClusterSettings
from tests.unit.small_stack import A10, CATALOG, H100, MODEL, planned, serving, stack

CLUSTER = {"context": "test", "identifier": "test-1"}
OTHERS = {"gpuOperator": {"install": False}, "observability": {"install": False}, "autoscaling": {"install": False}}
KARPENTER = {**H100, "provisioning": {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"]}}
SHARED = {**H100, "provisioning": {"kind": "shared", "labels": {"llm-stack.io/pool": "a10"}}}


def on(namespace: str, pool: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A stack in this namespace of the one cluster."""
    cluster = {"context": "test", "identifier": "test-1", "namespace": namespace}
    return stack(cluster=cluster, gpuPools={"a10": pool}, models={"m": MODEL}, **sections)


def test_names_of_pools_are_told_apart_by_namespace():
    """The usual namespace keeps the bare name, which no other namespace can make; none is too long for a label."""

    def named(name: str, namespace: str) -> str:
        return name_on_cluster(name, ClusterSettings.model_validate({**CLUSTER, "namespace": namespace}))

    assert named("h100", "llm-serving") == "h100"
    assert named("h100", "search") == "h100-search-ce2959"
    names = [named(pool, namespace) for pool in ("a", "a-b") for namespace in ("b-c", "c", "llm-serving", "n" * 63)]
    assert len({*names}) == len(names)
    assert max(len(named(pool, "n" * 63)) for pool in ("a", "p" * 40)) <= 63


def test_two_stacks_have_one_way_to_their_gpus():
    """The GPU Operator of one of them gives out the cards of both; without any, whoever runs the nodes decides."""
    claims = {**A10, "claims": {}}
    one, two = planned(on("a", claims, observability={"install": False})), planned(on("b", A10, **OTHERS))
    fix = "the GPU Operator has one way for all nodes: give both claims, or neither"
    assert [str(problem) for problem in owned_twice(one, two, "Pulumi.b.yaml")] == [
        f"gpuPools.a10.claims: it claims its GPUs, and pool 'a10' of Pulumi.b.yaml does not; {fix}"
    ]
    assert [str(problem) for problem in owned_twice(two, one, "Pulumi.a.yaml")] == [
        f"gpuPools.a10.claims: it asks the device plugin, and pool 'a10' of Pulumi.a.yaml does not; {fix}"
    ]
    assert list(owned_twice(planned(on("a", claims, **OTHERS)), two, "Pulumi.b.yaml")) == []


def test_what_two_stacks_would_own_is_refused_by_name():
    """Namespace, operators, named nodes and host: each with who has it, and told what else to write."""
    named = {**A10, "nodes": 1, "provisioning": {"kind": "existing", "nodeNames": ["gpu-1"]}}
    public = {"existingSecret": "k", "host": "llm.example.com", "expose": {"kind": "gatewayApi", "gatewayName": "g"}}
    one, two = (planned(on("same", named, gateway=public)) for _ in range(2))
    assert same_cluster(one, two)
    said = sorted(str(problem) for problem in owned_twice(one, two, "Pulumi.b.yaml"))
    once = "of which a cluster has one; write install: false in all stacks but one"
    undo = "each would undo what the other changes; give each a namespace, or put all models into one stack"
    use = "leave it to one of them, and use provisioning: {kind: shared} in the other"
    assert said == [
        f"cluster.namespace: 'same' is that of Pulumi.b.yaml too: {undo}",
        "gateway.host: 'llm.example.com' leads to the gateway of Pulumi.b.yaml too; give each a name of its own",
        f"gpuOperator.install: Pulumi.b.yaml installs gpu-operator too, {once}",
        f"gpuPools.a10.provisioning.nodeNames: gpu-1 is in pool 'a10' of Pulumi.b.yaml; {use}",
        f"observability.install: Pulumi.b.yaml installs kube-prometheus-stack too, {once}",
    ]
    assert list(owned_twice(planned(on("other", A10, **OTHERS)), two, "Pulumi.b.yaml")) == []


@pytest.mark.parametrize(
    ("pool", "other", "overlap"),
    [
        (A10, A10, "finds the same nodes as pool a10 of Pulumi.b.yaml"),
        (SHARED, KARPENTER, "finds the same nodes as pool a10 of Pulumi.b.yaml"),
        (KARPENTER, KARPENTER, None),
        (A10, KARPENTER, None),
    ],
)
def test_gpus_that_both_count_are_told(pool: dict[str, Any], other: dict[str, Any], overlap: str | None):
    """Of pools that may find the same nodes; a shared one does, which is what it is for."""
    one, two = planned(on("b", pool, **OTHERS)), planned(on("llm-serving", other))
    end = "so both count its GPUs as theirs; give each as many nodes as it may use"
    expected = [f"pool a10: {overlap}, {end}"] if overlap else []
    assert list(beside_warnings(one, two, "Pulumi.b.yaml", CATALOG)) == expected


def test_a_shared_pool_is_somebody_elses():
    """Found by the labels alone, neither proved nor provided for; its start may be that of a node."""
    plan = planned(serving(SHARED))
    pool = plan.pools["a10"]
    assert pool.provisioning == Shared({"llm-stack.io/pool": "a10"})
    assert (pool.node_selector, pool.node_affinity, pool.verification) == ({"llm-stack.io/pool": "a10"}, (), None)
    assert "gpu-operator" not in plan.releases
    assert plan.servers[0].timing == planned(serving(KARPENTER)).servers[0].timing
    assert any("another stack has its nodes, and pays them" in warning for warning in plan.warnings)
