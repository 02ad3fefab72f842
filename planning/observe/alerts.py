"""The alerts, each with a section of its name in the runbook; thresholds come from the configuration."""

from collections.abc import Iterator, Sequence

from catalog.load import Catalog
from planning.observe.platform_alerts import DEAD_FOR_S, platform_rules
from planning.observe.promql import UnknownMetric, any_of, edge, edges, quantile, series
from planning.observe.watched import available, cluster_seen, desired_replicas, reporting, unheard
from planning.plan.observe import Rule
from planning.plan.scaling import pod_names
from planning.plan.servers import ServerPlan
from settings.problems import Problem
from settings.schema import StackSettings


def alert_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """A threshold between two edges of a histogram, where a quantile is not known."""
    engine, limit_s = catalog.vllm, settings.observability.alerts.time_to_first_token_s
    try:
        edge(engine.metrics, engine.roles["first_token_s"], limit_s)
    except UnknownMetric as error:
        return [Problem("observability.alerts.timeToFirstTokenS", str(error))]
    return []


def alert_rules(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> tuple[Rule, ...]:
    """Alert rules for all servers of the stack."""
    kubernetes = catalog.kubernetes.metrics
    namespace, rules = settings.cluster.namespace, _model_rules(settings, catalog, servers)
    rules += [*_reading_rules(settings, catalog, servers)]
    rules += [rule for server in servers for rule in _server_rules(server, catalog)]
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
    return (*rules, *platform_rules(settings, catalog, servers))


def _model_rules(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> list[Rule]:
    """Rules on what servers report of their models, each by the metric of one role; none where no server reports it."""
    engine, limits = catalog.vllm, settings.observability.alerts

    def where(role: str) -> dict[str, str]:
        speaking = {server.public_name for server in servers if role not in server.watched.silent_roles}
        silent = any(role in server.watched.silent_roles for server in servers)
        named = {"model_name": any_of(sorted(speaking))} if silent else {}
        return {"namespace": settings.cluster.namespace, **named}

    waiting, cache = (series(engine.metrics, engine.roles[role], **where(role)) for role in ("waiting", "cache_used"))
    first_token = quantile(
        engine.metrics, 0.95, engine.roles["first_token_s"], "5m", "namespace, model_name", **where("first_token_s")
    )
    rules = {
        "waiting": Rule(
            "LLMHighWaitQueue",
            f"sum by (namespace, model_name) ({waiting}) > {limits.waiting_requests}",
            120,
            {"severity": "warning"},
            "Requests for {{ $labels.model_name }} are queueing",
            f"{{{{ $value }}}} requests wait for {{{{ $labels.model_name }}}}; more than {limits.waiting_requests} "
            "for 2 minutes.",
        ),
        "first_token_s": Rule(
            "LLMHighTTFT",
            f"{first_token} > {limits.time_to_first_token_s:g}",
            300,
            {"severity": "warning"},
            "First tokens of {{ $labels.model_name }} are slow",
            f"The 95th percentile of the time to first token of {{{{ $labels.model_name }}}} is "
            f"{{{{ $value | humanizeDuration }}}}, above {limits.time_to_first_token_s:g} s for 5 minutes.",
        ),
        "cache_used": Rule(
            "LLMGPUCacheNearFull",
            f"max by (namespace, model_name, pod) ({cache}) > {limits.kv_cache_usage:g}",
            300,
            {"severity": "warning"},
            "The KV cache of {{ $labels.model_name }} is nearly full",
            f"{{{{ $labels.pod }}}} uses {{{{ $value | humanizePercentage }}}} of its KV cache, more than "
            f"{limits.kv_cache_usage:.0%} for 5 minutes: requests will be preempted.",
        ),
    }
    return [rule for role, rule in rules.items() if role not in unheard(servers)]


def _reading_rules(settings: StackSettings, catalog: Catalog, servers: Sequence[ServerPlan]) -> Iterator[Rule]:
    """Of models whose answers come whole: what is a first token to others is all of it to them."""
    reading = sorted({server.public_name for server in servers if "first_token_s" in server.watched.silent_roles})
    if not reading:
        return
    engine, limit_s = catalog.vllm, settings.observability.alerts.time_to_first_token_s
    role = engine.roles["whole_answer_s"]
    # its histogram has other edges, of which the next one is taken
    edge_s = min((edge for edge in edges(engine.metrics, role) if edge >= limit_s), default=limit_s)
    where = {"namespace": settings.cluster.namespace, "model_name": any_of(reading)}
    yield Rule(
        "LLMSlowAnswers",
        f"{quantile(engine.metrics, 0.95, role, '5m', 'namespace, model_name', **where)} > {edge_s:g}",
        300,
        {"severity": "warning"},
        "Answers of {{ $labels.model_name }} are slow",
        f"The 95th percentile of the time that {{{{ $labels.model_name }}}} takes for an answer is "
        f"{{{{ $value | humanizeDuration }}}}, above {edge_s:g} s for 5 minutes.",
    )


def _server_rules(server: ServerPlan, catalog: Catalog) -> list[Rule]:
    """A server that dies, one that does not come up, and one that answers and is not scraped.

    Of a server that may be at zero, while a replica is wanted. A new one has its cold start; one that was there in that
    time, and was wanted since, has died.
    """
    watched, patience = server.watched, max(300, server.timing.cold_start_s)
    ready, replicas = available(catalog, watched), desired_replicas(catalog, watched)
    labels = {"model_name": server.public_name, "server": server.name}
    down = f"({ready} or {cluster_seen(catalog)}) < 1"
    lately = f"[{patience}s:30s]"
    if server.scaling and server.scaling.min_replicas == 0:
        down += f" and {replicas} > 0"
        at_zero = f"max_over_time(timestamp({replicas} == 0){lately}) or {cluster_seen(catalog)}"
        died = f"{down} and max_over_time(timestamp({ready} > 0){lately}) > ({at_zero})"
    else:
        died = f"{down} and max_over_time({ready}{lately}) > 0"
    return [
        Rule(
            "LLMServerDied",
            died,
            DEAD_FOR_S,
            {"severity": "critical", **labels},
            f"The last replica of {server.name} is gone",
            f"{server.public_name} had a ready pod ({server.name}) and has none now.",
        ),
        Rule(
            "LLMServerDown",
            down,
            patience,
            {"severity": "critical", **labels},
            f"No replica of {server.name} is ready",
            f"{server.public_name} has had no ready pod ({server.name}) for longer than its cold start of "
            f"{server.timing.cold_start_s} s.",
        ),
        Rule(
            "LLMServerNotScraped",
            f"{ready} - ({reporting(catalog, watched)} or 0 * {ready}) > 0",
            300,
            {"severity": "warning", **labels},
            f"Pods of {server.name} are not scraped",
            f"{{{{ $value }}}} ready replicas of {server.name} have reported no metrics for 5 minutes: they count as "
            "full to the autoscaler, and other alerts do not see them.",
        ),
    ]
