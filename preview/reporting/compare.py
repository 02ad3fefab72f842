"""Two renderings of one stack, compared: what is replaced, deleted, changed and added, field by field.

Pure: works on documents and bodies, knows neither git nor Markdown. Replacement follows the provider's own rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from preview.rendering.quantity import quantity_bytes
from preview.rendering.recorder import autoname
from preview.reporting.fields import differences

Key = tuple[str, str, str, str]
# Fields whose change makes the provider replace the object, beside its name and namespace
# (pulumi-kubernetes provider/pkg/provider/diff.go and helm_release.go @94977969, 2026-07).
FORCE_REPLACE: Mapping[str, tuple[str, ...]] = {
    "ConfigMap": ("data", "binaryData"),
    "ClusterRoleBinding": ("roleRef",),
    "DaemonSet": ("spec.selector",),
    "Deployment": ("spec.selector",),
    "Job": ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"),
    "Release": ("name", "namespace"),
    "RoleBinding": ("roleRef",),
    "Secret": ("data", "stringData", "type"),
    "Service": ("spec.clusterIP",),
    "StatefulSet": (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    "StorageClass": ("parameters", "provisioner"),
}
# Where the pods of a workload are described: a change there replaces them.
POD_TEMPLATE = {
    "DaemonSet": "spec.template",
    "Deployment": "spec.template",
    "LeaderWorkerSet": "spec.leaderWorkerTemplate",
    "StatefulSet": "spec.template",
}
RESTART = "its pods are restarted"
IDENTITY = ("metadata.name", "metadata.namespace")
CLAIM = "PersistentVolumeClaim"
STORAGE = "spec.resources.requests.storage"


class Action(StrEnum):
    """Steps that the engine would take."""

    REPLACE = "replaced"
    DELETE = "deleted"
    CHANGE = "changed"
    ADD = "added"


@dataclass(frozen=True)
class Thing:
    """One object, patch or release of one side: its entry in the document, and what it is made of."""

    entry: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """The key of an object, equal on both sides whatever name the cluster gave the object."""
        entry = self.entry
        name = entry.get("logicalName") or entry["name"]
        return entry["apiVersion"], entry["kind"], entry.get("namespace") or "", name

    @property
    def autonamed(self) -> bool:
        """Whether the engine makes up a new name for every replacement."""
        return self.entry["name"] == autoname(self.entry.get("logicalName", ""))

    @property
    def options(self) -> Mapping[str, Any]:
        """Resource options that are set."""
        return self.entry.get("options", {})

    def __str__(self) -> str:
        namespace = self.entry.get("namespace")
        return f"{self.entry['kind']} {self.entry['name']}{f' in {namespace}' if namespace else ''}"


@dataclass(frozen=True)
class FieldChange:
    """One field that differs; `old` or `new` is `ABSENT` where it is missing."""

    path: str
    old: Any
    new: Any
    replaces: bool = False


@dataclass(frozen=True)
class Change:
    """One object that differs, with everything a reviewer must know about it in `notes`.

    `blocked`: the update cannot succeed as it stands.
    """

    action: Action
    thing: Thing
    fields: tuple[FieldChange, ...] = ()
    notes: tuple[str, ...] = ()
    blocked: bool = False

    @property
    def renames(self) -> bool:
        """Whether the object comes back under another name."""
        return self.action is Action.REPLACE and self.thing.autonamed


def compare(before: Sequence[Thing], after: Sequence[Thing]) -> tuple[Change, ...]:
    """Everything that differs: replaced and deleted first, then changed, then added; each in order of declaration."""
    old = {thing.key: thing for thing in before}
    new = {thing.key: thing for thing in after}
    changed = {key: change for key, thing in new.items() if key in old and (change := _changed(old[key], thing))}
    gone = [thing for key, thing in old.items() if key not in new]
    changes = [_deleted(thing) for thing in gone]
    changes += _with_followers(changed, [thing for key, thing in new.items() if key in old])
    changes += [Change(Action.ADD, thing, notes=_waiting(thing, gone)) for key, thing in new.items() if key not in old]
    order = list(Action)
    return tuple(sorted(changes, key=lambda change: order.index(change.action)))


def _waiting(added: Thing, gone: Sequence[Thing]) -> tuple[str, ...]:
    """Notes on the GPUs that a new server waits for: the engine deletes last, so it may wait in vain."""
    pod = _gpu_pod(added)
    rivals = [
        thing
        for thing in gone
        if pod is not None and (rival_pod := _gpu_pod(thing)) and _place(rival_pod) == _place(pod)
    ]
    if not rivals:
        return ()
    names = " and ".join(thing.entry["name"] for thing in rivals)
    if added.options.get("deleteBeforeReplace"):
        return (f"starts after what it replaces has gone: {names}",)
    waits = f"starts before {names} is deleted: where no GPUs are spare it waits for them in vain, and the update fails"
    here = [thing for thing in rivals if thing.entry.get("namespace") == added.entry.get("namespace")]
    first = "; `replaces` in its model lets the other go first" if here else ""
    # `replaces` comes too late for what the engine has begun to make under the new name
    deleted = " and ".join(
        f"`kubectl -n {thing.entry.get('namespace')} delete {thing.entry['kind'].lower()} {thing.entry['name']}`"
        for thing in rivals
    )
    return (f"{waits}{first}. An update that waits already goes on after {deleted}",)


def _gpu_pod(thing: Thing) -> Any:
    """The pod spec of a workload that asks for GPUs; None for everything else."""
    template = _at(thing.body, POD_TEMPLATE.get(thing.entry["kind"], "-"))
    template = (template or {}).get("leaderTemplate", template)
    pod = (template or {}).get("spec") or {}
    limits = [
        key for container in pod.get("containers", ()) for key in container.get("resources", {}).get("limits", {})
    ]
    return pod if pod.get("resourceClaims") or any(key.endswith("/gpu") for key in limits) else None


def _place(pod: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(pod.get(key) for key in ("nodeSelector", "affinity", "tolerations"))


def _with_followers(changes: dict[Key, Change], things: Sequence[Thing]) -> list[Change]:
    """Adds who names an autonamed object that is replaced: a rendering cannot show that the name will be another."""
    renamed: dict[str, Thing] = {}
    while True:
        renaming = {change.thing.entry["name"]: change.thing for change in changes.values() if change.renames}
        if renaming.keys() == renamed.keys():
            return [changes[thing.key] for thing in things if thing.key in changes]
        renamed = renaming
        for thing in things:
            if mentions := {path: renamed[name] for path, name in _mentions(thing.body, renamed)}:
                changes[thing.key] = _following(changes.get(thing.key, Change(Action.CHANGE, thing)), mentions)


def _following(change: Change, mentions: Mapping[str, Thing]) -> Change:
    notes = [f"`{path}` follows {thing}, which gets a new name" for path, thing in mentions.items()]
    if any(_restarts(change.thing, path) for path in mentions):
        notes.insert(0, RESTART)
    forced = any(_inside(path, prefix) for path in mentions for prefix in _forced(change.thing))
    return replace(
        change,
        action=Action.REPLACE if forced else change.action,
        notes=tuple(dict.fromkeys([*change.notes, *notes])),
    )


def _mentions(value: Any, names: Mapping[str, Thing], path: str = "") -> Iterator[tuple[str, str]]:
    """(path, name) of every text that is one of `names`, other than the object's own name."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _mentions(child, names, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, child in enumerate(value):
            yield from _mentions(child, names, f"{path}[{position}]")
    elif isinstance(value, str) and value in names and path != "metadata.name":
        yield path, value


