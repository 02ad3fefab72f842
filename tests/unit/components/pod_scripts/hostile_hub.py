"""A hub on 127.0.0.1 that speaks the protocols of Hugging Face and ModelScope, and lies on demand.

The paths, headers and fields are those that huggingface_hub 1.33.0 and modelscope 1.40.2 ask for and read.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HEAD = "0123456789abcdef0123456789abcdef01234567"


def git_blob(content: bytes) -> str:
    """The SHA-1 under which git keeps a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Answer:
    """One answer of the hub; a test changes it on its way out. `cut` bytes are promised and never sent."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


Lie = Callable[[str, Answer], Answer | None]


@dataclass
class HostileHub:
    """What is on the hub, what it answers, and what it was asked for. `*.safetensors` are kept in LFS."""

    files: dict[str, bytes]
    commit: str = HEAD
    lie: Lie = lambda _what, _answer: None
    asked: list[str] = field(default_factory=list)
    url: str = ""
    cdn: str = ""
    xet: bool = False
    """Whether the listing has Xet's hashes; chunk servers it has none."""
    whole: bool = False
    """Whether it sends whole files to who asks for the rest of one."""
    told: list[tuple[str, str | None]] = field(default_factory=list)
    """Which host was asked with which Authorization."""
    delivered: dict[str, bytes] = field(default_factory=dict)
    """Bytes that are sent in place of a file's own, whose hash stays promised."""

    def count(self, what: str) -> int:
        """How often something was asked for."""
        return sum(item.startswith(what) for item in self.asked)

    def answer(self, method: str, target: str) -> Answer:
        """The answer to one request, `what` being a short name for it: tree, info, head NAME, get NAME, cdn NAME."""
        url = urlsplit(target)
        path = unquote(url.path).strip("/")
        match path.split("/"):
            case ["api", "models", _, _, "tree", *revision]:
                what, answer = f"tree {'/'.join(revision)}", Answer(json.dumps(self.tree()).encode())
            case ["api", "models", _, _, "revision", *revision]:
                body = {"id": "acme/tiny", "sha": self.commit, "siblings": [{"rfilename": name} for name in self.files]}
                what, answer = f"info {'/'.join(revision)}", Answer(json.dumps(body).encode())
            case [_, _, "resolve", _, *name]:
                what, answer = self.resolve(method, "/".join(name))
            case ["cdn", *name]:
                what, answer = f"cdn {'/'.join(name)}", Answer(self.content("/".join(name)))
            case ["api", "v1", "models", _, _, "repo", "files"]:
                query = parse_qs(url.query)
                what, answer = f"files {query['Revision'][0]}", Answer(json.dumps(self.modelscope()).encode())
            case ["api", "v1", "models", _, _, "repo"]:
                name = parse_qs(url.query)["FilePath"][0]
                what, answer = f"get {name}", Answer(self.content(name))
            case ["models", _, _, "resolve", _, *name]:
                what, answer = f"get {'/'.join(name)}", Answer(self.content("/".join(name)))
            case _:
                what, answer = f"other {path}", Answer(b"{}", 404)
        self.asked.append(what)
        return self.lie(what, answer) or answer

    def content(self, name: str) -> bytes:
        """The bytes that are sent for a file."""
        return self.delivered.get(name, self.files.get(name, b""))

    def resolve(self, method: str, name: str) -> tuple[str, Answer]:
        """HEAD and GET of one file; large ones redirect to a CDN, as the hub does."""
        if name not in self.files:
            return f"head {name}", Answer(b"", 404, {"X-Error-Code": "EntryNotFound"})
        content = self.files[name]
        headers = {"X-Repo-Commit": self.commit}
        if not name.endswith(".safetensors"):
            return f"{method.lower()} {name}", Answer(
                self.content(name), headers=headers | {"ETag": f'"{git_blob(content)}"'}
            )
        linked = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
        return f"{method.lower()} {name}", Answer(b"", 302, headers | linked | {"Location": f"{self.cdn}/cdn/{name}"})

    def tree(self) -> list[dict[str, Any]]:
        """The listing of a commit."""
        found = []
        for name, content in self.files.items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git_blob(content)}
            if name.endswith(".safetensors"):
                digest = hashlib.sha256(content).hexdigest()
                entry |= {"oid": "f" * 40, "lfs": {"oid": digest, "size": len(content), "pointerSize": 134}}
                entry |= {"xetHash": digest} if self.xet else {}
            found.append(entry)
        return found

    def modelscope(self) -> dict[str, Any]:
        """ModelScope's listing, which promises a SHA-256 of every file."""
        files = [
            {
                "Path": name,
                "Name": name.rpartition("/")[2],
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
                "Revision": self.commit,
                "IsLFS": name.endswith(".safetensors"),
            }
            for name, content in self.files.items()
        ]
        return {"Code": 200, "Success": True, "Message": "", "Data": {"Files": files}}


@contextmanager
def serving(hub: HostileHub) -> Iterator[HostileHub]:
    """Serve a hub until the block ends; its `url` is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = hub.answer(self.command, self.path)
            if answer.status == 200 and "Range" in self.headers and not hub.whole:
                start = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
                size = len(answer.body)
                answer.status, answer.body = 206, answer.body[start:]
                answer.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            hub.told.append((self.headers["Host"], self.headers["Authorization"]))
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body) + answer.cut)}
            for name, value in (headers | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            if answer.cut:
                self.close_connection = True

        do_HEAD = do_GET  # noqa: N815 - the base class calls it so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that hangs up

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url, hub.cdn = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
