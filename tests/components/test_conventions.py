"""Rules every component keeps, over every stack: parents, names, outputs, providers, and options with a reason.

Options are read as they are sent to the engine; what the engine does with them is proved by running it.
"""

import pytest

from planning.plan.stores import BundledDatabase
from planning.plan.weights import OwnClaim
from planning.stack.identity import CLAIM, claim_manager
from preview.rendering.manifests import Category
from tests.harness import Deployed, every_stack, kind_of, rendered

EVERY = pytest.mark.parametrize("name", every_stack())
COMPONENTS = {"GpuNodePool", "LlmGateway", "LlmStack", "ModelWeights", "Observability", "VllmServer"}
OWNER = "pulumi.com/patchFieldManager"


def fetches(deployed: Deployed) -> bool:
    """Whether the stack has claims and Jobs for its weights; otherwise something that is its owner's holds them."""
    return any(isinstance(one.place, OwnClaim) for one in deployed.plan.weights.checkpoints)


@EVERY
def test_all_components_are_there_and_register_outputs(name: str):
    """Components have the agreed type tokens, one holds the others, and all of them end with register_outputs."""
    components = [record for record in rendered(name).records if not record.custom]
    assert {record.type for record in components} == {f"llm-stack:index:{kind}" for kind in COMPONENTS}
    (outer,) = [record for record in components if not record.parent]
    assert (outer.type, {record.parent for record in components if record != outer}) == (
        "llm-stack:index:LlmStack",
        {outer.urn},
    )
    assert [record.name for record in components if not record.outputs_registered] == []


@EVERY
def test_children_belong_to_their_component_and_carry_its_name(name: str):
    """Every object is of one of the five, and has its name in front.

    But for namespaces, the claim on one, releases, their quota, two policies, the claim of what is compiled, what pulls
    images before.
    """
    deployed = rendered(name)
    (outer,) = [record.urn for record in deployed.records if kind_of(record) == "LlmStack"]
    assert [record.urn for record in deployed.records if not record.parent] == [outer]
    owners = {record.urn: record.name for record in deployed.records if not record.custom}
    common = [record for record in deployed.records if record.custom and record.parent == outer]
    shared = {"kubernetes", "Namespace", "ConfigMap", "Release"} | (
        {"PersistentVolumeClaim"} if deployed.plan.compile_cache else set()
    )
    shared |= {"DaemonSet", "ServiceAccount"} if deployed.plan.pre_pulls else set()
    shared |= {"ResourceQuota"} if any(one.critical_pods for one in deployed.plan.releases.values()) else set()
    assert {kind_of(record) for record in common} - {"NetworkPolicy"} <= shared
    assert [record.name for record in common if kind_of(record) == "ConfigMap"] == [CLAIM]
    policies = [record.name for record in common if kind_of(record) == "NetworkPolicy"]
    assert policies == [f"{deployed.plan.namespace}-default-deny", f"{deployed.plan.namespace}-allow-dns"]
    children = [
        (owners[record.parent], record.name) for record in deployed.records if record.custom and record.parent != outer
    ]
    assert [child for owner, child in children if child != owner and not child.startswith(f"{owner}-")] == []
    assert children


@EVERY
def test_only_weights_databases_and_namespaces_outlive_the_stack(name: str):
    """retain_on_delete is on claims of weights, Postgres, and namespaces, which may hold more than ours; no protect.

    The rules of who reaches a Cluster stay with it. What servers have compiled goes: it is code that no later stack of
    the name should run.
    """
    deployed = rendered(name)
    retained = {(kind_of(record), record.name) for record in deployed.records if record.options.retain_on_delete}
    claims = {record.name for record in deployed.records if kind_of(record) == "PersistentVolumeClaim"}
    claims -= {deployed.plan.compile_cache.name} if deployed.plan.compile_cache else set()
    namespaces = {record.name for record in deployed.records if kind_of(record) == "Namespace"}
    assert deployed.plan.namespace in namespaces
    clusters = {record.name for record in deployed.records if kind_of(record) == "Cluster"}
    kept = {"Namespace": namespaces, "PersistentVolumeClaim": claims, "Cluster": clusters, "NetworkPolicy": clusters}
    assert retained == {(kind, item) for kind, items in kept.items() for item in items}
    assert bool(claims - {"gateway-postgres"}) == fetches(deployed)
    assert [record.name for record in deployed.records if record.options.protect] == []


