"""The official binaries: the table of them, and how they are fetched, refused or given up, from a server on loopback.

Does not prove that the hosts in the table answer.
"""

import errno
import hashlib
import io
import re
import socket
import stat
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from workshop.problems import Impossible
from workshop.simcluster import build, obtain, official
from workshop.simcluster.official import Download
from workshop.simcluster.programs import NAMES

TABLE = yaml.safe_load(official.TABLE.read_text(encoding="utf-8"))
ENTRIES = [(platform, Download(**entry)) for platform, entries in TABLE.items() for entry in entries]
MODULES = {
    "kubernetes-server": "k8s.io/kubernetes",
    "etcd": "go.etcd.io/etcd/server/v3",
    "kwok": "sigs.k8s.io/kwok",
}


def archive(members: dict[str, bytes]) -> bytes:
    """A tar.gz with these files, beside things nobody asked for."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        folder = tarfile.TarInfo("server/bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in {**members, "server/bin/kubelet": b"unwanted"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


FIRST = ("etcd", "kwok")
REST = tuple(name for name in NAMES if name not in FIRST)
PAGES = {
    "/etcd.tar.gz": archive({"etcd-v3/etcd": b"#etcd"}),
    "/kwok": b"#kwok" * 100,
    "/server.tar.gz": archive({f"server/bin/{name}": f"#{name}".encode() for name in REST}),
}
CONTENTS = {"etcd": b"#etcd", "kwok": PAGES["/kwok"], **{name: f"#{name}".encode() for name in REST}}


class Host:
    """A server on loopback that notes what it is asked for."""

    def __init__(self) -> None:
        self.pages = dict(PAGES)
        self.requests: list[str] = []
        # bytes of a page that are sent of those announced; what follows is the end, or silence
        self.cut: dict[str, int] = {}
        self.silent = threading.Event()
        self.over = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.requests.append(self.path)
                page = host.pages.get(self.path)
                if page is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page[: host.cut.get(self.path)])
                if host.silent.is_set() and self.path in host.cut:
                    self.wfile.flush()
                    host.over.wait()

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class calls it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Answers nobody any more."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host, a table that leads to it, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    host = Host()
    point_to(host.url, monkeypatch, tmp_path)
    yield host
    host.close()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A table of this machine's platform with the pages of the host at `url`."""
    programs = {
        "/etcd.tar.gz": {"etcd": "etcd-v3/etcd"},
        "/kwok": {"kwok": "kwok"},
        "/server.tar.gz": {name: f"server/bin/{name}" for name in REST},
    }
    entries = [
        {
            "url": f"{url}{path}",
            "algorithm": "sha256",
            "digest": hashlib.sha256(page).hexdigest(),
            "programs": programs[path],
        }
        for path, page in PAGES.items()
    ]
    table = folder / "official.yaml"
    table.write_text(yaml.safe_dump({official.platform(): entries}), encoding="utf-8")
    monkeypatch.setattr(official, "TABLE", table)


def left_behind() -> list[str]:
    """What lies where results would be, locks left out."""
    return [file.name for file in official.folder().parent.iterdir() if not file.name.endswith(".lock")]


# ---- the table ----


def test_both_platforms_have_every_program():
    """Whatever the platform, the folder is complete, and no program comes from two files."""
    assert {
        platform: sorted(program for entry in entries for program in entry["programs"])
        for platform, entries in TABLE.items()
    } == dict.fromkeys(("linux/amd64", "linux/arm64"), sorted(NAMES))


@pytest.mark.parametrize(("platform", "entry"), ENTRIES, ids=lambda value: getattr(value, "url", value))
def test_an_entry_is_of_the_pinned_version(platform: str, entry: Download):
    """Platform and version of URL and members are those of go.mod, the digest is as long as its algorithm makes it."""
    machine = platform.partition("/")[2]
    project = next(name for name in MODULES if name in entry.url.rpartition("/")[2])
    version = build.module_version(MODULES[project])
    assert (
        entry.url.split(":")[0],
        set(re.findall(r"v\d+\.\d+\.\d+", " ".join([entry.url, *entry.programs.values()]))),
        set(re.findall(r"amd64|arm64", " ".join([entry.url, *entry.programs.values()]))),
        len(bytes.fromhex(entry.digest)),
    ) == ("https", {version}, {machine}, hashlib.new(entry.algorithm).digest_size)


