"""A real Postgres on loopback with LiteLLM's tables, for which LiteLLM has Prisma as `make up` has it.

`python -m tests.gateway.database` makes `.venv-gateway`, once (workshop/local/database.py).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.gateway.fake_vllm import LOOPBACK, wait_for
from tests.gateway.proxies import free_port
from workshop.local import database
from workshop.local.database import PLACE, is_ready, program

# `nobody`: Postgres refuses to run as root.
UNPRIVILEGED = 65534
NAME = "litellm"


def missing() -> list[str]:
    """What has to be installed before there can be a Postgres with LiteLLM's tables."""
    lacking = [name for name in ("postgres", "initdb", "psql") if program(name) is None]
    lacking += [name for name in ("node",) if shutil.which(name) is None]
    return lacking if is_ready() or lacking else [f"{PLACE.name} (made by `make gateway-test`)"]


def environment(url: str) -> dict[str, str]:
    """Variables for LiteLLM, or for Prisma's own commands, in place of what an image has built in."""
    return {"DATABASE_URL": url, **database.environment()}


def _run(words: Sequence[str], url: str) -> str:
    done = subprocess.run(
        words, cwd=PLACE, env={**os.environ, **environment(url)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
    return done.stdout


class Postgres:
    """A Postgres with LiteLLM's tables; `freeze` and `thaw` stop and continue all its processes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
        self._process: subprocess.Popen[Any] | None = None
        self._guests: list[subprocess.Popen[str]] = []
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            self._user = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}

    @property
    def url(self) -> str:
        """For LiteLLM's Secret."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{NAME}"

    def create(self) -> None:
        """A new cluster with LiteLLM's tables, started."""
        if self._user:
            os.chown(self.folder, UNPRIVILEGED, UNPRIVILEGED)
        words = [str(program("initdb")), "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._user)
        self.start()
        self.sql(f"CREATE DATABASE {NAME}", database="postgres")
        node = ["node", "node_modules/prisma-6/build/index.js", "migrate", "diff", "--from-empty", "--script"]
        script = _run(
            [*node, "--to-schema-datamodel", str(database.schema()), "--config", "prisma.config.mjs"], self.url
        )
        self.sql(script)

    def start(self, *options: str) -> None:
        """Starts it, with further settings as `name=value`, and waits until it answers."""
        (self.folder / "data" / "standby.signal").unlink(missing_ok=True)
        self._launch(*options)
        wait_for(self._answers, 30, "Postgres answers")

    def _launch(self, *options: str) -> None:
        settings = ["fsync=off", "unix_socket_directories=", f"listen_addresses={LOOPBACK}", *options]
        words = [str(program("postgres")), "-D", str(self.folder / "data"), "-p", str(self.port)]
        words += [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **self._user
            )

    def start_recovering(self) -> None:
        """Starts it as a standby that never gets what it waits for: it listens, and refuses everybody with 57P03."""
        (self.folder / "data" / "standby.signal").touch()
        self._launch("hot_standby=off")
        wait_for(lambda: "starting up" in self._refusal() or "not accepting" in self._refusal(), 30, "it refuses")

    def start_crowded(self) -> None:
        """Starts it with two connections for everybody, and takes both: it refuses the rest with 53300."""
        self.close_doors()
        self.stop()
        self.start("max_connections=2", "superuser_reserved_connections=0", "max_wal_senders=0")
        for done_first in ("SELECT 1", self._doors("true")):
            self._sit_down(done_first)
        wait_for(lambda: "too many clients" in self._refusal(), 30, "it is full")

    def _sit_down(self, done_first: str) -> None:
        """Takes a connection and keeps it; others may have it for a moment, while they are turned away."""
        words = [*self._psql("postgres", done_first), "-c", "SELECT 'seated'", "-c", "SELECT pg_sleep(600)"]

        def seated() -> bool:
            guest = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self._guests.append(guest)
            assert guest.stdout is not None, "a pipe"
            return "seated\n" in iter(guest.stdout.readline, "")

        wait_for(seated, 30, "a connection is free")

    def close_doors(self) -> None:
        """It runs, and nobody may connect to the gateway's database (55000), as while it is restored."""
        self.sql(self._doors("false"), "postgres")
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{NAME}'", "postgres")

    def open_doors(self) -> None:
        """Ends that."""
        self.sql(self._doors("true"), "postgres")

    def _doors(self, opened: str) -> str:
        return f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS {opened}"

    def _refusal(self) -> str:
        return subprocess.run(self._psql("postgres", "SELECT 1"), check=False, capture_output=True, text=True).stderr

    def _answers(self) -> bool:
        words = self._psql("postgres", "SELECT 1")
        return subprocess.run(words, check=False, capture_output=True, input="").returncode == 0

    def stop(self) -> None:
        """Breaks all connections and ends it at once, as a node that fails does."""
        if self._process:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None
        for guest in self._guests:
            guest.communicate()
        self._guests.clear()

    def processes(self) -> list[int]:
        """The server and everything it started."""
        assert self._process is not None, "it runs"
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], check=False, capture_output=True, text=True
        )
        return [self._process.pid, *(int(word) for word in children.stdout.split())]

    def freeze(self) -> None:
        """As a node that died or a network that swallows everything: connections stay, nothing is answered."""
        for process in self.processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        for process in self.processes():
            # one that was told to end before ends now
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def sql(self, text: str, database: str = NAME) -> str:
        """Runs SQL; returns what it selects, a line per row, columns separated by `|`."""
        words = self._psql(database)
        done = subprocess.run(words, check=False, capture_output=True, text=True, input=text)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    def dump(self) -> str:
        """All rows of the gateway's database, as `pg_dump` writes them."""
        words = [str(program("pg_dump")), "-h", LOOPBACK, "-p", str(self.port), "-U", "postgres", "--data-only", NAME]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def _psql(self, database: str, text: str | None = None) -> list[str]:
        where = ["-h", LOOPBACK, "-p", str(self.port), "-U", "postgres", "-d", database]
        return [str(program("psql")), *where, "-qAtX", "-v", "ON_ERROR_STOP=1", *(["-c", text] if text else [])]

    def close(self) -> None:
        """Ends it and removes its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stderr.write(f"{PLACE.name}: Prisma without its binaries ...\n")
    database.ensure(lambda _: None)