def _deleted(thing: Thing) -> Change:
    if thing.options.get("protect"):
        return Change(Action.DELETE, thing, notes=("it is protected, so the update stops here",), blocked=True)
    if thing.options.get("retainOnDelete"):
        return Change(Action.DELETE, thing, notes=("retained: the object stays in the cluster, Pulumi forgets it",))
    return Change(Action.DELETE, thing)


def _changed(old: Thing, new: Thing) -> Change | None:
    kind, forced = new.entry["kind"], _forced(new)
    fields = tuple(
        FieldChange(path, before, after, replaces=any(_inside(path, prefix) for prefix in forced))
        for path, before, after in differences(old.body, new.body)
        if not any(_inside(path, ignored) for ignored in new.options.get("ignoreChanges", ()))
    )
    moved = old.entry.get("urn") not in (new.entry.get("urn"), *new.entry.get("formerUrns", ()))
    if not fields and not moved:
        return None
    notes: list[str] = []
    blocked = False
    if kind == CLAIM and (shrunk := _shrinks(old, new)):
        notes.append(f"it shrinks from {shrunk[0]} to {shrunk[1]}, which the API server refuses")
        blocked = True
    if any(_restarts(new, field.path) for field in fields):
        notes.append(RESTART)
    replaced = moved or any(field.replaces for field in fields)
    if moved:
        notes.append("its URN changes: without an alias the engine creates it anew and deletes the old one")
    if replaced and old.options.get("protect"):
        notes.append("it is protected, so the update stops here")
        blocked = True
    elif replaced and old.options.get("retainOnDelete") and str(old) == str(new):
        notes.append("the old one is retained and keeps its name, so the new one cannot be created")
        blocked = True
    elif replaced and new.autonamed:
        notes.append("the new one is created under a new name before the old one is deleted")
    return Change(Action.REPLACE if replaced else Action.CHANGE, new, fields, tuple(notes), blocked)


def _forced(thing: Thing) -> tuple[str, ...]:
    """Paths below which a change replaces the object."""
    return (*IDENTITY, *FORCE_REPLACE.get(thing.entry["kind"], ()), *thing.options.get("replaceOnChanges", ()))


def _restarts(thing: Thing, path: str) -> bool:
    template = POD_TEMPLATE.get(thing.entry["kind"])
    return template is not None and _inside(path, template)


def _shrinks(old: Thing, new: Thing) -> tuple[str, str] | None:
    before, after = _at(old.body, STORAGE), _at(new.body, STORAGE)
    sizes = quantity_bytes(before), quantity_bytes(after)
    return (str(before), str(after)) if sizes[0] is not None and sizes[1] is not None and sizes[1] < sizes[0] else None


def _at(body: Any, path: str) -> Any:
    for step in path.split("."):
        body = body.get(step) if isinstance(body, Mapping) else None
    return body


def _inside(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))
