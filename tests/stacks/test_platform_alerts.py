"""Every alert about what models share, and about servers that die, under promtool: on what it fires, and on what not.

Series are made up, one sample each 15 s; that they are exported is what the metric catalogue is for, and what LiteLLM
really counts when a server refuses it is `tests/gateway/test_alerts.py`.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.harness import CHAT_UI, minimal, rendered, stack
from tests.stacks.test_promtool import PROMTOOL, RUNBOOK, Samples, fires

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH: alert rules were not run")
HERE = 'namespace="llm-serving"'
NODE = {"series": 'kube_node_info{node="a"}', "values": "1x400"}
COLD_START_S = {server.name: server.timing.cold_start_s for server in rendered("prod").plan.servers}
CRITICAL, WARNING = "critical", "warning"


def one(series: str, values: str) -> dict[str, str]:
    """One series of this stack: `name|label="value",…` and its samples."""
    name, _, labels = series.partition("|")
    return {"series": f"{name}{{{HERE}{',' if labels else ''}{labels}}}", "values": values}


def ready(name: str, values: str) -> dict[str, str]:
    """Available replicas of a Deployment."""
    return one(f'kube_deployment_status_replicas_available|deployment="{name}"', values)


def keeps(name: str, values: str) -> dict[str, str]:
    """Ready replicas of a StatefulSet."""
    return one(f'kube_statefulset_status_replicas_ready|statefulset="{name}"', values)


def asked_for(name: str, values: str) -> dict[str, str]:
    """Replicas a Deployment should have."""
    return one(f'kube_deployment_spec_replicas|deployment="{name}"', values)


R1, CHAT, GATEWAY = "vllm-deepseek-r1", "vllm-qwen3-14b", "litellm"
LATE = (COLD_START_S[R1] + 120) // 60
REFUSAL = 'litellm_deployment_failure_responses_total|model_id="vllm-qwen3-14b",exception_status="%s",pod="g"'
FALLBACK = (
    'litellm_deployment_successful_fallbacks_total|requested_model="a",fallback_model="b",exception_status="%s",pod="g"'
)
TOTAL = 'litellm_proxy_total_requests_metric_total|requested_model="a",status_code="%s",pod="g"'
CONDITION = (
    'kube_horizontalpodautoscaler_status_condition|horizontalpodautoscaler="keda-hpa-vllm-qwen3-14b",'
    'condition="ScalingActive",status="false"'
)
MODEL = {"model_name": "deepseek-r1", "server": R1}
SLEEPER = {"model_name": "qwen3-14b", "server": CHAT}


def xid(values: str, more: str = "") -> dict[str, str]:
    """The last XID of one GPU."""
    return {"series": f'DCGM_FI_DEV_XID_ERRORS{{hostname="gpu-1",gpu="3"{more}}}', "values": values}


CPU_UP, R1_UP = ready("vllm-qwen3-8b-cpu", "1x400"), ready(R1, "1x400")
# alert, case, samples, minute → labels beside the severity; None: it does not fire
CASES: list[tuple[str, str, Samples, int, dict[str, str] | None]] = [
    # died a minute after minute 10
    ("LLMServerDied", "dies", [NODE, ready(R1, "1x40 0x200")], 12, MODEL),
    ("LLMServerDied", "is there", [NODE, ready(R1, "1x400")], 60, None),
    ("LLMServerDied", "one of two is left", [NODE, ready(R1, "2x40 1x200")], 20, None),
    ("LLMServerDied", "is gone with its Deployment", [NODE, ready(R1, "1x40")], 17, MODEL),
    ("LLMServerDied", "starts for the first time", [NODE, ready(R1, "0x400")], 20, None),
    ("LLMServerDied", "restarts within a minute", [NODE, ready(R1, "1x40 0x2 1x200")], 12, None),
    ("LLMServerDied", "the cluster's metrics are away", [ready(R1, "1x40")], 60, None),
    ("LLMServerDown", "the cluster's metrics are away", [ready(R1, "1x40")], 90, None),
    ("LLMServerDown", "never comes up", [NODE, CPU_UP, ready(R1, "0x400")], LATE, MODEL),
    ("LLMServerDown", "still starts", [NODE, CPU_UP, ready(R1, "0x400")], LATE - 4, None),
    (
        "LLMServerDied", "is wanted, was there, and dies",
        [NODE, ready(CHAT, "1x40 0x200"), asked_for(CHAT, "1x400")], 12, SLEEPER,
    ),
    (
        "LLMServerDied", "goes to zero and is woken",
        [NODE, ready(CHAT, "1x40 0x200"), asked_for(CHAT, "1x40 0x4 1x200")], 13, None,
    ),
    (
        "LLMServerDied", "is woken, comes, and dies",
        [NODE, ready(CHAT, "0x20 1x20 0x200"), asked_for(CHAT, "0x10 1x300")], 12, SLEEPER,
    ),
    ("LLMServerDied", "is at zero", [NODE, ready(CHAT, "1x40 0x200"), asked_for(CHAT, "1x40 0x200")], 13, None),
    ("LLMServerDown", "is at zero", [NODE, CPU_UP, R1_UP, ready(CHAT, "0x400"), asked_for(CHAT, "0x400")], 90, None),
    (
        "LLMServerDown", "is woken and does not come",
        [NODE, CPU_UP, R1_UP, ready(CHAT, "0x400"), asked_for(CHAT, "1x400")], 60, SLEEPER,
    ),
    ("LLMServerNotScraped", "ready, not scraped", [ready(R1, "1x100")], 6, MODEL),
    ("LLMServerNotScraped", "for a moment", [ready(R1, "1x100")], 4, None),
    (
        "LLMServerNotScraped", "ready and scraped",
        [ready(R1, "1x100"), one('vllm:num_requests_running|pod="vllm-deepseek-r1-abc-defgh"', "0x100")], 20, None,
    ),
    (
        "LLMServerNotScraped", "another server is scraped",
        [ready(R1, "1x100"), one('vllm:num_requests_running|pod="vllm-deepseek-r1-b-abc-defgh"', "0x100")], 20, MODEL,
    ),
    ("LLMServerNotScraped", "starts", [ready(R1, "0x100")], 20, None),
    ("LLMGatewayDown", "down", [NODE, ready(GATEWAY, "2x40 0x40")], 12, {}),
    ("LLMGatewayDown", "one is left", [NODE, ready(GATEWAY, "2x40 1x40")], 15, None),
    ("LLMGatewayDown", "the cluster's metrics are away", [], 60, None),
    ("LLMGatewayNotScraped", "no target", [ready(GATEWAY, "2x100")], 6, {}),
    (
        "LLMGatewayNotScraped", "one of two is down",
        [ready(GATEWAY, "2x100"), one('up|job="litellm",pod="g"', "1x100"), one('up|job="litellm",pod="h"', "0x100")],
        6, {},
    ),
    (
        "LLMGatewayNotScraped", "both are up",
        [ready(GATEWAY, "2x100"), one('up|job="litellm",pod="g"', "1x100"), one('up|job="litellm",pod="h"', "1x100")],
        20, None,
    ),
    (
        "LLMGatewayErrors", "one of ten fails",
        [one(TOTAL % 200, "0+9x100"), one(TOTAL % 503, "0+1x100")], 15, {"requested_model": "a"},
    ),
    (
        "LLMGatewayErrors", "clients ask wrong things",
        [one(TOTAL % 200, "0+9x100"), one(TOTAL % 400, "0+9x100"), one(TOTAL % 429, "0+9x100")], 15, None,
    ),
    ("LLMGatewayErrors", "nobody asks", [one(TOTAL % 200, "5x100"), one(TOTAL % 503, "5x100")], 15, None),
    (
        "LLMServerRefusesGateway", "a wrong key, once", [one(REFUSAL % 401, "_x40 1x60")], 11,
        {"model_id": CHAT, "exception_status": "401"},
    ),
    (
        "LLMServerRefusesGateway", "a wrong name, again", [one(REFUSAL % 404, "7x60 8x40")], 16,
        {"model_id": CHAT, "exception_status": "404"},
    ),
    ("LLMServerRefusesGateway", "long ago", [one(REFUSAL % 401, "7x100")], 16, None),
    (
        "LLMServerRefusesGateway", "requests that are wrong, limits, faults",
        [one(REFUSAL % status, "0+1x100") for status in (400, 422, 429, 500)], 16, None,
    ),
    (
        "LLMFallbackHidesRefusal", "any refusal", [one(FALLBACK % 400, "_x40 1x60")], 11,
        {"requested_model": "a", "fallback_model": "b", "exception_status": "400"},
    ),
    (
        "LLMFallbackHidesRefusal", "faults, limits, timeouts",
        [one(FALLBACK % status, "0+1x100") for status in (500, 503, 429, 408)], 16, None,
    ),
    ("LLMRedisDown", "down", [NODE, ready("litellm-redis", "1x40 0x40")], 12, {}),
    ("LLMRedisDown", "there", [NODE, ready("litellm-redis", "1x100")], 20, None),
    ("LLMAutoscalerBlind", "blind", [one(CONDITION, "1x100"), asked_for(CHAT, "2x100")], 16, SLEEPER),
    ("LLMAutoscalerBlind", "while a pod starts", [one(CONDITION, "1x40 0x60"), asked_for(CHAT, "2x100")], 16, None),
    ("LLMAutoscalerBlind", "off, at zero", [one(CONDITION, "1x100"), asked_for(CHAT, "0x100")], 20, None),
    (
        "LLMAutoscalerDown", "the operator is down",
        [
            NODE,
            *(
                {
                    "series": f'kube_deployment_status_replicas_available{{namespace="keda",deployment="{name}"}}',
                    "values": values,
                }
                for name, values in (("keda-operator", "0x100"), ("keda-operator-metrics-apiserver", "1x100"))
            ),
        ],
        6, {},
    ),
    ("LLMAutoscalerDown", "it is not even there", [NODE], 6, {}),
    ("LLMAutoscalerDown", "the cluster's metrics are away", [], 20, None),
    (
        "LLMAutoscalerDown", "up",
        [
            NODE,
            {
                "series": 'kube_deployment_status_replicas_available{namespace="keda",deployment="keda-operator"}',
                "values": "1x100",
            },
        ],
        20, None,
    ),
    ("LLMJobFailed", "failed", [one('kube_job_failed|job_name="w",condition="true"', "1x40")], 2, {"job_name": "w"}),
    ("LLMJobFailed", "did not", [one('kube_job_failed|job_name="w",condition="true"', "0x40")], 5, None),
    (
        "LLMPodRestarting", "four times",
        [one('kube_pod_container_status_restarts_total|pod="p",container="c"', "0x20 1x20 2x20 3x20 4x20")], 25,
        {"pod": "p", "container": "c"},
    ),
    (
        "LLMPodRestarting", "once",
        [one('kube_pod_container_status_restarts_total|pod="p",container="c"', "0x20 1x100")], 25, None,
    ),
    ("LLMClusterMetricsAbsent", "away", [], 6, {"deployment": GATEWAY}),
    ("LLMClusterMetricsAbsent", "there", [ready(GATEWAY, "0x100")], 20, None),
    (
        "LLMGpuMetricsAbsent", "no GPU is seen",
        [one('kube_pod_status_phase|phase="Running",pod="vllm-qwen3-14b-abc-defgh"', "1x100")], 16, {},
    ),
    (
        "LLMGpuMetricsAbsent", "GPUs are seen",
        [
            one('kube_pod_status_phase|phase="Running",pod="vllm-qwen3-14b-abc-defgh"', "1x100"),
            {"series": 'DCGM_FI_DEV_GPU_TEMP{hostname="gpu-1",gpu="0"}', "values": "40x100"},
        ],
        20, None,
    ),
    ("LLMGpuMetricsAbsent", "no pod needs one", [], 20, None),
    ("LLMGpuXid", "an error", [xid("0x40 79x40")], 11, {"hostname": "gpu-1", "gpu": "3"}),
    ("LLMGpuXid", "another error", [xid("13x40 79x40")], 11, {"hostname": "gpu-1", "gpu": "3"}),
    ("LLMGpuXid", "an old error is still shown", [xid("0x4 79x200")], 40, None),
    (
        "LLMGpuXid", "the same old error, and another pod on the GPU",
        [xid("79x40 _x60", ',exported_pod="a"'), xid("_x40 79x60", ',exported_pod="b"')], 12, None,
    ),
    ("LLMGpuXid", "none", [xid("0x100")], 20, None),
]  # fmt: skip


@pytest.mark.parametrize(("alert", "case", "samples", "minute", "labels"), CASES)
def test_an_alert_fires_on_what_it_is_for_and_on_nothing_else(
    alert: str, case: str, samples: Samples, minute: int, labels: dict[str, Any] | None, tmp_path: Path
):
    """With labels that say what is meant, a severity, and a link to its section."""
    found = fires(tmp_path, alert, samples, minute)
    if labels is None:
        assert found == [], case
        return
    seen = [
        {key: value for key, value in item["labels"].items() if key not in ("namespace", "severity")} for item in found
    ]
    assert seen in ([labels], [{**labels, "namespace": "llm-serving"}]), case
    assert {item["labels"]["severity"] for item in found} <= {CRITICAL, WARNING}
    assert {item["annotations"]["runbook_url"] for item in found} == {f"{RUNBOOK}{alert.lower()}"}


@pytest.mark.parametrize(("values", "severities"), [("1x40 0x40", {CRITICAL}), ("1x100", set())])
def test_a_postgres_of_our_own_that_is_down_is_told(values: str, severities: set[str], tmp_path: Path):
    """Where there is one; prod has somebody else's."""
    samples = [NODE, keeps("litellm-postgres", values)]
    found = fires(tmp_path, "LLMPostgresDown", samples, 12, "variant:bundled-database")
    assert {item["labels"]["severity"] for item in found} == severities


