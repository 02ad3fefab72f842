"""Lines of the report about values of charts that are the user's: which of ours they take the place of."""

from collections.abc import Iterator, Mapping

from planning.plan.observe import ReleasePlan
from planning.stack.chart_values import shown


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
