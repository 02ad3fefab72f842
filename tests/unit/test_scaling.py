"""When replicas come and go: the queue, a wake-up signal for those at zero, and a floor outside off-peak hours.

Does not prove that KEDA or an HPA does so; the queries are checked against what is exported, not against data.
"""

import pytest

from planning.plan import CronFloor, Scaling
from planning.scaling import adapter_rules, waiting_query, wake_query
from tests.unit.small_stack import CATALOG, planned, refusals, server, serving

ASKED = 'litellm_proxy_total_requests_metric_total{namespace="n",requested_model="m"}'
HOURS = {"timezone": "Asia/Shanghai", "start": "0 22 * * *", "end": "0 8 * * *"}
NO_HPA = "scaling to zero needs autoscaling.driver: keda; an HPA cannot watch pods that are gone"
PROMETHEUS = "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"
WAITING = 'sum(vllm:num_requests_waiting{model_name="m",namespace="llm-serving"})'


def test_the_queue_of_a_model_is_summed_over_its_replicas():
    """A replica that is added takes its share of what waits."""
    assert waiting_query(CATALOG, "n", "m") == 'sum(vllm:num_requests_waiting{model_name="m",namespace="n"})'


def test_a_server_at_zero_is_woken_by_the_gateway():
    """Requests at the gateway, a series that has just appeared, and what still runs: each counts as 0 when missing."""
    assert wake_query(CATALOG, "n", "m") == (
        f"(sum(rate({ASKED}[2m])) or vector(0)) + "
        f"(count({ASKED} unless {ASKED} offset 2m) or vector(0)) + "
        '(sum(vllm:num_requests_running{model_name="m",namespace="n"}) or vector(0))'
    )


def test_the_adapter_offers_the_queue_under_a_name_without_a_colon():
    """A Kubernetes metric name has none."""
    (rule,) = adapter_rules(CATALOG)
    assert (rule["seriesQuery"], rule["name"]) == (
        'vllm:num_requests_waiting{namespace=~".+",pod=~".+"}',
        {"as": "vllm_num_requests_waiting"},
    )


def test_a_fixed_number_of_replicas_is_not_scaled():
    """Nothing watches a server whose number never changes."""
    assert server(serving(replicas={"min": 2, "max": 2})).scaling is None


def test_a_server_that_scales_has_everything_the_autoscaler_needs():
    """Between its bounds on the queue, with the defaults for GPU nodes."""
    found = server(serving(replicas={"min": 1, "max": 4}))
    assert found.scaling == Scaling(
        driver="keda",
        min_replicas=1,
        max_replicas=4,
        target_waiting=10,
        waiting_query=WAITING,
        wake_query=None,
        floor=None,
        scale_up_after_s=60,
        scale_up_period_s=120,
        scale_down_after_s=300,
        cooldown_s=found.timing.scale_to_zero_cooldown_s,
        prometheus_url=PROMETHEUS,
    )
    assert (found.replicas, found.max_replicas) == (1, 4)


def test_a_server_may_go_to_zero():
    """Its queue counts as 0 when no pod reports it, the gateway wakes it, and it waits a cold start before it goes."""
    found = server(serving(replicas={"min": 0, "max": 2}, scaling={"scaleDownAfterS": 10}))
    scaling = found.scaling
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas, scaling.floor) == (0, 2, None)
    assert scaling.waiting_query == f"{WAITING} or vector(0)"
    assert scaling.wake_query == wake_query(CATALOG, "llm-serving", "m")
    assert (scaling.cooldown_s, scaling.scale_down_after_s) == (found.timing.cold_start_s, 10)
    # a new deployment starts with one
    assert found.replicas == 1


def test_off_peak_hours_leave_a_floor_for_the_others():
    """The floor begins when off-peak ends; outside of it zero is allowed, even with a single replica."""
    found = server(serving(replicas={"min": 2, "max": 2}, scaling={"offPeak": HOURS})).scaling
    assert found is not None
    assert (found.min_replicas, found.max_replicas) == (0, 2)
    assert found.floor == CronFloor("Asia/Shanghai", start="0 8 * * *", end="0 22 * * *", replicas=2)


def test_settings_reach_the_autoscaler():
    """Every key of `scaling` has its place."""
    wanted = {"targetWaiting": 3, "scaleUpAfterS": 0, "scaleUpPeriodS": 5, "scaleDownAfterS": 7}
    raw = serving(replicas={"min": 1, "max": 2}, scaling=wanted)
    raw["observability"] = {"prometheusUrl": "https://prometheus.corp"}
    found = server(raw).scaling
    assert found is not None
    assert (
        found.target_waiting,
        found.scale_up_after_s,
        found.scale_up_period_s,
        found.scale_down_after_s,
        found.prometheus_url,
    ) == (3, 0, 5, 7, "https://prometheus.corp")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"replicas": {"min": 0, "max": 2}}, "models.m.replicas.min"),
        ({"scaling": {"offPeak": HOURS}}, "models.m.scaling.offPeak"),
    ],
)
def test_an_hpa_cannot_scale_to_zero(model, path):
    """Both ways to zero are refused with the driver that can."""
    assert refusals({**serving(**model), "autoscaling": {"driver": "hpa"}}) == [f"{path}: {NO_HPA}"]


def test_an_hpa_scales_between_one_and_more():
    """Its rules are part of the plan, and of no other."""
    raw = serving(replicas={"min": 1, "max": 2})
    plan = planned({**raw, "autoscaling": {"driver": "hpa"}})
    assert plan.servers[0].scaling is not None
    assert plan.servers[0].scaling.driver == "hpa"
    assert plan.observability.adapter_rules == adapter_rules(CATALOG)
    assert planned(raw).observability.adapter_rules == ()


def test_a_canary_is_not_scaled():
    """Its number of replicas is its own."""
    raw = serving(replicas={"min": 1, "max": 2}, canary={"weight": 10, "maxNumSeqs": 8, "replicas": 2})
    found = server(raw, "vllm-m-canary")
    assert (found.scaling, found.replicas, found.max_replicas) == (None, 2, 2)
