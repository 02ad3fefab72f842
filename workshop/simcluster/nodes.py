"""The nodes a stack's pools promise, as their kubelets would register them: capacity, labels, taints, zones.

Pure functions. What GPU feature discovery, the device plugin, Karpenter or a cloud would add is added here, and the
annotation `stand-in-for` says so on every node.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from catalog.load import Catalog
from planning.plan import ComputeClass, Existing, Karpenter, Labelled, Plan, PoolPlan
from planning.stack.pools import GPU_TAINT, POOL_LABEL
from workshop.simcluster.bodies import body
from workshop.simcluster.programs import MANAGED

Node = dict[str, Any]
ZONES = ("sim-a", "sim-b", "sim-c")
# Nodes without GPUs for what needs none: gateway, Redis, Jobs. A stack whose pools are tainted needs one (README).
SYSTEM_NODES, SYSTEM_CPUS, SYSTEM_MEMORY_GIB = 2, 8, 32
# Machines the catalogue does not know: cores per GPU, and memory per GiB of GPU memory; common in cloud offers.
CPUS_PER_GPU, MEMORY_PER_GPU_MEMORY = 12, 2
LEAST_MEMORY_GIB_PER_GPU = 64


def nodes_of(plan: Plan, catalog: Catalog) -> list[Node]:
    """All nodes of a stack: those of its pools, then the system nodes. Zones take turns within each pool."""
    numbered = [node for pool in plan.pools.values() for node in _pool_nodes(pool, catalog)]
    return [*numbered, *_system_nodes()]


def _pool_nodes(pool: PoolPlan, catalog: Catalog) -> Iterator[Node]:
    match pool.provisioning:
        case Existing(node_names=names):
            pass
        case _:
            names = [f"{pool.name}-{number}" for number in range(1, pool.nodes + 1)]
    cpus, memory_gib = machine(pool, catalog)
    labels, actors = _labels(pool, catalog), _actors(pool)
    for number, name in zip(count(), names):
        node = _node(name, cpus, memory_gib, labels, number, ", ".join(actors) or "kubelet")
        if pool.gpus_per_node:
            for part in ("capacity", "allocatable"):
                node["status"][part][pool.resource_name or GPU_TAINT["key"]] = str(pool.gpus_per_node)
        # named nodes are tainted by the stack itself: nothing is said of their taints here
        if not isinstance(pool.provisioning, Existing):
            node["spec"]["taints"] = [dict(GPU_TAINT)] if pool.gpus_per_node else []
        yield node


def machine(pool: PoolPlan, catalog: Catalog) -> tuple[int, int]:
    """(cores, memory in GiB) of one node: as the stack says, else of a machine type with these GPUs, else a rule."""
    if pool.cpus_per_node and pool.memory_gib_per_node:
        return pool.cpus_per_node, pool.memory_gib_per_node
    for instance in catalog.instances.values():
        if (instance.gpu, instance.gpus) == (pool.gpu, pool.gpus_per_node) and instance.vcpus and instance.memory_gib:
            return instance.vcpus, instance.memory_gib
    per_gpu_gib = MEMORY_PER_GPU_MEMORY * (pool.expected_gpu_memory_mib or 0) // 1024
    return CPUS_PER_GPU * pool.gpus_per_node, max(LEAST_MEMORY_GIB_PER_GPU, per_gpu_gib) * pool.gpus_per_node


def _labels(pool: PoolPlan, catalog: Catalog) -> Mapping[str, str]:
    """What is on a node before the stack touches it."""
    labels: dict[str, str] = {}
    if pool.gpu in catalog.gpus:
        gpu = catalog.gpus[pool.gpu]
        major, minor = gpu.compute_capability.split(".")
        labels |= {
            f"{GPU_TAINT['key']}.present": "true",
            f"{GPU_TAINT['key']}.product": gpu.product_labels[0],
            f"{GPU_TAINT['key']}.count": str(pool.gpus_per_node),
            f"{GPU_TAINT['key']}.memory": str(gpu.memory_mib),
            f"{GPU_TAINT['key']}.replicas": "1",
            f"{GPU_TAINT['key']}.compute.major": major,
            f"{GPU_TAINT['key']}.compute.minor": minor,
            "nvidia.com/mig.capable": "false",
        }
    match pool.provisioning:
        case Labelled(labels=found):
            labels |= found
        case Karpenter(instance_types=types, capacity_types=capacities):
            labels |= {**pool.node_labels, POOL_LABEL: pool.name, "karpenter.sh/nodepool": pool.name}
            labels |= {"node.kubernetes.io/instance-type": types[0]}
            labels |= {"karpenter.sh/capacity-type": capacities[0]}
        case ComputeClass(machine_types=types):
            labels |= {"cloud.google.com/compute-class": pool.name}
            labels |= {"node.kubernetes.io/instance-type": types[0]}
        case Existing():  # the stack labels them
            pass
    return labels


def _actors(pool: PoolPlan) -> list[str]:
    """Who would do on a real cluster what is simply there on a simulated one."""
    match pool.provisioning:
        case Karpenter():
            actors = ["karpenter"]
        case ComputeClass():
            actors = ["gke"]
        case _:
            actors = []
    return [*actors, *(["gpu-operator"] if pool.gpus_per_node else [])]


def _system_nodes() -> Iterator[Node]:
    for number in range(SYSTEM_NODES):
        node = _node(f"system-{number + 1}", SYSTEM_CPUS, SYSTEM_MEMORY_GIB, {}, number, "kubelet")
        node["spec"]["taints"] = []
        yield node


def _node(name: str, cpus: int, memory_gib: int, labels: Mapping[str, str], number: int, stands_in_for: str) -> Node:
    """The node of this number, counted from 0, of its pool."""
    zone = ZONES[number % len(ZONES)]
    found = body("Node", stands_in_for, name=name, cpus=cpus, memory_gib=memory_gib, zone=zone)
    found["metadata"]["labels"] |= {**labels, MANAGED[0]: MANAGED[1]}
    return found
