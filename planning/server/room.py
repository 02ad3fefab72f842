"""Checks that a stack has room in its pools: replicas, their floors and ceilings, and their disks.

A unit is what a pool is counted in: a GPU, or a CPU core where there are none.

What fits only if the scheduler takes pods in a lucky order is warned about, not prevented. Small pods could be drawn
together by a preferred affinity, but that is what `topologySpreadConstraints` are there against: replicas of one server
would share a node and fall with it. Priorities would let a large server evict what serves.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from catalog.load import Catalog
from planning.plan.pools import ComputeClass, Karpenter, NodeClass, NodeOffer, PoolPlan
from planning.plan.weights import OciImage
from planning.server.driver import driver_need
from planning.server.fabric import asked_resources
from planning.server.fit import Site
from planning.server.fixes import MOST_MORE_NODES
from planning.server.packing import Amounts, Pods, find_stranded, finds_room, packs
from planning.server.resources import NODE_RESERVED_CPUS, least_memory_mib
from planning.server.scratch import MIB_PER_GIB, boot_disk_gb, fullest_mib, least_disk_gib
from planning.server.servers import Draft
from settings.doubt import judge
from settings.problems import Problem


def count_units(server: Draft) -> int:
    """Units that one replica takes from its pool: GPUs, or CPU cores where there are none."""
    return server.gpus or server.resources.cpus


def count_pool_units(pool: PoolPlan) -> int:
    """Units of a pool."""
    return pool.gpus or pool.nodes * node_cpus(pool)


def floor(server: Draft) -> int:
    """Replicas that always have to find a place; also of a server that may be at zero."""
    replicas = server.settings.replicas
    return server.settings.canary.replicas if server.canary and server.settings.canary else max(1, replicas.min)


def ceiling(server: Draft) -> int:
    """Replicas there may be."""
    return floor(server) if server.canary else server.settings.replicas.max


def slots(server: Draft) -> int:
    """Replicas of this server that the empty pool holds; what one pod asks for must be on one node."""
    pool, pod = server.on, server.resources
    per_node = pool.gpus_per_node // pod.gpus if pod.gpus else node_cpus(pool) // pod.cpus
    if pool.cpus_per_node is not None:
        per_node = min(per_node, node_cpus(pool) // pod.cpus)
    if pool.memory_gib_per_node is not None:
        per_node = min(per_node, pool.memory_gib_per_node // pod.memory_gib)
    return pool.nodes * per_node // server.nodes_per_replica


def sure_replicas(server: Draft, neighbours: Sequence[Draft]) -> int:
    """Replicas of this server that find a place wherever the scheduler has put those of the others, at their most.

    What the others may take at their most is not spare, even where that leaves less than this server's own most.
    """
    free = count_pool_units(server.on) - sum(ceiling(neighbour) * count_units(neighbour) for neighbour in neighbours)
    node, neighbour_pods = _amounts(server.on), _pods(neighbours, ceiling)

    def one_too_many(most: int) -> bool:
        (own,) = _pods([server], lambda _: most)
        return not finds_room(own, [*neighbour_pods, own], node, server.on.nodes)

    return bisect_left(range(1, min(max(free, 0) // count_units(server), slots(server)) + 1), True, key=one_too_many)


def add_node_needs(pool: PoolPlan, drafts: Sequence[Draft], catalog: Catalog) -> PoolPlan:
    """The pool with what its servers ask of its nodes: what each has to have, and the disk of those that GKE makes."""
    inside = [server for server in drafts if server.pool == pool.name]
    provisioning = pool.provisioning
    if isinstance(provisioning, ComputeClass):
        used_mib = _fullest_mib(pool, inside) + _weight_images_mib(inside)
        provisioning = replace(provisioning, boot_disk_gb=boot_disk_gb(used_mib))
    driver = driver_need(pool, inside, catalog)
    return replace(pool, provisioning=provisioning, needed=_needed(pool, inside), driver=driver)


def _needed(pool: PoolPlan, inside: Sequence[Draft]) -> NodeOffer:
    """Capacity that every node of the pool must have for pods; of GPUs the pool says so itself."""
    cores = max(0, (pool.cpus_per_node or 0) - NODE_RESERVED_CPUS)
    memory_mib = least_memory_mib(pool.memory_gib_per_node or 0)
    return NodeOffer(
        cpus=max([cores, *(server.resources.cpus for server in inside)]),
        memory_mib=max([memory_mib, *(server.resources.memory_gib * MIB_PER_GIB for server in inside)]),
        disk_mib=max([0, *(server.scratch.disk_mib for server in inside)]),
        resources=asked_resources(pool, [server.fabric for server in inside]),
    )


def _weight_images_mib(inside: Sequence[Draft]) -> int:
    """Disk that images with weights take on a node that has them all, MiB."""
    sizes: dict[tuple[str, ...], int] = {}
    for server in inside:
        match server.checkpoint.place:
            case OciImage(name=reference, gib=gib, whole=whole):
                sizes[(reference,) if whole else server.checkpoint.key] = gib
            case _:
                pass
    return sum(sizes.values()) * MIB_PER_GIB


def node_cpus(pool: PoolPlan) -> int:
    """Cores of a node that pods may have; what the system of a GPU node takes is less than one of its many."""
    return max(0, (pool.cpus_per_node or 0) - (0 if pool.gpus else NODE_RESERVED_CPUS))


def _node(pool: PoolPlan) -> str:
    """Capacity of a node of the pool, as far as it is known."""
    parts = [f"{pool.gpus_per_node} {pool.unit}s"] if pool.gpus else []
    parts += [f"{node_cpus(pool)} CPU cores"] if pool.cpus_per_node is not None else []
    parts += [f"{pool.memory_gib_per_node} GiB"] if pool.memory_gib_per_node is not None else []
    return ", ".join(parts)


def room_problems(site: Site, drafts: Sequence[Draft]) -> list[Problem]:
    """Replicas that can never be scheduled: one server's most, and the floor of all servers of a pool."""
    inside = {name: [server for server in drafts if server.pool == name] for name in site.pools}
    return [
        *(problem for server in drafts for problem in judge(_server_problems, server)),
        *(problem for name, pool in site.pools.items() for problem in judge(_pool_problems, pool, inside[name])),
    ]


