"""Pods on equal nodes: whether there is room for all of them, and whether there is in whatever order they come.

A scheduler places pods one by one, in no promised order, each on any node with room; the default one even spreads them
(kube-scheduler, NodeResourcesFit, LeastAllocated). So pods that fit together may still leave one of them out: one pod
of four GPUs and two of one on two nodes of four. Pure arithmetic on whole numbers; exact but for a bound on the search,
beyond which the answer is the careful one for its caller.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Steps of one search. Real pools need some hundreds; a pool of a dozen servers is searched some hundred times.
MOST_STEPS = 2_000
Amounts = tuple[int, ...]


@dataclass(frozen=True)
class Pods:
    """Equal pods of one server. `demand`: what one takes of each resource of a node; `count`: how many there may be."""

    name: str
    demand: Amounts
    count: int


class _TooLongError(Exception):
    """A search has taken more steps than it may."""


class _Steps:
    def __init__(self) -> None:
        self.left = MOST_STEPS

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _TooLongError


def packs(wanted: Sequence[Pods], node: Amounts, nodes: int) -> bool:
    """Whether some order places all of them. True also where that could not be found out."""
    sizes = sorted((pods.demand for pods in wanted for _ in range(pods.count)), reverse=True)
    totals = tuple(map(sum, zip(*sizes, strict=True))) or (0,) * len(node)
    if any(total > nodes * room for total, room in zip(totals, node, strict=True)):
        return False
    free = [node] * nodes
    for size in sizes:
        place = next((index for index, room in enumerate(free) if _fits(size, room)), None)
        if place is None:
            break
        free[place] = _less(free[place], size)
    else:
        return True
    try:
        return _placed(sizes, 0, [node] * nodes, _Steps(), set())
    except _TooLongError:
        return True


def stranded(wanted: Sequence[Pods], node: Amounts, nodes: int) -> dict[str, tuple[str, ...]]:
    """Who may find no node although all fit together: name → whose pods may be in the way, itself included.

    A pod is stranded when every node holds just so much that it does not fit any more. Also named where the search was
    too long to rule it out.
    """
    found = {pods.name: _stranded_by(pods, wanted, node, nodes) for pods in wanted}
    return {name: blockers for name, blockers in found.items() if blockers is not None}


def finds_room(pods: Pods, wanted: Sequence[Pods], node: Amounts, nodes: int) -> bool:
    """Whether the last of these pods finds a node in whatever order all of `wanted`, which has them, come."""
    return _stranded_by(pods, wanted, node, nodes) is None


def _stranded_by(pods: Pods, wanted: Sequence[Pods], node: Amounts, nodes: int) -> tuple[str, ...] | None:
    # the last one of its own is the one that looks for a place
    others = [Pods(item.name, item.demand, item.count - (item is pods)) for item in wanted]
    return blocking(others, pods.demand, node, nodes) if pods.count else None


def blocking(supply: Sequence[Pods], demand: Amounts, node: Amounts, nodes: int) -> tuple[str, ...] | None:
    """Whose pods, out of `supply`, leave no room for `demand` on any of the nodes; None: they are too few for that."""
    # so much of a resource, and a node has too little left of it
    enough = tuple(room - asked + 1 for room, asked in zip(node, demand, strict=True))
    counts = tuple(pods.count for pods in supply)
    demands = [pods.demand for pods in supply]
    if _most_blocked(counts, demands, enough, node) < nodes:
        return None
    names = [pods.name for pods in supply]
    try:
        steps = _Steps()
        ways = list(_least_ways(counts, demands, enough, node, steps))
        used = _block(ways, 0, counts, nodes, demands, enough, node, steps, set())
    except _TooLongError:
        return tuple(pods.name for pods in supply if pods.count)
    return None if used is None else tuple(name for name, number in zip(names, used, strict=True) if number)


def _fits(size: Amounts, room: Amounts) -> bool:
    return all(asked <= free for asked, free in zip(size, room, strict=True))


def _less(room: Amounts, size: Amounts) -> Amounts:
    return tuple(free - asked for free, asked in zip(room, size, strict=True))


def _placed(sizes: Sequence[Amounts], index: int, free: list[Amounts], steps: _Steps, failed: set[object]) -> bool:
    """Whether pods from `index` on, the largest first, have places on nodes with so much free."""
    if index == len(sizes):
        return True
    free.sort()
    key = (index, tuple(free))
    if key in failed:
        return False
    steps.take()
    for place, room in enumerate(free):
        # equal nodes are the same place
        if (place and free[place - 1] == room) or not _fits(sizes[index], room):
            continue
        rest = [*free[:place], _less(room, sizes[index]), *free[place + 1 :]]
        if _placed(sizes, index + 1, rest, steps, failed):
            return True
    failed.add(key)
    return False


def _most_blocked(counts: Amounts, demands: Sequence[Amounts], enough: Amounts, node: Amounts) -> int:
    """No more nodes than this can be blocked: each has to hold enough of one resource at least."""
    most = 0
    for r, (least, room) in enumerate(zip(enough, node, strict=True)):
        # what is not asked for is never too little; and a pod that is more than enough blocks no second node
        if least <= room:
            total = sum(count * min(demand[r], least) for count, demand in zip(counts, demands, strict=True))
            most += total // least
    return most


def _least_ways(
    counts: Amounts, demands: Sequence[Amounts], enough: Amounts, node: Amounts, steps: _Steps
) -> Iterator[Amounts]:
    """All ways to block one node of which no pod can be taken away: how many pods of each server."""

    def blocked(used: Amounts) -> bool:
        return any(have >= least for have, least in zip(used, enough, strict=True))

    def extend(index: int, way: Amounts, used: Amounts) -> Iterator[Amounts]:
        steps.take()
        if blocked(used):
            if not any(number and blocked(_less(used, demand)) for number, demand in zip(way, demands, strict=False)):
                yield way + (0,) * (len(counts) - len(way))
            return
        if index == len(counts):
            return
        for number in range(counts[index] + 1):
            more = tuple(have + number * asked for have, asked in zip(used, demands[index], strict=True))
            if not _fits(more, node):
                break
            yield from extend(index + 1, (*way, number), more)

    yield from dict.fromkeys(extend(0, (), (0,) * len(node)))


def _block(
    ways: Sequence[Amounts],
    index: int,
    left: Amounts,
    nodes: int,
    demands: Sequence[Amounts],
    enough: Amounts,
    node: Amounts,
    steps: _Steps,
    failed: set[object],
) -> Amounts | None:
    """How many pods of each server block this many nodes, by the ways from `index` on; None: not possible."""
    if nodes <= 0:
        return (0,) * len(left)
    # every try is a step, also one that ends here: on hundreds of nodes they are hundreds to each that goes on
    steps.take()
    key = (index, left, nodes)
    if index == len(ways) or key in failed or _most_blocked(left, demands, enough, node) < nodes:
        return None
    way = ways[index]
    most = min(count // number for count, number in zip(left, way, strict=True) if number)
    for times in range(min(most, nodes), -1, -1):
        rest = tuple(count - times * number for count, number in zip(left, way, strict=True))
        used = _block(ways, index + 1, rest, nodes - times, demands, enough, node, steps, failed)
        if used is not None:
            return tuple(have + times * number for have, number in zip(used, way, strict=True))
    failed.add(key)
    return None
