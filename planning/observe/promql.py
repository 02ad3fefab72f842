"""PromQL against the metric catalogue: a query can only name metrics, labels and histogram edges that are exported.

Every query of the product (scaling, alerts, dashboards) is put together here, so that a renamed metric is an error when
the plan is made and not a silent dashboard.
"""

from collections.abc import Iterable, Mapping

from catalog.schema import Metric

# Labels Prometheus and the operator's monitors add to every scraped series, whatever the target exports; where a target
# exports one of these itself, and its monitor does not honour it, it comes as `exported_…`.
CLASHING = ("namespace", "pod", "container")
TARGET_LABELS = frozenset(
    {*CLASHING, "job", "instance", "node", "endpoint", *(f"exported_{name}" for name in CLASHING)}
)


class UnknownMetric(LookupError):
    """A query names a metric, label or histogram edge that the pinned version does not export."""


def series(metrics: Mapping[str, Metric], name: str, *, suffix: str = "", window: str = "", **labels: str) -> str:
    """A selector such as `vllm:num_requests_waiting{model_name="x"}`.

    `suffix` is `_bucket`, `_sum` or `_count` of a histogram, `window` a range such as `5m`. A label value that starts
    with `~` is a regular expression, with `!~` one that must not match. Raises UnknownMetric.
    """
    metric = metrics.get(name)
    if metric is None:
        raise UnknownMetric(f"metric {name} is not exported")
    if bool(suffix) != (metric.type == "histogram"):
        raise UnknownMetric(f"{name} is a {metric.type}; suffix {suffix or 'none'} does not exist")
    unknown = set(labels) - set(metric.labels) - TARGET_LABELS
    if unknown:
        raise UnknownMetric(f"{name} has no label {', '.join(sorted(unknown))}")
    matchers = ",".join(f"{label}{_matched(value)}" for label, value in sorted(labels.items()))
    selector = f"{name}{suffix}{{{matchers}}}" if matchers else f"{name}{suffix}"
    return f"{selector}[{window}]" if window else selector


def any_of(names: Iterable[str]) -> str:
    """A value for `series`: whatever is one of these names, whose points are points."""
    return f"~{'|'.join(name.replace('.', '[.]') for name in names)}"


def _matched(value: str) -> str:
    if value.startswith("!~"):
        return f'!~"{value[2:]}"'
    return f'=~"{value[1:]}"' if value.startswith("~") else f'="{value}"'


def edge(metrics: Mapping[str, Metric], name: str, value: float) -> float:
    """Returns `value` when it is a bucket edge of the histogram; raises UnknownMetric with the edges otherwise."""
    known = edges(metrics, name)
    if value not in known:
        raise UnknownMetric(f"{value:g} is no bucket edge of {name}; edges: {known}")
    return value


def edges(metrics: Mapping[str, Metric], name: str) -> list[float]:
    """Edges of the buckets of a histogram that are the same everywhere; none of what is no such histogram."""
    buckets = metrics[name].buckets if name in metrics else None
    return buckets if isinstance(buckets, list) else []


def quantile(metrics: Mapping[str, Metric], q: float, name: str, window: str, by: str = "", **labels: str) -> str:
    """`histogram_quantile` over summed rates, which is the only order that is right across pods."""
    grouping = f"le, {by}" if by else "le"
    buckets = series(metrics, name, suffix="_bucket", window=window, **labels)
    return f"histogram_quantile({q:g}, sum by ({grouping}) (rate({buckets})))"
