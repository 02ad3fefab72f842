"""A control plane that dies half-way: what was begun is finished, nothing is lost, nothing is there twice.

Does not prove durability against a crash of the machine: etcd does not wait for the disk here.
"""

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.world import SOON_S, World, stack
from workshop.simcluster.api import Unreachable, wait_until
from workshop.simcluster.cluster import STAND_INS, Cluster
from workshop.simcluster.cluster import names as cluster_names
from workshop.simcluster.deploy import Deployment, entry_key
from workshop.simcluster.obtain import control_plane
from workshop.simcluster.programs import PROGRAMS

HALF_WAY = 20


@pytest.fixture
def fresh() -> Iterator[World]:
    """The stack `dev` on a cluster of its own where nothing is deployed yet."""
    world = World.begin("outage", stack("dev"))
    yield world
    world.cluster.down()
    shutil.rmtree(world.cluster.paths.root)


def kill(world: World, program: str) -> None:
    """Ends one process of the control plane without warning."""
    os.kill(world.cluster.processes()[program].pid, signal.SIGKILL)
    wait_until(lambda: program not in world.cluster.processes(), SOON_S, f"{program} is gone")


def snapshot(world: World) -> dict[str, str]:
    """Every object the stack declares → its uid."""
    found = {}
    for target in world.stack.targets:
        metadata = target.body["metadata"]
        body = world.api.get(
            target.body["apiVersion"], target.body["kind"], metadata["name"], metadata.get("namespace", "")
        )
        assert body is not None, target
        found[entry_key(target.body)] = body["metadata"]["uid"]
    return found


def test_an_api_server_killed_half_way(fresh: World):
    """The API server dies in the middle of a deployment and is started again: the run ends, and all is there once."""
    lines: list[str] = []
    errors: list[BaseException] = []
    reached = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == HALF_WAY:
            kill(fresh, "kube-apiserver")
            reached.set()

    def work() -> None:
        try:
            Deployment(fresh.api, fresh.stack, say).run(120)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert reached.wait(SOON_S)
    fresh.cluster.up(control_plane())
    thread.join(120)
    assert (errors, thread.is_alive()) == ([], False)
    api_before = snapshot(fresh)
    fresh.settled("vllm-qwen3-8b", 1)
    assert Counter(pod["metadata"]["labels"]["app.kubernetes.io/instance"] for pod in fresh.pods()) == {
        "vllm-qwen3-8b": 1,
        "litellm": 1,
        "litellm-redis": 1,
    }
    # a second run finds all of it and makes nothing anew
    again = fresh.deploy()
    assert (api_before, []) == (snapshot(fresh), [line for line in again if line.startswith(("created", "deleted"))])


def test_a_whole_control_plane_comes_back(fresh: World):
    """All of it is killed and started again on the same ports: every object and every pod is the same one as before."""
    fresh.deploy()
    before = snapshot(fresh) | {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in fresh.pods()}
    state = fresh.cluster.state()
    assert state is not None
    for program in reversed(fresh.cluster.processes()):
        kill(fresh, program)
    with pytest.raises(Unreachable):
        fresh.api.request("GET", "/readyz")
    fresh.cluster.up(control_plane())
    after = snapshot(fresh) | {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in fresh.pods()}
    assert before == after
    assert state.ports == getattr(fresh.cluster.state(), "ports", None)


def test_clusters_side_by_side(fresh: World):
    """Another cluster has other ports and other objects; it goes down without touching a process of the first."""
    other = Cluster(f"test-{os.getpid()}-beside")
    api = other.up(control_plane())
    first, second = fresh.cluster.state(), other.state()
    assert first is not None
    assert second is not None
    assert set() == {*vars(first.ports).values()} & {*vars(second.ports).values()}
    assert api.items("v1", "Node") == []
    assert {fresh.cluster.name, other.name} <= set(cluster_names())
    assert other.down()
    assert (other.processes(), [*fresh.cluster.processes()]) == ({}, [*PROGRAMS, STAND_INS])
    assert other.paths.logs.is_dir()
    assert not other.down()
    shutil.rmtree(other.paths.root)
    assert fresh.api.request("GET", "/readyz") == "ok"