def test_no_digest_is_there_twice():
    """A digest that was copied from a neighbour would be refused at the user's."""
    assert len({entry.digest for _, entry in ENTRIES}) == len(ENTRIES) == 6


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("linux", "x86_64", 3), ("linux", "aarch64", 3), ("linux", "riscv64", 0), ("darwin", "arm64", 0)],
)
def test_other_platforms_have_nothing(system: str, machine: str, expected: int, monkeypatch: pytest.MonkeyPatch):
    """What has no official server binaries has no downloads, and so asks nobody."""
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"machine": machine}))
    assert expected == len(official.downloads())


# ---- what is fetched ----


@pytest.mark.usefixtures("host")
def test_the_right_content_becomes_a_folder():
    """The folder has exactly the executables, and progress ends at the sum of all files."""
    seen: list[tuple[int, int]] = []
    folder = official.fetch(lambda done, of: seen.append((done, of)))
    total = sum(map(len, PAGES.values()))
    assert (
        folder,
        {file.name: (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) for file in folder.iterdir()},
        left_behind(),
        seen[-1],
        seen == sorted(seen),
    ) == (
        official.folder(),
        {name: (content, 0o755) for name, content in CONTENTS.items()},
        [official.folder().name],
        (total, total),
        True,
    )


def test_the_second_time_asks_nobody(host: Host, monkeypatch: pytest.MonkeyPatch):
    """What is in the cache is found without a request, by `fetch` and by whoever wants a control plane."""
    monkeypatch.setattr(obtain, "definitions", lambda: None)
    first = obtain.control_plane()
    asked = list(host.requests)
    assert [first, first] == [obtain.control_plane(), official.fetch(lambda _done, _of: None)]
    assert asked == host.requests == [*PAGES, *PAGES]


def test_what_an_end_without_warning_left_is_removed(host: Host):
    """A folder of a download that was killed is neither a result nor in the way."""
    left = official.folder().with_name(f".{official.folder().name}.new")
    left.mkdir(parents=True)
    (left / "etcd").write_bytes(b"half")
    assert (left / "etcd").exists()
    assert sorted(CONTENTS) == sorted(file.name for file in official.fetch(lambda _done, _of: None).iterdir())
    assert left_behind() == [official.folder().name]
    assert host.requests == [*PAGES, *PAGES]


# ---- what is refused or not available ----


def wrong(host: Host, path: str) -> str:
    """What is said of a page that has another content than the table expects."""
    expected, actual = (hashlib.sha256(pages[path]).hexdigest() for pages in (PAGES, host.pages))
    digests = f"has the sha256 {actual}, official.yaml expects {expected}"
    return f"{host.url}{path}: WRONG DIGEST: {digests}; it was thrown away"


def other_programs(host: Host) -> str:
    """An archive with every member, of another content."""
    host.pages["/server.tar.gz"] = archive({f"server/bin/{name}": b"evil" for name in REST})
    return wrong(host, "/server.tar.gz")


def other_program(host: Host) -> str:
    """A program that is no archive, of another content."""
    host.pages["/kwok"] = b"evil"
    return wrong(host, "/kwok")


def a_page_instead(host: Host) -> str:
    """Success, and a page that asks to log in."""
    host.pages["/etcd.tar.gz"] = b"<html>please log in</html>"
    return wrong(host, "/etcd.tar.gz")


def something_appended(host: Host) -> str:
    """The right archive, and more behind its end than whoever reads archives looks at."""
    host.pages["/etcd.tar.gz"] += bytes(100_000)
    return wrong(host, "/etcd.tar.gz")


def not_there(host: Host) -> str:
    """The last of the files is not there; nothing was fetched in vain."""
    del host.pages["/server.tar.gz"]
    return f"{host.url}/server.tar.gz: HTTP 404 Not Found"


def nobody_listens(host: Host) -> str:
    """A host that refuses connections."""
    host.close()
    return f"{host.url}/etcd.tar.gz: [Errno {errno.ECONNREFUSED}] Connection refused"


def truncated_archive(host: Host) -> str:
    """An archive that ends before its end."""
    host.cut["/server.tar.gz"] = 100
    return f"{host.url}/server.tar.gz: ended after 100 of {len(PAGES['/server.tar.gz'])} bytes"


