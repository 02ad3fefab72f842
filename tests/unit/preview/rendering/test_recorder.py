"""The recorder: what a program passes to Pulumi is what a test or a preview sees.

Does not prove that an engine would accept it: required fields and misspelt keys pass unseen here.
"""

import gc
import sys
import traceback
from collections.abc import Mapping
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import _types
from pulumi.runtime import settings

from preview.rendering.recorder import Options, Record, deploy, run
from preview.rendering.sandbox import remembered_types

STACK = "urn:pulumi:dev::llm-stack::"


class Outer(pulumi.ComponentResource):
    """A component with a component inside, which forgets `register_outputs`."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llm-stack:index:Outer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        inner = Inner(f"{name}-inner", child)
        self.last = k8s.core.v1.ConfigMap(name, data={"from": inner.map.metadata.name}, opts=child)
        self.register_outputs({})


class Inner(pulumi.ComponentResource):
    """A component that never registers outputs."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llm-stack:index:Inner", name, None, opts)
        self.map = k8s.core.v1.ConfigMap(name, data={"a": "b"}, opts=pulumi.ResourceOptions(parent=self))


def config_map(name: str, **inputs) -> k8s.core.v1.ConfigMap:
    """A ConfigMap with `inputs`."""
    return k8s.core.v1.ConfigMap(name, **inputs)


def test_records_are_in_order_of_declaration():
    """A resource that waits for another one is still recorded where the program declares it."""

    def build() -> None:
        slow = config_map("slow")
        config_map("waits", data={"name": slow.metadata.name})
        config_map("free")
        Outer("outer")

    names = [record.name for record in deploy(build)]
    assert names == ["slow", "waits", "free", "outer", "outer-inner", "outer-inner", "outer"]


def test_urns_are_those_of_the_engine():
    """A URN has the types of all parents, and none for the stack."""
    urns = [record.urn for record in deploy(lambda: Outer("a"))]
    assert urns == [
        f"{STACK}llm-stack:index:Outer::a",
        f"{STACK}llm-stack:index:Outer$llm-stack:index:Inner::a-inner",
        f"{STACK}llm-stack:index:Outer$llm-stack:index:Inner$kubernetes:core/v1:ConfigMap::a-inner",
        f"{STACK}llm-stack:index:Outer$kubernetes:core/v1:ConfigMap::a",
    ]


def test_parent_is_the_component_or_nothing():
    """The parent of a child is its component's URN; what belongs to the stack has none."""
    records = deploy(lambda: Outer("a"))
    assert [record.parent for record in records] == ["", records[0].urn, records[1].urn, records[0].urn]


def test_a_component_without_register_outputs_is_seen():
    """`outputs_registered` tells the component that registers its outputs from the one that forgets it."""
    components = {record.name: record.outputs_registered for record in deploy(lambda: Outer("a")) if not record.custom}
    assert components == {"a": True, "a-inner": False}


def test_a_record_holds_all_that_was_passed():
    """Inputs are plain data with whole numbers, options are those of the request."""
    spec: Any = {"replicas": 3, "paused": False, "selector": {}, "template": {"spec": {"hostname": "h"}}}

    def build() -> None:
        provider = k8s.Provider("cluster", context="x")
        first = config_map("first", opts=pulumi.ResourceOptions(provider=provider))
        k8s.apps.v1.Deployment(
            "app",
            metadata={"name": "app", "namespace": "here"},
            spec=spec,
            opts=pulumi.ResourceOptions(
                provider=provider,
                protect=True,
                retain_on_delete=True,
                ignore_changes=["spec.replicas"],
                replace_on_changes=["spec.paused"],
                delete_before_replace=True,
                depends_on=[first],
                custom_timeouts=pulumi.CustomTimeouts(create="45m", delete="5m"),
                aliases=[pulumi.Alias(name="old-app")],
            ),
        )

    record = deploy(build)[-1]
    # the SDK adds an alias for every API version the kind ever had
    versions = tuple(alias for alias in record.options.aliases if alias.startswith("type="))
    assert record == Record(
        urn=f"{STACK}kubernetes:apps/v1:Deployment::app",
        type="kubernetes:apps/v1:Deployment",
        name="app",
        parent="",
        custom=True,
        inputs={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app", "namespace": "here"},
            "spec": {"replicas": 3, "paused": False, "selector": {}, "template": {"spec": {"hostname": "h"}}},
        },
        secret_paths=(),
        options=Options(
            protect=True,
            retain_on_delete=True,
            ignore_changes=("spec.replicas",),
            replace_on_changes=("spec.paused",),
            delete_before_replace=True,
            depends_on=(f"{STACK}kubernetes:core/v1:ConfigMap::first",),
            timeouts={"create": "45m", "delete": "5m"},
            provider=f"{STACK}pulumi:providers:kubernetes::cluster",
            aliases=("name=old-app", *versions),
        ),
        outputs_registered=False,
    )
    assert isinstance(record.inputs["spec"]["replicas"], int)


def test_secret_values_are_masked_and_their_places_kept():
    """A secret is `<secret>` wherever it stands, and `secret_paths` says where."""

    def build() -> None:
        secret = pulumi.Output.secret("s3cr3t")
        config_map("leaks", data={"plain": "p", "hidden": secret, "joined": pulumi.Output.concat("a-", secret)})

    record = deploy(build)[0]
    assert record.inputs["data"] == {"plain": "p", "hidden": "<secret>", "joined": "<secret>"}
    assert record.secret_paths == ("data.hidden", "data.joined")


