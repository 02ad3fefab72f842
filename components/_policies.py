"""The network rules of one workload, as an object for each destination, because rules add up."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s


def policies(
    label: str, metadata: Any, name: str, specs: Mapping[str, Mapping[str, Any]], opts: pulumi.ResourceOptions
) -> Sequence[pulumi.Resource]:
    """Declare them; `specs`: end of the name, of the object and of the resource → rules."""
    return [
        k8s.networking.v1.NetworkPolicy(
            f"{label}{role}",
            metadata=_k8s.named(metadata, f"{name}{role}"),
            spec=spec,  # pyright: ignore[reportArgumentType] - checked against its schema in tests
            opts=opts,
        )
        for role, spec in specs.items()
    ]
