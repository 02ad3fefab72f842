"""The rendered alert rules under promtool: they parse, and each fires on the series it is for and on no other.

Series are made up; that the exporters really write them is what the metric catalogue is for, and whether somebody is
woken is Alertmanager's.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import Deployed, every_stack, faulty, rendered

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH: alert rules were not run")
RUNBOOK = "https://github.com/llm-stack/llm-stack/blob/main/docs/runbook.md#"
WAITING = 'vllm:num_requests_waiting{namespace="llm-serving",model_name="qwen3-14b",pod="%s"}'
CACHE = 'vllm:kv_cache_usage_perc{namespace="llm-serving",model_name="qwen3-14b",pod="a"}'
TTFT = 'vllm:time_to_first_token_seconds_bucket{namespace="llm-serving",model_name="qwen3-14b",pod="a",le="%s"}'
READY = 'kube_deployment_status_replicas_available{namespace="llm-serving",deployment="%s"}'
PENDING = 'kube_pod_status_unschedulable{namespace="llm-serving",pod="%s"}'
ALIVE = [{"series": READY % name, "values": "1x120"} for name in ("vllm-deepseek-r1", "vllm-qwen3-8b-cpu")]
Samples = list[dict[str, str]]


def rules(deployed: Deployed) -> dict[str, Any]:
    """The PrometheusRule's groups as a rule file."""
    (body,) = deployed.objects("PrometheusRule")
    return {"groups": body["spec"]["groups"]}


def promtool(folder: Path, *arguments: str) -> str:
    """Runs promtool in `folder`; its output when it is content, a failure with its output otherwise."""
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fires(folder: Path, alert: str, samples: Samples, minute: int, stack: str = "prod") -> list[dict[str, Any]]:
    """The alerts called `alert` that fire after `minute` minutes, in the stack's rules, on these samples."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules(rendered(stack))))
    wanted = {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []}
    case = {"interval": "15s", "input_series": samples, "alert_rule_test": [wanted]}
    (folder / "test.yaml").write_text(
        json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [case]})
    )
    assert PROMTOOL
    command = [PROMTOOL, "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    _, _, got = (done.stdout + done.stderr).partition("got:")
    assert got, done.stdout + done.stderr
    return parsed(got)


def parsed(text: str) -> list[dict[str, Any]]:
    """Alerts in promtool's own words, `Labels:{a="b"} Annotations:{…}`, as data."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        key, _, value = line.strip().rstrip("],").removeprefix("[").partition(":")
        if key in ("Labels", "Annotations"):
            pairs = dict(part.split("=", 1) for part in value.strip("{}").split('", '))
            plain = {name: word.strip('"') for name, word in pairs.items()}
            if key == "Labels":
                found.append({"labels": {name: word for name, word in plain.items() if name != "alertname"}})
            else:
                found[-1]["annotations"] = plain
    return found


@pytest.mark.parametrize("name", every_stack())
def test_the_rules_of_every_stack_are_valid(name: str, tmp_path: Path):
    """All rules of every stack are found and accepted by promtool, and no two look alike."""
    written = rules(rendered(name))
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(written))
    count = sum(len(group["rules"]) for group in written["groups"])
    assert f"SUCCESS: {count} rules found" in promtool(tmp_path, "check", "rules", "rules.yaml")
    assert count >= 4


def test_a_queue_of_all_replicas_together_is_noticed_after_two_minutes(tmp_path: Path):
    """21 waiting requests over two pods fire after 2 minutes, not before, and 20 never do."""
    long = [{"series": WAITING % "a", "values": "12x40"}, {"series": WAITING % "b", "values": "9x40"}]
    short = [{"series": WAITING % "a", "values": "12x40"}, {"series": WAITING % "b", "values": "8x40"}]
    expected = {
        "labels": {"namespace": "llm-serving", "model_name": "qwen3-14b", "severity": "warning"},
        "annotations": {
            "summary": "Requests for qwen3-14b are queueing",
            "description": "21 requests wait for qwen3-14b; more than 20 for 2 minutes.",
            "runbook_url": f"{RUNBOOK}llmhighwaitqueue",
        },
    }
    found = [fires(tmp_path, "LLMHighWaitQueue", samples, minute) for samples, minute in
             ((long, 1), (long, 3), (short, 9))]  # fmt: skip
    assert found == [[], [expected], []]


