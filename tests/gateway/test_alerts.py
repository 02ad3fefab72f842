"""What LiteLLM counts when a server refuses the gateway, and whether the rendered alerts see it.

Samples are those of the running proxy, handed to promtool. Does not prove that somebody is woken.
"""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.gateway import stacks
from tests.gateway.client import chat
from tests.gateway.fake_vllm import Behaviour, Fakes
from tests.gateway.proxies import Proxy, proxy, rendered, start
from tests.harness import Config, stack

pytestmark = pytest.mark.gateway
PROMTOOL = shutil.which("promtool")


def refused() -> Config:
    """A model whose server will refuse, and another that answers in its place."""
    return stacks.serving({"main": {"fallbacks": ["other"]}, "other": {}}, replicas=1, redis={"kind": "none"})


@pytest.fixture(scope="module")
def gateway(all_fakes: Fakes) -> Iterator[Proxy]:
    """One gateway pod without Redis."""
    config = refused()
    pod = proxy(rendered(config), stacks.KEYS, stacks.addresses(config, all_fakes, None))
    try:
        start(pod)
        yield pod
    finally:
        pod.stop()


def counted(pod: Proxy, name: str, status: int) -> list[str]:
    """The samples of one counter with this exception status, once there are any."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with urllib.request.urlopen(pod.metrics_url + "/", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith(name + "{") and f'exception_status="{status}"' in line]
        if found:
            return found
        time.sleep(0.2)
    return []


def fired(folder: Path, alert: str, samples: list[str]) -> list[dict[str, str]]:
    """Labels of the alert when these samples have been there for a minute and not before."""
    (body,) = stack(refused()).objects("PrometheusRule")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": body["spec"]["groups"]}))
    series = [
        {
            "series": re.sub(r"\{", '{namespace="llm-serving",pod="g",', sample.rpartition(" ")[0], count=1),
            "values": "_x40 1x4",
        }
        for sample in samples
    ]
    wanted = {"eval_time": "11m", "alertname": alert, "exp_alerts": []}
    case = {"interval": "15s", "input_series": series, "alert_rule_test": [wanted]}
    (folder / "test.yaml").write_text(
        json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [case]})
    )
    assert PROMTOOL
    done = subprocess.run(
        [PROMTOOL, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    text = (done.stdout + done.stderr).partition("got:")[2]
    return [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in re.findall(r"Labels:\{(.*?)\}", text)]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH: alert rules were not run")
@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refusal_that_a_fallback_hides_is_alerted(gateway: Proxy, fakes: Fakes, status: int, tmp_path: Path):
    """A wrong key, or any other refusal: the client gets an answer of another model, and on call hears of it."""
    server = fakes.server("vllm-main")
    server.behaviour = Behaviour(key="sk-another") if status == 401 else Behaviour(status=status)
    answer = chat(gateway.url, "main", stacks.MASTER)
    assert (answer.status, answer.served_by) == (200, "vllm-other")
    hidden = counted(gateway, "litellm_deployment_successful_fallbacks_total", status)
    (alert,) = fired(tmp_path, "LLMFallbackHidesRefusal", hidden)
    assert (alert["requested_model"], alert["fallback_model"], alert["exception_status"]) == (
        "main",
        "other",
        str(status),
    )
    refusals = fired(
        tmp_path, "LLMServerRefusesGateway", counted(gateway, "litellm_deployment_failure_responses_total", status)
    )
    assert [(item["model_id"], item["exception_status"]) for item in refusals] == (
        [] if status == 422 else [("vllm-main", str(status))]
    )
