"""Pods on equal nodes in whatever order: exact cases, and every order tried one by one on small pools.

Does not prove what a scheduler does: only what it may do.
"""

import time
from functools import cache
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.server.packing import Pods, find_blockers, find_stranded, finds_room, packs
from tests.unit.small_stack import properties


def gpus(**servers: tuple[int, int]) -> list[Pods]:
    """Servers of pods that ask for GPUs only: name → (GPUs of a pod, pods)."""
    return [Pods(name, (size,), count) for name, (size, count) in servers.items()]


@pytest.mark.parametrize(
    ("servers", "node", "nodes", "fit", "expected"),
    [
        # the one from the field
        (gpus(large=(4, 1), a=(1, 1), b=(1, 1)), 4, 2, True, {"large": ("a", "b")}),
        (gpus(large=(4, 1), small=(1, 2)), 4, 2, True, {"large": ("small",)}),
        # one small pod cannot be on two nodes
        (gpus(large=(4, 1), small=(1, 1)), 4, 2, True, {}),
        (gpus(large=(4, 1), small=(1, 2)), 4, 3, True, {}),
        # a pod of two is stopped by three of four GPUs, so each node needs three of the small ones
        (gpus(two=(2, 1), one=(1, 6)), 4, 2, True, {"two": ("one",)}),
        (gpus(two=(2, 1), one=(1, 5)), 4, 2, True, {}),
        # equal pods never stand in each other's way
        (gpus(a=(2, 2), b=(2, 2)), 4, 2, True, {}),
        # a group of two whole nodes, and one pod of one GPU too many places
        (gpus(group=(8, 2), small=(1, 2)), 8, 3, True, {"group": ("group", "small")}),
        # no order helps
        (gpus(a=(3, 2), b=(2, 1)), 4, 2, False, {"a": ("a", "b"), "b": ("a",)}),
        ([], 4, 2, True, {}),
    ],
)
def test_who_may_be_left_out(servers, node, nodes, fit, expected):
    """Whether all fit together, and who may find no node all the same."""
    assert (packs(servers, (node,), nodes), find_stranded(servers, (node,), nodes)) == (fit, expected)


def test_memory_and_cores_are_in_the_way_too():
    """A pod of few cores and much memory takes a node's memory from one that has cores left."""
    servers = [Pods("wide", (8, 100), 1), Pods("small", (1, 40), 2)]
    assert find_stranded(servers, (16, 128), 2) == {"wide": ("small",)}
    assert find_stranded(servers, (16, 256), 2) == {}


SERVERS = st.lists(
    st.tuples(st.tuples(st.integers(0, 4), st.integers(1, 4)), st.integers(0, 3)), min_size=1, max_size=3
)


@given(SERVERS, st.tuples(st.integers(4, 6), st.integers(4, 6)), st.integers(1, 3))
@properties(250)
def test_every_order_was_tried(found, node, nodes):
    """All states that placing pods one by one can lead to: one has all pods, and in one somebody is left out."""
    wanted = [Pods(f"s{index}", demand, count) for index, (demand, count) in enumerate(found)]
    complete, left_out = False, set()

    @cache
    def visit(free, left):
        nonlocal complete
        complete |= not any(left)
        for index, pods in enumerate(wanted):
            if not left[index]:
                continue
            places = {room for room in free if all(map(int.__le__, pods.demand, room))}
            if not places:
                left_out.add(pods.name)
            for room in places:
                rest = list(free)
                rest.remove(room)
                taken = tuple(map(int.__sub__, room, pods.demand))
                visit(tuple(sorted([*rest, taken])), (*left[:index], left[index] - 1, *left[index + 1 :]))

    visit((node,) * nodes, tuple(pods.count for pods in wanted))
    assert (packs(wanted, node, nodes), set(find_stranded(wanted, node, nodes))) == (complete, left_out)


@given(SERVERS, st.tuples(st.integers(4, 6), st.integers(4, 6)), st.integers(1, 3))
@properties(150)
def test_who_is_named_is_really_in_the_way(found, node, nodes):
    """Without the pods of those that are named, the one that was left out finds its place."""
    wanted = [Pods(f"s{index}", demand, count) for index, (demand, count) in enumerate(found)]
    for name, blockers in find_stranded(wanted, node, nodes).items():
        (pods,) = [item for item in wanted if item.name == name]
        only = [Pods(item.name, item.demand, item.count - (item is pods)) for item in wanted if item.name in blockers]
        assert find_blockers(only, pods.demand, node, nodes) == blockers


def test_a_large_pool_is_judged_in_a_moment():
    """Two hundred nodes of eight GPUs, and six servers with three hundred pods of all sizes."""
    servers = gpus(a=(8, 60), b=(4, 80), c=(2, 90), d=(1, 60), e=(1, 30), f=(8, 20))
    begun = time.monotonic()
    assert (packs(servers, (8,), 200), set(find_stranded(servers, (8,), 200))) == (True, {"a", "f"})
    assert time.monotonic() - begun < 5


def test_a_search_among_many_servers_on_many_nodes_ends_soon():
    """A dozen servers of one pool of 200 nodes, asked for every one of them, cost well below a second."""
    sizes = (1, 1, 1, 1, 1, 2, 2, 1, 1, 8, 8, 8, 8)
    wanted = [Pods(f"m{index}", (gpus, 7 * gpus + index), 40) for index, gpus in enumerate(sizes)]
    began = process_time()
    find_stranded(wanted, (8, 128), 200)
    assert process_time() - began < 2


def test_a_pool_of_thousands_of_pods_is_judged_at_once():
    """Forty thousand pods on five thousand nodes; and fourteen hundred whose order is searched, one deeper each."""
    began = process_time()
    assert packs(gpus(a=(1, 20_000), b=(1, 20_000)), (8,), 5_000)
    assert not packs(gpus(a=(1, 20_000), b=(1, 20_001)), (8,), 5_000)
    assert packs(gpus(a=(3, 600), b=(2, 801)), (4,), 1_000)
    assert process_time() - began < 2


def test_many_servers_of_few_sizes_are_no_longer_search():
    """A hundred servers of two sizes: the last pod is left out exactly when a node less was enough for the others."""
    servers = gpus(large=(4, 1), **{f"small{index}": (1, 3) for index in range(99)})
    found = [finds_room(servers[0], servers, (4,), nodes) for nodes in (296, 297, 298)]
    assert found == [False, False, True]


def test_a_hundred_sizes_in_one_pool_are_judged_soon():
    """Pods that all ask for another memory: for each, from one number of nodes to the next, the search is the same."""
    wanted = [Pods(f"m{index}", (index % 4 + 1, 100 + 3 * index), 50) for index in range(100)]
    began = process_time()
    for pods in wanted:
        assert not any(finds_room(pods, wanted, (8, 2_048), nodes) for nodes in range(2_000, 2_012))
    assert process_time() - began < 4
