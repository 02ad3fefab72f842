"""Fetches the official binaries of the control plane, where their hosts are reached: minutes less than a build.

Only what has the digest in official.yaml gets a name under which it is found. Whatever goes wrong is one sentence, and
the caller builds instead.
"""

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workshop.cache import made_once
from workshop.problems import Impossible
from workshop.simcluster.paths import check_free, programs_folders

TABLE = Path(__file__).with_name("official.yaml")
# names of machines as the system has them → as the table has them
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# a machine without that network shall lose nothing; one whose network falters has more patience once it has begun
CONNECT_TIMEOUT_S = 5
STALL_TIMEOUT_S = 30
# six programs; archives are never on disk
FREE_GB = 1
CHUNK = 1 << 20
EXECUTABLE = 0o755
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Download:
    """One file of a host: an archive, or a program as it is."""

    url: str
    algorithm: str
    digest: str
    programs: Mapping[str, str]


def platform() -> str:
    """The system and machine this runs on, as the table names them."""
    machine = os.uname().machine
    return f"{sys.platform}/{MACHINES.get(machine, machine)}"


def downloads() -> Sequence[Download]:
    """What there is for this machine; nothing for most that are not Linux."""
    table: Mapping[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return [Download(**entry) for entry in table.get(platform(), [])]


def folder() -> Path:
    """Where the programs of this table lie; there when they have been fetched before."""
    key = hashlib.sha256(repr(downloads()).encode()).hexdigest()[:12]
    return programs_folders() / f"official-{key}"


def fetch(progress: Progress) -> Path:
    """The folder of programs; fetched first when it is not there. `progress(done, of)` counts bytes.

    Raises `Impossible` with one line.
    """
    return made_once(folder(), lambda fresh: _fetch_into(fresh, progress))


def _fetch_into(fresh: Path, progress: Progress) -> None:
    check_free(FREE_GB, "downloading")
    wanted = downloads()
    # all are asked before the first is fetched, so that one that is not there is known at once
    total = sum(_size(item) for item in wanted)
    before = 0
    for item in wanted:
        before += _fetch_one(item, fresh, lambda done, before=before: progress(before + done, total))


@contextmanager
def _opened(item: Download, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
    """A request whose every failure, until it is closed, is one sentence."""
    try:
        # urllib follows redirects, and takes proxies from the environment
        with urllib.request.urlopen(item.url, timeout=timeout_s) as response:  # noqa: S310 - https, by our own table
            yield response
    except (OSError, http.client.HTTPException) as error:
        raise Impossible(f"{item.url}: {_reason(error)}") from None


def _size(item: Download) -> int:
    """How much there is to fetch. Asks as a download does and hangs up, because not every host answers HEAD."""
    with _opened(item, CONNECT_TIMEOUT_S) as response:
        return int(response.headers["Content-Length"] or 0)


def _fetch_one(item: Download, fresh: Path, progress: Callable[[int], None]) -> int:
    """Puts the programs of one file into the folder and returns how long the file was."""
    with _opened(item, STALL_TIMEOUT_S) as response:
        stream = _Hashed(response, item.algorithm, progress)
        missing = _extract(item, stream, fresh)
        # the digest is that of the whole file
        while stream.read(CHUNK):
            pass
    expected_length = int(response.headers["Content-Length"] or stream.length)
    if stream.length != expected_length:
        raise Impossible(f"{item.url}: ended after {stream.length} of {expected_length} bytes")
    if stream.digest() != item.digest:
        raise Impossible(
            f"{item.url}: WRONG DIGEST: has the {item.algorithm} {stream.digest()}, official.yaml expects "
            f"{item.digest}; it was thrown away"
        )
    if missing:
        raise Impossible(f"{item.url}: holds no {', '.join(missing)}")
    for program in item.programs:
        (fresh / program).chmod(EXECUTABLE)
    return stream.length


class _Hashed:
    """A stream that counts and digests what is read from it."""

    def __init__(self, source: http.client.HTTPResponse, algorithm: str, progress: Callable[[int], None]) -> None:
        self._source = source
        self._hash = hashlib.new(algorithm)
        self._progress = progress
        self.length = 0

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        data = self._source.read(size)
        self._hash.update(data)
        self.length += len(data)
        self._progress(self.length)
        return data

    def digest(self) -> str:
        """The digest of what has been read."""
        return self._hash.hexdigest()


def _extract(item: Download, stream: Any, fresh: Path) -> list[str]:
    """Writes the wanted programs, not yet executable, and returns the names of those that are not there."""
    if not item.url.endswith(".tar.gz"):
        (program,) = item.programs
        _write(stream, fresh / program)
        return []
    program_of = {member: program for program, member in item.programs.items()}
    try:
        with tarfile.open(fileobj=stream, mode="r|gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name in program_of and member.isreg() else None
                if content is not None:
                    _write(content, fresh / program_of.pop(member.name))
    except (tarfile.TarError, zlib.error, EOFError):
        # what cannot be read is not what was pinned: told with its length or digest
        pass
    return sorted(program_of.values())


def _write(source: Any, file: Path) -> None:
    with file.open("wb") as output:
        shutil.copyfileobj(source, output, CHUNK)


def _reason(error: Exception) -> str:
    """What happened to a request, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return str(reason) or type(reason).__name__
