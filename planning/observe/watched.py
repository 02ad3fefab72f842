"""A server as Prometheus sees it: its pods by name, how many it should have, how many answer, how many are scraped.

What is not scraped is unknown and never zero: every expression here is empty where its source is, and a zero comes only
from somebody who counts, i.e. from kube-state-metrics or from a target that is up.
"""

from collections.abc import Sequence

from catalog.load import Catalog
from planning.observe.promql import series
from planning.plan.scaling import Watched
from planning.plan.servers import ServerPlan


def unheard(servers: Sequence[ServerPlan]) -> frozenset[str]:
    """Roles of metrics that say nothing of any of these servers."""
    return frozenset.intersection(*(server.watched.silent_roles for server in servers)) if servers else frozenset()


def desired_replicas(catalog: Catalog, watched: Watched) -> str:
    """Replicas the workload should have; the leaders of groups are a StatefulSet of that name (LWS, concepts)."""
    kubernetes = catalog.kubernetes.metrics
    if watched.nodes_per_replica == 1:
        query = series(
            kubernetes, "kube_deployment_spec_replicas", namespace=watched.namespace, deployment=watched.name
        )
    else:
        query = series(kubernetes, "kube_statefulset_replicas", namespace=watched.namespace, statefulset=watched.name)
    return f"max({query})"


def available(catalog: Catalog, watched: Watched) -> str:
    """Replicas that answer."""
    kubernetes = catalog.kubernetes.metrics
    if watched.nodes_per_replica == 1:
        name = "kube_deployment_status_replicas_available"
        return f"max({series(kubernetes, name, namespace=watched.namespace, deployment=watched.name)})"
    leaders = f"~{watched.name}-[0-9]+"
    ready = series(kubernetes, "kube_pod_status_ready", namespace=watched.namespace, pod=leaders, condition="true")
    return f"sum({ready})"


def reporting(catalog: Catalog, watched: Watched) -> str:
    """Pods whose vLLM is scraped; empty when none is."""
    engine = catalog.vllm
    query = series(engine.metrics, engine.roles["running"], namespace=watched.namespace, pod=watched.pods)
    return f"count(count by (pod) ({query}))"


def cluster_seen(catalog: Catalog) -> str:
    """0 while kube-state-metrics is scraped, empty while it is not: what it does not list does not exist."""
    return f"0 * count({series(catalog.kubernetes.metrics, 'kube_node_info')})"


def gateway_up(catalog: Catalog, namespace: str) -> str:
    """Number of gateway pods that are scraped; 0 when none of those there are can be, empty when there are none."""
    job = {"job": "litellm", "namespace": namespace}
    return f"sum({series(catalog.kubernetes.metrics, 'up', **job)})"