def test_keys_of_a_wholly_secret_mapping_stay_readable():
    """A Secret whose data is one secret output still shows which keys it has."""
    record = deploy(lambda: k8s.core.v1.Secret("keys", string_data=pulumi.Output.secret({"a": "1", "b": "2"})))[0]
    assert (record.inputs["stringData"], record.secret_paths) == ({"a": "<secret>", "b": "<secret>"}, ("stringData",))


def test_two_resources_of_one_urn_are_refused():
    """What the engine would refuse is refused here, although Pulumi's own mocks let it pass."""

    def build() -> None:
        config_map("same")
        config_map("same")

    with pytest.raises(AssertionError, match=r"two resources have the URN \S+::same"):
        deploy(build)


def test_an_output_in_an_f_string_is_an_error():
    """An Output that is turned into text stops the program instead of ending up in a manifest."""
    with pytest.raises(Exception, match="Calling __str__ on an Output"):
        deploy(lambda: config_map("a", data={"a": f"{pulumi.Output.from_input('x')}"}))


def test_errors_in_callbacks_are_raised():
    """An exception inside an `apply` that nobody waits for is not lost."""

    def fail(_name: str) -> None:
        raise ValueError("inside apply")

    with pytest.raises(ValueError, match="inside apply"):
        deploy(lambda: config_map("a").metadata.name.apply(fail))


def test_nothing_of_a_run_outlives_it():
    """Configuration, exports and resources of one run are not there in the next one."""
    seen = []

    def build() -> None:
        seen.append(pulumi.Config().get("only"))
        pulumi.export("only", seen[-1])
        config_map("same")

    first = run(build, {"llm-stack:only": "here"}, stack="one")
    second = run(build, {}, stack="two")
    assert seen == ["here", None]
    assert (first.exports, second.exports) == ({"only": "here"}, {"only": None})
    assert [record.urn for record in second.records] == [
        "urn:pulumi:two::llm-stack::kubernetes:core/v1:ConfigMap::same"
    ]


def test_a_run_has_its_own_root():
    """What somebody else has exported in this process before is not among the exports of a run."""

    def inside() -> dict:
        run(lambda: None)
        settings.ROOT.set(SimpleNamespace(outputs={"theirs": "x"}, _transformations=[]))  # pyright: ignore[reportArgumentType]
        return dict(run(lambda: pulumi.export("ours", 1)).exports)

    assert copy_context().run(inside) == {"ours": 1}


def test_failed_runs_leave_no_noise(caplog):
    """A failure is raised once, and asyncio does not report it again when its tasks are collected."""
    with pytest.raises(AssertionError):
        deploy(lambda: (config_map("same"), config_map("same"), config_map("same")))
    gc.collect()
    assert caplog.messages == []


def test_secret_exports_are_masked():
    """An exported secret is named as one, and its value is not shown."""

    def build() -> None:
        pulumi.export("key", pulumi.Config().require_secret("key"))
        pulumi.export("name", "plain")

    done = run(build, {"llm-stack:key": "s3cr3t"}, ["llm-stack:key"])
    assert (done.exports, done.secret_exports) == ({"key": "<secret>", "name": "plain"}, {"key"})


def test_log_messages_are_kept_and_not_printed(caplog, capsys):
    """Warnings of the program are part of what it did; debug messages are not."""

    def build() -> None:
        pulumi.log.warn("mind the gap")
        pulumi.log.debug("not this")

    done = run(build)
    assert done.messages == ("mind the gap",)
    assert (caplog.messages, *capsys.readouterr()) == ([], "", "")


def test_names_and_release_status_are_supplied():
    """What a cluster fills in is there for outputs: the drawn name of an object, the status of a release."""

    def build() -> None:
        release = k8s.helm.v3.Release("chart", chart="chart", namespace="there")
        pulumi.export("object", config_map("drawn").metadata.name)
        pulumi.export("named", config_map("given", metadata={"name": "mine"}).metadata.name)
        pulumi.export("release", release.status.name)

    assert run(build).exports == {"object": "drawn-auto", "named": "mine", "release": "chart-auto"}


def test_reads_and_calls_get_an_answer():
    """An existing object that is read, and a chart that is rendered, do not stop the program."""

    def build() -> None:
        pulumi.export("read", k8s.core.v1.Namespace.get("there", "kube-system").metadata.name)
        pulumi.export("called", pulumi.runtime.invoke("kubernetes:helm:template", {}).value["result"])

    done = run(build)
    assert done.records == ()
    assert done.exports["called"] == []


def test_an_error_of_the_program_keeps_its_traceback():
    """Resources are declared without a stack, which must not be missed where somebody looks for a bug."""

    def inner() -> None:
        config_map("a")
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug") as caught:
        deploy(inner)
    assert "in inner\n" in "".join(traceback.format_exception(caught.value))
    assert not hasattr(sys, "tracebacklimit")


def test_the_sdk_takes_types_apart_once_and_only_while_a_program_runs():
    """What it makes of a declared type is the same with and without it, and afterwards it is as it was."""
    names = ("unwrap_type", "unwrap_optional_type")
    plain = {name: getattr(_types, name) for name in names}
    declared = (str | None, pulumi.Input[str], pulumi.Output[int], Mapping[str, str], list[pulumi.Input[str]])
    with remembered_types():
        remembered = {name: getattr(_types, name) for name in names}
        for name in names:
            assert [remembered[name](type_) for type_ in declared] == [plain[name](type_) for type_ in declared]
            before = remembered[name].cache_info()
            assert [remembered[name](type_) for type_ in declared] == [plain[name](type_) for type_ in declared]
            assert remembered[name].cache_info().misses == before.misses
    assert {name: getattr(_types, name) for name in names} == plain
