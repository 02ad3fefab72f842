"""Pods on equal nodes: whether there is room for all of them, and whether there is in whatever order they come.

A scheduler places pods one by one, in no promised order, each on any node with room; the default one even spreads them
(kube-scheduler, NodeResourcesFit, LeastAllocated). So pods that fit together may still leave one of them out: one pod
of four GPUs and two of one on two nodes of four. Pure arithmetic on whole numbers; exact but for a bound on the search,
beyond which the answer is the careful one for its caller.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import ge, le

# Steps of one search. Real pools need some hundreds; a pool of a dozen servers is searched some hundred times.
MOST_STEPS = 2_000
Amounts = tuple[int, ...]
# How many nodes have so much free, in order.
_Free = tuple[tuple[Amounts, int], ...]
# How many pods of which servers, by their positions, are on one node.
_Way = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pods:
    """Equal pods of one server. `demand`: what one takes of each resource of a node; `count`: how many there may be."""

    name: str
    demand: Amounts
    count: int


class _TooLongError(Exception):
    """A search has taken more steps than it may."""


class _Steps:
    def __init__(self, left: int = MOST_STEPS) -> None:
        self.left = left

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _TooLongError


def packs(all_pods: Sequence[Pods], node: Amounts, nodes: int) -> bool:
    """Whether some order places all of them. True also where that could not be found out."""
    counts = Counter[Amounts]()
    for pods in all_pods:
        counts[pods.demand] += pods.count
    sizes = sorted(counts.items(), reverse=True)
    for r, room in enumerate(node):
        if sum(demand[r] * count for demand, count in sizes) > nodes * room:
            return False
    if _first_fit(sizes, node, nodes):
        return True
    try:
        return _placed([demand for demand, count in sizes for _ in range(count)], node, nodes)
    except _TooLongError:
        return True


def find_stranded(all_pods: Sequence[Pods], node: Amounts, nodes: int) -> dict[str, tuple[str, ...]]:
    """Servers that may find no node although all fit together: name → those in the way, itself included.

    A pod is stranded when every node holds just so much that it does not fit any more. Also named where the search was
    too long to rule it out.
    """
    blocked_by = {
        pods.name: find_blockers(_before(pods, all_pods), pods.demand, node, nodes) for pods in all_pods if pods.count
    }
    return {name: blockers for name, blockers in blocked_by.items() if blockers is not None}


def finds_room(pods: Pods, all_pods: Sequence[Pods], node: Amounts, nodes: int) -> bool:
    """Whether the last of these pods finds a node in whatever order all of `all_pods`, which has them, come.

    Who is in the way is not asked, so servers with equal pods are one: a hundred of them are no longer search.
    """
    supply = Counter[Amounts]()
    for earlier in _before(pods, all_pods):
        supply[earlier.demand] += earlier.count
    return not pods.count or _never_blocked(tuple(sorted(supply.items())), pods.demand, node, nodes)


def _before(pods: Pods, all_pods: Sequence[Pods]) -> list[Pods]:
    """Pods that may be there already when the last of these looks for a place."""
    return [Pods(server.name, server.demand, server.count - (server is pods)) for server in all_pods]


# As many questions as a stack has servers are asked again and again: equal servers of one pool are in equal places.
@lru_cache(maxsize=1024)
def _never_blocked(supply: tuple[tuple[Amounts, int], ...], demand: Amounts, node: Amounts, nodes: int) -> bool:
    return find_blockers([Pods("", *pods) for pods in supply], demand, node, nodes) is None


def find_blockers(supply: Sequence[Pods], demand: Amounts, node: Amounts, nodes: int) -> tuple[str, ...] | None:
    """Servers out of `supply` whose pods leave no room for `demand` on any of the nodes; None: they are too few."""
    # so much of a resource, and a node has too little left of it
    enough = tuple(room - size + 1 for room, size in zip(node, demand, strict=True))
    counts = tuple(pods.count for pods in supply)
    # what counts for a resource: a pod that is more than enough blocks no second node
    shares = [tuple(map(min, pods.demand, enough)) for pods in supply]
    totals = _sum(enough, shares, enumerate(counts))
    if _most_blocked(totals, enough, node) < nodes:
        return None
    # no node holds more of them
    most = [min((h // a for h, a in zip(node, pods.demand, strict=True) if a), default=pods.count) for pods in supply]
    ways = _least_ways(tuple(map(min, counts, most)), tuple(pods.demand for pods in supply), enough, node)
    anybody = tuple(pods.name for pods in supply if pods.count)
    if ways is None:
        return anybody
    least_ways, left = ways
    counted = [(way, _sum(enough, shares, way)) for way in least_ways]
    try:
        used = _block(counted, counts, totals, enough, node, nodes, _Steps(left))
    except _TooLongError:
        return anybody
    return None if used is None else tuple(pods.name for index, pods in enumerate(supply) if index in used)


def _fits(size: Amounts, room: Amounts) -> bool:
    return all(map(le, size, room))


def _less(room: Amounts, size: Amounts, times: int = 1) -> Amounts:
    return tuple(free - times * need for free, need in zip(room, size, strict=True))


def _sum(like: Amounts, amounts: Sequence[Amounts], numbers: Iterable[tuple[int, int]]) -> Amounts:
    """The sum of `number` times the amounts at `index`, for each (index, number); `like`: as many resources."""
    total = [0] * len(like)
    for index, number in numbers:
        for r, amount in enumerate(amounts[index]):
            total[r] += number * amount
    return tuple(total)


def _first_fit(sizes: Sequence[tuple[Amounts, int]], node: Amounts, nodes: int) -> bool:
    """Whether all pods, given by size and the largest first, have a place when each takes the first node with room."""
    free = [(node, nodes)]
    for size, count in sizes:
        left = count
        after: list[tuple[Amounts, int]] = []
        for room, alike in free:
            per_node = min((have // need for have, need in zip(room, size, strict=True) if need), default=left)
            full = min(alike, left // per_node) if per_node else 0
            # of the nodes that are not full, one takes the rest
            partial = min(left - full * per_node, per_node) if full < alike else 0
            left -= full * per_node + partial
            after += [(_less(room, size, per_node), full), (_less(room, size, partial), min(partial, 1))]
            after.append((room, alike - full - min(partial, 1)))
        if left:
            return False
        free = [(room, alike) for room, alike in after if alike]
    return True


def _placed(sizes: Sequence[Amounts], node: Amounts, nodes: int) -> bool:
    """Whether pods of these sizes, the largest first, have places on so many nodes; tries every choice of nodes."""
    steps, failed = _Steps(), set[object]()
    # equal nodes are the same place: how many nodes have so much free, the fullest first
    tries: list[tuple[object, Iterator[_Free]]] = []
    free: _Free | None = ((node, nodes),)
    while tries or free:
        if free is not None:
            if len(tries) == len(sizes):
                return True
            key = (len(tries), free)
            if key not in failed:
                steps.take()
                tries.append((key, _places(free, sizes[len(tries)])))
        key, places = tries[-1]
        free = next(places, None)
        if free is None:
            failed.add(key)
            tries.pop()
    return False


def _places(free: _Free, size: Amounts) -> Iterator[_Free]:
    """Free room after one pod of this size has taken a place, for each place that it may take."""
    for room, _ in free:
        if _fits(size, room):
            remaining = Counter(dict(free))
            remaining[room] -= 1
            remaining[_less(room, size)] += 1
            yield tuple(sorted((+remaining).items()))


def _most_blocked(totals: Amounts, enough: Amounts, node: Amounts) -> int:
    """No more nodes than this can be blocked: each has to hold enough of one resource at least.

    `totals`: what all pods ask for, of a pod no more than is enough. What is not asked for is never too little.
    """
    return sum(total // least for total, least, room in zip(totals, enough, node, strict=True) if least <= room)


# Asked for one pod after another, and for one number of nodes after another.
@lru_cache(maxsize=64)
def _least_ways(
    counts: Amounts, demands: tuple[Amounts, ...], enough: Amounts, node: Amounts
) -> tuple[Sequence[_Way], int] | None:
    """All ways to block one node of which no pod can be taken away, and how many steps are left; None: not one.

    `counts`: pods of each size, no more than a node holds.
    """
    ways: list[_Way] = []
    way: list[tuple[int, int]] = []
    steps = _Steps()

    def blocked(used: Amounts) -> bool:
        return any(map(ge, used, enough))

    def extend(index: int, used: Amounts) -> None:
        steps.take()
        if blocked(used):
            if not any(blocked(_less(used, demands[size])) for size, _ in way):
                ways.append(tuple(way))
            return
        if index == len(counts):
            return
        extend(index + 1, used)
        for number in range(1, counts[index] + 1):
            more = _less(used, demands[index], -number)
            if not _fits(more, node):
                break
            way.append((index, number))
            extend(index + 1, more)
            way.pop()

    try:
        extend(0, (0,) * len(node))
    except _TooLongError:
        return None
    return ways, steps.left


@dataclass
class _Try:
    """`times` nodes are blocked in one way; `missing` nodes were left for it, with so many pods."""

    key: object
    left: Amounts
    totals: Amounts
    missing: int
    times: int


def _block(
    ways: Sequence[tuple[_Way, Amounts]],
    counts: Amounts,
    totals: Amounts,
    enough: Amounts,
    node: Amounts,
    nodes: int,
    steps: _Steps,
) -> set[int] | None:
    """Servers whose pods block so many nodes by some of the ways, which are given with what they count; None: none."""
    failed, tries = set[object](), list[_Try]()
    left, missing = counts, nodes
    while missing > 0:
        # every try is a step, also one that ends here: on hundreds of nodes they are hundreds to each that goes on
        steps.take()
        key = (len(tries), left, missing)
        if len(tries) == len(ways) or key in failed or _most_blocked(totals, enough, node) < missing:
            while tries and not tries[-1].times:
                failed.add(tries.pop().key)
            if not tries:
                return None
            tries[-1].times -= 1
        else:
            most = min(left[index] // number for index, number in ways[len(tries)][0])
            tries.append(_Try(key, left, totals, missing, min(most, missing)))
        last = tries[-1]
        way, counted = ways[len(tries) - 1]
        remaining = list(last.left)
        for index, number in way:
            remaining[index] -= last.times * number
        left, totals, missing = tuple(remaining), _less(last.totals, counted, last.times), last.missing - last.times
    return {index for (way, _), attempt in zip(ways, tries, strict=False) if attempt.times for index, _ in way}
