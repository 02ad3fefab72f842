"""The script that keeps what servers compile, run on folders of this machine and as real processes.

Does not prove that a network file system renames as atomically as this one, nor what vLLM makes of what it gets back.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.pod_scripts import compile_cache
from components.pod_scripts.compile_cache import MANIFEST, RESTORED

CPUINFO = "processor : 0\nvendor_id : A\nmodel : 1\nflags : avx2 fma\nprocessor : 1\nvendor_id : A\nmodel : 1\n"
MACHINE = compile_cache.machine(CPUINFO)
NAME = f"k1-{MACHINE}-0"
CODE = {
    "vllm/torch_compile_cache/abc/rank_0_0/graph.py": b"graph",
    "torchinductor/x/y.so": b"\x7fELF",
    ".cache/flashinfer/0.6/90a/ops.so": b"ops",
}
OTHERS = {"vllm/assets/cat.png": b"of a user", "vllm/gpu_p2p_access_cache_for_0.json": b"{}", ".bash_history": b"x"}


class Site:
    """A claim, two pods' caches and a machine, as folders."""

    def __init__(self, folder: Path) -> None:
        self.kept, self.proc = folder / "kept", folder / "proc"
        self.first, self.second = folder / "first", folder / "second"
        for made in (self.kept, self.proc, self.first, self.second):
            made.mkdir()
        (self.proc / "cpuinfo").write_text(CPUINFO, encoding="utf-8")

    def environment(self, cache: Path, **changes: str) -> dict[str, str]:
        """That of a container."""
        return {
            "CACHE_KEY": "k1",
            "CACHE_DIR": str(cache),
            "KEPT_DIR": str(self.kept),
            "LIMIT_MIB": "1",
            "RESTORE_S": "60",
            "HOSTNAME": cache.name,
        } | changes

    def compiled(self, cache: Path, files: dict[str, bytes] = CODE) -> None:
        """What a server has written."""
        for name, content in {**files, **OTHERS}.items():
            path = cache / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(5_000_000_001, 5_000_000_001))

    def publish(self, cache: Path, now: float = 0.0, **changes: str) -> str:
        """What the sidecar says."""
        return compile_cache.publish(self.environment(cache, **changes), self.proc, lambda: now)

    def restore(self, cache: Path, **changes: str) -> str:
        """What the init container says, whatever happens."""
        try:
            return compile_cache.restore(self.environment(cache, **changes), self.proc, lambda: 0.0)
        except (compile_cache.NotTakenError, OSError) as reason:
            return f"cold: {reason}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty one."""
    return Site(tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_compiled_is_there_again_in_the_next_pod(site):
    """Code comes back byte for byte with its times, and nothing that is of users or of one machine."""
    site.compiled(site.first)
    (site.first / "torchinductor/x/y.so").chmod(0o755)
    assert site.publish(site.first) == f"published {NAME}: 0 MiB"
    assert site.restore(site.second) == f"restored {NAME}: 3 files, 0 MiB, in 0.0 s"
    assert files(site.second) == {**CODE, RESTORED: NAME.encode()}
    found = [(site.second / name).stat() for name in CODE]
    assert [(one.st_mtime_ns, oct(one.st_mode & 0o777)) for one in found] == [
        (5_000_000_001, "0o644"),
        (5_000_000_001, "0o755"),
        (5_000_000_001, "0o644"),
    ]
    assert site.publish(site.second) == f"nothing to publish: {NAME} was restored"


def test_the_first_start_finds_nothing(site):
    """And says so."""
    assert site.restore(site.first) == f"cold: there is no {NAME}"
    assert files(site.first) == {}


@pytest.mark.parametrize(
    ("changes", "cpuinfo"),
    [
        ({"CACHE_KEY": "k2"}, CPUINFO),
        ({"LWS_WORKER_INDEX": "1"}, CPUINFO),
        ({}, CPUINFO.replace("avx2", "avx512f")),
        ({}, CPUINFO.replace("model : 1", "model : 2")),
    ],
)
def test_another_key_place_or_cpu_has_an_entry_of_its_own(site, changes, cpuinfo):
    """Nothing compiled for another server, other ranks or another CPU is taken."""
    site.compiled(site.first)
    site.publish(site.first)
    (site.proc / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    assert site.restore(site.second, **changes).startswith("cold: there is no k")
    assert site.publish(site.first, **changes).startswith("published k")
    assert len(list(site.kept.iterdir())) == 2


def test_the_name_of_a_cpu_depends_on_no_order_and_no_clock():
    """Cores at another speed and flags in another order are the same CPU."""
    assert compile_cache.machine("cpu MHz : 800\nflags : fma avx2\nmodel : 1\nvendor_id : A\n") == MACHINE


def edited(change):
    """A change of the manifest."""

    def edit(entry: Path) -> None:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        change(manifest["files"], manifest)
        (entry / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")

    return edit


SO = "torchinductor/x/y.so"


def linked(entry: Path) -> None:
    """A file becomes a link to one with the same bytes."""
    (entry / SO).rename(entry.parent.parent / "elsewhere.so")
    (entry / SO).symlink_to(entry.parent.parent / "elsewhere.so")


def linked_folder(entry: Path) -> None:
    """A folder becomes a link to one with the same files."""
    (entry / "torchinductor").rename(entry.parent.parent / "elsewhere")
    (entry / "torchinductor").symlink_to(entry.parent.parent / "elsewhere")


def piped(entry: Path) -> None:
    """A file becomes a pipe, which nobody may wait for."""
    (entry / SO).unlink()
    os.mkfifo(entry / SO)


def renamed(old: str, new: str):
    """A manifest that names a file otherwise."""
    return edited(lambda files, _: files.__setitem__(new, files.pop(old)))


DAMAGE = {
    "a flipped byte": lambda entry: (entry / SO).write_bytes(b"\x7fELG"),
    "a longer file": lambda entry: (entry / SO).write_bytes(b"\x7fELF!"),
    "a shorter file": lambda entry: (entry / SO).write_bytes(b"\x7fEL"),
    "a missing file": lambda entry: (entry / SO).unlink(),
    "a link": linked,
    "a linked folder": linked_folder,
    "a pipe": piped,
    "no manifest": lambda entry: (entry / MANIFEST).unlink(),
    "half a manifest": lambda entry: (entry / MANIFEST).write_text("{"),
    "a list": lambda entry: (entry / MANIFEST).write_text("[]"),
    "another key": edited(lambda _, manifest: manifest.update(key="k9")),
    "a negative size": edited(lambda files, _: files[SO].__setitem__(0, -1)),
    "a size that is none": edited(lambda files, _: files[SO].__setitem__(0, True)),
    "a path upwards": renamed(SO, "torchinductor/../../../etc/passwd"),
    "a whole path": renamed(SO, "/etc/passwd"),
    "a path beside": renamed(SO, "vllm/assets/cat.png"),
    "a path of a folder": renamed(SO, "torchinductor/"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_not_as_it_was_published_is_not_taken_and_made_anew(site, damage):
    """The pod's cache stays empty, nothing is written elsewhere, and the next publisher replaces the entry."""
    site.compiled(site.first)
    site.publish(site.first)
    damage(site.kept / NAME)
    assert site.restore(site.second).startswith("cold: ")
    assert files(site.second) == {}
    assert site.publish(site.first) == f"published {NAME}: 0 MiB"
    assert site.restore(site.second).startswith("restored ")
    assert [path.name for path in site.kept.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("torchinductor/x/y.so", True),
        (".cache/flashinfer/0.6/ops.so", True),
        ("torchinductor", False),
        ("torchinductor/", False),
        ("torchinductorx/y.so", False),
        ("torchinductor/../x", False),
        ("torchinductor/./x", False),
        ("torchinductor//x", False),
        ("torchinductor/x\0y", False),
        ("/torchinductor/x", False),
        ("vllm/assets/x", False),
        (".cache/huggingface/token", False),
        ("", False),
    ],
)
def test_only_what_is_kept_may_be_named(name: str, kept: bool):
    """Below one of the kept folders, by a path that leads nowhere else."""
    assert compile_cache.is_kept(name) is kept


def test_an_entry_that_is_a_link_is_not_followed(site):
    """A name in the claim leads nowhere else."""
    site.compiled(site.first)
    site.publish(site.first)
    (site.kept / NAME).rename(site.kept.parent / "elsewhere")
    (site.kept / NAME).symlink_to(site.kept.parent / "elsewhere")
    assert site.restore(site.second).startswith("cold: ")
    assert files(site.second) == {}


def test_an_entry_larger_than_the_cache_of_a_pod_is_not_taken(site):
    """The kubelet would evict the pod."""
    site.compiled(site.first, {SO: bytes(3 * 2**20)})
    site.publish(site.first, LIMIT_MIB="4")
    assert site.restore(site.second, LIMIT_MIB="2") == f"cold: {NAME} has 3 MiB, the cache of a pod holds 2"


def test_a_claim_that_is_too_slow_is_given_up(site):
    """Compiling takes a known time, a sick file server does not."""
    site.compiled(site.first)
    site.publish(site.first)
    ticks = iter(range(0, 1000, 40))
    with pytest.raises(compile_cache.NotTakenError, match="could not be read within 60 s"):
        compile_cache.restore(site.environment(site.second), site.proc, lambda: next(ticks))
    assert files(site.second) == {}


def test_a_cache_that_is_filled_is_left_alone(site):
    """An init container may run again in the same pod."""
    site.compiled(site.first)
    site.publish(site.first)
    site.compiled(site.second, {SO: b"newer"})
    assert site.restore(site.second) == "the cache of this pod is filled already"
    assert (site.second / SO).read_bytes() == b"newer"


def test_links_and_pipes_of_a_server_are_not_published(site):
    """A server that was taken over can make its keeper read or write nothing else."""
    site.compiled(site.first)
    (site.first / "torchinductor/passwd").symlink_to("/etc/passwd")
    (site.first / "triton").symlink_to(site.kept)
    os.mkfifo(site.first / "torchinductor/pipe")
    (site.first / "torchinductor/a.lock").touch()
    site.publish(site.first)
    assert files(site.kept / NAME).keys() - {MANIFEST} == CODE.keys()


def test_two_publishers_at_once_leave_one_complete_entry(site):
    """Whoever is second says so, and nothing of it stays."""
    for cache in (site.first, site.second):
        site.compiled(cache, {f"triton/{number}": bytes(1000) for number in range(200)})
    said: list[str] = []
    both = [
        threading.Thread(target=lambda cache=cache: said.append(site.publish(cache)))
        for cache in (site.first, site.second)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert f"published {NAME}: 0 MiB" in said
    assert set(said) <= {
        f"published {NAME}: 0 MiB",
        f"another pod published {NAME} first",
        f"nothing to publish: {NAME} is there",
    }
    assert [path.name for path in site.kept.iterdir()] == [NAME]
    site.compiled(site.first, {})
    assert len(compile_cache.manifest_of(site.kept / NAME, NAME)) == 200


def test_a_name_that_was_taken_meanwhile_stays_whose_it_is(site, monkeypatch):
    """Between looking and renaming another pod may be quicker."""
    site.compiled(site.first)
    staged = compile_cache.stage

    def slow(*arguments):
        site.publish(site.second)
        return staged(*arguments)

    site.compiled(site.second, {SO: b"quicker"})
    monkeypatch.setattr(compile_cache, "stage", lambda *arguments: (monkeypatch.undo(), slow(*arguments))[1])
    assert site.publish(site.first) == f"another pod published {NAME} first"
    assert files(site.kept).keys() == {f"{NAME}/{MANIFEST}", f"{NAME}/{SO}"}


def test_what_a_killed_publisher_left_goes_an_hour_later(site):
    """One that is at work keeps its folder; one's own of an earlier life goes at once."""
    site.compiled(site.first)
    for name, made in (
        (".incoming-first", 10_000),
        (".incoming-other", 9_000),
        (".incoming-dead", 1),
        (".broken-dead", 1),
    ):
        (site.kept / name / "torchinductor").mkdir(parents=True)
        os.utime(site.kept / name, (made, made))
    site.publish(site.first, now=10_000)
    assert sorted(path.name for path in site.kept.iterdir()) == [".incoming-other", NAME]


def test_the_oldest_entries_make_room(site):
    """The limit holds over all of them, and no entry that is just published is removed for it."""
    for position, key in enumerate(("k1", "k2", "k3")):
        site.compiled(site.first, {SO: bytes(400 * 1024)})
        site.publish(site.first, CACHE_KEY=key)
        os.utime(site.kept / f"{key}-{MACHINE}-0", (position, position))
    assert sorted(path.name[:2] for path in site.kept.iterdir()) == ["k2", "k3"]


def test_a_cache_larger_than_the_claim_is_not_published(site):
    """Nothing of it stays."""
    site.compiled(site.first, {SO: bytes(2 * 2**20)})
    with pytest.raises(compile_cache.NotTakenError, match="more than the 1,048,576 bytes"):
        site.publish(site.first)
    assert list(site.kept.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(site, monkeypatch, capsys):
    """It is said, and the server goes on."""
    site.compiled(site.first)

    def full(found: int, *_: object) -> tuple[int, str]:
        os.close(found)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compile_cache, "copy", full)
    monkeypatch.setattr(compile_cache, "healthy", lambda _: True)
    compile_cache.main({**site.environment(site.first), "ACTION": "publish"}, site.proc)
    assert capsys.readouterr().out == "not published: [Errno 28] No space left on device\n"
    assert list(site.kept.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_claim_of_somebody_else_is_left_as_it_is(site, monkeypatch, capsys):
    """Neither fails a pod."""
    site.compiled(site.first)
    site.kept.chmod(0o500)
    monkeypatch.setattr(compile_cache, "healthy", lambda _: True)
    compile_cache.main({**site.environment(site.first), "ACTION": "publish"}, site.proc)
    assert "Permission denied" in capsys.readouterr().out


def test_a_server_that_still_writes_is_asked_again(site, monkeypatch, capsys):
    """A file that changes while it is copied is never published."""
    site.compiled(site.first)
    copied, pauses = compile_cache.copy, []

    def changing(found: int, target: Path, most_bytes: int) -> tuple[int, str]:
        if not pauses and target.name == "y.so":
            os.utime(site.first / SO, ns=(7, 7))
        return copied(found, target, most_bytes)

    monkeypatch.setattr(compile_cache, "copy", changing)
    monkeypatch.setattr(compile_cache, "healthy", lambda _: True)
    compile_cache.main({**site.environment(site.first), "ACTION": "publish"}, site.proc, pauses.append)
    assert capsys.readouterr().out == f"the server is still writing\npublished {NAME}: 0 MiB\n"


def test_a_server_that_compiles_nothing_publishes_nothing(site):
    """With --enforce-eager there is nothing to keep."""
    with pytest.raises(compile_cache.NotTakenError, match="the server has compiled nothing"):
        site.publish(site.first)
    assert list(site.kept.iterdir()) == []


class Health(BaseHTTPRequestHandler):
    """A server that is healthy from its second answer on."""

    asked = 0

    def do_GET(self) -> None:
        """503, then 200."""
        type(self).asked += 1
        self.send_response(200 if type(self).asked > 1 else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing."""


@pytest.fixture
def health(leader: str) -> Iterator[int]:
    """Its port, at its own address or the leader's."""
    server = ThreadingHTTPServer((leader or "127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("leader", ["", "127.0.0.2"])
def test_the_sidecar_waits_for_health_publishes_and_ends_at_sigterm(site, health, leader):
    """As a process: it stays when it is done, so that no container restarts, and ends at once when it is told to.

    A pod of a group, whose workers answer nobody, asks its leader.
    """
    Health.asked = 0
    site.compiled(site.first)
    host = "127.0.0.1"
    changes = {"ACTION": "publish", "HEALTH_URL": f"http://{host}:{health}/health", "http_proxy": "http://127.0.0.1:9"}
    environment = site.environment(site.first, **changes) | ({"LWS_LEADER_ADDRESS": leader} if leader else {})
    quick = (
        f"exec(open({compile_cache.__file__!r}).read().replace('POLL_S, TRIES = 3600, 5,', 'POLL_S, TRIES = 1, 0.01,'))"
    )
    process = subprocess.Popen([sys.executable, "-c", quick], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    given_up = threading.Timer(30, process.kill)
    given_up.start()
    try:
        assert process.stdout.readline().startswith("published k1-")
        assert (process.poll(), Health.asked) == (None, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        given_up.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_publisher_killed_half_way_leaves_no_entry(site, tmp_path):
    """As a process: what has its name is complete, whenever the kernel ends it."""
    site.compiled(site.first)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = (
        f"import os; exec(open({compile_cache.__file__!r}).read().partition('if __name__')[0])\n"
        "copied, count = copy, [0]\n"
        "def copy(*arguments):\n"
        "    count[0] += 1\n"
        f"    if count[0] == 3: open({str(gate)!r}, 'w').write('x')\n"
        "    if count[0] == 3: signal.pause()\n"
        "    return copied(*arguments)\n"
        "publish(os.environ, Path('/proc'), time.time)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=site.environment(site.first))
    assert gate.read_text() == "x"
    process.kill()
    process.wait()
    assert [path.name for path in site.kept.iterdir()] == [".incoming-first"]
    assert site.publish(site.first) == f"published {NAME}: 0 MiB"
    assert [path.name for path in site.kept.iterdir()] == [NAME]
