"""A stack as a list of objects to apply: names and secrets filled in as an engine would. Pure functions."""

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planning.plan import Plan
from preview.rendering.manifests import Category, Manifest, collect_manifests
from preview.rendering.recorder import autoname
from preview.rendering.records import SECRET, Record
from preview.rendering.render import Rendering
from workshop.kubernetes import named, with_texts

HASH_LENGTH = 8


@dataclass(frozen=True)
class Target:
    """One object or patch to apply, what must be done before (URNs), and dotted paths that are left once it exists."""

    urn: str
    body: Mapping[str, Any]
    patch: bool
    after: frozenset[str]
    keeps: bool
    frozen_fields: tuple[str, ...]

    def __str__(self) -> str:
        return named(self.body)


@dataclass(frozen=True)
class Stack:
    """Everything a stack declares; `releases` are Helm's, which nobody installs on a simulated cluster."""

    name: str
    plan: Plan
    targets: tuple[Target, ...]
    manifests: tuple[Manifest, ...]
    releases: tuple[str, ...]


def stack_of(rendering: Rendering) -> Stack:
    """The stack that a rendering without refusals describes."""
    assert rendering.plan is not None, "a rendering that was refused has no plan"
    declared = collect_manifests(rendering.records)
    return Stack(
        rendering.stack,
        rendering.plan,
        targets(declared, rendering.records),
        declared,
        tuple(manifest.name for manifest in declared if manifest.category is Category.RELEASE),
    )


def targets(declared: Sequence[Manifest], records: Sequence[Record]) -> tuple[Target, ...]:
    """Objects and patches to apply, in order of declaration: a resource is declared after all it depends on."""
    names = content_names(declared)
    applied = {manifest.urn: manifest for manifest in declared if not manifest.needs_engine}
    through = {record.urn: frozenset(record.options.depends_on) for record in records}
    return tuple(
        Target(
            urn=urn,
            body=renamed(manifest.body, names),
            patch=manifest.category is Category.PATCH,
            after=_waits(urn, applied, through),
            keeps=bool(manifest.options.retain_on_delete),
            frozen_fields=manifest.options.ignore_changes,
        )
        for urn, manifest in applied.items()
    )


def _waits(urn: str, applied: Container[str], through: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The applied objects a resource waits for, seen through what nobody applies: releases, the claim, providers."""
    behind = ({below} if below in applied else _waits(below, applied, through) for below in through.get(urn, ()))
    return frozenset().union(*behind)


def content_names(declared: Sequence[Manifest]) -> dict[str, str]:
    """Rendered name → final name, ended by a digest, of every object for whose content the engine would draw a name."""
    names: dict[str, str] = {}
    # declared in the order of dependencies, so the names inside a body are known before its own
    for manifest in declared:
        if manifest.category is Category.OBJECT and manifest.name == autoname(manifest.logical_name):
            text = json.dumps(renamed(manifest.body, names), sort_keys=True)
            names[manifest.name] = f"{manifest.logical_name}-{hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]}"
    return names


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The value with every text that is one of these names replaced."""
    return with_texts(value, lambda text: names.get(text, text))


def is_secret(value: Any) -> bool:
    """Whether a rendered value hides a secret anywhere inside."""
    return SECRET in json.dumps(value)