@EVERY
def test_every_object_has_an_owner_and_one_provider(name: str):
    """What is kept belongs to every stack, the rest to this one, the claim to this state of it.

    Patches and releases name nobody.
    """
    deployed = rendered(name)
    found = {
        item.urn: (
            item.options.provider.rpartition("::")[2],
            item.body.get("metadata", {}).get("annotations", {}).get(OWNER),
        )
        for item in deployed.manifests
    }
    owner = f"llm-stack-{next(iter(found)).split(':')[2]}"
    expected = {
        item.urn: ("llm-stack" if item.options.retain_on_delete else owner)
        if item.category is Category.OBJECT
        else None
        for item in deployed.manifests
    }
    expected[deployed.record("ConfigMap", CLAIM).urn] = claim_manager(owner, "cluster-id")
    assert found == {urn: ("cluster", manager) for urn, manager in expected.items()}


@EVERY
def test_jobs_have_one_name_and_are_replaced_when_they_failed(name: str):
    """Never two Jobs for one thing, and one that failed does not fail every update after it."""
    deployed = rendered(name)
    found = {
        item.name: item.body["metadata"]["annotations"].get("pulumi.com/replaceUnready")
        for item in deployed.manifests
        if item.kind == "Job"
    }
    assert found == dict.fromkeys(found, "true")
    assert [job for job in found if job.endswith("-auto")] == []


@EVERY
def test_whatever_takes_long_is_waited_for_long_enough(name: str):
    """Servers, the gateway, its Postgres and Jobs have timeouts for create and update; nothing else has any."""
    found = {
        (kind_of(record), record.name): set(record.options.timeouts)
        for record in rendered(name).records
        if record.options.timeouts
    }
    servers = {server.name for server in rendered(name).plan.servers}
    expected = {
        (kind_of(record), record.name)
        for record in rendered(name).records
        if kind_of(record) in ("Job", "LeaderWorkerSet", "StatefulSet", "Cluster")
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
        weights = {f"Job/weights-{checkpoint.name}" for checkpoint in server.checkpoints if checkpoint.fetch}
        weights |= {f"Job/weights-{one.name}-signed" for one in server.checkpoints if one.signature}
        assert {item for item in waits if item.startswith("Job/weights-")} == weights
        if deployed.plan.pools[server.pool].verification:
            assert f"Job/{server.pool}-verify" in waits
    gateway = {item.partition("/")[2] for item in deployed.depends_on("Deployment", "gateway")}
    names = {server.name for server in deployed.plan.servers}
    assert gateway & names == {server.name for server in deployed.plan.servers if server.canary}


@EVERY
def test_what_rolls_pods_has_a_drawn_name(name: str):
    """What servers and the gateway mount is immutable with a drawn name; scripts of Jobs have fixed ones."""
    found = {
        record.name: (record.inputs.get("immutable", False), "name" in record.inputs["metadata"])
        for record in rendered(name).records
        if kind_of(record) == "ConfigMap"
    }
    people_read = {"observability-dashboard", "observability-adapter", CLAIM}
    of_jobs = ("-verify", "-fetch", "-fill", "-proven", "weights-adapter", "-teams-script")
    assert found == {
        label: (
            label not in people_read,
            label in people_read or label.endswith(of_jobs),
        )
        for label in found
    }


@EVERY
def test_nobody_waits_for_what_cannot_become_ready(name: str):
    """Services, claims, Ingresses and what pulls images are not awaited; Jobs and servers, which are gates, are."""
    skipped = {
        item.kind
        for item in rendered(name).manifests
        if (item.body.get("metadata") or {}).get("annotations", {}).get("pulumi.com/skipAwait") == "true"
    }
    deployed = rendered(name)
    plan = deployed.plan
    own_database = plan.gateway.database is not None and isinstance(plan.gateway.database.source, BundledDatabase)
    keeps = plan.compile_cache or own_database or plan.gateway.chat_ui
    claims = {"PersistentVolumeClaim"} if fetches(deployed) or keeps else set()
    pulls = {"DaemonSet"} if deployed.plan.pre_pulls else set()
    assert skipped - {"Ingress"} == {"Service", *claims, *pulls}
