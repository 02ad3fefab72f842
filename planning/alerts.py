"""The alerts, each naming its model, with a runbook section; thresholds come from the configuration."""

from collections.abc import Sequence

from catalog.load import Catalog
from planning.plan import Rule, ServerPlan
from planning.promql import UnknownMetric, edge, quantile, series
from settings.problems import Problem
from settings.schema import StackSettings

TTFT = "vllm:time_to_first_token_seconds"


def alerts(
    settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan], problems: list[Problem]
) -> tuple[Rule, ...]:
    """Alert rules for all servers of the stack."""
    vllm, kubernetes = catalog.engines["vllm"].metrics, catalog.engines["kubernetes"].metrics
    namespace, limits = settings.cluster.namespace, settings.observability.alerts
    try:
        edge(vllm, TTFT, limits.time_to_first_token_s)
    except UnknownMetric as error:
        problems.append(Problem("observability.alerts.timeToFirstTokenS", str(error)))
    waiting = series(vllm, "vllm:num_requests_waiting", namespace=namespace)
    cache = series(vllm, "vllm:kv_cache_usage_perc", namespace=namespace)
    rules = [
        Rule(
            "LLMHighWaitQueue",
            f"sum by (namespace, model_name) ({waiting}) > {limits.waiting_requests}",
            120,
            {"severity": "warning"},
            "Requests for {{ $labels.model_name }} are queueing",
            f"{{{{ $value }}}} requests wait for {{{{ $labels.model_name }}}}; more than {limits.waiting_requests} "
            "for 2 minutes.",
        ),
        Rule(
            "LLMHighTTFT",
            f"{quantile(vllm, 0.95, TTFT, '5m', 'namespace, model_name', namespace=namespace)} > "
            f"{limits.time_to_first_token_s:g}",
            300,
            {"severity": "warning"},
            "First tokens of {{ $labels.model_name }} are slow",
            f"The 95th percentile of the time to first token of {{{{ $labels.model_name }}}} is "
            f"{{{{ $value | humanizeDuration }}}}, above {limits.time_to_first_token_s:g} s for 5 minutes.",
        ),
        Rule(
            "LLMGPUCacheNearFull",
            f"max by (namespace, model_name, pod) ({cache}) > {limits.kv_cache_usage:g}",
            300,
            {"severity": "warning"},
            "The KV cache of {{ $labels.model_name }} is nearly full",
            f"{{{{ $labels.pod }}}} uses {{{{ $value | humanizePercentage }}}} of its KV cache, more than "
            f"{limits.kv_cache_usage:.0%} for 5 minutes: requests will be preempted.",
        ),
    ]
    rules += [_server_down(server, catalog, namespace) for server in servers]
    for pool in dict.fromkeys(server.pool for server in servers if not server.cpu):
        inside = [server for server in servers if server.pool == pool]
        names = "|".join(sorted(pod_names(server.name, server.nodes_per_replica) for server in inside))
        waiting = series(kubernetes, "kube_pod_status_unschedulable", namespace=namespace, pod=f"~{names}")
        rules.append(
            Rule(
                "LLMNoGpuAvailable",
                f"sum({waiting}) > 0",
                900,
                {"severity": "critical", "pool": pool},
                f"Pods wait for GPUs of pool {pool}",
                f"{{{{ $value }}}} pods that need pool {pool} could not be scheduled for 15 minutes: nodes are "
                "missing, full, or offer no GPUs.",
            )
        )
    return tuple(rules)


def pod_names(server: str, nodes_per_replica: int) -> str:
    """A regular expression that finds the pods of a server by their names, and none of `vllm-a-cpu` for `vllm-a`.

    Names of a Deployment's pods end in a hash and five characters, without a dash between where the name is long; those
    of a group in its number, and that of the pod unless it leads.
    """
    return f"{server}-[0-9a-z]{{1,15}}(-[0-9a-z]{{5}})?" if nodes_per_replica == 1 else f"{server}-[0-9]+(-[0-9]+)?"


def _server_down(server: ServerPlan, catalog: Catalog, namespace: str) -> Rule:
    """No ready replica for longer than a cold start takes; of a server that may be at zero, while one is wanted."""
    kubernetes = catalog.engines["kubernetes"].metrics
    if server.nodes_per_replica == 1:
        which = {"namespace": namespace, "deployment": server.name}
        ready = series(kubernetes, "kube_deployment_status_replicas_available", **which)
        wanted = series(kubernetes, "kube_deployment_spec_replicas", **which)
    else:
        which = {"namespace": namespace, "pod": f"~{server.name}-[0-9]+"}
        ready = series(kubernetes, "kube_pod_status_ready", condition="true", **which)
        wanted = series(kubernetes, "kube_pod_info", **which)
    down = f"(sum({ready}) or vector(0)) < 1"
    if server.scaling and server.scaling.min_replicas == 0:
        down += f" and sum({wanted}) > 0"
    return Rule(
        "LLMServerDown",
        down,
        max(300, server.timing.cold_start_s),
        {"severity": "critical", "model_name": server.model_name, "server": server.name},
        f"No replica of {server.name} is ready",
        f"{server.model_name} has had no ready pod ({server.name}) for longer than its cold start of "
        f"{server.timing.cold_start_s} s.",
    )
