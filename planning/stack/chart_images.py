"""What is inside the operators' charts: which images a release pulls, and where its values take pull secrets.

Also what a mirror of images leaves out, which is above all that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.load import Catalog
from planning.plan.observe import ReleasePlan
from planning.plan.weights import Hub
from settings.schema import StackSettings


@dataclass(frozen=True)
class Contents:
    """Images of one release as its chart writes them, and what it pulls beside them, said in a sentence each.

    `unread`: what rendering the chart would tell.
    """

    images: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def contents(chart: str, version: str, values: Mapping[str, object], catalog: Catalog) -> Contents:
    """What a release of `version` pulls with these values; of a version without a table nothing is known."""
    table = catalog.chart_images.get(chart, {}).get(version)
    if table is None:
        known = ", ".join(catalog.chart_images.get(chart, {})) or "none"
        return Contents(unread=(f"the images of this version (known: {known}); --helm renders it",))
    said = [item for item in table.not_known if _is_on(values, item.when)]
    return Contents(
        tuple(item.image for item in table.images if _is_on(values, item.when)),
        tuple(item.what for item in said if not item.rendering_tells),
        tuple(item.what for item in said if item.rendering_tells),
    )


def with_pull_secrets(
    chart: str, version: str, values: Mapping[str, object], secrets: Sequence[str], catalog: Catalog
) -> Mapping[str, object]:
    """`values` with these Secrets wherever the chart takes such; unchanged without any, or where no place is known."""
    table = catalog.chart_images.get(chart, {}).get(version)
    if table is None or not secrets:
        return values
    for path in table.pull_secrets.names:
        values = _with(values, path.split("."), list(secrets))
    for path in table.pull_secrets.references:
        values = _with(values, path.split("."), [{"name": name} for name in secrets])
    return values


def registry_warnings(
    settings: StackSettings, releases: Mapping[str, ReleasePlan], hubs: Sequence[Hub], catalog: Catalog
) -> list[str]:
    """What `images.mirror` and `images.pullSecrets` do not reach, each with what does."""
    said = []
    moved: set[str] = {name for name, one in settings.charts.items() if one.chart or one.repository}
    published = [name for name in releases if name not in moved]
    if settings.images.mirror and published:
        said.append(
            f"images.mirror does not cover the charts {', '.join(published)}, nor the images inside of them; give "
            "charts.NAME.repository or charts.NAME.chart a mirror whose charts name mirrored images, or let the nodes "
            "mirror these registries: python -m preview bundle lists all of it"
        )
    if settings.images.mirror:
        said += [
            f"images.mirror does not cover weights, which are fetched from {hub.kind}; give weights.hub.endpoint a "
            "mirror of it, or weights.kind: existingClaim"
            for hub in hubs
            if not hub.endpoint
        ]
    unknown = [
        f"{name} {one.version}"
        for name, one in releases.items()
        if settings.images.pull_secrets and one.version not in catalog.chart_images.get(name, {})
    ]
    if unknown:
        said.append(
            f"images.pullSecrets does not reach the pods of {', '.join(unknown)}: where the values of that version "
            "take them is not known"
        )
    return said


def _is_on(values: Mapping[str, object], path: str | None) -> bool:
    """Whether the value at a dotted path, which is on by itself, has been left on."""
    found: Any = values
    for part in path.split(".") if path else ():
        if not isinstance(found, Mapping) or part not in found:
            return True
        found = found[part]
    return found is not False


def _with(values: Mapping[str, object], path: Sequence[str], item: object) -> dict[str, object]:
    """The same values with `item` at a path."""
    first, *rest = path
    below = values.get(first)
    return {**values, first: _with(below if isinstance(below, Mapping) else {}, rest, item) if rest else item}