@pytest.mark.parametrize(
    ("ready", "severities"), [((1, 1, 1), set()), ((0, 1, 0), set()), ((0, 0, 0), {CRITICAL}), ((), {CRITICAL})]
)
def test_a_postgres_with_standbys_is_down_without_any_instance(
    ready: tuple[int, ...], severities: set[str], tmp_path: Path
):
    """One that is ready is enough; Jobs that make instances, and pods of a name that only begins so, are none."""
    pods = {f"litellm-database-{number}": value for number, value in enumerate(ready, 1)}
    pods |= {"litellm-database-1-initdb-x": 1, "other-litellm-database-1": 1}
    samples = [
        NODE,
        *(one(f'kube_pod_status_ready|pod="{pod}",condition="true"', f"{value}x60") for pod, value in pods.items()),
    ]
    found = fires(tmp_path, "LLMPostgresDown", samples, 12, "variant:standbys")
    assert {item["labels"]["severity"] for item in found} == severities


@pytest.mark.parametrize(
    ("ready", "severities"),
    [((1, 1, 1), set()), ((1, 0, 1), {WARNING}), ((0, 1), {WARNING}), ((1, 1, 0, 1), set()), ((0, 0, 0), set())],
)
def test_a_postgres_with_an_instance_less_is_told(ready: tuple[int, ...], severities: set[str], tmp_path: Path):
    """Also of one that is not there at all; one in another's place is none less, and none at all is another alert."""
    samples = [
        NODE,
        *(
            one(f'kube_pod_status_ready|pod="litellm-database-{number}",condition="true"', f"{value}x100")
            for number, value in enumerate(ready, 1)
        ),
    ]
    assert fires(tmp_path, "LLMPostgresInstanceDown", samples, 12, "variant:standbys") == []
    found = fires(tmp_path, "LLMPostgresInstanceDown", samples, 17, "variant:standbys")
    assert {item["labels"]["severity"] for item in found} == severities


