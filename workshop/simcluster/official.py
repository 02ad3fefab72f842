"""Fetches the official binaries of the control plane, where their hosts are reached: minutes less than a build."""

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
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
# six programs, and the archive of four of them
FREE_GB = 1.5
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
    """The downloads for this machine; none for most that are not Linux."""
    table: Mapping[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return [Download(**entry) for entry in table.get(platform(), [])]


def folder() -> Path:
    """Folder of the programs of this table; there when they have been fetched before."""
    key = hashlib.sha256(repr(downloads()).encode()).hexdigest()[:12]
    return programs_folders() / f"official-{key}"


def fetch(progress: Progress) -> Path:
    """The folder of programs, fetched when missing; `progress(done, of)` counts bytes. Raises `Impossible`."""
    return made_once(folder(), lambda fresh: _fetch_into(fresh, progress))


def _fetch_into(fresh: Path, progress: Progress) -> None:
    check_free(FREE_GB, "downloading")
    # all are asked before the first is fetched, so that one that is not there is known at once
    total, before = sum(map(_size, downloads())), 0
    for download in downloads():
        before += _fetch_one(download, fresh, lambda done, before=before: progress(before + done, total))


@contextmanager
def _opened(download: Download, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
    """A request whose every failure, until it is closed, is one sentence."""
    try:
        # urllib follows redirects, and takes proxies from the environment
        with urllib.request.urlopen(download.url, timeout=timeout_s) as response:  # noqa: S310 - https, by our own table
            yield response
    except (OSError, http.client.HTTPException) as error:
        raise Impossible(f"{download.url}: {_reason(error)}") from None


def _size(download: Download) -> int:
    """Bytes to fetch. Asks as a download does and hangs up, because not every host answers HEAD."""
    with _opened(download, CONNECT_TIMEOUT_S) as response:
        return int(response.headers["Content-Length"] or 0)


def _fetch_one(download: Download, fresh: Path, progress: Callable[[int], None]) -> int:
    """Puts the programs of one file into the folder, once its digest is known, and returns how long the file was."""
    file, digest, length = fresh / "download", hashlib.new(download.algorithm), 0
    with _opened(download, STALL_TIMEOUT_S) as response, file.open("wb") as output:
        while data := response.read(CHUNK):
            output.write(data)
            digest.update(data)
            length += len(data)
            progress(length)
    promised = int(response.headers["Content-Length"] or length)
    if length != promised:
        raise Impossible(f"{download.url}: ended after {length} of {promised} bytes")
    if digest.hexdigest() != download.digest:
        raise Impossible(
            f"{download.url}: WRONG DIGEST: has the {download.algorithm} {digest.hexdigest()}, official.yaml expects "
            f"{download.digest}; it was thrown away"
        )
    if missing := _unpack(download, file, fresh):
        raise Impossible(f"{download.url}: holds no {', '.join(missing)}")
    file.unlink(missing_ok=True)
    for program in download.programs:
        (fresh / program).chmod(EXECUTABLE)
    return length


def _unpack(download: Download, file: Path, fresh: Path) -> list[str]:
    """Puts the programs of a file into the folder, and returns the names of those that are not there."""
    if not download.url.endswith(".tar.gz"):
        (program,) = download.programs
        file.rename(fresh / program)
        return []
    program_of = {member: program for program, member in download.programs.items()}
    # from the beginning to the end: in what is compressed nothing is found in another way
    with tarfile.open(file, "r|gz") as archive:
        for member in archive:
            if member.name in program_of and (content := archive.extractfile(member)):
                with (fresh / program_of.pop(member.name)).open("wb") as output:
                    shutil.copyfileobj(content, output, CHUNK)
    return sorted(program_of.values())


def _reason(error: Exception) -> str:
    """Reason why a request failed, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return str(reason) or type(reason).__name__
