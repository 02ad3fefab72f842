"""One resource registration as a reader sees it: plain data with secrets taken out, and the options that matter.

Owns the translation from Pulumi's wire format, and nothing that runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from pulumi.runtime import rpc

STACK_TYPE = "pulumi:pulumi:Stack"
# What readers see instead of a secret value.
SECRET = "<secret>"  # noqa: S105 - a word, not a password


@dataclass(frozen=True)
class Options:
    """The resource options the engine would get; None where the program leaves one to the engine's default.

    `depends_on` has the URNs of explicit and implicit dependencies; `timeouts` the keys create, update, delete.
    `provider` is the provider's URN, empty for the default provider.
    """

    protect: bool | None = None
    retain_on_delete: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    delete_before_replace: bool | None = None
    depends_on: tuple[str, ...] = ()
    timeouts: Mapping[str, str] = field(default_factory=dict)
    provider: str = ""
    aliases: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    deleted_with: str = ""
    import_id: str = ""


@dataclass(frozen=True)
class Record:
    """One resource: what the program passed, with secret values shown as `<secret>` and listed in `secret_paths`.

    `parent` is the URN of the component it belongs to, empty for the stack itself. `outputs_registered` says whether
    `register_outputs` was called, which only means something for components (`custom` is false).
    """

    urn: str
    type: str
    name: str
    parent: str
    custom: bool
    inputs: Mapping[str, Any]
    secret_paths: tuple[str, ...]
    options: Options
    outputs_registered: bool


def record_of(request: Any, urn: str) -> Record:
    """The record of a `RegisterResourceRequest` whose resource got `urn`."""
    # not rpc.deserialize_properties, which marks a whole top-level property for one secret in it
    inputs, secret_paths = plain(MessageToDict(request.object))
    provider, _, _ = request.provider.rpartition("::")
    timeouts = {key: value for key in ("create", "update", "delete") if (value := getattr(request.customTimeouts, key))}
    return Record(
        urn=urn,
        type=request.type,
        name=request.name,
        parent="" if f"::{STACK_TYPE}::" in request.parent else request.parent,
        custom=request.custom,
        inputs=inputs,
        secret_paths=secret_paths,
        options=Options(
            protect=request.protect if request.HasField("protect") else None,
            retain_on_delete=request.retainOnDelete if request.HasField("retainOnDelete") else None,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=tuple(request.replaceOnChanges),
            delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            depends_on=tuple(sorted(request.dependencies)),
            timeouts=timeouts,
            provider=provider,
            aliases=tuple(_alias(alias) for alias in request.aliases),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            deleted_with=request.deletedWith,
            import_id=request.importId,
        ),
        outputs_registered=False,
    )


def _alias(alias: Any) -> str:
    """An alias as its URN, or as `field=value` pairs of what it says to be different."""
    return alias.urn or ",".join(f"{found.name}={value}" for found, value in alias.spec.ListFields() if value)


def plain(value: Any) -> tuple[Any, tuple[str, ...]]:
    """A deserialised property as plain data, and the paths (`spec.items[0].key`) at which secrets were taken out."""
    paths: list[str] = []

    def walk(here: Any, path: str) -> Any:
        if rpc.is_rpc_secret(here):
            paths.append(path)
            return _masked(here["value"])
        if isinstance(here, dict):
            present = ((key, item) for key, item in here.items() if item is not None)
            return {key: walk(item, f"{path}.{key}" if path else key) for key, item in present}
        if isinstance(here, list):
            return [walk(item, f"{path}[{position}]") for position, item in enumerate(here)]
        # protobuf has doubles only: 3 arrives as 3.0
        return int(here) if isinstance(here, float) and here.is_integer() else here

    return walk(value, ""), tuple(sorted(paths))


def _masked(value: Any) -> Any:
    """`<secret>` for every leaf, so that the keys of a secret mapping can still be read."""
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else SECRET
