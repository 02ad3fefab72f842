"""When replicas come and go: what is looked at, a wake-up signal for those at zero, and a floor outside off-peak hours.

Does not prove that scaling rests (`test_scaling_rests.py`), nor what the queries are worth (`tests/stacks`).
"""

import pytest

from planning.gateway.metrics import restrict_metrics
from planning.plan.scaling import CronFloor
from planning.server.scaling import adapter_rules, wake_query
from tests.unit.small_stack import A10, CATALOG, planned, refusals, server, serving

ASKED = 'litellm_proxy_total_requests_metric_total{namespace="n",requested_model="m",status_code!~"401|403"}'
NOBODY = '0 * (sum(up{job="litellm",namespace="n"}) > 0)'
HOURS = {"timezone": "Asia/Shanghai", "start": "0 22 * * *", "end": "0 8 * * *"}
NO_HPA = "scaling to zero needs autoscaling.driver: keda; an HPA cannot watch pods that are gone"
PROMETHEUS = "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"
PODS = 'namespace="llm-serving",pod=~"vllm-m-[0-9a-z]{1,15}(-[0-9a-z]{5})?"'
WANTED = 'max(kube_deployment_spec_replicas{deployment="vllm-m",namespace="llm-serving"})'


def signal(found, name):
    """One signal of a server's autoscaler."""
    return next(item for item in found.scaling.signals if item.name == name)


def test_the_queue_of_a_server_is_summed_over_its_replicas():
    """A replica that is added takes its share of what waits; a canary of the same public name has its own queue."""
    found = server(serving(replicas={"min": 1, "max": 4}))
    assert signal(found, "waiting").query == f"sum(vllm:num_requests_waiting{{{PODS}}})"


def test_a_replica_is_full_by_its_sequences_or_by_its_cache():
    """Of all its engines: `--max-num-seqs` holds for each data-parallel one."""
    one = server(serving(replicas={"min": 1, "max": 2}, maxNumSeqs=64))
    assert f"{PODS}}})) / 64 > max by (pod) (vllm:kv_cache_usage_perc" in signal(one, "full").query
    small = {"model": "Qwen/Qwen3-8B", "contextTokens": 8192, "maxNumSeqs": 64, "dataParallel": 2}
    two = server(serving(replicas={"min": 1, "max": 2}, **small))
    assert (two.parallelism.data, two.watched.sequences) == (2, 128)


def test_a_server_at_zero_is_woken_by_the_gateway():
    """Requests at the gateway, or a series that has just appeared: each counts as 0 only while a gateway is scraped."""
    assert wake_query(CATALOG, "n", "m") == (
        f"(sum(rate({ASKED}[2m])) or {NOBODY}) + (count({ASKED} unless {ASKED} offset 2m) or {NOBODY})"
    )


def test_requests_that_wait_keep_their_server_awake_until_it_is_there():
    """For as long as they wait, however long its start takes, and when they come, though they may leave unanswered."""
    catalog = restrict_metrics(CATALOG)
    came, wait = (f'gateway_requests_{name}{{namespace="n",requested_model="m"}}' for name in ("at_zero_total", "held"))
    assert wake_query(catalog, "n", "m", holds=True) == (
        f"{wake_query(catalog, 'n', 'm')} + (sum(rate({came}[2m])) or {NOBODY}) + "
        f"(count({came} unless {came} offset 2m) or {NOBODY}) + (sum({wait}) or {NOBODY})"
    )


def test_a_server_of_several_names_is_woken_by_each():
    """Whichever of them is asked for at the gateway."""
    both = ASKED.replace('requested_model="m"', 'requested_model=~"m|x"')
    assert both != ASKED
    assert wake_query(CATALOG, "n", "m", "x") == wake_query(CATALOG, "n", "m").replace(ASKED, both)


def test_a_fixed_number_of_replicas_is_not_scaled():
    """Nothing watches a server whose number never changes."""
    assert server(serving(replicas={"min": 2, "max": 2})).scaling is None


def test_a_server_that_scales_has_everything_the_autoscaler_needs():
    """Between its bounds, with the defaults for GPU nodes, and the thresholds at which one comes and one goes."""
    found = server(serving(replicas={"min": 1, "max": 4}))
    scaling = found.scaling
    assert scaling is not None
    assert [(item.name, item.threshold, item.quantity, item.pod_metric) for item in scaling.signals] == [
        ("waiting", "10", "10", "vllm_num_requests_waiting"),
        ("full", "0.8", "800m", "llm_serving_vllm_m_full"),
        ("rest", "1", "1", "llm_serving_vllm_m_rest"),
        ("proven", "1", "1", "llm_serving_vllm_m_proven"),
    ]
    assert (
        scaling.driver,
        scaling.min_replicas,
        scaling.max_replicas,
        scaling.wake_query,
        scaling.floor,
        scaling.scale_up_after_s,
        scaling.scale_up_period_s,
        scaling.scale_down_after_s,
        scaling.cooldown_s,
        scaling.prometheus_url,
    ) == ("keda", 1, 4, None, None, 60, 120, 300, found.timing.scale_to_zero_cooldown_s, PROMETHEUS)
    assert (found.replicas, found.max_replicas) == (1, 4)
    assert found.reasons["scaling"] == (
        "one more while over 80% of its 256 sequences or of its KV cache are taken; one fewer when the rest would be "
        "at most 50% full, within 80% of its best rate of a day"
    )


