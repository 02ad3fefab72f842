"""Values of a user for charts: the merge against what Helm says of it, what is refused, and what a reviewer is told.

That a chart reads the values is not proved.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from planning.stack.chart_values import merge_values
from preview.reporting.chart_lines import chart_lines
from tests.harness import minimal, stack
from tests.unit import small_stack
from tests.unit.small_stack import planned, properties, refusals

Path = tuple[str, ...]
KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
VALUES = st.dictionaries(KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=3)
MONITORING = "kube-prometheus-stack"


def flat(values: dict[str, Any], path: Path = ()) -> dict[Path, Any]:
    """Path → what is there and no mapping with keys."""
    leaves: dict[Path, Any] = {}
    for key, value in values.items():
        here = (*path, key)
        leaves |= flat(value, here) if isinstance(value, dict) and value else {here: value}
    return leaves


def by_paths(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[Path, Any]:
    """Helm's rule path by path: a value takes the place of all at, above and below its path; no keys change nothing."""
    result = flat(ours)
    for path, value in flat(theirs).items():
        if value == {} and any(len(known) > len(path) and known[: len(path)] == path for known in result):
            continue
        result = {
            known: kept for known, kept in result.items() if known[: len(path)] != path and path[: len(known)] != known
        }
        result[path] = value
    return result


@given(VALUES, VALUES)
@properties(500)
def test_values_merge_as_helm_merges_files(ours: dict[str, Any], theirs: dict[str, Any]):
    """Of any two values the merge has, path by path, the second where it says something, and else the first."""
    assert flat(merge_values(ours, theirs)) == by_paths(ours, theirs)


def values(chart: str, **content: Any) -> dict[str, Any]:
    """A stack with these values for one chart."""
    return small_stack.stack(charts={chart: {"values": content}})


def test_the_release_gets_the_merged_values():
    """Ours stay where nothing is said, lists are replaced, and the engine is told of nulls; mocks drop these."""
    changed = minimal(
        charts={MONITORING: {"values": {"grafana": {"sidecar": {"dashboards": None}, "replicas": 2}, "extra": [1]}}}
    )
    plain, deployed = stack(minimal()), stack(changed)
    before, release = (each.record("Release", MONITORING).inputs for each in (plain, deployed))
    grafana = {"sidecar": {"dashboards": None}, "replicas": 2}
    assert deployed.plan.releases[MONITORING].values == {**before["values"], "grafana": grafana, "extra": [1]}
    assert release == {
        **before,
        "allowNullValues": True,
        "values": {**before["values"], "grafana": {"sidecar": {}, "replicas": 2}, "extra": [1]},
    }


def test_a_reviewer_sees_what_is_replaced_and_what_is_lost():
    """Each value of ours with the other; definitions that are off; a chart that nobody installs."""
    raw = values(
        MONITORING, crds={"enabled": False}, prometheus={"prometheusSpec": {"ruleSelectorNilUsesHelmValues": False}}
    )
    raw["charts"]["lws"] = {"values": {"replicaCount": 2}}
    plan = planned(raw)
    path = "prometheus.prometheusSpec.ruleSelectorNilUsesHelmValues"
    assert [line for line in plan.warnings if line.startswith("charts.")] == [
        f"charts.{MONITORING}.values.{path}: false in place of true, which the stack sets for its own needs",
        f"charts.{MONITORING}.values.crds.enabled: false: its definitions must then be there before the stack",
        "charts.lws.values: the stack does not install lws, so nobody reads them",
    ]
    assert list(chart_lines(plan.releases)) == [
        f"yours: {MONITORING} {path}: true → false",
        f"yours: {MONITORING} crds.enabled: false",
    ]


def test_secrets_by_value_are_refused():
    """A key that says so is enough, wherever it stands; the name of a Secret is none."""
    raw = values(
        MONITORING,
        grafana={"adminPassword": "hunter2", "admin": {"existingSecret": "grafana", "passwordKey": "password"}},
        list=[{"clientSecret": "abc"}],
    )
    why = "looks like a secret; charts take the name of a Secret that exists, e.g. existingSecret"
    assert refusals(raw) == [
        f"charts.{MONITORING}.values.grafana.adminPassword: {why}",
        f"charts.{MONITORING}.values.list[0].clientSecret: {why}",
    ]
