"""Read the files of one commit from a hub as streams, and prove them on the way; beside `fill_store`, which runs.

Speaks the protocol of Hugging Face's hub, and of its mirrors, over HTTP(S); nothing is written anywhere. The commit
that was asked for has to be the one that comes, and the bytes of a file to have every hash that its listing and its
delivery promise. The last bytes of a file are held back until all of it is proven.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from fetch_weights import EXCLUDE, HASH, HEADER_LIMIT, INCLUDE, MIB, RefusedError, RetryableError

HUB = "https://huggingface.co"
# What is not in LFS is held in memory; the hub itself takes 10 MB of such at most.
SMALL_BYTES = 64 * MIB
# Tries of a connection without a byte, and seconds without one.
TRIES, SILENT_S = 6, 60
REDIRECTS = 5
MOVED = (301, 302, 303, 307, 308)
CUT = (URLError, OSError, HTTPException)


class File(NamedTuple):
    """A file of the listing: `promised` is a SHA-256 where it is in LFS, else the SHA-1 of git's blob."""

    name: str
    size: int
    promised: str

    @property
    def is_large(self) -> bool:
        """Whether it is in LFS."""
        return len(self.promised) == 64


class Staying(HTTPRedirectHandler):
    """Follows nothing: where a redirect leads decides what may be sent there."""

    def redirect_request(self, *_args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """None, which makes an error of it."""


class Hub:
    """A hub that is asked for one commit of one repository; once `stopped`, its streams end with an error."""

    def __init__(self, environ: Mapping[str, str], repo: str, commit: str, pause_s: float = 1) -> None:
        self.root = (environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self.token, self.repo, self.commit = environ.get("HF_TOKEN"), repo, commit
        self.name = f"{repo}@{commit}"
        self.opener = build_opener(Staying)
        self.stopped, self.pause_s = threading.Event(), pause_s

    def get(self, url: str, start: int = 0) -> tuple[Any, dict[str, str]]:
        """(response, headers) from a byte on; headers are those that the hub itself gave, in lower case.

        The token is for the hub alone, not for who it sends us to.
        """
        said: dict[str, str] = {}
        for _ in range(REDIRECTS):
            own = urlsplit(url)[:2] == urlsplit(self.root)[:2]
            answer = self._ask(url, start, with_token=own)
            if own:
                said = {**{name.lower(): value for name, value in answer.headers.items()}, **said}
            if answer.status in MOVED and "Location" in answer.headers:
                answer.close()
                url = urljoin(url, answer.headers["Location"])
                if urlsplit(url).scheme in ("http", "https"):
                    continue
                break
            if answer.status == (206 if start else 200):
                return answer, said
            where = f"{urlsplit(url).hostname} answers {answer.status}"
            answer.close()
            if own and answer.status in (401, 403, 404):
                raise RefusedError(f"the hub does not give {self.name}: {where}")
            raise RetryableError(f"{where} for {self.name}")
        raise RetryableError(f"the hub sends whoever asks for {self.name} to no place")

    def _ask(self, url: str, start: int, *, with_token: bool) -> Any:
        request = Request(url, headers={"User-Agent": "llm-stack", "Accept-Encoding": "identity"})  # noqa: S310 - http(s)
        if self.token and with_token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            return self.opener.open(request, timeout=SILENT_S)
        except HTTPError as error:
            return error

    def listing(self) -> dict[str, File]:
        """The files of the commit that are published, by name."""
        url = f"{self.root}/api/models/{self.repo}/tree/{self.commit}?recursive=true&expand=false"
        found: dict[str, File] = {}
        try:
            while url:
                answer, said = self.get(url)
                with answer:
                    entries = json.loads(answer.read())
                found |= {file.name: file for file in map(listed, entries) if file}
                link, more, _ = said.get("link", "").partition('>; rel="next"')
                url = urljoin(url, link.rpartition("<")[2]) if more else ""
        except (*CUT, ValueError, LookupError, TypeError, AttributeError) as error:
            raise RetryableError(f"the hub's listing of {self.name} cannot be read: {error}") from None
        return dict(sorted(found.items()))

    def open(self, file: File, start: int) -> tuple[Any, str]:
        """(response, hash that is promised with it, if any) of a file from a byte on."""
        answer, said = self.get(f"{self.root}/{self.repo}/resolve/{self.commit}/{quote(file.name)}", start)
        if (commit := said.get("x-repo-commit", "none")) != self.commit:
            answer.close()
            raise RefusedError(f"the hub gave {file.name} of commit {commit[:40]!r} for {self.name}")
        if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            answer.close()
            raise RetryableError(f"the hub does not continue {file.name} where it was cut off")
        tag = (said.get("x-linked-etag") or said.get("etag") or "").removeprefix("W/").strip('"').lower()
        return answer, tag if HASH.fullmatch(tag) else ""


def listed(entry: Mapping[str, Any]) -> File | None:
    """A file of the hub's listing; None where it is none, or is not published."""
    name = str(entry["path"])
    wanted = any(fnmatch(name, pattern) for pattern in INCLUDE) and not any(fnmatch(name, no) for no in EXCLUDE)
    if entry["type"] != "file" or not wanted or name.startswith("."):
        return None
    where = entry.get("lfs") or entry
    file = File(name, int(where["size"]), str(where["oid"]).lower())
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or not name.isprintable():
        raise RefusedError(f"the hub lists {name[:60]!r}, which is no name of a file")
    if len(file.promised) not in (40, 64) or not HASH.fullmatch(file.promised) or file.size < 0:
        raise RefusedError(f"the hub promises no hash of {name}, so it cannot be checked")
    if not file.is_large and file.size > SMALL_BYTES:
        raise RefusedError(f"{name} has {file.size} bytes and no SHA-256; at most {SMALL_BYTES} are taken so")
    return file


class Arriving:
    """A file on its way, as a stream that can be read once; its end is given only when all of it is proven.

    `head`: what says what a safetensors file holds, once enough was read.
    """

    def __init__(self, hub: Hub, file: File) -> None:
        self.hub, self.file = hub, file
        self.position, self.head = 0, bytearray()
        self.answer: Any = None
        self.promises: set[str] = set()
        self.sums: dict[str, Any] = {}

    def seekable(self) -> bool:
        """False: clients of stores then read it once, from its start to its end."""
        return False

    def readable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """How much was read."""
        return self.position

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or those that are left."""
        left = self.file.size - self.position
        wanted = left if size is None or size < 0 else min(size, left)
        found = bytearray()
        if not self.file.size and not self.sums:
            self.answer = self._opened()
        while len(found) < wanted:
            found += self._some(wanted - len(found))
        if self.answer is not None and self.position == self.file.size:
            self._prove()
        return bytes(found)

    def _some(self, size: int) -> bytes:
        """At least one byte; who is cut off asks for the rest, as often as there is any progress."""
        why = ""
        for attempt in range(TRIES):
            if self.hub.stopped.is_set():
                raise RetryableError("stopped")
            try:
                if self.answer is None:
                    self.answer = self._opened()
                if piece := self.answer.read(min(size, MIB)):
                    self._take(piece)
                    return piece
            except (*CUT, RetryableError) as error:
                why = f": {error}"
            self.answer = None
            self.hub.stopped.wait(self.hub.pause_s * 2**attempt)
        raise RetryableError(f"{self.file.name} is cut off at byte {self.position} of {self.file.size}{why}")

    def _opened(self) -> Any:
        answer, told = self.hub.open(self.file, self.position)
        promises = {self.file.promised, *filter(None, [told])}
        if self.sums and promises != self.promises:
            raise RetryableError(f"the hub promises another hash of {self.file.name} than it did")
        if not self.sums:
            self.promises, self.sums = promises, {"sha256": hashlib.sha256()}
            if any(len(text) == 40 for text in promises):
                blob = hashlib.sha1(b"blob %d\0" % self.file.size, usedforsecurity=False)
                self.sums |= {"git": blob, "sha1": hashlib.sha1(usedforsecurity=False)}
            if any(len(text) == 32 for text in promises):
                self.sums["md5"] = hashlib.md5(usedforsecurity=False)
        return answer

    def _take(self, piece: bytes) -> None:
        self.position += len(piece)
        for digest in self.sums.values():
            digest.update(piece)
        known = len(self.head) >= 8
        most = min(8 + int.from_bytes(self.head[:8], "little"), HEADER_LIMIT + 8) if known else HEADER_LIMIT + 8
        if len(self.head) < most:
            self.head += piece

    def _prove(self) -> None:
        found = {digest.hexdigest() for digest in self.sums.values()}
        if broken := sorted(self.promises - found):
            raise RetryableError(f"{self.file.name} came damaged: its hash is not {broken[0]}, which the hub promised")
        self.answer.close()
        self.answer = None
