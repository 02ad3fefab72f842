"""The state of a cluster for a person: kubectl's own tables of nodes and their GPUs, pods, endpoints and routes."""

import subprocess

from workshop.simcluster.cluster import Cluster
from workshop.simcluster.programs import State

COLUMNS = (
    r"NODE:.metadata.name,ZONE:.metadata.labels.topology\.kubernetes\.io/zone,CORDONED:.spec.unschedulable,"
    r'READY:.status.conditions[?(@.type=="Ready")].status,GPUS:.status.allocatable.nvidia\.com/gpu'
)
TABLES = (
    ("nodes", "--output", f"custom-columns={COLUMNS}"),
    ("pods", "--all-namespaces", "--output", "wide", "--field-selector", "status.phase!=Succeeded"),
    ("endpointslices,httproutes,scaledobjects", "--all-namespaces"),
)


def print_status(cluster: Cluster, state: State) -> None:
    """Prints the tables. Raises `Impossible` when kubectl or a certificate is gone."""
    # says so where a certificate is gone
    cluster.api(state)
    kubectl = cluster.program(state, "kubectl")
    for words in TABLES:
        subprocess.run([kubectl, f"--kubeconfig={cluster.paths.kubeconfig}", "get", *words], check=False)