@pytest.mark.parametrize(("values", "severities"), [("1x40 0x40", {WARNING}), ("1x100", set())])
def test_a_page_to_chat_with_that_is_down_is_told(values: str, severities: set[str], tmp_path: Path):
    """After longer than an update of it takes."""
    samples = [NODE, keeps("open-webui", values)]
    assert fires(tmp_path, "LLMChatUiDown", samples, 12, "variant:chat-ui") == []
    found = fires(tmp_path, "LLMChatUiDown", samples, 16, "variant:chat-ui")
    assert {item["labels"]["severity"] for item in found} == severities


@pytest.mark.parametrize(
    ("routers", "replicas", "labels"),
    [
        ("1x40 0x40", "2x100", {"model_name": "remembered", "server": "vllm-remembered"}),
        ("1x40 0x40", "2x40 0x40", None),
        ("1x40 _x40", "2x100", {"model_name": "remembered", "server": "vllm-remembered"}),
        ("1x100", "2x100", None),
    ],
    ids=["down", "without replicas", "deleted", "there"],
)
def test_routers_that_are_down_are_told(routers: str, replicas: str, labels: dict[str, str] | None, tmp_path: Path):
    """Not where there is no replica either: they are not ready then, and that is said by another alert."""
    samples = [NODE, ready("vllm-remembered-router", routers), ready("vllm-remembered", replicas)]
    found = fires(tmp_path, "LLMRouterDown", samples, 18, "traffic")
    named = [{key: item["labels"][key] for key in ("model_name", "server")} for item in found]
    assert named == ([labels] if labels else [])