def truncated_program(host: Host) -> str:
    """A program that ends before its end."""
    host.cut["/kwok"] = 100
    return f"{host.url}/kwok: ended after 100 of 500 bytes"


def falls_silent(host: Host) -> str:
    """A host that stops sending and keeps the connection."""
    host.cut["/kwok"] = 100
    host.silent.set()
    return f"{host.url}/kwok: no answer in time"


FAILURES = (
    other_programs,
    other_program,
    a_page_instead,
    something_appended,
    not_there,
    nobody_listens,
    truncated_archive,
    truncated_program,
    falls_silent,
)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_a_failure_is_told_and_built_instead(
    failure, host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Whatever goes wrong is one line, leaves nothing, and is followed by a build."""
    said = failure(host)
    built = official.folder().with_name("built")
    monkeypatch.setattr(official, "STALL_TIMEOUT_S", 0.2)
    monkeypatch.setattr(obtain, "definitions", lambda: None)
    monkeypatch.setattr(build, "build", lambda _progress: built)
    assert built == obtain.control_plane()
    assert left_behind() == []
    assert capsys.readouterr().err.splitlines() == [
        "fetching the official binaries of the control plane, once ...",
        f"the official binaries are not available ({said}); building from source",
        "building the control plane, once: 5 to 10 min on two cores ...",
    ]


def test_a_program_that_is_not_in_its_archive(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A digest that is right and a path that is wrong is a mistake in the table, and said as such."""
    monkeypatch.setitem(PAGES, "/etcd.tar.gz", archive({"etcd-v4/etcd": b"#etcd"}))
    host.pages = dict(PAGES)
    point_to(host.url, monkeypatch, tmp_path)
    with pytest.raises(Impossible, match=rf"^{re.escape(host.url)}/etcd\.tar\.gz: holds no etcd$"):
        official.fetch(lambda _done, _of: None)
    assert left_behind() == []


def test_too_little_disk(host: Host, monkeypatch: pytest.MonkeyPatch):
    """Too little disk is said before anybody is asked."""
    monkeypatch.setattr(official, "FREE_GB", 10**6)
    with pytest.raises(Impossible, match=r"downloading needs about 1e\+06 GB, \d+\.\d GB are free; nothing was done$"):
        official.fetch(lambda _done, _of: None)
    assert (host.requests, left_behind()) == ([], [])


def test_a_machine_without_downloads_asks_nobody(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Where there are no official binaries, building is all that is said."""
    monkeypatch.setattr(official, "downloads", list)
    monkeypatch.setattr(obtain, "definitions", lambda: None)
    monkeypatch.setattr(build, "build", lambda _progress: Path("built"))
    assert (Path("built"), []) == (obtain.control_plane(), host.requests)
    assert capsys.readouterr().err == "building the control plane, once: 5 to 10 min on two cores ...\n"


def test_what_was_built_before_is_used(host: Host):
    """A machine that had to build does not ask again."""
    build.folder().mkdir(parents=True)
    assert (build.folder(), []) == (obtain.existing(), host.requests)


def test_a_build_that_was_asked_for_is_used(host: Host, monkeypatch: pytest.MonkeyPatch):
    """`build --from-source` builds where the official binaries lie already, once, and what it built comes first."""

    def make(_progress: object) -> Path:
        build.folder().mkdir()
        return build.folder()

    monkeypatch.setattr(obtain, "definitions", lambda: None)
    monkeypatch.setattr(build, "build", make)
    assert [obtain.control_plane(), obtain.from_source(), obtain.control_plane(), obtain.from_source()] == [
        official.folder(),
        *[build.folder()] * 3,
    ]
    assert host.requests == [*PAGES, *PAGES]


def test_a_connection_that_is_not_answered_costs_seconds(monkeypatch: pytest.MonkeyPatch):
    """How long a machine without that network waits is bounded, whatever becomes of its packets."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(official, "CONNECT_TIMEOUT_S", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        item = Download(f"http://127.0.0.1:{silent.getsockname()[1]}/x", "sha256", "", {"x": "x"})
        with pytest.raises(Impossible, match=r"/x: no answer in time$"):
            official._size(item)
