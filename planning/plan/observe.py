"""Monitors, alerts, dashboards, and the operators that are installed."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rule:
    """One alert; its runbook is the section of the same name in docs/runbook.md."""

    alert: str
    expr: str
    for_s: int
    labels: Mapping[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class Metrics:
    """Metrics of pods that are not ours, where Prometheus looks by itself: labels of the pods, their port."""

    pods: Mapping[str, str]
    port_name: str
    port: int


@dataclass(frozen=True)
class ObservabilityPlan:
    """Monitors, alerts and dashboards."""

    release: str
    namespace: str
    prometheus_url: str
    server_ports: tuple[int, ...]
    server_metrics_path: str
    gateway_metrics_path: str
    scrape_interval_s: int
    runbook_url: str
    alerts: tuple[Rule, ...]
    dashboard: Mapping[str, object]
    adapter_rules: tuple[Mapping[str, object], ...]
    database: Metrics | None = None
    """Those of a Postgres that is scraped."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """What vLLM calls a model → its public name, where that is another: metrics have the latter."""


@dataclass(frozen=True)
class ReleasePlan:
    """One Helm release of an operator.

    `images`: those it pulls, as far as they are known; `not_known`: what it pulls beside them, `unread`: what of that
    who renders its chart would know.
    """

    name: str
    chart: str
    repository: str | None
    version: str
    namespace: str
    values: Mapping[str, object]
    privileged: bool
    timeout_s: int
    critical_pods: str | None = None
    """How many pods of Kubernetes' own priority classes its namespace must be given; None: there may be any."""
    images: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    replaced: tuple[tuple[str, object, object], ...] = ()
    """(path, ours, the user's) of values that are not the stack's any more."""
    added: Mapping[str, object] = field(default_factory=dict)
    """Values of the user's, all of them."""
    takes_away: bool = False
    """Whether one of these is null."""