def test_every_alert_is_tried_both_ways():
    """No alert of prod is without a case in which it fires and one in which it does not."""
    (body,) = rendered("prod").objects("PrometheusRule")
    names = {rule["alert"] for group in body["spec"]["groups"] for rule in group["rules"]}
    elsewhere = {"LLMHighWaitQueue", "LLMHighTTFT", "LLMGPUCacheNearFull", "LLMNoGpuAvailable"}
    assert {alert for alert, *_, labels in CASES if labels is not None} == names - elsewhere
    assert {alert for alert, *_, labels in CASES if labels is None} == names - elsewhere


def test_a_stack_without_it_is_not_alerted_of_it():
    """No Redis or Postgres of ours, no autoscaler, no GPU: no rule about it."""

    def alerts(**raw: Any) -> set[str]:
        (body,) = stack(minimal(**raw)).objects("PrometheusRule")
        return {rule["alert"] for group in body["spec"]["groups"] for rule in group["rules"]}

    everything = alerts(models={"small": {"replicas": {"min": 1, "max": 2}}})
    assert everything - alerts() == {"LLMAutoscalerBlind", "LLMAutoscalerDown"}
    assert alerts(gateway={"database": {"kind": "bundled"}}) - alerts() == {"LLMPostgresDown"}
    standbys = {"kind": "cloudNativePg", "passwordSecret": "pg"}
    assert alerts(gateway={"database": standbys}) - alerts() == {"LLMPostgresDown", "LLMPostgresInstanceDown"}
    assert alerts(gateway={"database": {**standbys, "instances": 1}}) - alerts() == {"LLMPostgresDown"}
    assert alerts(gateway={"database": {"existingSecret": "pg"}}) - alerts() == set()
    assert alerts(gateway=CHAT_UI) - alerts() == {"LLMChatUiDown"}
    bare = alerts(gateway={"redis": {"kind": "none"}, "replicas": 1}, gpuOperator={"install": False})
    assert alerts() - bare == {"LLMRedisDown", "LLMGpuMetricsAbsent", "LLMGpuXid"}
