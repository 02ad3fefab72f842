"""Helm releases of the operators a stack relies on; each can be switched off where the cluster has it already."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from catalog.load import Catalog
from planning.plan.observe import ReleasePlan
from planning.plan.pools import PoolPlan, Shared
from planning.plan.servers import ServerPlan
from planning.stack import chart_images, known_bad
from planning.stack.chart_values import chart_value_problems, has_null, merge_values, overrides
from planning.stack.gpu_operator import gpu_operator_values
from settings.doubt import follows_from, judge
from settings.problems import Problem
from settings.schema import CloudNativePgDatabaseSettings, StackSettings

RELEASE_TIMEOUT_S = 900
# Three numbers: Helm takes 2.20 for any 2.20.x.
EXACT_VERSION = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


def prometheus_url(settings: StackSettings) -> str:
    """Address of the Prometheus of the release, by the naming rule of the chart (26 characters at most)."""
    if settings.observability.prometheus_url:
        return settings.observability.prometheus_url
    release, chart = settings.observability.release, "kube-prometheus-stack"
    full = release if chart in release else f"{release}-{chart}"
    return f"http://{full[:26].rstrip('-')}-prometheus.{settings.observability.namespace}.svc:9090"


def resolve_releases(
    settings: StackSettings,
    catalog: Catalog,
    pools: Sequence[PoolPlan],
    servers: Sequence[ServerPlan],
    adapter_rules: Sequence[Mapping[str, object]],
) -> tuple[dict[str, ReleasePlan], list[Problem]]:
    """Chart name → release, for every operator that is needed and not switched off; a bad version is a problem.

    `adapter_rules`: what prometheus-adapter is to answer, with the HPA driver.
    """
    charts: dict[str, tuple[str, Mapping[str, object], bool]] = {}
    if settings.gpu_operator.install and any(
        pool.operator == "gpu-operator" and not isinstance(pool.provisioning, Shared) for pool in pools
    ):
        charts["gpu-operator"] = ("gpu-operator", gpu_operator_values(settings, catalog), True)
    if settings.observability.install:
        labels = {f"{kind}SelectorNilUsesHelmValues": True for kind in ("podMonitor", "rule", "serviceMonitor")}
        charts["kube-prometheus-stack"] = (
            settings.observability.release,
            {
                "prometheus": {"prometheusSpec": labels},
                "grafana": {"sidecar": {"dashboards": {"enabled": True, "searchNamespace": "ALL"}}},
            },
            True,
        )
    if settings.autoscaling.install and any(server.scaling for server in servers):
        if settings.autoscaling.driver == "keda":
            charts["keda"] = ("keda", {}, False)
        else:
            url = urlsplit(prometheus_url(settings))
            port = url.port or (443 if url.scheme == "https" else 80)
            host = f"{url.scheme}://{url.netloc.removesuffix(f':{port}')}"
            charts["prometheus-adapter"] = (
                "prometheus-adapter",
                {
                    "prometheus": {"url": host, "port": port, "path": url.path},
                    "rules": {"default": False, "custom": [dict(rule) for rule in adapter_rules]},
                },
                False,
            )
    if settings.leader_worker_set.install and any(server.nodes_per_replica > 1 for server in servers):
        charts["lws"] = ("lws", {}, False)
    if _installs_postgres(settings):
        charts["cloudnative-pg"] = ("cloudnative-pg", {}, False)
    releases = {chart: _release(chart, *parts, settings=settings, catalog=catalog) for chart, parts in charts.items()}
    of_versions = [
        p for chart, release in releases.items() for p in judge(_chart_problems, chart, release, settings, catalog)
    ]
    return releases, [*of_versions, *judge(chart_value_problems, settings)]


def _installs_postgres(settings: StackSettings) -> bool:
    return settings.cloud_native_pg.install and isinstance(settings.gateway.database, CloudNativePgDatabaseSettings)


def _chart_problems(chart: str, release: ReleasePlan, settings: StackSettings, catalog: Catalog) -> list[Problem]:
    if override := settings.charts.get(chart):  # pyright: ignore[reportArgumentType] - a name is str
        follows_from(override)
    path = f"charts.{chart}.version"
    if not EXACT_VERSION.fullmatch(release.version):
        return [Problem(path, f'"{release.version}" is not an exact version')]
    return known_bad.refusals(path, chart, release.version, catalog)


def namespace_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """The models' namespace must be nobody else's: it is closed to the network and to pods that are not restricted.

    Those of operators are theirs also where somebody else has installed them. A namespace for Prometheus that is made
    here may not be one of the cluster's own: it would get labels that hold for everything else in it.
    """
    namespace, monitoring = settings.cluster.namespace, settings.observability.namespace
    operators = {chart.namespace: f"the namespace of {name}" for name, chart in reversed(list(catalog.charts.items()))}
    operators[monitoring] = "observability.namespace"
    operators[settings.cloud_native_pg.namespace] = "cloudNativePg.namespace"
    problems = []
    if owner := operators.get(namespace) or _owner(namespace, catalog):
        why = "models and gateway close their namespace to everything else, so give them one of their own"
        problems.append(Problem("cluster.namespace", f'"{namespace}" is {owner}; {why}'))
    if settings.observability.install and (owner := _owner(monitoring, catalog)):
        why = "install would label it for node exporters; give Prometheus one of its own"
        problems.append(Problem("observability.namespace", f'"{monitoring}" is {owner}; {why}'))
    of_postgres = settings.cloud_native_pg.namespace
    if _installs_postgres(settings) and (owner := _owner(of_postgres, catalog)):
        why = "install would label it for pods of an operator; give CloudNativePG one of its own"
        problems.append(Problem("cloudNativePg.namespace", f'"{of_postgres}" is {owner}; {why}'))
    return problems


def version_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """A Kubernetes that does not exist; the one after the newest that is known may, by the time this is read."""
    minor, newest = settings.cluster.kubernetes_minor, catalog.kubernetes.newest_minor
    if minor <= newest + 1:
        return []
    return [Problem("cluster.kubernetes", f'"1.{minor}" is not known; the newest version that is, is "1.{newest}"')]


def _owner(namespace: str, catalog: Catalog) -> str | None:
    """The owner of a namespace: of every cluster, or of every one that has that program."""
    return next((taken.owner for taken in catalog.taken_namespaces if taken.has(namespace)), None)


def _release(
    chart: str, name: str, values: Mapping[str, object], privileged: bool, *, settings: StackSettings, catalog: Catalog
) -> ReleasePlan:
    known = catalog.charts[chart]
    override = settings.charts.get(chart)  # pyright: ignore[reportArgumentType, reportCallIssue] - catalogue names are str
    version = (override.version if override else None) or known.version
    source = (override.chart if override else None) or known.chart
    repository = known.repository
    if override is not None and (override.repository is not None or override.chart is not None):
        repository = override.repository or None
    values = chart_images.with_pull_secrets(chart, version, values, settings.images.pull_secrets, catalog)
    added = override.values if override else {}
    replaced = tuple(overrides(values, added))
    values = merge_values(values, added)
    inside = chart_images.contents(chart, version, values, catalog)
    monitoring = settings.observability.namespace
    chosen = dict.fromkeys(("kube-prometheus-stack", "prometheus-adapter"), monitoring)
    namespace = {**chosen, "cloudnative-pg": settings.cloud_native_pg.namespace}.get(chart, known.namespace)
    return ReleasePlan(
        name=name,
        chart=source,
        repository=repository,
        version=version,
        namespace=namespace,
        values=values,
        # node exporters need the host, also those of a Prometheus stack that somebody else has installed there
        privileged=privileged or namespace == monitoring,
        timeout_s=RELEASE_TIMEOUT_S,
        # its DaemonSets are of such a class (v26.7.0 values.yaml, daemonsets.priorityClassName)
        critical_pods=catalog.platform(settings.cluster.platform).critical_pods if chart == "gpu-operator" else None,
        images=inside.images,
        not_known=inside.not_known,
        unread=inside.unread,
        replaced=replaced,
        added=added,
        takes_away=has_null(added),
    )
