"""A rendered stack as objects to apply: names that follow content, dependencies, secrets; and its surroundings.

Does not prove that an API server accepts any of it; the cluster tests do.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preview.rendering.expected import Expected
from preview.rendering.render import render
from preview.rendering.stackfile import read_project
from tests.harness import ROOT, walk
from tests.unit.small_stack import properties
from workshop.simcluster.deploy import entry, keep_field
from workshop.simcluster.rendered import Stack, content_names, is_secret, renamed, stack_of
from workshop.simcluster.surroundings import served, surroundings, wants_volume

TEXT = st.text(max_size=6)
VALUES = st.recursive(TEXT | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


@pytest.fixture(scope="module", params=["dev", "prod", "sim"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """Every stack of the repository."""
    return stack_of(render(read_project(ROOT), request.param))


def test_no_rendered_name_is_left(stack: Stack):
    """Names the engine would draw are final everywhere, in the objects themselves and where others use them."""
    assert [
        (str(target), path)
        for target in stack.targets
        for path, value in walk(target.body)
        if isinstance(value, str) and value.endswith("-auto")
    ] == []


def test_what_is_waited_for_comes_first(stack: Stack):
    """In the order of declaration nothing waits for a later object, and everything waits for an object that exists."""
    before: set[str] = set()
    for target in stack.targets:
        assert target.after <= before, target
        before.add(target.urn)


def test_servers_wait_for_nodes_and_weights(stack: Stack):
    """A server waits for the Jobs that verify its nodes and fetch its weights, as under the engine."""
    kinds = {target.urn: target for target in stack.targets}
    jobs = {
        target.body["metadata"]["name"]: {
            kinds[urn].body["metadata"]["labels"]["app.kubernetes.io/name"]
            for urn in target.after
            if kinds[urn].body["kind"] == "Job"
        }
        for target in stack.targets
        if target.body["metadata"]["name"] in {server.name for server in stack.plan.servers}
        and target.body["kind"] in ("Deployment", "LeaderWorkerSet")
    }
    bought = {name for name, pool in stack.plan.pools.items() if not pool.verification}
    assert {
        server.name: {"model-weights"} if server.pool in bought else {"model-weights", "verify-nodes"}
        for server in stack.plan.servers
    } == jobs


def test_a_name_follows_the_content():
    """Another configuration of the gateway renames its ConfigMap, and nothing else; the same one does not."""
    found = stack_of(render(read_project(ROOT), "prod")).manifests
    before = content_names(found)
    changed = [
        replace(item, body={**item.body, "data": {"config.yaml": "{}"}}) if item.name == "gateway-config-auto" else item
        for item in found
    ]
    after = content_names(changed)
    assert before == content_names(found)
    assert {"gateway-config-auto"} == {name for name in before if before[name] != after[name]}
    assert len(before) == len(set(before.values()))


@properties(100)
@given(value=VALUES)
def test_renaming_nothing_changes_nothing(value: object):
    """Without names a value stays as it is, whatever it holds."""
    assert value == renamed(value, {})


@properties(100)
@given(value=VALUES, old=TEXT, new=TEXT)
def test_renaming_leaves_no_old_name(value: object, old: str, new: str):
    """Afterwards the old name is nowhere but in keys, unless it is the new one too."""

    def texts(here: object) -> list[str]:
        inner = here.values() if isinstance(here, dict) else here if isinstance(here, list) else ()
        return [here] if isinstance(here, str) else [text for item in inner for text in texts(item)]

    assert old == new or old not in texts(renamed(value, {old: new}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("<secret>", True), ({"a": ["x", {"b": "k=<secret>"}]}, True), ({"a": 1}, False), ("secret", False)],
)
def test_secrets_are_found(value: object, expected: bool):
    """A value that stands for a secret is seen at any depth."""
    assert expected == is_secret(value)


def test_replicas_of_an_autoscaler_are_kept():
    """A frozen field takes the value it has on the cluster; one that is missing on either side is left alone."""
    body = {"spec": {"replicas": 1, "other": 2}}
    keep_field(body, {"spec": {"replicas": 3}}, ["spec", "replicas"])
    keep_field(body, {"spec": {}}, ["spec", "other"])
    keep_field(body, {}, ["status", "x"])
    assert body == {"spec": {"replicas": 3, "other": 2}}


def test_claims_and_nodes_are_never_pruned():
    """The inventory marks what is retained on delete, and what is only patched."""
    stack = stack_of(render(read_project(ROOT), "prod"))
    kept = {target.body["kind"] for target in stack.targets if entry(target)["keeps"]}
    assert {"Namespace", "PersistentVolumeClaim", "Node"} == kept


def test_surroundings_of_everything():
    """Each expectation becomes an object; namespaces come first, also of what lies in a namespace nobody names."""
    found = surroundings(
        [
            Expected("Secret", "keys", "a", ("master-key", "other")),
            Expected("Secret", "tls", "a", ("tls.crt", "tls.key")),
            Expected("Namespace", "b"),
            Expected("StorageClass", "nfs"),
            Expected("IngressClass", "nginx"),
            Expected("Gateway", "public", "c", note="with the listener https"),
            Expected("PersistentVolumeClaim", "filled", "a"),
            Expected("Nodes", "gpu-1"),
            Expected("API", "keda.sh/v1alpha1"),
        ]
    )
    assert [(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]) for body in found] == [
        ("Namespace", "", "b"),
        ("Namespace", "", "a"),
        ("Namespace", "", "c"),
        ("Secret", "a", "keys"),
        ("Secret", "a", "tls"),
        ("StorageClass", "", "nfs"),
        ("IngressClass", "", "nginx"),
        ("GatewayClass", "", "simcluster"),
        ("Gateway", "c", "public"),
        ("StorageClass", "", "simcluster"),
        ("PersistentVolumeClaim", "a", "filled"),
    ]
    assert wants_volume(found[-1], served([found[-2]]), [])
    keys, tls = found[3], found[4]
    assert [
        keys["stringData"]["master-key"][:3],
        len(keys["stringData"]["master-key"]),
        len(keys["stringData"]["other"]),
    ] == ["sk-", 51, 48]
    assert (tls["type"], found[8]["spec"]["listeners"][0]["name"]) == ("kubernetes.io/tls", "https")


def test_values_are_drawn_anew():
    """Two clusters never share a secret."""
    wanted = [Expected("Secret", "keys", "a", ("master-key",))]
    first, second = (surroundings(wanted)[1]["stringData"]["master-key"] for _ in range(2))
    assert first != second
