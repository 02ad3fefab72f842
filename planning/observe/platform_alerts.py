"""Alerts about what all models share: the gateway, Redis, the autoscaler, Jobs, restarts, GPUs, and the metrics.

What cannot be seen is not asked for: a Redis or a Postgres that somebody else runs exports nothing here
(docs/runbook.md says where to look), and a Prometheus that is away cannot say so.
"""

from collections.abc import Iterator, Mapping, Sequence

from catalog.load import Catalog
from catalog.schema import Metric
from planning.observe.promql import series
from planning.observe.watched import available, cluster_seen, desired_replicas, gateway_up
from planning.plan.gateway import CHAT_UI, GATEWAY
from planning.plan.observe import Rule
from planning.plan.scaling import pod_names
from planning.plan.servers import ServerPlan
from planning.plan.stores import GATEWAY_CLUSTER, GATEWAY_POSTGRES, GATEWAY_REDIS
from settings.schema import (
    BundledDatabaseSettings,
    BundledRedisSettings,
    CloudNativePgDatabaseSettings,
    StackSettings,
)

# With a scrape and an evaluation every 30 s, the defaults of kube-prometheus-stack, this is noticed within 2 minutes.
DEAD_FOR_S = 60
# Pods that are not there yet are an error to KEDA for as long as its fallback waits, and to an HPA for a cold start.
BLIND_FOR_S = 900
# What a server answers when the gateway's key or address is wrong, whatever the request was.
REFUSED = "401|403|404|405"
# Not a refusal: a timeout, and a limit that is meant to be met.
NO_REFUSAL = "408|429"
# Deployments of the two charts that scaling needs.
KEDA, ADAPTER = "keda-operator.*", "prometheus-adapter"


