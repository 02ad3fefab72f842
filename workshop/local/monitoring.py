"""Rendered monitors and rules as files of a plain Prometheus, with the labels the Prometheus Operator would give.

Label names: prometheus-operator pkg/prometheus/promcfg.go, generatePodMonitorConfig, v0.95.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workshop.local.objects import Object, Rendered
from workshop.local.pod import Pod
from workshop.ports import LOOPBACK

# What a Prometheus of the operator does where nothing else is said (api/v1, PrometheusSpec, v0.95).
OPERATOR_DEFAULTS = {"scrape_interval": "30s", "evaluation_interval": "30s"}
CONFIG, RULES = "prometheus.yml", "rules.yml"
# Fields of a monitor's endpoint, and what a Prometheus calls them.
FIELDS = {"interval": "scrape_interval", "scrapeTimeout": "scrape_timeout", "path": "metrics_path", "scheme": "scheme",
          "honorLabels": "honor_labels"}  # fmt: skip


def monitors(rendered: Rendered) -> list[tuple[str, Object, Object]]:
    """(job, monitor, endpoint) of every endpoint of every PodMonitor."""
    return [
        (f"podMonitor-{monitor['metadata']['namespace']}-{monitor['metadata']['name']}-{position}", monitor, endpoint)
        for monitor in rendered.objects
        if monitor["kind"] == "PodMonitor"
        for position, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def config(rendered: Rendered) -> dict[str, Any]:
    """`prometheus.yml`: the rules, and a job per endpoint whose targets are in a file beside it."""
    jobs = [
        {
            "job_name": job,
            **{FIELDS[key]: value for key, value in endpoint.items() if key != "port"},
            "file_sd_configs": [{"files": [f"targets/{job}.json"], "refresh_interval": "5s"}],
        }
        for job, _, endpoint in monitors(rendered)
    ]
    return {"global": dict(OPERATOR_DEFAULTS), "rule_files": [RULES], "scrape_configs": jobs}


def rules(rendered: Rendered) -> dict[str, Any]:
    """`rules.yml`: the groups of every PrometheusRule."""
    specs = [body["spec"] for body in rendered.objects if body["kind"] == "PrometheusRule"]
    return {"groups": [group for spec in specs for group in spec["groups"]]}


def targets(monitor: Object, endpoint: Object, pods: Sequence[Pod]) -> list[dict[str, Any]]:
    """One entry per running pod that the monitor selects."""
    spec, name, selected = monitor["spec"], monitor["metadata"]["name"], []
    for pod in pods:
        labels, namespace = pod.workload.labels, pod.workload.namespace
        if not spec["selector"]["matchLabels"].items() <= labels.items():
            continue
        for container in pod.workload.containers:
            if endpoint["port"] in container.ports:
                where = f"{LOOPBACK}:{pod.place.ports[container.ports[endpoint['port']]]}"
                target_labels = {
                    "namespace": namespace,
                    "pod": pod.name,
                    "container": container.name,
                    "endpoint": endpoint["port"],
                    "job": labels.get(spec.get("jobLabel", ""), f"{namespace}/{name}"),
                }
                selected.append({"targets": [where], "labels": target_labels})
    return selected


def write_config(folder: Path, rendered: Rendered) -> None:
    """Configuration, rules, and empty lists of targets."""
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    documents: Mapping[str, Any] = {CONFIG: config(rendered), RULES: rules(rendered)}
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    write_targets(folder, rendered, [])


def write_targets(folder: Path, rendered: Rendered, pods: Sequence[Pod]) -> None:
    """The lists of targets, each replaced in one step, because a Prometheus may be reading them."""
    for job, monitor, endpoint in monitors(rendered):
        file = folder / "targets" / f"{job}.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(targets(monitor, endpoint, pods), indent=1), encoding="utf-8")
        fresh.replace(file)
