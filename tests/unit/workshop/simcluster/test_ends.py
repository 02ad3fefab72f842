"""Clusters whose commands meet, or were cut off at a bad moment: nothing is left behind, and the next command goes on.

Starts harmless processes of its own instead of a control plane. Does not prove what a file system keeps after a power
cut, nor that etcd comes back: tests/cluster/test_outages.py ends the real one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.unit.workshop.simcluster.dry_cluster import PORTS, Dry, files, written
from workshop.simcluster import crds
from workshop.simcluster.__main__ import main
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.programs import Damaged, State

pytestmark = pytest.mark.usefixtures("own_cache")


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


def test_down_ends_what_an_up_starts_meanwhile(running: psutil.Process):
    """What `up` starts while `down` waits for it is ended, too."""
    written(Cluster("x"))
    gone = Behind(written).down()
    assert (gone, running.is_running(), files(Cluster("x"))) == (True, False, {".lock", "logs"})


def test_two_downs():
    """The second finds nothing left to do."""
    written(Cluster("x"))
    assert not Behind(lambda other: other.down()).down()


def test_down_of_nothing_makes_nothing(own_cache: Path):
    """Not even a folder."""
    assert not Cluster("x").down()
    assert not (own_cache / "clusters").exists()


# ---- a power cut ----


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"{", b"\xff", b'{"binary": "/b"}', b'{"programs": "", "ports": [1], "contexts": []}'],
)
def test_a_damaged_record(content: bytes, capsys: pytest.CaptureFixture[str]):
    """One line that says the way out, which `down` is."""
    cluster = Cluster("x")
    written(cluster)
    cluster.paths.state.write_bytes(content)
    codes = [main([command, "--name", "x"]) for command in ("status", "kubeconfig", "down")]
    said = (
        f"cluster 'x': {cluster.paths.state} cannot be read: it was damaged, or written by another version; "
        "end the cluster with: python -m workshop.simcluster down --name x\n"
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


# ---- what was cut off half-way ----


def test_down_goes_on_where_it_was_killed(capsys: pytest.CaptureFixture[str]):
    """The record goes before what the cluster needs; what is left then is no cluster, and can go still."""
    cluster = Cluster("x")
    (cluster.paths.data / "member").mkdir(parents=True)
    assert [main([*words]) for words in (["status", "--name", "x"], ["down", "--all"], ["down", "--all"])] == [2, 0, 0]
    assert (*capsys.readouterr(), files(cluster)) == (
        "cluster 'x' is down\n",
        "cluster 'x': is not there; clusters: none\n",
        {".lock"},
    )


def test_the_record_goes_first(monkeypatch: pytest.MonkeyPatch):
    """A `down` that is killed while it removes things leaves nothing that looks like a cluster."""
    cluster = Cluster("x")
    written(cluster)
    cluster.paths.certificates.mkdir()

    def killed(_place: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        cluster.down()
    assert files(cluster) == {".lock", "logs", "certificates"}


def test_up_begins_anew_where_down_was_killed(dry: Dry, own_cache: Path):
    """Data of the cluster before would not fit the new certificates."""
    (dry.paths.data / "member").mkdir(parents=True)
    dry.up(own_cache)
    assert (dry.paths.data.exists(), dry.paths.certificate("ca").exists()) == (False, True)


@pytest.mark.parametrize("command", ["status", "up"])
def test_certificates_that_are_gone(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
):
    """One line, with the way out."""
    monkeypatch.setattr("workshop.simcluster.obtain.control_plane", lambda: own_cache)
    written(Cluster("x"))
    ca = Cluster("x").paths.certificate("ca")
    assert (main([command, "--name", "x"]), capsys.readouterr().err) == (
        2,
        f"cluster 'x': {ca} is not there; end the cluster with: python -m workshop.simcluster down --name x\n",
    )


def test_logs_that_are_gone():
    """They are made anew."""
    cluster = Cluster("x")
    cluster._start(State("programs", PORTS, ("x",)), "etcd", ["true"])
    assert (cluster.paths.logs / "etcd.log").exists()
