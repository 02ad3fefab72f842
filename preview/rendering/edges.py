"""Expectations of a stack, with those of the edge in front of it: its controller, and what only who runs it can set."""

from collections.abc import Iterator, Sequence

from planning.plan import Plan
from preview.rendering.expected import Expected
from preview.rendering.manifests import Manifest
from preview.rendering.prerequisites import find_prerequisites


def expectations(manifests: Sequence[Manifest], plan: Plan | None) -> tuple[Expected, ...]:
    """Everything that `pulumi up` expects to find, and of the edge what no object names."""
    return (*find_prerequisites(manifests), *(_edge(plan) if plan is not None else ()))


def _edge(plan: Plan) -> Iterator[Expected]:
    exposure = plan.gateway.exposure
    if exposure is None or exposure.edge.controller is None:
        return
    edge = exposure.edge
    for need in edge.needs or ("",):
        yield Expected("Edge", edge.name, note=need)
