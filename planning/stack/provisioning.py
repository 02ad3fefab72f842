"""The sources of a pool's nodes: what there is already, and what is bought, in order of preference."""

import re
from collections.abc import Mapping
from typing import Any

from planning.plan.pools import (
    Choice,
    ComputeClass,
    Disk,
    Existing,
    Karpenter,
    Labelled,
    NodeClass,
    Provisioning,
    Shared,
)
from settings.problems import Problem
from settings.scalars import ROLE_NAME
from settings.schema import (
    MOST_CHOICES,
    CapacityReservation,
    ClusterSettings,
    ComputeClassNodes,
    ExistingNodes,
    KarpenterNodes,
    LabelledNodes,
    PoolSettings,
    SharedNodes,
)

# The order in which Karpenter itself tries the capacity types that one NodePool allows (karpenter.sh documentation,
# NodePools, "Capacity Type": reserved, then spot, then on demand).
BY_ITSELF = ("reserved", "spot", "on-demand")
# Bottlerocket keeps images and caches on a second volume; its system fits the size Karpenter gives it by default.
ROOT_DEVICE, DATA_DEVICE, BOTTLEROCKET_SYSTEM_GIB = "/dev/xvda", "/dev/xvdb", 4
# The most that gp3 has (AWS documentation, "General Purpose SSD volumes"): a compile cache is read at every start.
DISK_MIB_PER_S, DISK_IOPS = 1000, 16000


def role_problems(name: str, pool: PoolSettings, cluster: ClusterSettings) -> list[Problem]:
    """A role of the nodes that IAM would not take, where it is made of the cluster's identifier."""
    if not isinstance(pool.provisioning, KarpenterNodes) or pool.provisioning.node_class:
        return []
    role = _role_name(pool.provisioning, cluster.identifier)
    if re.fullmatch(ROLE_NAME, role):
        return []
    why = f"is missing: {role}, after cluster.identifier, is not the name of an IAM role"
    return [Problem(f"gpuPools.{name}.provisioning.role", why)]


def provision(name: str, pool: PoolSettings, cluster: str, resource: str | None) -> Provisioning:
    """The source of the nodes; `cluster` is the identifier that names are made of where none are given."""
    match pool.provisioning:
        case LabelledNodes(labels=labels):
            return Labelled(labels)
        case SharedNodes(labels=labels):
            return Shared(labels)
        case ExistingNodes(node_names=names):
            return Existing(tuple(names))
        case ComputeClassNodes(machine_types=types, capacity_types=ways, reservation=reservation):
            return ComputeClass(tuple(Choice((kind,), (way,)) for way in ways for kind in types), reservation)
        case KarpenterNodes() as nodes:
            gpus = pool.nodes * (pool.gpus_per_node or 0)
            return Karpenter(
                _choices(name, nodes),
                nodes.node_class or _node_class(nodes, cluster),
                {resource: str(gpus)} if resource and gpus else {"nodes": str(pool.nodes)},
            )


def _choices(pool: str, nodes: KarpenterNodes) -> tuple[Choice, ...]:
    """As few NodePools as keep the order: of one Karpenter takes what is reserved, then spot, then on demand."""
    types, ways = tuple(nodes.instance_types), tuple(nodes.capacity_types)
    kinds = [types] if nodes.order == "price" else [(kind,) for kind in types]
    if len(kinds) == 1 and ways == tuple(way for way in BY_ITSELF if way in ways):
        return (Choice(types, ways, pool),)
    # no name of a pool has a dot
    return tuple(
        Choice(kind, (way,), f"{pool}.{rank + 1}" if rank else pool, MOST_CHOICES - rank)
        for rank, (way, kind) in enumerate((way, kind) for way in ways for kind in kinds)
    )


def _role_name(nodes: KarpenterNodes, cluster: str) -> str:
    return nodes.role or f"KarpenterNodeRole-{cluster}"


def _node_class(nodes: KarpenterNodes, cluster: str) -> NodeClass:
    bottlerocket = nodes.ami_alias.startswith("bottlerocket@")
    return NodeClass(
        role=_role_name(nodes, cluster),
        discovery_tag=nodes.discovery_tag or cluster,
        ami_alias=nodes.ami_alias,
        system_disk=Disk(ROOT_DEVICE, BOTTLEROCKET_SYSTEM_GIB) if bottlerocket else None,
        data_disk=Disk(DATA_DEVICE if bottlerocket else ROOT_DEVICE, nodes.disk_gib, DISK_MIB_PER_S, DISK_IOPS),
        reservations=_reservations(nodes.reservation),
    )


def _reservations(selected: CapacityReservation | None) -> tuple[Mapping[str, Any], ...]:
    """Terms, any of which is enough (EC2NodeClass, karpenter.k8s.aws/v1)."""
    if selected is None:
        return ()
    return (*({"id": key} for key in selected.ids), *([{"tags": dict(selected.tags)}] if selected.tags else []))