def _server_problems(server: Draft) -> list[Problem]:
    """A pod that no node holds, or more of them than the empty pool does."""
    room, most, pod = slots(server), ceiling(server), server.resources
    if room == 0:
        gpus = f"{pod.gpus} {server.on.unit}s, " if pod.gpus else ""
        return [
            Problem(
                f"models.{server.model_name}{'.canary' if server.canary else ''}",
                f"a pod of {gpus}{pod.cpus} CPU cores, {pod.memory_gib} GiB does not fit a node of pool "
                f"'{server.pool}' ({_node(server.on)})",
            )
        ]
    if most > room:
        where = "canary.replicas" if server.canary else "replicas.max"
        unit = f"{server.on.unit}s"
        return [
            Problem(
                f"models.{server.model_name}.{where}",
                f"{most} replicas of {count_units(server)} {unit} do not fit pool '{server.pool}' "
                f"({count_pool_units(server.on)} {unit}, room for {room}); use at most {room}, or more nodes",
            )
        ]
    return []


def _pool_problems(pool: PoolPlan, inside: Sequence[Draft]) -> list[Problem]:
    """A disk or nodes too few for all servers of a pool, `inside`."""
    problems = _disk_problems(pool, inside)
    least = sum(floor(server) * count_units(server) for server in inside)
    if len(inside) > 1 and least > count_pool_units(pool):
        unit = f"{pool.unit}s"
        parts = ", ".join(f"{server.name} {floor(server)} × {count_units(server)}" for server in inside)
        message = f"{least} {unit} are needed at least ({parts}), {pool.nodes} nodes give {count_pool_units(pool)}"
        return [*problems, Problem(f"gpuPools.{pool.name}.nodes", message)]
    if len(inside) > 1 and all(slots(server) >= floor(server) for server in inside):
        return problems + _packing_problems(pool, inside)
    return problems


def _packing_problems(pool: PoolPlan, inside: Sequence[Draft]) -> list[Problem]:
    """Floors that no order of placing brings onto the nodes, though their sum is small enough."""
    all_pods, node = _pods(inside, floor), _amounts(pool)
    if packs(all_pods, node, pool.nodes):
        return []
    parts = ", ".join(f"{pods.count} × {_asked(pool, pods.demand)} of {pods.name}" for pods in all_pods)
    enough = _fewest(pool, lambda nodes: packs(all_pods, node, nodes))
    return [
        Problem(
            f"gpuPools.{pool.name}.nodes",
            f"{pool.nodes} nodes ({_node(pool)} each) hold the pods of its servers in no order ({parts}); "
            f"use {f'{enough} nodes' if enough else 'more nodes'}, or another pool for one of them",
        )
    ]


