"""Clusters whose commands meet, or were cut off at a bad moment: nothing is left behind, and the next command goes on.

Starts harmless processes of its own instead of a control plane. Does not prove what a file system keeps after a power
cut, nor that etcd comes back: tests/cluster/test_outages.py ends the real one.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simcluster.cluster import Cluster, State
from simcluster.processes import Process, start, stop
from simcluster.programs import Ports

PORTS = Ports(1, 2, 3)
WAITS = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that no test sees the user's clusters."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llm-stack" / "simcluster"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Process]:
    """A process that only waits."""
    process = start([sys.executable, "-c", WAITS], tmp_path / "log")
    yield process
    stop(process)


def written(cluster: Cluster, processes: dict[str, Process] | None = None) -> None:
    """Writes down that the cluster is up, with these processes."""
    cluster.paths.logs.mkdir(parents=True, exist_ok=True)
    cluster.paths.state.write_text(State("programs", PORTS, ("x",), processes or {}).to_json(), encoding="utf-8")


def files(cluster: Cluster) -> set[str]:
    """What lies in the cluster's folder."""
    return {path.relative_to(cluster.paths.root).as_posix() for path in cluster.paths.root.rglob("*")}


class Behind(Cluster):
    """A cluster whose lock somebody else holds first, and does something meanwhile."""

    def __init__(self, meanwhile: Callable[[Cluster], object]) -> None:
        super().__init__("x")
        self._meanwhile = meanwhile

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._meanwhile(Cluster("x"))
        with super()._locked():
            yield


# ---- commands that meet ----


def test_down_ends_what_an_up_starts_meanwhile(running: Process):
    """What `up` writes down while `down` waits for it is ended, too."""
    written(Cluster("x"))
    gone = Behind(lambda other: written(other, {"etcd": running})).down()
    assert (gone, running.alive(), files(Cluster("x"))) == (True, False, {".lock", "logs"})


def test_two_downs():
    """The second finds nothing left to do."""
    written(Cluster("x"))
    assert not Behind(lambda other: other.down()).down()


def test_down_of_nothing_makes_nothing(own_cache: Path):
    """Not even a folder."""
    assert not Cluster("x").down()
    assert not (own_cache / "clusters").exists()
