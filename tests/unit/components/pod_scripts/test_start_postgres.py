"""The script that starts Postgres, with a real Postgres of this machine; skipped where there is none.

Does not prove the image, which has another major version.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from components.pod_scripts import source
from tests.gateway.database import program
from workshop.ports import free_ports

SCRIPT = "start_postgres"
PASSWORDS = {"OWNER_PASSWORD": "owner-password-1", "SERVING_PASSWORD": "serving-password-1"}
# As root Postgres refuses to run; who has this capability reaches a folder that is root's alone.
UNPRIVILEGED = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
]
NAMELESS = [UNPRIVILEGED[0], "--reuid=1000700000", *UNPRIVILEGED[2:]]
pytestmark = pytest.mark.skipif(
    program("initdb") is None or shutil.which("setpriv") is None, reason="no Postgres here: apt-get install postgresql"
)


class Server:
    """The script as a pod runs it; `log` is what it wrote."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.folder, self.log = folder, ""
        self.data = folder / "volume" / "data"
        self.data.parent.mkdir()
        self._script = folder / "start_postgres.sh"
        self._script.write_text(source(SCRIPT), encoding="utf-8")
        self._process: subprocess.Popen[str] | None = None

    def launch(
        self, passwords: Mapping[str, str] = PASSWORDS, path: str = "", prefix: Sequence[str] = UNPRIVILEGED
    ) -> subprocess.Popen[str]:
        """Starts it, and does not wait."""
        programs = f"{Path(str(program('initdb'))).parent}:{os.environ['PATH']}"
        values = {
            "ADDRESS": "127.0.0.1",
            "CONNECTIONS": "30",
            "PATH": f"{path}:{programs}" if path else programs,
            "PGDATA": str(self.data),
            "PGPORT": str(self.port),
            "SOCKETS": str(self.folder),
        }
        words = [*(prefix if os.getuid() == 0 else []), "sh", str(self._script)]
        with (self.folder / "log").open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(words, env={**values, **passwords}, stdout=log, stderr=log, text=True)
        return self._process

    def start(self, passwords: Mapping[str, str] = PASSWORDS) -> None:
        """Starts it, and waits until it lets the serving role in."""
        process = self.launch(passwords)
        url = self.url("litellm", passwords["SERVING_PASSWORD"])
        for _ in range(300):
            if self.query(url, "SELECT 1").returncode == 0:
                return
            assert process.poll() is None, self.said()
            time.sleep(0.1)
        raise AssertionError(self.said())

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signals the first process, and waits until it has gone; its exit status."""
        assert self._process is not None, "it was started"
        self._process.send_signal(number)
        return self._process.wait(60)

    def crash(self) -> None:
        """The end of a node: nothing has time to write."""
        postmaster = int((self.data / "postmaster.pid").read_text("utf-8").split()[0])
        os.kill(postmaster, signal.SIGKILL)
        assert self._process is not None, "it was started"
        assert self._process.wait(60) != 0

    def refusal(self, prefix: Sequence[str] = UNPRIVILEGED, **more: str) -> tuple[int, str]:
        """Exit status and last line of a start that does not come to anything."""
        status = self.launch({**PASSWORDS, **more}, prefix=prefix).wait(60)
        return status, self.said().splitlines()[-1]

    def said(self) -> str:
        """Everything it wrote."""
        return (self.folder / "log").read_text("utf-8")

    def url(self, role: str, password: str) -> str:
        """The URL of a role."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/litellm"

    def query(self, url: str, text: str) -> subprocess.CompletedProcess[str]:
        """SQL by psql."""
        words = [str(program("psql")), url, "-XtAc", text]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def owner(self, text: str, password: str = PASSWORDS["OWNER_PASSWORD"]) -> str:
        """SQL of the role that may change the schema."""
        done = self.query(self.url("litellm_owner", password), text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def serving(self, text: str, password: str = PASSWORDS["SERVING_PASSWORD"]) -> str:
        """SQL of the role that serves: what it selects, or why not."""
        done = self.query(self.url("litellm", password), text)
        return (done.stdout or done.stderr).strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Postgres whose volume is empty."""
    server = Server(tmp_path)
    yield server
    process = server._process
    if process and process.poll() is None:
        server.end(signal.SIGTERM)


def test_what_is_written_is_there_after_every_kind_of_end(server: Server):
    """Told to end while a client is connected, it ends at once and well; after a crash it recovers."""
    server.start()
    server.owner("CREATE TABLE keys (name text)")
    server.serving("INSERT INTO keys VALUES ('first')")
    waiting = subprocess.Popen(
        [str(program("psql")), server.url("litellm", PASSWORDS["SERVING_PASSWORD"]), "-c", "SELECT pg_sleep(600)"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begun = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - begun < 30
    waiting.wait(30)
    server.start()
    server.serving("INSERT INTO keys VALUES ('second')")
    server.crash()
    server.start()
    assert server.serving("SELECT name FROM keys ORDER BY name") == "first\nsecond"


def test_the_serving_role_uses_tables_and_changes_none(server: Server):
    """Of tables, sequences and views that the owner makes at any time."""
    server.start()
    server.owner("CREATE TABLE spend (id serial, usd float); CREATE VIEW sums AS SELECT sum(usd) FROM spend")
    assert server.serving("INSERT INTO spend (usd) VALUES (2), (3)") == "INSERT 0 2"
    assert server.serving("SELECT * FROM sums") == "5"
    assert "permission denied for schema public" in server.serving("CREATE TABLE mine (id int)")
    assert "must be owner of table spend" in server.serving("DROP TABLE spend")


def test_another_password_is_that_of_the_next_start(server: Server):
    """And the former opens nothing any more; none of them is in the log, or anywhere on the volume."""
    server.start()
    server.end()
    fresh = {"OWNER_PASSWORD": "owner-password-2", "SERVING_PASSWORD": "serving.password_2~"}
    server.start(fresh)
    assert "password authentication failed" in server.serving("SELECT 1")
    assert server.serving("SELECT 1", fresh["SERVING_PASSWORD"]) == "1"
    assert server.owner("SELECT 1", fresh["OWNER_PASSWORD"]) == "1"
    server.end()
    files = [file.read_bytes() for file in server.folder.rglob("*") if file.is_file() and file.suffix != ".sh"]
    for password in (*PASSWORDS.values(), *fresh.values()):
        assert [password.encode() in content for content in files if password.encode() in content] == []


def test_nobody_else_comes_in_by_the_network(server: Server):
    """Not the superuser, not another role, not to another database, and nobody without a password."""
    server.start()
    for role, database in (("postgres", "postgres"), ("postgres", "litellm"), ("litellm", "postgres")):
        url = f"postgresql://{role}:{PASSWORDS['SERVING_PASSWORD']}@127.0.0.1:{server.port}/{database}"
        assert "no pg_hba.conf entry" in server.query(url, "SELECT 1").stderr
    assert "no password supplied" in server.query(server.url("litellm", ""), "SELECT 1").stderr


@pytest.mark.parametrize("after", ["initdb", "postgres"])
def test_a_first_start_that_is_killed_leaves_nothing_behind(server: Server, after: str):
    """Wherever it is killed: the data are there whole or not at all, and the next start makes them."""
    folder = server.folder / "bin"
    folder.mkdir()
    real = Path(str(program("initdb"))).parent / after
    ending = "kill -9 $PPID" if after == "postgres" else "kill -9 $PPID; exit 1"
    (folder / after).write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exec {real} "$@" ;; esac\n{real} "$@"\n{ending}\n'
    )
    (folder / after).chmod(0o755)
    assert server.launch(path=str(folder)).wait(60) != 0
    assert not server.data.exists()
    server.start()
    assert server.serving("SELECT 1") == "1"


@pytest.mark.skipif(os.getuid() != 0, reason="a user without a name can only be had by root")
def test_a_user_without_a_name_gets_one_of_a_library_or_is_told_what_is_missing(server: Server):
    """As users of a namespace's own range have none; the image has the library, this machine need not."""
    status, line = server.refusal(prefix=NAMELESS, LIBRARIES="/nowhere")
    assert (status, line) == (
        2,
        "start_postgres: user 1000700000 has no name here, and libnss_wrapper.so, which would give it one, is not here",
    )


@pytest.mark.parametrize("password", ["", "with space", "it's", "a@b", "a/b", "a:b", "line\nbreak", "schlüssel"])
def test_a_password_that_no_url_could_hold_is_refused(server: Server, password: str):
    """Before anything is made, and without saying it."""
    status, line = server.refusal(SERVING_PASSWORD=password)
    assert (status, server.data.exists()) == (2, False)
    assert line == ("start_postgres: a password may have letters, digits and - . _ ~ only, because it stands in a URL")


def test_data_of_another_major_version_are_left_alone(server: Server):
    """Neither started nor made anew; where to read on is said."""
    server.start()
    server.end()
    version = server.data / "PG_VERSION"
    version.write_text("9\n")
    status, line = server.refusal()
    assert status == 2
    assert line.startswith(f"start_postgres: the data in {server.data} are of Postgres 9, this is Postgres ")
    assert line.endswith("; docs/operations.md, Another major version")


def test_data_that_are_not_whole_are_left_alone(server: Server):
    """A volume that lost a part is not made anew over what is left."""
    server.start()
    server.end()
    (server.data / "PG_VERSION").unlink()
    status, line = server.refusal()
    assert (status, (server.data / "global").is_dir()) == (2, True)
    assert line.endswith("are not whole, and nothing is made over them")
