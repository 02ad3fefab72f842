"""One resource registration as a reader sees it: plain data with secrets taken out, and the options that matter.

Owns the translation from Pulumi's wire format, and nothing that runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    inputs, secret_paths = plain(request.object)
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
    return alias.urn or ",".join(f"{field.name}={value}" for field, value in alias.spec.ListFields() if value)


def plain(struct: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A protobuf Struct as plain data, and the paths (`spec.items[0].key`) at which secrets were taken out."""
    reading = _Reading()
    return reading.fields(struct.fields), tuple(sorted(reading.secret_paths))


class _Reading:
    """One pass over all values of a Struct; MessageToDict takes twice as long, and leaves half of this to be done."""

    def __init__(self) -> None:
        self.secret_paths: list[str] = []
        self._here: list[str] = []

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that have a value; a field of null has none."""
        plain = {}
        for key, message in fields.items():
            value = self._at(f".{key}", message)
            if value is not None:
                plain[key] = value
        return plain

    def _at(self, step: str, value: Any) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            return value.string_value
        if kind == "number_value":
            # protobuf has doubles only: 3 arrives as 3.0
            number = value.number_value
            return int(number) if number.is_integer() else number
        if kind == "bool_value":
            return value.bool_value
        self._here.append(step)
        plain = self._struct(value.struct_value) if kind == "struct_value" else None
        if kind == "list_value":
            plain = [self._at(f"[{position}]", element) for position, element in enumerate(value.list_value.values)]
        self._here.pop()
        return plain

    def _struct(self, struct: Any) -> Any:
        before = len(self.secret_paths)
        plain = self.fields(struct.fields)
        if not rpc.is_rpc_secret(plain):
            return plain
        self.secret_paths[before:] = ["".join(self._here).removeprefix(".")]
        return _masked(plain["value"])


def _masked(value: Any) -> Any:
    """`<secret>` for every leaf, so that the keys of a secret mapping can still be read."""
    if isinstance(value, dict):
        return {key: _masked(child) for key, child in value.items()}
    return [_masked(child) for child in value] if isinstance(value, list) else SECRET
