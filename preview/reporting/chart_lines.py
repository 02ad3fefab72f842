"""Lines of the report about values of charts and patches that are the user's, and which of ours they replace."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from planning.plan.observe import ReleasePlan
from planning.stack.chart_values import shown
from planning.stack.merging import leaves


def titled(title: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Rows of facts whose first has the title."""
    for position, line in enumerate(lines):
        yield "" if position else title, line


def override_lines(overrides: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each value of a patch."""
    for name, patch in overrides.items():
        yield from (f"yours: {name} {path}: {shown(value)}" for path, value in leaves(patch))


def chart_lines(releases: Mapping[str, ReleasePlan]) -> Iterator[str]:
    """A line for each value, where it is one of ours with both."""
    for chart, release in releases.items():
        for path, ours, theirs in release.replaced:
            yield f"yours: {chart} {path}: {shown(ours)} → {shown(theirs)}"
        replaced = {path for path, _, _ in release.replaced}
        for path, value in _leaves(release.added):
            if not any(f"{path}.".startswith(f"{known}.") for known in replaced):
                yield f"yours: {chart} {path}: {shown(value)}"


def _leaves(values: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, where)
        else:
            yield where, value
