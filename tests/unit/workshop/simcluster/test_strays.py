"""Processes of a cluster that nobody could write down: which they are, and that `up` and `down` end them.

Starts harmless processes of its own; does not prove that those of a real control plane end when they are told to.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.workshop.simcluster.dry_cluster import WAITS, Dry, written
from workshop.simcluster import strays
from workshop.simcluster.api import wait_until
from workshop.simcluster.cluster import STAND_INS, Cluster
from workshop.simcluster.processes import Process, start, stop
from workshop.simcluster.programs import PROGRAMS

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> Dry:
    """Such a cluster."""
    monkeypatch.setattr("workshop.simcluster.cluster.install_definitions", lambda _api: None)
    return Dry()


@pytest.fixture
def forgotten(own_cache: Path) -> Iterator[Process]:
    """A process that only waits, by its command line the scheduler of cluster x."""
    scheduler = own_cache / "bin" / "v1" / "kube-scheduler"
    scheduler.parent.mkdir(parents=True)
    scheduler.symlink_to(Path(sys.executable).resolve())
    root = Cluster("x").paths.root
    process = start([scheduler, "-c", WAITS, f"--kubeconfig={root}/certificates/a"], own_cache / "log")
    yield process
    stop(process)


@pytest.mark.parametrize("end", ["\0", " "])
def test_which_processes_are_a_clusters(own_cache: Path, monkeypatch: pytest.MonkeyPatch, end: str):
    """Our programs with a file of this cluster, and its stand-ins, in the order they have to end; nothing else."""
    paths = Cluster("x").paths
    etcd, kwok = own_cache / "bin" / "v1" / "etcd", "/elsewhere/kwok"
    stand_ins = ["/v/bin/python3.11", "-m", "workshop.simcluster.stand_ins", "x"]
    lines = [
        [f"{etcd}", f"--data-dir={paths.root}/etcd", "--name=y"],
        [kwok, "--node-port=0", f"--kubeconfig={paths.root}/certificates/kwok.kubeconfig"],
        [*stand_ins, f"{paths.root}"],
        # known
        [f"{etcd}", f"--data-dir={paths.root}/etcd", "--name=z"],
        # of another cluster, another user's folder, somebody who looks at ours, a client of ours
        [f"{etcd}", f"--data-dir={paths.root}2/etcd"],
        [f"{etcd}", f"--data-dir=/copy{paths.root}/etcd"],
        ["/usr/bin/etcd", f"--data-dir={paths.root}/etcd"],
        ["tail", "-f", f"{etcd}", f"{paths.root}/logs/etcd.log"],
        [f"{etcd.parent}/kubectl", f"--kubeconfig={paths.kubeconfig}"],
        [*stand_ins, f"{paths.root}2"],
        ["sh", "-c", " ".join([*stand_ins, f"{paths.root}"])],
        [],
    ]
    numbered = [(pid, end, end.join(words)) for pid, words in enumerate(lines)]
    monkeypatch.setattr(strays, "_command_lines", lambda: iter(numbered))
    monkeypatch.setattr(strays, "start_of", str)
    monkeypatch.setattr(Process, "alive", lambda _self: True)
    found = strays.find(paths, "/elsewhere", [Process(3, "3")])
    assert found == [Process(2, "2"), Process(1, "1"), Process(0, "0")]


@pytest.mark.parametrize("without_proc", [False, True])
def test_processes_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_proc: bool):
    """From /proc, and from `ps` where there is none: with all of their words."""
    if without_proc:
        monkeypatch.setattr(strays, "PROC", tmp_path)
    words = [sys.executable, "-c", WAITS, "x" * 5000]
    process = start(words, tmp_path / "log")

    def seen() -> list[str]:
        """Its words; for a moment after it has begun it has none."""
        found = {pid: line.rstrip(end).split(end) for pid, end, line in strays._command_lines()}
        return [word for word in found[process.pid] if word]

    said = wait_until(seen, 10, "the process has no words")
    stop(process)
    assert said == (" ".join(words).split(" ") if without_proc else words)


@pytest.mark.parametrize("record", ["whole", "damaged"])
def test_down_ends_what_is_not_written_down(forgotten: Process, record: str):
    """Whoever started it was killed before it could write that down, or what it wrote is lost."""
    cluster = Cluster("x")
    written(cluster)
    if record == "damaged":
        cluster.paths.state.write_text("", encoding="utf-8")
    assert (cluster.down(), forgotten.alive()) == (True, False)


def test_up_ends_what_is_not_written_down(dry: Dry, forgotten: Process, own_cache: Path):
    """Or there would be two schedulers."""
    dry.up(own_cache / "bin" / "v1")
    assert (forgotten.alive(), dry.started) == (False, [*PROGRAMS, STAND_INS])


def test_stand_ins_are_found_by_how_they_are_started():
    """Their command line is one of those that are looked for."""
    paths = Cluster("x").paths
    assert strays._place(" ".join(strays.stand_ins_command(paths)), " ", "/x", str(paths.root)) == len(PROGRAMS)
