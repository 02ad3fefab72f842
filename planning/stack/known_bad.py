"""Versions that are refused or warned of, and the nearest one that is not, by `catalog/known-bad.yaml`."""

import re
from collections.abc import Iterable, Iterator, Mapping

from catalog.load import Catalog
from catalog.schema import KnownBad
from planning.plan.observe import ReleasePlan
from planning.plan.pods import BY_DIGEST, ImagePlan
from planning.stack.versions import NUMBERS, line, parse_version
from settings.problems import Problem


def refusals(path: str, name: str, version: str, catalog: Catalog) -> list[Problem]:
    """Reasons why this version of an image or chart must not be deployed; `path`: the setting that names it."""
    reason = _sentence(name, version, "refuse", catalog)
    return [Problem(path, f"{name} {version} must not be deployed: {reason}")] if reason else []


def version_warnings(
    images: Iterable[ImagePlan], releases: Mapping[str, ReleasePlan], catalog: Catalog
) -> Iterator[str]:
    """Warnings about versions that are deployed, and about those that nobody can see."""
    for image in images:
        if image.version == BY_DIGEST:
            yield (
                f"image {image.reference}: a digest does not say which version it is, so nothing is known of its "
                "faults; write repository:version@sha256:…"
            )
        elif reason := _sentence(image.name, image.version, "warn", catalog):
            yield f"{image.name} {image.version}: {reason}"
    for chart, release in releases.items():
        if reason := _sentence(chart, release.version, "warn", catalog):
            yield f"{chart} {release.version}: {reason}"


def _sentence(name: str, version: str, severity: str, catalog: Catalog) -> str | None:
    """The case against a version, and what to take; None: nothing of this severity.

    A row that names the version says enough; otherwise all floors it is below, and the version that passes all of them.
    """
    rows = [bad for bad in catalog.known_bad if name in bad.of and bad.severity == severity]
    named = [bad for bad in rows if any(_is_of(version.removeprefix("v"), line) for line in bad.versions)]
    faults = named[:1] or [bad for bad in rows if _is_below(version, bad.below)]
    if not faults:
        return None
    use = max((_instead(bad, version) for bad in faults), key=parse_version)
    return "; ".join(bad.reason for bad in faults) + f"; use {use}" + ("" if named else " or newer")


def _is_of(version: str, line: str) -> bool:
    """Whether a version is the one named (`1.82.7`), of the line named (`1.107.*`), or a build of either."""
    return re.match(re.escape(line.removesuffix(".*")) + r"(?!\d)", version) is not None


def _is_below(version: str, floors: list[str]) -> bool:
    """Whether a version comes before the last floor, and is not mended in a line of its own."""
    if not floors or not NUMBERS.match(version):
        return False
    here = parse_version(version)
    mended = [floor for floor in map(parse_version, floors) if line(floor) == line(here) and floor <= here]
    return here < max(map(parse_version, floors)) and not mended


def _instead(bad: KnownBad, version: str) -> str:
    """The nearest version outside of the row: what it offers, or the floor of the same line, or the next one."""
    if bad.use:
        return bad.use
    here = parse_version(version)
    above = sorted((floor for floor in bad.below if parse_version(floor) > here), key=parse_version)
    return next((floor for floor in above if line(parse_version(floor)) == line(here)), above[0])
