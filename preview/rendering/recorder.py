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
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.stack import register_stack_transformation

from preview.rendering.records import SECRET, STACK_TYPE, Options, Record, record_of
from preview.rendering.sandbox import Messages, event_loop, import_path, strict_outputs

__all__ = ["Options", "Record", "Recorder", "Run", "autoname", "deploy", "run", "run_program"]

RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"


@dataclass(frozen=True)
class Run:
    """What a program did: resources in order of declaration, exports by name, log messages at warning or above."""

    records: tuple[Record, ...]
    exports: Mapping[str, Any]
    secret_exports: frozenset[str]
    messages: tuple[str, ...]


class Recorder(mocks.MockMonitor):
    """A monitor that answers like an engine whose every create succeeds, and remembers each request."""

    def __init__(self) -> None:
        super().__init__(_Cluster())
        self._records: dict[str, Record] = {}
        self._finished: set[str] = set()
        self._declared: dict[tuple[str, str], int] = {}

    def declare(self, args: pulumi.ResourceTransformationArgs) -> None:
        """Stack transformation that changes nothing: registrations arrive in any order, constructors run in one."""
        self._declared.setdefault((args.type_, args.name), len(self._declared))

    def records(self) -> tuple[Record, ...]:
        """All resources, in the order in which the program declared them."""
        found = [replace(record, outputs_registered=record.urn in self._finished) for record in self._records.values()]
        last = len(self._declared)
        return tuple(sorted(found, key=lambda record: self._declared.get((record.type, record.name), last)))

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN as the engine makes it, with all parent types; the mock's own keeps only the last one."""
        parent_type = parent.split("::")[2] if parent else ""
        qualified = f"{parent_type}${type_}" if parent_type not in ("", STACK_TYPE) else type_
        return f"urn:pulumi:{settings.get_stack()}::{settings.get_project()}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        """Record one registration; refuses a URN that is already taken, as the engine would."""
        response = super().RegisterResource(request)
        if request.type == STACK_TYPE:
            return response
        record = record_of(request, response.urn)
        if record.urn in self._records:
            raise AssertionError(f"two resources have the URN {record.urn}")
        self._records[record.urn] = record
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        """Remember who called `register_outputs`."""
        self._finished.add(request.urn)
        return super().RegisterResourceOutputs(request)


class _Cluster(mocks.Mocks):
    """What a cluster would fill in: names. Everything else comes back as it was sent."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.typ.startswith("kubernetes:"):
            return f"{args.name}-id", args.inputs
        state = dict(args.inputs)
        if args.typ == RELEASE_TYPE:
            state.setdefault("name", autoname(args.name))
            state["status"] = {"name": state["name"], "namespace": state.get("namespace"), "status": "deployed"}
            return f"{state.get('namespace', 'default')}/{state['name']}", state
        metadata = state.get("metadata") or {}
        if isinstance(metadata, dict) and not rpc.is_rpc_secret(metadata):
            metadata = {"name": autoname(args.name), **metadata}
            state["metadata"] = metadata
            return f"{metadata.get('namespace', 'default')}/{metadata['name']}", state
        return args.name, state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return ({"result": []} if args.token.startswith("kubernetes:") else {}), []


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
    path: Path, config: Mapping[str, Any], secret_keys: Sequence[str], stack: str, project: str
) -> tuple[Run, Mapping[str, Any]]:
    """Runs the program file `path` as `python __main__.py` would; returns what it did and its global names."""
    names: dict[str, Any] = {}

    def build() -> None:
        names.update(runpy.run_path(str(path), run_name="__main__"))

    with import_path(path.parent):
        return run(build, config, secret_keys, stack, project), names


def run(
    build: Callable[[], Any],
    config: Mapping[str, Any] | None = None,
    secret_keys: Sequence[str] = (),
    stack: str = "dev",
    project: str = "llm-stack",
) -> Run:
    """Calls `build` under mocks in a context of its own: neither configuration nor resources outlive the call."""
    return copy_context().run(_run, build, dict(config or {}), list(secret_keys), stack, project)


def _run(build: Callable[[], Any], config: dict[str, Any], secret_keys: list[str], stack: str, project: str) -> Run:
    recorder, messages = Recorder(), Messages()
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

    with event_loop(), strict_outputs():
        pulumi.runtime.set_all_config(config, secret_keys)
        settings.ROOT.set(None)
        mocks.set_mocks(recorder.mocks, project=project, stack=stack, monitor=recorder, logger=messages.logger)
        register_stack_transformation(recorder.declare)
        mocks.test(program)()
    return Run(recorder.records(), exports, frozenset(secrets), tuple(messages.texts))
