"""When replicas are added and removed: on the queue, never on GPU utilisation, and to zero only with a wake-up signal.

At zero pods no `vllm:` series exists, so what wakes a server is counted at the gateway.
"""

from collections.abc import Mapping

from catalog.load import Catalog
from planning.plan import CronFloor, Scaling, Timing
from planning.promql import series
from settings.problems import Problem
from settings.schema import ModelSettings, StackSettings

WAKE_WINDOW = "2m"


def waiting_query(catalog: Catalog, namespace: str, model_name: str) -> str:
    """Requests waiting in all replicas of one model."""
    metrics = catalog.engines["vllm"].metrics
    return f"sum({series(metrics, 'vllm:num_requests_waiting', model_name=model_name, namespace=namespace)})"


def wake_query(catalog: Catalog, namespace: str, model_name: str) -> str:
    """Greater than 0 while somebody asks the gateway for the model, or it still works on a request.

    The `unless … offset` part sees a series that has just appeared, whose rate is still 0.
    """
    asked = series(
        catalog.engines["litellm"].metrics,
        "litellm_proxy_total_requests_metric_total",
        requested_model=model_name,
        namespace=namespace,
    )
    running = series(
        catalog.engines["vllm"].metrics, "vllm:num_requests_running", model_name=model_name, namespace=namespace
    )
    return (
        f"(sum(rate({asked}[{WAKE_WINDOW}])) or vector(0)) + "
        f"(count({asked} unless {asked} offset {WAKE_WINDOW}) or vector(0)) + "
        f"(sum({running}) or vector(0))"
    )


def adapter_rules(catalog: Catalog) -> tuple[Mapping[str, object], ...]:
    """prometheus-adapter rules that offer the queue to the HPA: a Kubernetes metric name has no colon."""
    found = series(catalog.engines["vllm"].metrics, "vllm:num_requests_waiting", namespace="~.+", pod="~.+")
    return (
        {
            "seriesQuery": found,
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "name": {"as": "vllm_num_requests_waiting"},
            "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        },
    )


def scaling(
    name: str,
    model: ModelSettings,
    settings: StackSettings,
    catalog: Catalog,
    timing: Timing,
    prometheus_url: str,
    problems: list[Problem],
) -> Scaling | None:
    """The autoscaling of one server; None when its number of replicas never changes."""
    off_peak, floor = model.scaling.off_peak, None
    to_zero = model.replicas.min == 0 or off_peak is not None
    if not to_zero and model.replicas.min == model.replicas.max:
        return None
    if to_zero and settings.autoscaling.driver == "hpa":
        where = "scaling.offPeak" if off_peak is not None else "replicas.min"
        problems.append(
            Problem(
                f"models.{name}.{where}",
                "scaling to zero needs autoscaling.driver: keda; an HPA cannot watch pods that are gone",
            )
        )
    if off_peak is not None:
        floor = CronFloor(off_peak.timezone, start=off_peak.end, end=off_peak.start, replicas=model.replicas.min)
    waiting = waiting_query(catalog, settings.cluster.namespace, name)
    return Scaling(
        driver=settings.autoscaling.driver,
        min_replicas=0 if to_zero else model.replicas.min,
        max_replicas=model.replicas.max,
        target_waiting=model.scaling.target_waiting,
        waiting_query=f"{waiting} or vector(0)" if to_zero else waiting,
        wake_query=wake_query(catalog, settings.cluster.namespace, name) if to_zero else None,
        floor=floor,
        scale_up_after_s=model.scaling.scale_up_after_s,
        scale_up_period_s=model.scaling.scale_up_period_s,
        scale_down_after_s=model.scaling.scale_down_after_s,
        cooldown_s=timing.scale_to_zero_cooldown_s,
        prometheus_url=prometheus_url,
    )
