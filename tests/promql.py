"""A small reader of PromQL for tests: which series a query uses, with which matchers, inside which functions.

It is written without `planning.observe.promql`, so that a mistake there is not repeated here. It reads the subset of
the language that this product writes and refuses the rest; that a query is valid PromQL is promtool's to say.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from catalog.engine import ExportedMetric

TOKEN = re.compile(
    r"""\s+
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<range>\[[^\]]*\])
    | (?P<number>\d[\w.]*)
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<op>=~|!~|!=|==|<=|>=|[-+*/<>=(){},])""",
    re.VERBOSE,
)
AGGREGATIONS = frozenset({"sum", "max", "min", "avg", "count"})
FUNCTIONS = frozenset(
    {
        "rate", "increase", "histogram_quantile", "vector", "label_values", "scalar", "clamp_min", "clamp_max",
        "absent", "max_over_time", "changes", "timestamp", "label_replace",
    }
)  # fmt: skip
WORDS = frozenset({"or", "and", "unless", "offset"})
COUNTING = frozenset({"rate", "increase"})
SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Series:
    """One selector: its name, `matchers` as (label, operator, value), the functions around it from the outside in.

    `by` has the grouping labels of every aggregation around it, from the outside in; None: all labels go.
    """

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    functions: tuple[str, ...]
    by: tuple[tuple[str, ...], ...]


class Unreadable(ValueError):
    """The query is not in the subset this reader knows."""


def series_of(query: str) -> list[Series]:
    """Every selector of a query, in order."""
    return list(_read(_tokens(query), (), ()))


def labels_of(query: str) -> set[str]:
    """The labels that the result of an aggregating query still has."""
    return {label for series in series_of(query)[:1] for label in (series.by[0] if series.by else ())}


def faults(query: str, metrics: Mapping[str, ExportedMetric], target_labels: frozenset[str]) -> list[str]:
    """What is wrong with a query, given everything that is exported."""
    found = []
    for series in series_of(query):
        metric, part = _metric(series.name, metrics)
        if metric is None:
            found.append(f"{series.name} is not exported")
            continue
        if "when" in (metric.model_extra or {}):
            found.append(f"{series.name} is only exported when {(metric.model_extra or {})['when']}")
        labels = {*metric.labels, *target_labels, *(["le"] if part == "_bucket" else [])}
        used = {label for label, _, _ in series.matchers} | {label for group in series.by for label in group}
        found += [f"{series.name} has no label {label}" for label in sorted(used - labels)]
        values = (metric.model_extra or {}).get("values", {})
        found += [
            f"{series.name} has no {label}={value}"
            for label, operator, value in series.matchers
            if operator == "=" and label in values and value not in values[label]
        ]
        found += _misuse(series, metric, part)
    return found


def _misuse(series: Series, metric: ExportedMetric, part: str) -> Iterator[str]:
    counted = bool(COUNTING & set(series.functions))
    if metric.type == "histogram" and not part:
        yield f"{series.name} is a histogram without _bucket, _sum or _count"
    if counted and metric.type not in ("counter", "histogram"):
        yield f"rate of {series.name}, which is a {metric.type}"
    if part == "_bucket" and not (counted and series.by and "le" in series.by[-1]):
        yield f"{series.name} is not summed by le over rates"
    if metric.type == "counter" and not counted and "count" not in series.functions:
        yield f"{series.name} is a counter and used without a rate"


def _metric(name: str, metrics: Mapping[str, ExportedMetric]) -> tuple[ExportedMetric | None, str]:
    if name in metrics:
        return metrics[name], ""
    for suffix in SUFFIXES:
        base = metrics.get(name.removesuffix(suffix))
        if name.endswith(suffix) and base is not None and base.type == "histogram":
            return base, suffix
    return None, ""


def _tokens(query: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while position < len(query):
        match = TOKEN.match(query, position)
        if match is None:
            raise Unreadable(f"{query!r} at {query[position : position + 10]!r}")
        if match.lastgroup:
            tokens.append((match.lastgroup, match.group()))
        position = match.end()
    return tokens


def _read(
    tokens: list[tuple[str, str]], functions: tuple[str, ...], by: tuple[tuple[str, ...], ...]
) -> Iterator[Series]:
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        at += 1
        if kind != "name" or text in WORDS:
            continue
        if text in AGGREGATIONS:
            labels: tuple[str, ...] = ()
            if at < len(tokens) and tokens[at][1] == "by":
                inside, at = _parenthesised(tokens, at + 1)
                labels = _names(inside)
            body, at = _parenthesised(tokens, at)
            if at < len(tokens) and tokens[at][1] == "by":
                inside, at = _parenthesised(tokens, at + 1)
                labels = _names(inside)
            yield from _read(body, (*functions, text), (*by, labels))
        elif text in FUNCTIONS:
            body, at = _parenthesised(tokens, at)
            if text == "label_values":
                yield from _read(body[:-2], functions, (*by, (body[-1][1],)))
            else:
                yield from _read(body, (*functions, text), by)
        elif at < len(tokens) and tokens[at][1] == "(":
            raise Unreadable(f"function {text}")
        else:
            matchers: tuple[tuple[str, str, str], ...] = ()
            if at < len(tokens) and tokens[at][1] == "{":
                end = tokens.index(("op", "}"), at)
                matchers, at = _matchers(tokens[at + 1 : end]), end + 1
            yield Series(text, matchers, functions, by)


def _parenthesised(tokens: list[tuple[str, str]], at: int) -> tuple[list[tuple[str, str]], int]:
    """What stands between the parenthesis at `at` and its partner, and the position behind it."""
    if at >= len(tokens) or tokens[at][1] != "(":
        raise Unreadable(f"( expected after {tokens[at - 1][1]}")
    depth = 0
    for end in range(at, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[end][1], 0)
        if depth == 0:
            return tokens[at + 1 : end], end + 1
    raise Unreadable("parenthesis without a partner")


def _names(tokens: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(text for kind, text in tokens if kind == "name")


def _matchers(tokens: list[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    parts = [token for token in tokens if token[1] != ","]
    if len(parts) % 3:
        raise Unreadable(f"matchers {parts}")
    return tuple(
        (parts[index][1], parts[index + 1][1], parts[index + 2][1].strip('"')) for index in range(0, len(parts), 3)
    )
