"""The allow-list of the gateway's metrics against the catalogue, which has what LiteLLM exports."""

import pytest

from planning.gateway.metrics import ALWAYS, KEPT, metric_settings, restrict_metrics
from planning.observe.promql import UnknownMetric, series
from tests.unit.small_stack import CATALOG

EXPORTED = CATALOG.litellm.metrics
# What a client writes, or makes up, or has many of.
FROM_CLIENTS = {
    "end_user", "hashed_api_key", "api_key_alias", "user", "user_email", "user_agent", "client_ip", "model", "api_base",
    "team", "org_id", "org_alias",
}  # fmt: skip


def test_every_kept_metric_and_label_exists():
    """LiteLLM refuses to start with a name it does not know."""
    exported = {name.removesuffix("_total"): set(metric.labels) for name, metric in EXPORTED.items()}
    assert {name: set(labels) - exported[name] for name, labels in KEPT.items()} == {name: set() for name in KEPT}
    assert [name for name in ALWAYS if name not in EXPORTED] == []


def test_no_kept_label_is_a_clients_to_fill():
    """Keys, users, addresses, programs and names of models as they were sent make no series."""
    assert {label for labels in KEPT.values() for label in labels} & FROM_CLIENTS == set()


def test_the_settings_name_every_kept_metric_once_with_its_labels():
    """LiteLLM reads groups; a metric in none is not made."""
    groups = metric_settings()["prometheus_metrics_config"]
    assert isinstance(groups, list)
    assert {name: tuple(group["include_labels"]) for group in groups for name in group["metrics"]} == KEPT
    assert len({group["group"] for group in groups}) == len(groups)


def test_queries_know_only_what_is_kept():
    """A dashboard over a label that is left out is an error when the plan is made, not a silent panel."""
    metrics = restrict_metrics(CATALOG).litellm.metrics
    name = "litellm_proxy_total_requests_metric_total"
    assert series(metrics, name, requested_model="m", status_code="200")
    with pytest.raises(UnknownMetric, match="has no label user_agent"):
        series(metrics, name, user_agent="x")
    with pytest.raises(UnknownMetric, match="litellm_requests_metric_total is not exported"):
        series(metrics, "litellm_requests_metric_total")
    assert series(metrics, "litellm_in_flight_requests")


def test_queries_know_the_labels_of_metrics_in_files():
    """The gateway's metrics have a port of their own, so that each gauge has a series per process."""
    before, after = EXPORTED, restrict_metrics(CATALOG).litellm.metrics
    name = "litellm_remaining_team_budget_metric"
    assert (before[name].labels, after[name].labels) == (["team", "team_alias"], ["team_alias", "pid"])
    assert series(after, name, pid="1")


def test_only_the_gateway_is_restricted():
    """Engines keep what they export."""
    assert restrict_metrics(CATALOG).vllm == CATALOG.vllm
