"""The nodes a stack's pools promise, as kubelets, GPU feature discovery and clouds would have them. Pure functions."""

from collections.abc import Iterator, Mapping
from typing import Any

from planning.plan import Plan
from planning.plan.pools import POOL_LABEL, Choice, ComputeClass, Existing, Karpenter, Labelled, PoolPlan, Shared
from workshop.simcluster.bodies import body
from workshop.simcluster.programs import MANAGED

Node = dict[str, Any]
ZONES = ("sim-a", "sim-b", "sim-c")
# Nodes without GPUs for what needs none: gateway, Redis, Jobs. A stack whose pools are tainted needs one (README).
SYSTEM_NODES, SYSTEM_CPUS, SYSTEM_MEMORY_GIB = 2, 8, 32
# Machines of which the plan knows no size: cores per GPU, and memory per GiB of GPU memory; common in cloud offers.
CPUS_PER_GPU, MEMORY_PER_GPU_MEMORY = 12, 2
LEAST_MEMORY_GIB_PER_GPU = 64


def nodes_of(plan: Plan) -> list[Node]:
    """All nodes of a stack: those of its pools, then the system nodes. Zones take turns within each pool."""
    return [*(node for pool in plan.pools.values() for node in _pool_nodes(pool)), *_system_nodes()]


def _pool_nodes(pool: PoolPlan) -> Iterator[Node]:
    names = [f"{pool.name}-{number}" for number in range(1, pool.nodes + 1)]
    labels, actors = dict(pool.discovered), ["gpu-operator"] if pool.gpus_per_node else []
    match pool.provisioning:
        case Existing(node_names=named):
            names = named
        case Labelled(labels=given_labels) | Shared(labels=given_labels):
            labels |= given_labels
        case Karpenter(choices=[Choice(machine_types=[kind, *_], capacity_types=[way, *_]), *_]):
            actors.insert(0, "karpenter")
            labels |= {**pool.node_labels, POOL_LABEL: pool.on_cluster, "karpenter.sh/nodepool": pool.on_cluster}
            labels |= {"node.kubernetes.io/instance-type": kind, "karpenter.sh/capacity-type": way}
        case ComputeClass(choices=[Choice(machine_types=[kind, *_]), *_]):
            actors.insert(0, "gke")
            labels |= {"cloud.google.com/compute-class": pool.on_cluster, "node.kubernetes.io/instance-type": kind}
    cpus, memory_gib = machine(pool)
    for number, name in enumerate(names):
        node = _node(name, cpus, memory_gib, labels, number, ", ".join(actors) or "kubelet")
        if pool.gpus_per_node:
            for part in ("capacity", "allocatable"):
                node["status"][part][pool.resource_name] = str(pool.gpus_per_node)
        # named nodes are tainted by the stack itself: nothing is said of their taints here
        if not isinstance(pool.provisioning, Existing):
            node["spec"]["taints"] = [dict(pool.gpu_taint)] if pool.gpu_taint else []
        yield node


def machine(pool: PoolPlan) -> tuple[int, int]:
    """(cores, memory in GiB) of one node: as the stack or its machine type says, else by a rule."""
    if pool.cpus_per_node and pool.memory_gib_per_node:
        return pool.cpus_per_node, pool.memory_gib_per_node
    per_gpu_gib = MEMORY_PER_GPU_MEMORY * (pool.expected_gpu_memory_mib or 0) // 1024
    return CPUS_PER_GPU * pool.gpus_per_node, max(LEAST_MEMORY_GIB_PER_GPU, per_gpu_gib) * pool.gpus_per_node


def _system_nodes() -> Iterator[Node]:
    for number in range(SYSTEM_NODES):
        node = _node(f"system-{number + 1}", SYSTEM_CPUS, SYSTEM_MEMORY_GIB, {}, number, "kubelet")
        node["spec"]["taints"] = []
        yield node


def _node(name: str, cpus: int, memory_gib: int, labels: Mapping[str, str], number: int, stands_in_for: str) -> Node:
    """The node of this number, counted from 0, of its pool."""
    node = body("Node", stands_in_for, name=name, cpus=cpus, memory_gib=memory_gib, zone=ZONES[number % len(ZONES)])
    node["metadata"]["labels"] |= {**labels, MANAGED[0]: MANAGED[1]}
    return node
