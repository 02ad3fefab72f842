"""In which order the engine turns one deployed stack into another: a small model of Pulumi's step generator.

What it models (pulumi/pulumi pkg/resource/deploy/step_generator.go and deployment_executor.go @1b59498, 2026-08):
a resource is created, updated or replaced once everything it depends on has been; what is replaced is created first,
unless its name is fixed or `delete_before_replace` says otherwise, and then what would have to be replaced with it is
deleted with it; what is left over is deleted when all of that is done, in layers, dependents first. The order is
partial: the engine works on what does not depend on each other at the same time, so `orders` has several of the total
orders. `tests/engine` compares it with the real engine.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from preview.rendering.recorder import autoname
from preview.reporting.compare import FORCE_REPLACE, IDENTITY
from preview.reporting.fields import differences
from tests.harness import Deployed, kind_of

PROVIDER = "pulumi:providers:kubernetes"


class Op(StrEnum):
    """What the engine does to one resource; the names are the engine's."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True)
class Resource:
    """One resource as the state holds it; `body` has secrets in clear and names as the engine would draw them."""

    urn: str
    kind: str
    parent: str
    custom: bool
    body: Mapping[str, Any]
    needs: frozenset[str]
    aliases: tuple[str, ...]
    deletes_first: bool
    retained: bool
    ignored: tuple[str, ...]
    named: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name on the cluster."""
        metadata = self.body.get("metadata") or {}
        return self.kind, metadata.get("namespace", ""), metadata.get("name", self.body.get("name", ""))

    @property
    def title(self) -> str:
        """`Kind/logical name`."""
        return f"{self.kind}/{self.urn.rpartition('::')[2]}"


def resources(deployed: Deployed) -> dict[str, Resource]:
    """URN → resource. A drawn name follows the content here, so that equal content is no change."""
    drawn: dict[str, str] = {}
    found: dict[str, Resource] = {}
    for record in deployed.records:
        if record.type == PROVIDER:
            continue
        body = _renamed(deployed.raw[record.urn], drawn)
        metadata = body.get("metadata") or {}
        named = "name" in metadata or "name" in body
        if record.custom and not named:
            text = json.dumps(body, sort_keys=True)
            drawn[autoname(record.name)] = f"{record.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            body = {**body, "metadata": {**metadata, "name": drawn[autoname(record.name)]}}
        options = record.options
        found[record.urn] = Resource(
            urn=record.urn,
            kind=kind_of(record),
            parent=record.parent,
            custom=record.custom,
            body=body,
            needs=frozenset(options.depends_on) | ({record.parent} if record.parent else set()),
            aliases=options.aliases,
            deletes_first=bool(options.delete_before_replace),
            retained=bool(options.retain_on_delete),
            ignored=options.ignore_changes,
            named=named,
        )
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if isinstance(value, float) and value.is_integer():
        # the engine's wire has no other numbers
        return int(value)
    return names.get(value, value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Step:
    """One thing the engine does. `old` is what was there, `new` what is; `first` is deleted before `new` is made."""

    op: Op
    old: Resource | None = None
    new: Resource | None = None
    first: tuple[Resource, ...] = ()

    @property
    def title(self) -> str:
        """`Kind/logical name` of what it is done to."""
        one = self.new or self.old
        assert one
        return one.title


@dataclass
class Update:
    """All steps between two deployed stacks."""

    before: Mapping[str, Resource]
    after: Mapping[str, Resource]
    steps: dict[str, Step] = field(default_factory=dict)
    """By URN of the new resource, in the order of the program."""
    deletions: list[list[Step]] = field(default_factory=list)
    """Layer after layer."""

    @classmethod
    def between(cls, before: Deployed, after: Deployed) -> "Update":
        """What `up` does when the stack file changes from one to the other."""
        return cls.of(resources(before), resources(after))

    @classmethod
    def of(cls, before: Mapping[str, Resource], after: Mapping[str, Resource]) -> "Update":
        """The same from resources."""
        update = cls(before, after)
        matched = update._matched()
        update.after = after = update._with_kept_names(matched)
        condemned = [one for urn, one in before.items() if urn not in matched.values()]
        gone: set[str] = set()
        for urn, new in after.items():
            old = before[matched[urn]] if urn in matched else None
            step = update._step(old, new, gone)
            gone |= {one.urn for one in step.first}
            update.steps[urn] = step
            if step.op is Op.REPLACE and old and old.urn not in gone:
                condemned.append(old)
        update.deletions = update._layers([one for one in condemned if one.urn not in gone])
        return update

    def _matched(self) -> dict[str, str]:
        """URN of a new resource → URN of the one it was, by its own URN or by an alias, inherited ones included."""
        matched: dict[str, str] = {}
        for urn, new in self.after.items():
            if urn in self.before:
                matched[urn] = urn
                continue
            former = [urn.rpartition("::")[0] + "::" + alias.removeprefix("name=") for alias in new.aliases]
            parent = matched.get(new.parent)
            if parent and parent != new.parent:
                name, short = urn.rpartition("::")[2], new.parent.rpartition("::")[2]
                former.append(urn.rpartition("::")[0] + "::" + parent.rpartition("::")[2] + name.removeprefix(short))
            for alias in former:
                if alias in self.before:
                    matched[urn] = alias
        return matched

    def _with_kept_names(self, matched: Mapping[str, str]) -> dict[str, Resource]:
        """What is after; who was there already keeps the name that was drawn for it, unless it has to be replaced."""
        kept: dict[str, str] = {}
        found: dict[str, Resource] = {}
        for urn, new in self.after.items():
            old = self.before.get(matched.get(urn, ""))
            body = _renamed(new.body, kept)
            if old and new.custom and not new.named and not old.named and not _forced(old, replace(new, body=body)):
                kept[body["metadata"]["name"]] = old.body["metadata"]["name"]
                body = _renamed(body, kept)
            found[urn] = replace(new, body=body)
        return found

    def _step(self, old: Resource | None, new: Resource, gone: Iterable[str]) -> Step:
        if old is None:
            return Step(Op.CREATE, None, new)
        if old.urn in gone:
            return Step(Op.REPLACE, old, new)
        paths = [
            path
            for path, _, _ in differences(old.body, new.body)
            if not any(_inside(path, ignored) for ignored in new.ignored)
        ]
        if not paths or not new.custom:
            return Step(Op.SAME, old, new)
        if not _forced(old, new) and not any(_inside(path, prefix) for path in paths for prefix in IDENTITY):
            return Step(Op.UPDATE, old, new)
        if not new.deletes_first and not (new.named and new.key == old.key):
            return Step(Op.REPLACE, old, new)
        return Step(Op.REPLACE, old, new, (*self._with(old), old))

    def _with(self, root: Resource) -> list[Resource]:
        """What has to be deleted with it, because its name in there decides what is replaced; dependents first."""
        found = []
        for one in self.before.values():
            forced = FORCE_REPLACE.get(one.kind, ())
            if root.urn in one.needs and root.kind == "ConfigMap" and "spec.template" in forced:
                found.append(one)
        return found

    def _layers(self, condemned: Sequence[Resource]) -> list[list[Step]]:
        left = {one.urn: one for one in condemned}
        layers: list[list[Step]] = []
        while left:
            layer = [one for one in left.values() if not one.needs & left.keys()]
            layers.append([Step(Op.DELETE, one) for one in layer])
            left = {urn: one for urn, one in left.items() if one not in layer}
        return layers[::-1]

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """URN → everything that is done before it."""
        found: dict[str, frozenset[str]] = {}
        for urn, one in self.after.items():
            known = one.needs & self.after.keys()
            found[urn] = frozenset(known).union(*(found[other] for other in known))
        return found

    def orders(self, seed: int, draws: int) -> Iterator[list[Step]]:
        """Total orders of all steps: those that do a workload as early and as late as can be, and drawn ones."""
        last = [step for layer in self.deletions for step in layer]
        urns = list(self.after)
        for urn, step in self.steps.items():
            if step.op is not Op.SAME and step.new and "spec" in step.new.body and "template" in step.new.body["spec"]:
                first = [other for other in urns if other in self.ancestors[urn]]
                descendants = [other for other in urns if urn in self.ancestors[other]]
                rest = [other for other in urns if other != urn and other not in first and other not in descendants]
                for order in ([*first, urn, *rest, *descendants], [*first, *rest, urn, *descendants]):
                    yield [*(self.steps[other] for other in order), *last]
        dice = random.Random(seed)
        for _ in range(draws):
            drawn = [step for layer in self.deletions for step in dice.sample(layer, len(layer))]
            yield [*(self.steps[urn] for urn in self._drawn(dice)), *drawn]

    def _drawn(self, dice: random.Random) -> list[str]:
        done: list[str] = []
        left = dict.fromkeys(self.after)
        while left:
            ready = [urn for urn in left if self.ancestors[urn] <= set(done)]
            done.append(dice.choice(ready))
            del left[done[-1]]
        return done


def _forced(old: Resource, new: Resource) -> list[str]:
    """Paths whose change makes another object of it, beside its name."""
    prefixes = FORCE_REPLACE.get(new.kind, ())
    return [
        path
        for path, _, _ in differences(old.body, new.body)
        if any(_inside(path, prefix) for prefix in (*prefixes, "metadata.namespace"))
        and not any(_inside(path, ignored) for ignored in new.ignored)
    ]


def _inside(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))
