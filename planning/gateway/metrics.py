"""The metrics of the gateway that are kept, label by label: a list of what is allowed, never of what is not.

LiteLLM labels nearly everything with what a client sends (User-Agent, address, names of models, keys), so that whoever
reaches the port could make series without end. What is kept has values of the stack only: names of models and servers,
route templates, status codes, teams. A model nobody serves is `other` (LiteLLM 1.109.1, integrations/prometheus.py).
"""

from collections.abc import Mapping
from dataclasses import replace

from catalog.engine import ExportedMetric
from catalog.load import Catalog

_OUTCOME = ("requested_model", "model_id", "team_alias")
_FAILURE = (*_OUTCOME, "exception_status", "exception_class")
_USE = ("requested_model", "model_id", "team_alias")
_TIME = ("requested_model", "model_id")
_FALLBACK = ("requested_model", "fallback_model", "exception_status", "exception_class")
_TEAM = ("team_alias",)

# Metric as LiteLLM's configuration names it → its labels. Counters are scraped with `_total`.
KEPT: Mapping[str, tuple[str, ...]] = {
    "litellm_proxy_total_requests_metric": (*_OUTCOME, "route", "status_code"),
    "litellm_proxy_failed_requests_metric": (*_FAILURE, "route"),
    "litellm_deployment_total_requests": _OUTCOME,
    "litellm_deployment_success_responses": _OUTCOME,
    "litellm_deployment_failure_responses": _FAILURE,
    "litellm_deployment_successful_fallbacks": _FALLBACK,
    "litellm_deployment_failed_fallbacks": _FALLBACK,
    "litellm_deployment_cooled_down": ("model_id", "exception_status"),
    "litellm_deployment_state": ("model_id",),
    "litellm_spend_metric": _USE,
    "litellm_total_tokens_metric": _USE,
    "litellm_input_tokens_metric": _USE,
    "litellm_input_cached_tokens_metric": _USE,
    "litellm_output_tokens_metric": _USE,
    "litellm_request_total_latency_metric": _TIME,
    "litellm_request_queue_time_seconds": _TIME,
    "litellm_llm_api_latency_metric": _TIME,
    "litellm_llm_api_time_to_first_token_metric": _TIME,
    "litellm_overhead_latency_metric": ("model_id",),
    "litellm_deployment_latency_per_output_token": ("model_id",),
    "litellm_remaining_team_budget_metric": _TEAM,
    "litellm_team_max_budget_metric": _TEAM,
    "litellm_team_budget_remaining_hours_metric": _TEAM,
    "litellm_callback_logging_failures_metric": ("callback_name",),
}
# From LiteLLM's own middleware, and of its process; not from the callback that the list is for.
ALWAYS = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "litellm_in_flight_requests",
    "litellm_admission_admitted_requests",
    "litellm_admission_queued_requests",
    "litellm_admission_rejected_requests_total",
)
# From our own module in LiteLLM's process, where requests wait for a server (planning/server/scaling.py reads them).
OWN = {
    "gateway_requests_at_zero_total": ExportedMetric(
        name="gateway_requests_at_zero_total", type="counter", labels=["requested_model"]
    ),
    "gateway_requests_held": ExportedMetric(name="gateway_requests_held", type="gauge", labels=["requested_model"]),
}
# A second wall: beyond it LiteLLM counts in one series that it calls overflow. 20 models × 2 servers × 10 statuses × 5.
MOST_SERIES_PER_METRIC = 2000


def metric_settings() -> dict[str, object]:
    """The part of `litellm_settings` that says so: metrics of the same labels in one group."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, labels in KEPT.items():
        groups.setdefault(labels, []).append(name)
    return {
        "prometheus_metrics_config": [
            {"group": "_".join(labels), "metrics": names, "include_labels": list(labels)}
            for labels, names in groups.items()
        ],
        "prometheus_metrics_max_series_per_metric": MOST_SERIES_PER_METRIC,
    }


def restrict_metrics(catalog: Catalog) -> Catalog:
    """The catalogue with LiteLLM's metrics as this gateway exports them, so that no query can ask for more.

    They have a port of their own, and so the labels of metrics in files, which are not the callback's to leave out.
    """
    engine = catalog.litellm
    allowed = {f"{name}{end}": labels for name, labels in KEPT.items() for end in ("", "_total")}
    metrics = {
        name: metric.model_copy(
            update={
                "labels": [
                    *(label for label in metric.labels if name in ALWAYS or label in allowed[name]),
                    *metric.multiprocess_labels,
                ]
            }
        )
        for name, metric in engine.metrics.items()
        if name in ALWAYS or name in allowed
    }
    engines = {**catalog.engines, "litellm": engine.model_copy(update={"metrics": {**metrics, **OWN}})}
    return replace(catalog, engines=engines)
