"""Runs a Pulumi program against a recording monitor instead of an engine, and keeps all it asked for.

Knows nothing of stack files, plans or YAML; tests use it to run a single component.
"""

import runpy
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
from google.protobuf import struct_pb2
from pulumi.runtime import mocks, settings
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import register_stack_transformation

from preview.rendering.records import SECRET, STACK_TYPE, Options, Record, plain, record_of
from preview.rendering.sandbox import (
    Messages,
    event_loop,
    import_path,
    remembered_types,
    strict_outputs,
    without_stack_traces,
)

__all__ = ["Options", "Record", "Recorder", "Run", "autoname", "deploy", "run", "run_program"]

RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"


@dataclass(frozen=True)
class Run:
    """Results of a program: resources in order of declaration, exports by name, log messages from warning up."""

    records: tuple[Record, ...]
    exports: Mapping[str, Any]
    secret_exports: frozenset[str]
    messages: tuple[str, ...]


class Recorder(mocks.MockMonitor):
    """A monitor that answers like an engine whose every create succeeds, and remembers each request."""

    def __init__(self) -> None:
        super().__init__(_Calls())
        self._records: dict[str, Record] = {}
        self._finished: set[str] = set()
        self._declared: dict[tuple[str, str], int] = {}
        self._states: dict[tuple[str, str], struct_pb2.Struct] = {}

    def declare(self, args: pulumi.ResourceTransformationArgs) -> None:
        """Stack transformation that changes nothing: registrations arrive in any order, constructors run in one."""
        self._declared.setdefault((args.type_, args.name), len(self._declared))

    def records(self) -> tuple[Record, ...]:
        """All resources, in the order in which the program declared them."""
        records = [
            replace(record, outputs_registered=record.urn in self._finished) for record in self._records.values()
        ]
        last = len(self._declared)
        return tuple(sorted(records, key=lambda record: self._declared.get((record.type, record.name), last)))

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN as the engine makes it, with all parent types; the mock's own keeps only the last one."""
        parent_type = parent.split("::")[2] if parent else ""
        qualified = f"{parent_type}${type_}" if parent_type not in ("", STACK_TYPE) else type_
        return f"urn:pulumi:{settings.get_stack()}::{settings.get_project()}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        """Record one registration; refuses a URN that is already taken, as the engine would."""
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        record = record_of(request, urn)
        if urn in self._records:
            raise AssertionError(f"two resources have the URN {urn}")
        self._records[urn] = record
        # the mock's own answer takes all inputs apart and puts them together again, for the few that are filled in here
        state = struct_pb2.Struct()
        state.CopyFrom(request.object)
        identity = _fill_in(state, record.type, record.name, record.inputs)
        self.resources[urn] = self.ResourceRegistration(urn, identity, dict(record.inputs))
        self._states[request.type, identity] = state
        return resource_pb2.RegisterResourceResponse(urn=urn, id=identity, object=state)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        """Answers every read with what was registered under the ID, or a resource under the name it was asked by."""
        urn = self.make_urn(request.parent, request.type, request.name)
        state = struct_pb2.Struct()
        known = self._states.get((request.type, request.id))
        state.CopyFrom(request.properties if known is None else known)
        _fill_in(state, request.type, request.name, plain(state)[0])
        return resource_pb2.ReadResourceResponse(urn=urn, properties=state)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        """Remember who called `register_outputs`."""
        self._finished.add(request.urn)
        return super().RegisterResourceOutputs(request)


class _Calls(mocks.Mocks):
    """Answers to calls: a chart that is rendered has no objects. Resources are the recorder's."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise NotImplementedError

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return ({"result": []} if args.token.startswith("kubernetes:") else {}), []


def _fill_in(state: Any, type_: str, name: str, inputs: Mapping[str, Any]) -> str:
    """Puts into the protobuf `state` of a resource what a cluster would fill in: names. Returns its ID."""
    if not type_.startswith("kubernetes:"):
        return f"{name}-id"
    if type_ == RELEASE_TYPE:
        release_name, namespace = inputs.get("name", autoname(name)), inputs.get("namespace")
        state.update(
            {"name": release_name, "status": {"name": release_name, "namespace": namespace, "status": "deployed"}}
        )
        return f"{namespace or 'default'}/{release_name}"
    metadata = inputs.get("metadata", {})
    if not isinstance(metadata, dict):
        return name
    if "name" not in metadata:
        state.get_or_create_struct("metadata")["name"] = autoname(name)
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name', autoname(name))}"


def autoname(logical_name: str) -> str:
    """The name of an object without `metadata.name`; the engine would end it in eight random characters."""
    return f"{logical_name}-auto"


def deploy(
    build: Callable[[], Any],
    config: Mapping[str, Any] | None = None,
    secret_keys: Sequence[str] = (),
    stack: str = "dev",
    project: str = "llm-stack",
) -> list[Record]:
    """Calls `build` as a Pulumi program and returns what it declared; whatever it raises is raised here.

    `config` maps full keys (`llm-stack:models`) to strings, or to plain values as a test likes them.
    """
    return list(run(build, config, secret_keys, stack, project).records)


def run_program(
    path: Path,
    config: Mapping[str, Any],
    secret_keys: Sequence[str],
    stack: str,
    project: str,
    *,
    directory: Path | None = None,
    recorder: Recorder | None = None,
) -> tuple[Run, Mapping[str, Any]]:
    """Runs the program file `path` as `python __main__.py` would; returns what it did and its global names.

    `directory`: that of Pulumi.yaml; None: the working directory.
    """
    names: dict[str, Any] = {}

    def build() -> None:
        names.update(runpy.run_path(str(path), run_name="__main__"))

    with import_path(path.parent):
        return run(build, config, secret_keys, stack, project, directory=directory, recorder=recorder), names


def run(
    build: Callable[[], Any],
    config: Mapping[str, Any] | None = None,
    secret_keys: Sequence[str] = (),
    stack: str = "dev",
    project: str = "llm-stack",
    *,
    directory: Path | None = None,
    recorder: Recorder | None = None,
) -> Run:
    """Calls `build` under mocks in a context of its own: neither configuration nor resources outlive the call.

    `directory`: that of Pulumi.yaml. `recorder`: an unused one that keeps what it is asked for; None: a plain one.
    """
    return copy_context().run(
        _run, recorder or Recorder(), build, dict(config or {}), list(secret_keys), stack, project, directory
    )


def _run(
    recorder: Recorder,
    build: Callable[[], Any],
    config: dict[str, Any],
    secret_keys: list[str],
    stack: str,
    project: str,
    directory: Path | None,
) -> Run:
    messages = Messages()
    exports: dict[str, Any] = {}
    secrets: set[str] = set()

    async def finished() -> None:
        root = settings.get_root_resource()
        for name, value in getattr(root, "outputs", {}).items():
            output = pulumi.Output.from_input(value)
            exports[name] = await output.future()
            if await output.is_secret():
                exports[name] = SECRET
                secrets.add(name)

    def program() -> Any:
        build()
        return finished()

    with event_loop(), strict_outputs(), without_stack_traces(), remembered_types():
        pulumi.runtime.set_all_config(config, secret_keys)
        settings.ROOT.set(None)
        mocks.set_mocks(recorder.mocks, project=project, stack=stack, monitor=recorder, logger=messages.logger)
        settings.SETTINGS.root_directory = str(directory.resolve()) if directory else None  # pyright: ignore[reportAttributeAccessIssue] - a property of theirs
        register_stack_transformation(recorder.declare)
        mocks.test(program)()
    return Run(recorder.records(), exports, frozenset(secrets), tuple(messages.texts))
