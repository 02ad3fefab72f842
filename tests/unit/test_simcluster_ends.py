"""Clusters whose commands meet, or were cut off at a bad moment: nothing is left behind, and the next command goes on.

Starts harmless processes of its own instead of a control plane. Does not prove what a file system keeps after a power
cut, nor that etcd comes back: tests/cluster/test_outages.py ends the real one.
"""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simcluster import crds, durable, folders
from simcluster.__main__ import main
from simcluster.cluster import Cluster
from simcluster.processes import Process, start, stop
from simcluster.programs import Ports
from simcluster.state import Damaged, State

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
    State("programs", PORTS, ("x",), processes or {}).write(cluster.paths.state)


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


# ---- a power cut ----


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that goes to disk, or gets a name, in this order."""
    seen: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        seen.append("sync a folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync a file")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        seen.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    return seen


def test_content_is_on_disk_before_its_name(tmp_path: Path, order: list[str]):
    """Or the name of a file without content could be all that is there after a power cut."""
    durable.replace(tmp_path / "a", "x")
    assert ((tmp_path / "a").read_text(encoding="utf-8"), order) == ("x", ["sync a file", "rename a"])


def test_a_folder_is_on_disk_before_its_name(tmp_path: Path, order: list[str]):
    """Everything in it; a link is part of the folder."""

    def make(fresh: Path) -> None:
        (fresh / "b").write_text("x", encoding="utf-8")
        (fresh / "c").symlink_to("b")

    folders.made_once(tmp_path / "a", make)
    assert order == ["sync a folder", "sync a file", "rename a"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b"\xff", b'{"binary": "/b"}', b'{"processes": [1]}'])
def test_a_damaged_record(content: bytes, capsys: pytest.CaptureFixture[str]):
    """One line that says the way out, which `down` is."""
    cluster = Cluster("x")
    written(cluster)
    cluster.paths.state.write_bytes(content)
    codes = [main([command, "--name", "x"]) for command in ("status", "kubeconfig", "down")]
    said = (
        f"cluster 'x': {cluster.paths.state} cannot be read: it was damaged, or written by another version; "
        "end the cluster with: python -m simcluster down --name x\n"
    )
    assert (codes, *capsys.readouterr()) == ([2, 2, 0], "cluster 'x' is down\n", said * 2)
    assert files(cluster) == {".lock", "logs"}


def test_a_damaged_record_is_not_written_over(own_cache: Path):
    """`up` would start a second control plane beside what may run still."""
    cluster = Cluster("x")
    written(cluster)
    cluster.paths.state.write_text("", encoding="utf-8")
    with pytest.raises(Damaged):
        cluster.up(own_cache)
    assert cluster.paths.state.read_text(encoding="utf-8") == ""


def test_down_all_goes_on(own_cache: Path, capsys: pytest.CaptureFixture[str]):
    """One that cannot be ended keeps no other one up."""
    (own_cache / "clusters" / "A").mkdir(parents=True)
    (own_cache / "clusters" / "A" / "cluster.json").touch()
    written(Cluster("x"))
    assert (main(["down", "--all"]), *capsys.readouterr()) == (
        2,
        "cluster 'x' is down\n",
        "cluster 'A': a name has small letters, digits and '-', 40 at most\n",
    )


def test_definitions_that_cannot_be_read_are_read_anew(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """What a power cut left empty is as good as not there; what was read is kept."""
    monkeypatch.setattr(crds, "_read", lambda _sources: iter([{"kind": "a"}]))
    first = crds.definitions()
    (kept,) = (own_cache / "crds").iterdir()
    kept.write_text("", encoding="utf-8")
    assert (first, crds.definitions(), json.loads(kept.read_text(encoding="utf-8"))) == ([{"kind": "a"}],) * 3