def platform_rules(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> Iterator[Rule]:
    """Alert rules of the platform, for one stack."""
    yield from _gateway(settings, catalog, servers)
    yield from _routers(settings.cluster.namespace, catalog, servers)
    scaled = [server for server in servers if server.scaling]
    if scaled:
        yield from _autoscaler(settings, catalog, scaled)
    yield from _pods(catalog, settings.cluster.namespace)
    yield from _gpus(settings, catalog, [server for server in servers if server.gpu_metrics])


def _available(catalog: Catalog, **which: str) -> str:
    return series(catalog.kubernetes.metrics, "kube_deployment_status_replicas_available", **which)


def _ready(catalog: Catalog, namespace: str, stateful_set: str) -> str:
    name = "kube_statefulset_status_replicas_ready"
    return series(catalog.kubernetes.metrics, name, namespace=namespace, statefulset=stateful_set)


def _grown(counter: str, by: str, window: str) -> str:
    """Growth of a counter, of one that has just appeared, too: its first value is no increase to Prometheus."""
    return (
        f"sum by ({by}) (increase({counter}[{window}])) > 0 or "
        f"count by ({by}) ({counter} unless {counter} offset {window}) > 0"
    )


def _gateway(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> Iterator[Rule]:
    namespace, litellm = settings.cluster.namespace, catalog.litellm.metrics
    running = f"max({_available(catalog, namespace=namespace, deployment=GATEWAY)})"
    seen = cluster_seen(catalog)
    yield Rule(
        "LLMGatewayDown",
        f"({running} or {seen}) < 1",
        DEAD_FOR_S,
        {"severity": "critical"},
        "No gateway pod is ready",
        "Nobody reaches any model: no pod of the gateway is ready.",
    )
    sleeps = any(server.scaling and server.scaling.wake_query for server in servers)
    yield Rule(
        "LLMGatewayNotScraped",
        f"{running} - (({gateway_up(catalog, namespace)}) or 0 * {running}) > 0",
        300,
        {"severity": "critical" if sleeps else "warning"},
        "Gateway pods are not scraped",
        "{{ $value }} ready gateway pods have not been scraped for 5 minutes"
        + (": a request that reaches them wakes no server that is at zero." if sleeps else "."),
    )
    yield from _requests(namespace, litellm)
    yield from _beside_gateway(settings, catalog)


def _beside_gateway(settings: StackSettings, catalog: Catalog) -> Iterator[Rule]:
    """Rules on the single pods beside the gateway that are the stack's own."""
    namespace, seen = settings.cluster.namespace, cluster_seen(catalog)
    if isinstance(settings.gateway.redis, BundledRedisSettings):
        redis = f"max({_available(catalog, namespace=namespace, deployment=GATEWAY_REDIS)})"
        yield Rule(
            "LLMRedisDown",
            f"({redis} or {seen}) < 1",
            DEAD_FOR_S,
            {"severity": "warning"},
            "Redis of the gateway is not ready",
            "Each gateway pod counts limits for itself until Redis is back.",
        )
    if ready := _postgres_pods(settings, catalog):
        yield Rule(
            "LLMPostgresDown",
            f"({ready} or {seen}) < 1",
            DEAD_FOR_S,
            {"severity": "critical"},
            "Postgres of the gateway is not ready",
            "Keys that were not used in the last 5 minutes are refused with 503 until Postgres is back.",
        )
    database = settings.gateway.database
    if isinstance(database, CloudNativePgDatabaseSettings) and database.instances > 1:
        yield Rule(
            "LLMPostgresInstanceDown",
            f"{ready} < {database.instances} > 0",
            # longer than a node is away for an update, and a new instance copies what another has
            900,
            {"severity": "warning"},
            "An instance of Postgres is not ready",
            f"Fewer than {database.instances} are ready: nothing may follow the one that writes, or none writes.",
        )
    if settings.gateway.chat_ui:
        yield Rule(
            "LLMChatUiDown",
            f"(max({_ready(catalog, namespace, CHAT_UI)}) or {seen}) < 1",
            # longer than an update of it
            300,
            {"severity": "warning"},
            "The page to chat with is not ready",
            "Nobody can chat at https://" + settings.gateway.chat_ui.host + "; the API is not touched.",
        )


def _routers(namespace: str, catalog: Catalog, servers: Sequence[ServerPlan]) -> Iterator[Rule]:
    """Rules on what stands between the gateway and replicas; it is not ready by itself where there are none."""
    for server in servers:
        if server.router is None:
            continue
        running = f"max({_available(catalog, namespace=namespace, deployment=server.router.name)})"
        yield Rule(
            "LLMRouterDown",
            f"({running} or {cluster_seen(catalog)}) < 1 and {available(catalog, server.watched)} > 0",
            DEAD_FOR_S,
            {"severity": "critical", "model_name": server.public_name, "server": server.name},
            f"No router of {server.name} is ready",
            f"Replicas of {server.name} are ready, and the gateway reaches none of them: no router in front is ready.",
        )


def _postgres_pods(settings: StackSettings, catalog: Catalog) -> str | None:
    """Ready pods of a Postgres of our own; one that somebody else runs is not seen."""
    namespace = settings.cluster.namespace
    match settings.gateway.database:
        case BundledDatabaseSettings():
            return f"max({_ready(catalog, namespace, GATEWAY_POSTGRES)})"
        case CloudNativePgDatabaseSettings():
            # instances are numbered, and no number comes twice; Jobs that make them have a word behind it
            pods = f"~{GATEWAY_CLUSTER}-[0-9]+"
            ready = series(
                catalog.kubernetes.metrics, "kube_pod_status_ready", namespace=namespace, pod=pods, condition="true"
            )
            return f"sum({ready})"
        case _:
            return None


def _requests(namespace: str, litellm: Mapping[str, Metric]) -> Iterator[Rule]:
    """Rules on the results of requests: errors, refusals of servers, and fallbacks that hide them."""
    total = "litellm_proxy_total_requests_metric_total"
    requests = series(litellm, total, window="5m", namespace=namespace)
    failed = series(litellm, total, window="5m", namespace=namespace, status_code="~5..")
    by = "namespace, requested_model"
    yield Rule(
        "LLMGatewayErrors",
        f"sum by ({by}) (rate({failed})) / sum by ({by}) (rate({requests})) > 0.05",
        300,
        {"severity": "critical"},
        "Requests for {{ $labels.requested_model }} fail",
        "{{ $value | humanizePercentage }} of the requests for {{ $labels.requested_model }} have ended in a server "
        "error for 5 minutes, after retries and fallbacks.",
    )
    refused = series(
        litellm, "litellm_deployment_failure_responses_total", namespace=namespace, exception_status=f"~{REFUSED}"
    )
    yield Rule(
        "LLMServerRefusesGateway",
        _grown(refused, "namespace, model_id, exception_status", "10m"),
        0,
        {"severity": "critical"},
        "{{ $labels.model_id }} refuses the gateway",
        "{{ $labels.model_id }} answers the gateway with {{ $labels.exception_status }}: a wrong key, name or address. "
        "Fallbacks may hide it from users.",
    )
    hidden = series(
        litellm,
        "litellm_deployment_successful_fallbacks_total",
        namespace=namespace,
        exception_status=f"!~5..|{NO_REFUSAL}|None",
    )
    yield Rule(
        "LLMFallbackHidesRefusal",
        _grown(hidden, "namespace, requested_model, fallback_model, exception_status", "10m"),
        0,
        {"severity": "warning"},
        "{{ $labels.fallback_model }} answers what {{ $labels.requested_model }} refused",
        "A server of {{ $labels.requested_model }} answered {{ $labels.exception_status }}, and clients got an answer "
        "of {{ $labels.fallback_model }} instead.",
    )


def _autoscaler(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> Iterator[Rule]:
    kubernetes, keda = catalog.kubernetes.metrics, settings.autoscaling.driver == "keda"
    for server in servers:
        blind = series(
            kubernetes,
            "kube_horizontalpodautoscaler_status_condition",
            namespace=settings.cluster.namespace,
            horizontalpodautoscaler=f"keda-hpa-{server.name}" if keda else server.name,
            condition="ScalingActive",
            status="false",
        )
        yield Rule(
            "LLMAutoscalerBlind",
            f"max({blind}) > 0 and {desired_replicas(catalog, server.watched)} > 0",
            BLIND_FOR_S,
            {"severity": "warning", "model_name": server.public_name, "server": server.name},
            f"The autoscaler of {server.name} has no metrics",
            f"The number of replicas of {server.name} has not been computed for 15 minutes: it stays as it is.",
        )
    operator = f"min({_available(catalog, deployment=f'~{KEDA}' if keda else ADAPTER)})"
    # where somebody else installs it, its Deployments may have other names
    gone = f" or {cluster_seen(catalog)}" if settings.autoscaling.install else ""
    yield Rule(
        "LLMAutoscalerDown",
        f"({operator}{gone}) < 1",
        300,
        {"severity": "critical"},
        f"{'KEDA' if keda else 'prometheus-adapter'} is not running",
        "No server is scaled" + (", and none that is at zero wakes." if keda else "."),
    )


def _pods(catalog: Catalog, namespace: str) -> Iterator[Rule]:
    kubernetes = catalog.kubernetes.metrics
    failed = series(kubernetes, "kube_job_failed", namespace=namespace, condition="true")
    yield Rule(
        "LLMJobFailed",
        f"max by (namespace, job_name) ({failed}) > 0",
        60,
        {"severity": "warning"},
        "Job {{ $labels.job_name }} has failed",
        "Job {{ $labels.job_name }} has given up; what waits for it does not start.",
    )
    restarts = series(kubernetes, "kube_pod_container_status_restarts_total", window="1h", namespace=namespace)
    yield Rule(
        "LLMPodRestarting",
        f"sum by (namespace, pod, container) (increase({restarts})) > 2",
        60,
        {"severity": "warning"},
        "{{ $labels.pod }} restarts again and again",
        "Container {{ $labels.container }} of {{ $labels.pod }} has restarted {{ $value | humanize }} times in 1 h.",
    )
    gateway = series(kubernetes, "kube_deployment_status_replicas_available", namespace=namespace, deployment=GATEWAY)
    yield Rule(
        "LLMClusterMetricsAbsent",
        f"absent({gateway})",
        300,
        {"severity": "critical"},
        "kube-state-metrics is not scraped",
        "Prometheus has had no metrics of the cluster's objects for 5 minutes: most alerts are blind, replicas stay as "
        "they are.",
    )


def _gpus(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> Iterator[Rule]:
    if not servers or not settings.gpu_operator.install:
        return
    dcgm, kubernetes = catalog.dcgm.metrics, catalog.kubernetes.metrics
    names = "|".join(sorted(pod_names(server.name, server.nodes_per_replica) for server in servers))
    namespace = settings.cluster.namespace
    running = series(kubernetes, "kube_pod_status_phase", namespace=namespace, phase="Running", pod=f"~{names}")
    yield Rule(
        "LLMGpuMetricsAbsent",
        f"absent({series(dcgm, 'DCGM_FI_DEV_GPU_TEMP')}) and sum({running}) > 0",
        900,
        {"severity": "warning"},
        "No GPU is scraped",
        "Pods run on GPUs, and no exporter has reported one for 15 minutes: errors of GPUs are not seen.",
    )
    last = f"max by (hostname, gpu) ({series(dcgm, 'DCGM_FI_DEV_XID_ERRORS')})"
    yield Rule(
        "LLMGpuXid",
        f"{last} > 0 and changes({last}[15m:15s]) > 0",
        0,
        {"severity": "warning"},
        "GPU {{ $labels.gpu }} of {{ $labels.hostname }} has reported an error",
        "Its last XID is {{ $value }}; the runbook says which of them need the node drained.",
    )
