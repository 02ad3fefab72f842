"""Values of a user for the operators' charts: merged over the stack's as Helm merges files, and what is lost by it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.load import Catalog
from planning.plan.observe import ReleasePlan
from planning.plan.weights import Hub
from planning.stack.chart_images import registry_warnings
from planning.stack.gpu_operator import platform_warnings
from settings.problems import Problem
from settings.schema import StackSettings

# Keys whose value is a secret and no name of one: adminPassword, but not existingSecret or passwordKey.
SECRET_KEY = re.compile(
    r"(password|passwd|passphrase|token|api_?key|access_?key|private_?key|secret_?key|client_?secret|credentials?)$",
    re.IGNORECASE,
)
# Values that the stack leaves to a chart, and what is lost with others: chart → path → (what it must not be, sentence).
NEEDED: Mapping[str, Mapping[str, tuple[tuple[object, ...], str]]] = {
    "gpu-operator": {
        "nfd.enabled": ((False,), "without node feature discovery no node has the labels that pools are found by"),
        "gfd.enabled": ((False,), "without GPU feature discovery no node has the labels that pools are found by"),
        "dcgmExporter.enabled": ((False,), "without it there are no metrics of GPUs, and no alerts about them"),
    },
    "keda": {
        "crds.install": ((False,), "its definitions must then be there before the stack"),
        "watchNamespace": ((), "it has to see the namespace of the models"),
    },
    "kube-prometheus-stack": {
        "crds.enabled": ((False,), "its definitions must then be there before the stack"),
        "prometheus.enabled": ((False,), "nothing is scraped, and servers do not scale"),
        "prometheusOperator.enabled": ((False,), "monitors and rules are then read by nobody"),
    },
    "cloudnative-pg": {"crds.create": ((False,), "its definitions must then be there before the stack")},
}


def merge_values(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """`ours` with `theirs` over it: mappings merge, all else is replaced; null takes the chart's own away, too."""
    merged = dict(ours)
    for key, value in theirs.items():
        here = merged.get(key)
        merged[key] = merge_values(here, value) if isinstance(here, Mapping) and isinstance(value, Mapping) else value
    return merged


def overrides(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, ours, theirs) of every value of the stack that another one takes the place of."""
    for key, value in theirs.items():
        where = f"{path}.{key}" if path else key
        if key not in ours or ours[key] == value:
            continue
        if isinstance(ours[key], Mapping) and isinstance(value, Mapping):
            yield from overrides(ours[key], value, where)
        else:
            yield where, ours[key], value


def has_null(values: object) -> bool:
    """Whether anything in it takes a value away, which Pulumi passes on where it is told to only."""
    match values:
        case None:
            return True
        case Mapping():
            return any(map(has_null, values.values()))
        case list():
            return any(map(has_null, values))
        case _:
            return False


def shown(value: object) -> str:
    """A value in one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def chart_value_problems(settings: StackSettings) -> Iterator[Problem]:
    """Secrets by value, which would be in the state, in the release and in this repository."""
    for chart, override in settings.charts.items():
        for path in secrets_by_value(override.values, f"charts.{chart}.values"):
            why = "looks like a secret; charts take the name of a Secret that exists, e.g. existingSecret"
            yield Problem(path, why)


def secrets_by_value(value: object, path: str) -> Iterator[str]:
    """Paths of what is a secret by its key."""
    match value:
        case Mapping():
            for key, inner in value.items():
                if isinstance(inner, str) and inner and SECRET_KEY.search(str(key)):
                    yield f"{path}.{key}"
                yield from secrets_by_value(inner, f"{path}.{key}")
        case list():
            for position, inner in enumerate(value):
                yield from secrets_by_value(inner, f"{path}[{position}]")
        case _:
            pass


def chart_warnings(
    settings: StackSettings, releases: Mapping[str, ReleasePlan], hubs: Sequence[Hub], catalog: Catalog
) -> list[str]:
    """All that a reviewer should know of the charts: what a mirror leaves out, and what their values take away."""
    doubted = platform_warnings(settings, releases, catalog)
    return [*doubted, *_value_warnings(settings, releases), *registry_warnings(settings, releases, hubs, catalog)]


def _value_warnings(settings: StackSettings, releases: Mapping[str, ReleasePlan]) -> Iterator[str]:
    """Values that take away what the stack counts on, and those of a chart that it does not install."""
    for chart, override in settings.charts.items():
        if not override.values:
            continue
        path = f"charts.{chart}.values"
        if chart not in releases:
            yield f"{path}: the stack does not install {chart}, so nobody reads them"
            continue
        for where, ours, theirs in releases[chart].replaced:
            yield f"{path}.{where}: {shown(theirs)} in place of {shown(ours)}, which the stack sets for its own needs"
        for where, (wrong, why) in NEEDED.get(chart, {}).items():
            value = _at(override.values, where)
            if value is not None and (value in wrong or not wrong):
                yield f"{path}.{where}: {shown(value)}: {why}"


def _at(values: Mapping[str, Any], path: str) -> object:
    here: Any = values
    for key in path.split("."):
        here = here.get(key) if isinstance(here, Mapping) else None
    return here
