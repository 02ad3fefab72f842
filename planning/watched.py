"""How Prometheus sees a server: its pods by name, how many it should have, how many answer, how many are scraped.

What is not scraped is unknown and never zero: every expression here is empty where its source is, and a zero comes only
from somebody who counts, i.e. from kube-state-metrics or from a target that is up.
"""

from dataclasses import dataclass

from catalog.load import Catalog
from planning.promql import series


@dataclass(frozen=True)
class Watched:
    """One workload. `nodes_per_replica` above 1: a LeaderWorkerSet, whose replicas are counted by their leaders.

    `sequences` is what one replica serves at once: `--max-num-seqs` holds for each data-parallel engine of it.
    """

    name: str
    namespace: str
    nodes_per_replica: int = 1
    sequences: int = 1

    @property
    def pods(self) -> str:
        """A regular expression for the names of its pods, as a label value."""
        return f"~{pod_names(self.name, self.nodes_per_replica)}"


def pod_names(server: str, nodes_per_replica: int) -> str:
    """A regular expression that finds the pods of a server by their names, and none of `vllm-a-cpu` for `vllm-a`.

    Names of a Deployment's pods end in a hash and five characters, without a dash between where the name is long; those
    of a group in its number, and that of the pod unless it leads.
    """
    return f"{server}-[0-9a-z]{{1,15}}(-[0-9a-z]{{5}})?" if nodes_per_replica == 1 else f"{server}-[0-9]+(-[0-9]+)?"


def wanted(catalog: Catalog, watched: Watched) -> str:
    """Replicas the workload should have; the leaders of groups are a StatefulSet of that name (LWS, concepts)."""
    kubernetes = catalog.engines["kubernetes"].metrics
    if watched.nodes_per_replica == 1:
        found = series(
            kubernetes, "kube_deployment_spec_replicas", namespace=watched.namespace, deployment=watched.name
        )
    else:
        found = series(kubernetes, "kube_statefulset_replicas", namespace=watched.namespace, statefulset=watched.name)
    return f"max({found})"


def available(catalog: Catalog, watched: Watched) -> str:
    """Replicas that answer."""
    kubernetes = catalog.engines["kubernetes"].metrics
    if watched.nodes_per_replica == 1:
        name = "kube_deployment_status_replicas_available"
        return f"max({series(kubernetes, name, namespace=watched.namespace, deployment=watched.name)})"
    leaders = f"~{watched.name}-[0-9]+"
    ready = series(kubernetes, "kube_pod_status_ready", namespace=watched.namespace, pod=leaders, condition="true")
    return f"sum({ready})"


def reporting(catalog: Catalog, watched: Watched) -> str:
    """Pods whose vLLM is scraped; empty when none is."""
    vllm = catalog.engines["vllm"].metrics
    found = series(vllm, "vllm:num_requests_running", namespace=watched.namespace, pod=watched.pods)
    return f"count(count by (pod) ({found}))"


def cluster_seen(catalog: Catalog) -> str:
    """0 while kube-state-metrics is scraped, empty while it is not: what it does not list does not exist."""
    return f"0 * count({series(catalog.engines['kubernetes'].metrics, 'kube_node_info')})"


def gateway_up(catalog: Catalog, namespace: str) -> str:
    """How many gateway pods are scraped; 0 when none of those there are can be, empty when there is none to ask."""
    job = {"job": "litellm", "namespace": namespace}
    return f"sum({series(catalog.engines['kubernetes'].metrics, 'up', **job)})"