def crowding(pools: Mapping[str, PoolPlan], drafts: Sequence[Draft]) -> Iterator[str]:
    """Servers that may find no node although all fit: what pods are there first, and where, is the scheduler's choice.

    Said of floors, and of ceilings where the pool has enough for them.
    """
    for pool in pools.values():
        inside = [server for server in drafts if server.pool == pool.name]
        named: set[str] = set()
        for replicas, when in ((floor, ""), (ceiling, " when its servers have their most replicas")):
            if len(inside) < 2 or sum(replicas(server) * count_units(server) for server in inside) > count_pool_units(
                pool
            ):
                break
            all_pods = _pods(inside, replicas)
            for pods, blockers in _left_out(pool, all_pods):
                if pods.name not in named:
                    named.add(pods.name)
                    yield _crowded(pool, all_pods, pods, blockers, when)


def _left_out(pool: PoolPlan, all_pods: Sequence[Pods]) -> Iterator[tuple[Pods, tuple[str, ...]]]:
    """Servers whose pods may find no node, and those that may be in the way, their own left out."""
    blocked_by = find_stranded(all_pods, _amounts(pool), pool.nodes)
    for pods in all_pods:
        if pods.name in blocked_by:
            yield pods, tuple(name for name in blocked_by[pods.name] if name != pods.name)


def _crowded(pool: PoolPlan, all_pods: Sequence[Pods], pods: Pods, blockers: Sequence[str], when: str) -> str:
    """The sentence, with the fewest nodes at which it would not be said."""
    enough = _fewest(pool, lambda nodes: finds_room(pods, all_pods, _amounts(pool), nodes))
    nodes = f"gpuPools.{pool.name}.nodes: {enough}" if enough else "more nodes"
    return (
        f"pool {pool.name}: a pod of {pods.name} ({_asked(pool, pods.demand)}) may find no node{when}: pods of "
        f"{' and '.join(blockers)} can be spread over all {pool.nodes} first; give it a pool of its own, or use {nodes}"
    )


def _amounts(pool: PoolPlan) -> Amounts:
    """Capacity of one node for pods, of all that is known: GPUs, cores, GiB of memory."""
    return tuple(amount for amount in (pool.gpus_per_node or None, *_sizes(pool)) if amount is not None)


def _sizes(pool: PoolPlan) -> tuple[int | None, int | None]:
    return (None if pool.cpus_per_node is None else node_cpus(pool)), pool.memory_gib_per_node


def _pods(inside: Sequence[Draft], replicas: Callable[[Draft], int]) -> list[Pods]:
    """The pods of servers, each asking for what `_amounts` counts."""
    return [
        Pods(
            server.name,
            tuple(
                amount
                for amount, known in (
                    (server.resources.gpus, server.on.gpus_per_node or None),
                    (server.resources.cpus, _sizes(server.on)[0]),
                    (server.resources.memory_gib, _sizes(server.on)[1]),
                )
                if known is not None
            ),
            replicas(server) * server.nodes_per_replica,
        )
        for server in inside
    ]


def _asked(pool: PoolPlan, demand: Amounts) -> str:
    """Request of one pod, in the units of the pool."""
    return f"{demand[0]} {pool.unit}{'' if demand[0] == 1 else 's'}"


def _fewest(pool: PoolPlan, enough: Callable[[int], bool]) -> int | None:
    """The fewest nodes beyond those of the pool that are enough; None: even several times as many are not.

    By halves, because more nodes than enough are enough, and each answer may be a long search.
    """
    more = range(pool.nodes + 1, pool.nodes * MOST_MORE_NODES + 1)
    index = bisect_left(more, True, key=enough)
    return more[index] if index < len(more) else None


def _disk_problems(pool: PoolPlan, inside: Sequence[Draft]) -> list[Problem]:
    """A disk that cannot hold what the pods of a full node may write, where it is ours to size."""
    match pool.provisioning:
        case Karpenter(node_class=NodeClass() as ours) if inside:
            size_gib = ours.data_disk.gib
        case _:
            return []
    wanted_mib = _fullest_mib(pool, inside) + _weight_images_mib(inside)
    least_gib = least_disk_gib(wanted_mib, with_system=ours.system_disk is None)
    if size_gib >= least_gib:
        return []
    return [
        Problem(
            f"gpuPools.{pool.name}.provisioning.diskGib",
            f"{size_gib} GiB do not hold images and the {wanted_mib / MIB_PER_GIB:.0f} GiB that the pods of a full "
            f"node may write; use at least {least_gib}",
        )
    ]


def _fullest_mib(pool: PoolPlan, inside: Sequence[Draft]) -> int:
    """The most local disk that the pods on one node may ask for."""
    pods = [
        (server.resources.gpus or server.resources.cpus, ceiling(server), server.scratch.disk_mib) for server in inside
    ]
    return fullest_mib(pods, pool.gpus_per_node or node_cpus(pool))
