"""Files for a plain Prometheus. Does not prove that a Prometheus reads them."""

import json

import yaml

from tests.unit.workshop.local.pods import Told, deployment, parsed, rendered, server
from workshop.local.monitoring import config, rules, targets, write_config, write_targets
from workshop.local.pod import Place, Pod

GROUPS = [{"name": "g", "rules": [{"alert": "Down", "expr": "up == 0"}]}]


def monitor(name: str = "vllm", selector: dict | None = None, **spec):
    """A PodMonitor of one endpoint, for pods labelled `app: vllm`."""
    endpoint = {"port": "http", "interval": "15s", "path": "/metrics"}
    return {
        "kind": "PodMonitor",
        "metadata": {"name": name, "namespace": "llm"},
        "spec": {"podMetricsEndpoints": [endpoint], "selector": {"matchLabels": selector or {"app": "vllm"}}, **spec},
    }


def pod(folder, name: str = "vllm-1", port: int = 41000, app: str = "vllm") -> Pod:
    """A pod with a port `http`."""
    place = Place(folder, folder, str(folder), {8000: port})
    return Pod(name, parsed(server("serve"), name=app), {}, place, Told())


def test_every_endpoint_is_a_job_with_a_file_of_targets():
    """With its interval, path and other fields in Prometheus' words."""
    endpoints = [
        {"port": "http", "interval": "15s", "path": "/metrics"},
        {"port": "x", "scrapeTimeout": "5s", "scheme": "http", "honorLabels": True},
    ]
    found = config(rendered(monitor(podMetricsEndpoints=endpoints)))
    assert found == {
        "global": {"scrape_interval": "30s", "evaluation_interval": "30s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {
                "job_name": "podMonitor-llm-vllm-0",
                "scrape_interval": "15s",
                "metrics_path": "/metrics",
                "file_sd_configs": [{"files": ["targets/podMonitor-llm-vllm-0.json"], "refresh_interval": "5s"}],
            },
            {
                "job_name": "podMonitor-llm-vllm-1",
                "scrape_timeout": "5s",
                "scheme": "http",
                "honor_labels": True,
                "file_sd_configs": [{"files": ["targets/podMonitor-llm-vllm-1.json"], "refresh_interval": "5s"}],
            },
        ],
    }


def test_rules_are_the_groups_of_all_rule_objects():
    """As rendered."""
    rule = {"kind": "PrometheusRule", "metadata": {"name": "r"}, "spec": {"groups": GROUPS}}
    assert rules(rendered(rule, rule)) == {"groups": GROUPS * 2}


def test_targets_are_the_pods_a_monitor_selects(tmp_path):
    """Where they are on loopback, with the operator's labels."""
    found = monitor(jobLabel="app")
    endpoint = found["spec"]["podMetricsEndpoints"][0]
    pods = [pod(tmp_path), pod(tmp_path, "vllm-2", 41001), pod(tmp_path, "litellm-1", 41002, "litellm")]
    labels = {"namespace": "llm", "container": "serve", "endpoint": "http", "job": "vllm"}
    assert targets(found, endpoint, pods) == [
        {"targets": ["127.0.0.1:41000"], "labels": {**labels, "pod": "vllm-1"}},
        {"targets": ["127.0.0.1:41001"], "labels": {**labels, "pod": "vllm-2"}},
    ]
    unlabelled = monitor(jobLabel="nothing")
    assert [item["labels"]["job"] for item in targets(unlabelled, endpoint, pods[:1])] == ["llm/vllm"]
    assert targets(found, {"port": "metrics"}, pods) == []


def test_files_are_written_and_targets_replaced_whole(tmp_path):
    """At first without targets; later each list in one step, with nothing left beside it."""
    rule = {"kind": "PrometheusRule", "metadata": {"name": "r"}, "spec": {"groups": GROUPS}}
    every = rendered(monitor(), rule, deployment(server(), name="vllm"))
    write_config(tmp_path, every)
    file = tmp_path / "targets" / "podMonitor-llm-vllm-0.json"
    written = {name: yaml.safe_load((tmp_path / name).read_text()) for name in ("prometheus.yml", "rules.yml")}
    assert (written, json.loads(file.read_text())) == (
        {"prometheus.yml": config(every), "rules.yml": {"groups": GROUPS}},
        [],
    )
    reader = file.open()
    write_targets(tmp_path, every, [pod(tmp_path)])
    assert (json.loads(reader.read()), json.loads(file.read_text())[0]["targets"]) == ([], ["127.0.0.1:41000"])
    reader.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
