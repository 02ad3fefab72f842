"""Targets to scrape, alerts that wake somebody and the dashboard they look at, as one part of the plan."""

from collections.abc import Mapping, Sequence

from catalog.load import Catalog
from planning.observe.alerts import alert_problems, alert_rules
from planning.observe.dashboard import draw_dashboard
from planning.plan.observe import ObservabilityPlan
from planning.plan.servers import ServerPlan
from planning.plan.stores import CLUSTER_METRICS
from settings.doubt import judge
from settings.problems import Problem
from settings.schema import CloudNativePgDatabaseSettings, StackSettings

SCRAPE_INTERVAL_S = 15


def resolve_observability(
    settings: StackSettings,
    catalog: Catalog,
    servers: Sequence[ServerPlan],
    server_ports: tuple[int, ...],
    adapter_rules: tuple[Mapping[str, object], ...],
    prometheus_url: str,
) -> tuple[ObservabilityPlan, list[Problem]]:
    """Monitors, alerts and dashboard; a threshold that no metric can show is a problem.

    `server_ports`: those that servers answer on; `adapter_rules`: what prometheus-adapter is to answer, if it is there.
    """
    plan = ObservabilityPlan(
        release=settings.observability.release,
        namespace=settings.observability.namespace,
        prometheus_url=prometheus_url,
        server_ports=server_ports,
        server_metrics_path=catalog.vllm.health.metrics_path,
        gateway_metrics_path=catalog.litellm.health.metrics_path,
        scrape_interval_s=SCRAPE_INTERVAL_S,
        runbook_url=settings.observability.runbook_url,
        alerts=alert_rules(settings, catalog, servers),
        dashboard=draw_dashboard(catalog, settings.cluster.namespace, servers),
        adapter_rules=adapter_rules,
        renamed={
            server.model_name: server.public_name for server in servers if server.public_name != server.model_name
        },
        database=CLUSTER_METRICS if isinstance(settings.gateway.database, CloudNativePgDatabaseSettings) else None,
    )
    return plan, judge(alert_problems, settings, catalog)
