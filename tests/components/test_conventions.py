"""Rules every component keeps, over every stack: parents, names, outputs, providers, and options with a reason.

Options are read as they are sent to the engine; what the engine does with them is proved by running it.
"""

import pytest

from tests.harness import Deployed, every_stack, kind_of, rendered

EVERY = pytest.mark.parametrize("name", every_stack())
COMPONENTS = {"GpuNodePool", "LlmGateway", "ModelWeights", "Observability", "VllmServer"}
# Kept on destroy and adopted by the next `up`: the weights, and the namespace that would take them with it.
KEPT = {"Namespace", "PersistentVolumeClaim"}


def fetches(deployed: Deployed) -> bool:
    """Whether the stack has claims and Jobs for its weights; otherwise a claim that exists holds them."""
    return deployed.plan.weights.existing_claim is None


@EVERY
def test_all_five_components_are_there_and_register_outputs(name: str):
    """Components have the agreed type tokens, sit at the top, and every one of them ends with register_outputs."""
    components = [record for record in rendered(name).records if not record.custom]
    assert {record.type for record in components} == {f"llm-stack:index:{kind}" for kind in COMPONENTS}
    assert {record.parent for record in components} == {""}
    assert [record.name for record in components if not record.outputs_registered] == []


@EVERY
def test_children_belong_to_their_component_and_carry_its_name(name: str):
    """Every object but namespaces, releases and two policies has a component as parent, and its name in front."""
    deployed = rendered(name)
    owners = {record.urn: record.name for record in deployed.records if not record.custom}
    free = {kind_of(record) for record in deployed.records if record.custom and not record.parent}
    assert free - {"NetworkPolicy"} <= {"kubernetes", "Namespace", "Release"}
    policies = [record.name for record in deployed.records if kind_of(record) == "NetworkPolicy" and not record.parent]
    assert policies == [f"{deployed.plan.namespace}-default-deny", f"{deployed.plan.namespace}-allow-dns"]
    children = [(owners[record.parent], record.name) for record in deployed.records if record.custom and record.parent]
    assert [child for owner, child in children if child != owner and not child.startswith(f"{owner}-")] == []
    assert children


@EVERY
def test_only_weights_and_their_namespace_outlive_the_stack(name: str):
    """retain_on_delete is on the serving namespace and the claims, and on nothing else; nothing is protected."""
    deployed = rendered(name)
    retained = {(kind_of(record), record.name) for record in deployed.records if record.options.retain_on_delete}
    claims = {record.name for record in deployed.records if kind_of(record) == "PersistentVolumeClaim"}
    assert retained == {("Namespace", deployed.plan.namespace), *(("PersistentVolumeClaim", claim) for claim in claims)}
    assert bool(claims) == fetches(deployed)
    assert [record.name for record in deployed.records if record.options.protect] == []


@EVERY
def test_what_is_kept_is_on_the_provider_that_adopts(name: str):
    """Serving namespace and claims are on `kept`; every other object is on `cluster`, none on a default provider."""
    deployed = rendered(name)
    on_kept, on_cluster = set(), set()
    for record in deployed.records:
        if record.custom and record.type.startswith("kubernetes:"):
            provider = record.options.provider.rpartition("::")[2]
            assert provider in ("kept", "cluster"), record.urn
            (on_kept if provider == "kept" else on_cluster).add((kind_of(record), record.name))
    assert {kind for kind, _ in on_kept} == (KEPT if fetches(deployed) else KEPT - {"PersistentVolumeClaim"})
    assert {label for label in on_kept if label[0] == "Namespace"} == {("Namespace", deployed.plan.namespace)}
    assert "PersistentVolumeClaim" not in {kind for kind, _ in on_cluster}


@EVERY
def test_whatever_takes_long_is_waited_for_long_enough(name: str):
    """Servers, the gateway and Jobs have timeouts of their own for create and update; nothing else has any."""
    found = {
        (kind_of(record), record.name): set(record.options.timeouts)
        for record in rendered(name).records
        if record.options.timeouts
    }
    servers = {server.name for server in rendered(name).plan.servers}
    expected = {
        (kind_of(record), record.name)
        for record in rendered(name).records
        if kind_of(record) in ("Job", "LeaderWorkerSet")
        or (kind_of(record) == "Deployment" and record.name in (*servers, "gateway"))
    }
    assert set(found) == expected
    assert {frozenset(options) for options in found.values()} == {frozenset({"create", "update"})}


@EVERY
def test_ordering_is_by_need(name: str):
    """Every server waits for its weights and its nodes' gate, the gateway for canaries only, monitors for no pod."""
    deployed = rendered(name)
    for server in deployed.plan.servers:
        kind = "LeaderWorkerSet" if server.nodes_per_replica > 1 else "Deployment"
        waits = deployed.depends_on(kind, server.name)
        weights = {f"Job/weights-{server.checkpoint.name}"} if fetches(deployed) else set()
        assert {item for item in waits if item.startswith("Job/weights-")} == weights
        if deployed.plan.pools[server.pool].verify:
            assert f"Job/{server.pool}-verify" in waits
    gateway = {item.partition("/")[2] for item in deployed.depends_on("Deployment", "gateway")}
    names = {server.name for server in deployed.plan.servers}
    assert gateway & names == {server.name for server in deployed.plan.servers if server.canary}


@EVERY
def test_content_is_immutable_or_has_a_name_somebody_reads(name: str):
    """A ConfigMap that pods mount is immutable with a drawn name; the others have a fixed one."""
    deployed = rendered(name)
    found = {
        record.name: (record.inputs.get("immutable", False), "name" in record.inputs["metadata"])
        for record in deployed.records
        if kind_of(record) == "ConfigMap"
    }
    assert set(found.values()) == {(True, False), (False, True)}
    assert {label for label, (immutable, _) in found.items() if not immutable} <= {
        "observability-dashboard",
        "observability-adapter",
    }


@EVERY
def test_nobody_waits_for_what_cannot_become_ready(name: str):
    """Services, claims and Ingresses are not awaited; Jobs and servers, which are gates, are."""
    skipped = {
        item.kind
        for item in rendered(name).manifests
        if (item.body.get("metadata") or {}).get("annotations", {}).get("pulumi.com/skipAwait") == "true"
    }
    claims = {"PersistentVolumeClaim"} if fetches(rendered(name)) else set()
    assert skipped - {"Ingress"} == {"Service", *claims}
