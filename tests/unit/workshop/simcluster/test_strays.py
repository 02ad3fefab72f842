"""Which processes are a cluster's: those that carry its mark, whoever started them, and that `up` and `down` end them.

Starts harmless processes of its own; does not prove that those of a real control plane end when they are told to.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.unit.workshop.simcluster.dry_cluster import WAITS, Dry, written
from workshop.process import start, stop
from workshop.simcluster.cluster import STAND_INS, Cluster
from workshop.simcluster.programs import PROGRAMS

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Callable[[str], psutil.Process]]:
    """Starts processes that only wait, with a mark; all of them are ended after the test."""
    started: list[psutil.Process] = []

    def begin(mark: str) -> psutil.Process:
        child = start([sys.executable, "-c", WAITS], tmp_path / "log", mark, cwd=tmp_path, env=os.environ)
        started.append(psutil.Process(child.pid))
        return started[-1]

    yield begin
    stop(*started)


def test_which_processes_are_a_clusters(marked: Callable[[str], psutil.Process]):
    """Those with its folder's mark, in the order in which they start; none of another cluster, or of a run here."""
    root = Cluster("x").paths.root
    found = {name: marked(f"{root}/{name}") for name in (STAND_INS, "kwok", "etcd")}
    for other in (f"{root}2/etcd", f"/copy{root}/etcd", f"{root}", str(root.parent)):
        marked(other)
    assert list(Cluster("x").processes().items()) == [(name, found[name]) for name in ("etcd", "kwok", STAND_INS)]


def test_processes_of_another_user_are_not_ours(running: psutil.Process, monkeypatch: pytest.MonkeyPatch):
    """Also root, who may read everybody's environment, ends nobody else's."""
    before = Cluster("x").processes()
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert (before, Cluster("x").processes()) == ({"kwok": running}, {})


@pytest.mark.parametrize("record", ["whole", "damaged", "none"])
def test_down_ends_what_carries_the_mark(running: psutil.Process, record: str):
    """Also where whoever started it was killed before it could write down that there is a cluster, or that is lost."""
    cluster = Cluster("x")
    cluster.paths.logs.mkdir(parents=True)
    if record != "none":
        written(cluster)
    if record == "damaged":
        cluster.paths.state.write_text("", encoding="utf-8")
    assert (cluster.down(), running.is_running()) == (True, False)


def test_up_begins_without_what_was_never_written_down(dry: Dry, running: psutil.Process, own_cache: Path):
    """It may know other ports and other certificates; all of it is started anew."""
    dry.paths.root.mkdir(parents=True)
    dry.up(own_cache / "bin" / "v1")
    assert (running.is_running(), dry.started) == (False, [*PROGRAMS, STAND_INS])


def test_up_leaves_alone_what_runs(dry: Dry, marked: Callable[[str], psutil.Process], own_cache: Path):
    """And starts the others."""
    dry.up(own_cache)
    dry.started.clear()
    running = marked(f"{dry.paths.root}/kwok")
    dry.up(own_cache)
    assert (running.is_running(), dry.started) == (True, [name for name in (*PROGRAMS, STAND_INS) if name != "kwok"])