def test_a_server_may_go_to_zero():
    """What no pod reports is 0 only where none is wanted; the gateway wakes it, and it waits a cold start to go."""
    found = server(serving(replicas={"min": 0, "max": 1}, scaling={"scaleDownAfterS": 10}))
    scaling = found.scaling
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas, scaling.floor) == (0, 1, None)
    assert signal(found, "waiting").query == f"sum(vllm:num_requests_waiting{{{PODS}}}) or ({WANTED} == 0)"
    assert signal(found, "full").query.endswith(f" or ({WANTED} == 0)")
    assert scaling.wake_query == wake_query(CATALOG, "llm-serving", "m")
    assert (scaling.cooldown_s, scaling.scale_down_after_s) == (found.timing.cold_start_s, 10)
    # a new deployment starts with one
    assert found.replicas == 1


def test_replicas_over_several_nodes_are_counted_by_their_leaders():
    """A LeaderWorkerSet has no metrics of its own; the StatefulSet of its leaders does."""
    wide = serving({**A10, "gpusPerNode": 1}, replicas={"min": 1, "max": 2}, pipelineParallel=2)
    found = server(wide)
    assert found.nodes_per_replica == 2
    query = signal(found, "rest").query
    assert 'max(kube_statefulset_replicas{namespace="llm-serving",statefulset="vllm-m"})' in query
    assert 'sum(kube_pod_status_ready{condition="true",namespace="llm-serving",pod=~"vllm-m-[0-9]+"})' in query


def test_off_peak_hours_leave_a_floor_for_the_others():
    """The floor begins when off-peak ends; outside of it zero is allowed, even with a single replica."""
    found = server(serving(replicas={"min": 2, "max": 2}, scaling={"offPeak": HOURS})).scaling
    assert found is not None
    assert (found.min_replicas, found.max_replicas) == (0, 2)
    assert found.floor == CronFloor("Asia/Shanghai", start="0 8 * * *", end="0 22 * * *", replicas=2)


def test_settings_reach_the_autoscaler():
    """Every key of `scaling` has its place."""
    wanted = {"targetWaiting": 3, "scaleUpAfterS": 0, "scaleUpPeriodS": 5, "scaleDownAfterS": 90}
    raw = serving(replicas={"min": 1, "max": 2}, scaling=wanted)
    raw["observability"] = {"prometheusUrl": "https://prometheus.corp"}
    found = server(raw)
    scaling = found.scaling
    assert scaling is not None
    assert (
        signal(found, "waiting").threshold,
        scaling.scale_up_after_s,
        scaling.scale_up_period_s,
        scaling.scale_down_after_s,
        scaling.prometheus_url,
    ) == ("3", 0, 5, 90, "https://prometheus.corp")


def test_a_replica_is_not_taken_away_before_it_has_its_share():
    """Windows that are too short for that are refused, but not for a server that has one replica or none."""
    short = {"scaleDownAfterS": 89}
    said = "89 s would take a new replica away before it has its share of the requests; use at least 90"
    assert refusals(serving(replicas={"min": 1, "max": 2}, scaling=short)) == [
        f"models.m.scaling.scaleDownAfterS: {said}"
    ]
    assert refusals(serving(replicas={"min": 0, "max": 1}, scaling=short)) == []


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
    """Its rules are part of the plan, and of no other: one for all servers, three for each that is scaled."""
    raw = serving(replicas={"min": 1, "max": 2})
    plan = planned({**raw, "autoscaling": {"driver": "hpa"}})
    assert plan.servers[0].scaling is not None
    assert plan.servers[0].scaling.driver == "hpa"
    assert plan.observability.adapter_rules == adapter_rules(CATALOG, plan.servers)
    assert [rule["name"] for rule in plan.observability.adapter_rules] == [
        {"as": item.pod_metric} for item in plan.servers[0].scaling.signals
    ]
    assert planned(raw).observability.adapter_rules == ()


def test_the_adapter_asks_for_the_pods_of_one_server():
    """Under a name without a colon; what pods have shown in a day is that of all, also of those that have gone."""
    plan = planned({**serving(replicas={"min": 1, "max": 2}), "autoscaling": {"driver": "hpa"}})
    waiting, _, rest, proven = adapter_rules(CATALOG, plan.servers)
    assert waiting["seriesQuery"] == 'vllm:num_requests_waiting{namespace=~".+",pod=~".+"}'
    assert rest["seriesQuery"] == f"vllm:num_requests_running{{{PODS}}}"
    assert str(rest["metricsQuery"]).count("<<.LabelMatchers>>") == 4
    assert f"_sum{{{PODS}}}[5m]))[1d:5m]" in str(proven["metricsQuery"])


def test_a_canary_is_not_scaled():
    """Its number of replicas is its own."""
    raw = serving(replicas={"min": 1, "max": 2}, canary={"weight": 10, "maxNumSeqs": 8, "replicas": 2})
    found = server(raw, "vllm-m-canary")
    assert (found.scaling, found.replicas, found.max_replicas) == (None, 2, 2)