def slow(share_within_5_s: int) -> Samples:
    """Ten first tokens per 15 s, of which so many take at most 5 s and all at most 10 s."""
    counts = {"2.5": 0, "5.0": share_within_5_s, "10.0": 10, "+Inf": 10}
    return [{"series": TTFT % edge, "values": f"0+{count}x80"} for edge, count in counts.items()]


def test_slow_first_tokens_are_noticed_after_five_minutes(tmp_path: Path):
    """A 95th percentile above 5 s for 5 minutes fires; all answers within 5 s never do."""
    found = [fires(tmp_path, "LLMHighTTFT", samples, minute) for samples, minute in
             ((slow(5), 4), (slow(5), 12), (slow(10), 12))]  # fmt: skip
    expected = {
        "labels": {"namespace": "llm-serving", "model_name": "qwen3-14b", "severity": "warning"},
        "annotations": {
            "summary": "First tokens of qwen3-14b are slow",
            "description": (
                "The 95th percentile of the time to first token of qwen3-14b is 9.5s, above 5 s for 5 minutes."
            ),
            "runbook_url": f"{RUNBOOK}llmhighttft",
        },
    }
    assert found == [[], [expected], []]


def test_a_full_cache_is_noticed_after_five_minutes(tmp_path: Path):
    """90 % of a pod's KV cache for 5 minutes fire and name the pod; 85 % never do."""
    full, fine = [{"series": CACHE, "values": "0.9x60"}], [{"series": CACHE, "values": "0.85x60"}]
    expected = {
        "labels": {"namespace": "llm-serving", "model_name": "qwen3-14b", "pod": "a", "severity": "warning"},
        "annotations": {
            "summary": "The KV cache of qwen3-14b is nearly full",
            "description": "a uses 90% of its KV cache, more than 85% for 5 minutes: requests will be preempted.",
            "runbook_url": f"{RUNBOOK}llmgpucachenearfull",
        },
    }
    found = [fires(tmp_path, "LLMGPUCacheNearFull", samples, minute) for samples, minute in
             ((full, 4), (full, 6), (fine, 9))]  # fmt: skip
    assert found == [[], [expected], []]


def test_missing_gpus_are_noticed_after_a_quarter_of_an_hour(tmp_path: Path):
    """Unschedulable pods of a pool fire after 15 minutes and name the pool; other pods and shorter waits do not."""
    waiting = [{"series": PENDING % "vllm-qwen3-14b-7c9d8f6b5-x2x4z", "values": "1x120"}]
    other = [{"series": PENDING % "vllm-qwen3-14b-cpu-7c9d8f6b5-x2x4z", "values": "1x120"}]
    (alert,) = fires(tmp_path, "LLMNoGpuAvailable", waiting, 16)
    assert alert["labels"] == {"namespace": "llm-serving", "pool": "a10", "severity": "critical"}
    assert alert["annotations"]["summary"] == "Pods wait for GPUs of pool a10"
    assert fires(tmp_path, "LLMNoGpuAvailable", waiting, 14) == fires(tmp_path, "LLMNoGpuAvailable", other, 20) == []


def test_a_quiet_stack_fires_nothing(tmp_path: Path):
    """With every server up, nothing waiting, quick answers and room in the caches, no alert of any name fires."""
    names = {rule["alert"] for group in rules(rendered("prod"))["groups"] for rule in group["rules"]}
    deployments = ("litellm", "litellm-redis", "vllm-qwen3-14b")
    up = [{"series": READY % name, "values": "1x120"} for name in deployments]
    scraped = [
        f'vllm:num_requests_running{{namespace="llm-serving",pod="{name}-abc-defgh"}}'
        for name in ("vllm-deepseek-r1", "vllm-qwen3-8b-cpu", "vllm-qwen3-14b")
    ]
    calm = [
        *ALIVE,
        *up,
        *({"series": series, "values": "1x120"} for series in scraped),
        {"series": 'up{namespace="llm-serving",job="litellm",pod="g"}', "values": "1x120"},
        {"series": 'kube_node_info{node="a"}', "values": "1x120"},
        {"series": 'kube_deployment_status_replicas_available{deployment="keda-operator"}', "values": "1x120"},
        {"series": WAITING % "a", "values": "0x120"},
        {"series": CACHE, "values": "0.2x120"},
        {"series": PENDING % "vllm-qwen3-14b-7c9d8f6b5-x2x4z", "values": "0x120"},
        *slow(10),
    ]
    assert faulty({name: fires(tmp_path, name, calm, 29) for name in names}) == {}
