"""Patches of a user over objects, as a transformation: an engine and a preview declare the same."""

from collections.abc import Mapping
from typing import Any

import pulumi

from planning.overrides import patched


def overridden_by(overrides: Mapping[str, Mapping[str, Any]]) -> list[pulumi.ResourceTransformation]:
    """A transformation that merges each patch into the object of its kind and name; none without patches."""
    if not overrides:
        return []

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        props: dict[str, Any] = {**args.props}
        # components write plain mappings, never outputs; a name that is one, or that the engine makes, is no patch's
        metadata: dict[str, Any] = props.get("metadata") or {}
        kind, name = args.type_.rpartition(":")[2], metadata.get("name")
        known = args.type_.startswith("kubernetes:") and isinstance(name, str)
        patch = overrides.get(f"{kind}/{name}") if known else None
        if not patch:
            return None
        return pulumi.ResourceTransformationResult(patched(props, patch, kind), args.opts)

    return [transform]
