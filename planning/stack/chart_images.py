"""Contents of the operators' charts: images that a release pulls, and paths at which its values take pull secrets.

Also what a mirror of images leaves out, which is above all that.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.charts import ChartImage
from catalog.load import Catalog
from planning.plan.observe import ReleasePlan
from planning.plan.weights import Hub
from settings.schema import (
    ExistingClaimWeights,
    FillSettings,
    HubSettings,
    ImageWeights,
    NodeCacheWeights,
    ObjectStoreWeights,
    SharedClaimWeights,
    StackSettings,
    WeightsSettings,
    all_weights,
)


@dataclass(frozen=True)
class Contents:
    """Images of one release as its chart writes them, and what it pulls beside them, said in a sentence each.

    `unread`: what rendering the chart would tell.
    """

    images: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def contents(chart: str, version: str, values: Mapping[str, object], catalog: Catalog) -> Contents:
    """Contents of a release of `version` with these values; of a version without a table nothing is known."""
    table = catalog.chart_images.get(chart, {}).get(version)
    if table is None:
        known = ", ".join(catalog.chart_images.get(chart, {})) or "none"
        return Contents(unread=(f"the images of this version (known: {known}); --helm renders it",))
    unknown = [missing for missing in table.not_known if _is_on(values, missing.when)]
    return Contents(
        tuple(image.image for image in table.images if _is_pulled(image, values)),
        tuple(missing.what for missing in unknown if not missing.rendering_tells),
        tuple(missing.what for missing in unknown if missing.rendering_tells),
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


def _references(path: str, weights: WeightsSettings) -> Iterator[tuple[str, str]]:
    """(where it is written, image) of what weights at `path` are in."""
    match weights:
        case ImageWeights(reference=reference):
            yield f"{path}.reference", reference
        case NodeCacheWeights(copied_from=origin):
            yield from _references(f"{path}.from", origin)
        case SharedClaimWeights() | ExistingClaimWeights() | ObjectStoreWeights():
            return


def _hubs(path: str, weights: WeightsSettings) -> Iterator[tuple[str, HubSettings]]:
    """(where it is written, hub) of what weights at `path` are downloaded from."""
    match weights:
        case SharedClaimWeights(hub=hub):
            yield f"{path}.hub", hub
        case NodeCacheWeights(copied_from=origin):
            yield from _hubs(f"{path}.from", origin)
        case ObjectStoreWeights(fill=FillSettings(hub=hub)):
            yield f"{path}.fill.hub", hub
        case ExistingClaimWeights() | ImageWeights() | ObjectStoreWeights():
            return


def registry_warnings(
    settings: StackSettings, releases: Mapping[str, ReleasePlan], hubs: Sequence[Hub], catalog: Catalog
) -> list[str]:
    """Sentences on what `images.mirror` and `images.pullSecrets` do not reach, each with what does."""
    sentences = []
    moved: set[str] = {name for name, chart in settings.charts.items() if chart.chart or chart.repository}
    published = [name for name in releases if name not in moved]
    if settings.images.mirror and published:
        sentences.append(
            f"images.mirror does not cover the charts {', '.join(published)}, nor the images inside of them; give "
            "charts.NAME.repository or charts.NAME.chart a mirror whose charts name mirrored images, or let the nodes "
            "mirror these registries: python -m preview bundle lists all of it"
        )
    if settings.images.mirror:
        sentences += _unmirrored_weights(
            settings, settings.images.mirror, {hub.kind for hub in hubs if not hub.endpoint}
        )
    unknown = [
        f"{name} {release.version}"
        for name, release in releases.items()
        if settings.images.pull_secrets and release.version not in catalog.chart_images.get(name, {})
    ]
    if unknown:
        sentences.append(
            f"images.pullSecrets does not reach the pods of {', '.join(unknown)}: where the values of that version "
            "take them is not known"
        )
    return sentences


def _unmirrored_weights(settings: StackSettings, mirror: str, kinds: Collection[str]) -> Iterator[str]:
    """Sentences on weights that come from somewhere else; `kinds`: hubs themselves that they are fetched from."""
    written = list(all_weights(settings))
    hubs = {
        hub.kind: path
        for where, weights in reversed(written)
        for path, hub in _hubs(where, weights)
        if hub.kind in kinds and not hub.endpoint
    }
    for kind, path in hubs.items():
        yield (
            f"images.mirror does not cover weights, which are fetched from {kind}; give {path}.endpoint a mirror of "
            f"it, or {path.partition('weights')[0]}weights.kind: existingClaim"
        )
    images = {
        reference: path for where, weights in reversed(written) for path, reference in _references(where, weights)
    }
    for reference, path in images.items():
        if not reference.startswith(f"{mirror.rstrip('/')}/"):
            yield (
                f"images.mirror does not change the image with weights {reference}; write the mirror's copy of it in "
                f"{path}"
            )


def _is_pulled(image: ChartImage, values: Mapping[str, object]) -> bool:
    return _is_on(values, image.when) and (image.only is None or _value(values, image.only) is True)


def _value(values: Mapping[str, object], path: str) -> object:
    """The value at a dotted path; None: the chart's own."""
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _is_on(values: Mapping[str, object], path: str | None) -> bool:
    """Whether the value at a dotted path, which is on by itself, has been left on."""
    return path is None or _value(values, path) is not False


def _with(values: Mapping[str, object], path: Sequence[str], value: object) -> dict[str, object]:
    """The values with `value` at a path."""
    first, *below_path = path
    below = values.get(first)
    return {
        **values,
        first: _with(below if isinstance(below, Mapping) else {}, below_path, value) if below_path else value,
    }
