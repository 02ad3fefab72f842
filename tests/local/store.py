"""A real S3 server on loopback, and the streamer that rendered pods read it with.

What stands here proves nothing by itself.
"""

import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from components.pod_scripts.fetch_weights import Job, Lock, Promises, publish, write_manifest
from tests.local.runs import eventually
from workshop.cache import made_once
from workshop.local.toolchain import VENV
from workshop.ports import LOOPBACK, free_ports, is_taken
from workshop.process import marked, start, stop

LOCK = Path(__file__).with_name("requirements.lock")
PYTHON = VENV / "bin" / "python"
# What the reader may do, and nothing else; to AWS a look at an object's head is GetObject, to moto a right of its own.
READING = (("s3:ListBucket", ""), ("s3:GetObject", "/*"), ("s3:HeadObject", "/*"))
# What the Job that fills a bucket may do; nothing is deleted.
WRITING = (*READING, ("s3:PutObject", "/*"), ("s3:AbortMultipartUpload", "/*"))
# By itself moto takes the first part of any other host than loopback for a bucket.
IN_PATH = {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
# moto tells services apart by this header, and takes it from anybody while it asks for no signatures.
ANYBODY = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=x"


def packages() -> Path:
    """The folder with the streamer and moto, for .venv-local's Python; installed once, hashes demanded."""
    return made_once(VENV / f"object-store-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}", _install)


def _install(folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    words = ["--quiet", "--require-hashes", "--no-deps", "--python", PYTHON, "--target", folder, "-r", LOCK]
    done = subprocess.run([uv, "pip", "install", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def published(folder: Path, repo: str, revision: str) -> Path:
    """A tiny model in several files, with the manifest that the weights Job's own script writes."""
    target = folder / repo.replace("/", "--") / revision
    job = Job({"MODEL_REPO": repo, "MODEL_REVISION": revision, "TARGET_DIR": str(target)})
    job.staging.mkdir(parents=True)
    maker = Path(__file__).with_name("make_tiny_qwen3.py")
    subprocess.run([PYTHON, maker, job.staging, "100KB"], check=True, capture_output=True, timeout=300)
    lock = Lock(folder / ".lock")
    lock.take(time.monotonic, time.sleep)
    write_manifest(job, lock, Promises(revision, {}, 0), job.stamps())
    publish(job)
    lock.release()
    return target


@dataclass(frozen=True)
class Store:
    """moto's server, which checks signatures and rights. `key_id`, `secret`: of one who may read the bucket."""

    port: int
    log: Path
    bucket: str
    key_id: str = ""
    secret: str = ""

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return is_taken(self.port)

    def read(self) -> set[str]:
        """Names of objects that somebody has read parts of: 206, Partial Content."""
        log = self.log.read_text(encoding="utf-8")
        return set(re.findall(rf"GET (?:http://[^ /]+)?/{self.bucket}/(\S+) HTTP/1\.1\S*\" 206 ", log))

    def put(self, name: str, content: bytes) -> None:
        """Gives an object of the bucket a content."""
        with self._open_to_anybody():
            self._ask("PUT", f"/{self.bucket}/{quote(name)}", "s3", content)

    def delete(self, name: str) -> None:
        """Takes one away."""
        with self._open_to_anybody():
            self._ask("DELETE", f"/{self.bucket}/{quote(name)}", "s3")

    def fill(self, prefix: str, folder: Path) -> None:
        """Copies a folder as `aws s3 sync` does."""
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            self.put(f"{prefix}/{file.relative_to(folder)}", file.read_bytes())

    def uploads(self) -> list[str]:
        """Names of objects whose parts lie around."""
        with self._open_to_anybody():
            return re.findall("<Key>(.+?)</Key>", self._ask("GET", f"/{self.bucket}?uploads", "s3"))

    def names(self) -> set[str]:
        """Names of all objects."""
        with self._open_to_anybody():
            return set(re.findall("<Key>(.+?)</Key>", self._ask("GET", f"/{self.bucket}?list-type=2", "s3")))

    def with_bucket(self) -> "Store":
        """The same with the bucket."""
        with self._open_to_anybody():
            self._ask("PUT", f"/{self.bucket}", "s3")
        return self

    def as_user(self, name: str, may: Sequence[tuple[str, str]]) -> "Store":
        """The same, asked by somebody new who may do so much."""
        arn = f"arn:aws:s3:::{self.bucket}"
        rights = [{"Effect": "Allow", "Action": action, "Resource": f"{arn}{what}"} for action, what in may]
        policy = json.dumps({"Version": "2012-10-17", "Statement": rights})
        with self._open_to_anybody():
            self._iam(Action="CreateUser", UserName=name)
            self._iam(Action="PutUserPolicy", UserName=name, PolicyName="may", PolicyDocument=policy)
            told = self._iam(Action="CreateAccessKey", UserName=name)
        key_id, secret = (
            re.findall(f"<{tag}>(.+?)</{tag}>", told)[0].strip() for tag in ("AccessKeyId", "SecretAccessKey")
        )
        return Store(self.port, self.log, self.bucket, key_id, secret)

    def _iam(self, **form: str) -> str:
        return self._ask("POST", "/", "iam", urlencode({**form, "Version": "2010-05-08"}).encode())

    @contextmanager
    def _open_to_anybody(self) -> Iterator[None]:
        """For as long, nobody is asked for a signature: moto counts requests up to this number."""
        self._ask("POST", "/moto-api/reset-auth", "", b"inf")
        yield
        self._ask("POST", "/moto-api/reset-auth", "", b"0")

    def _ask(self, method: str, path: str, service: str, body: bytes = b"") -> str:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        kind = "application/x-www-form-urlencoded" if service == "iam" else "application/octet-stream"
        headers = {"Content-Type": kind, **({"Authorization": ANYBODY.format(service)} if service else {})}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        assert response.status < 300, f"{method} {path}: {response.status} {text}"
        return text


@contextmanager
def serving(folder: Path, bucket: str) -> Iterator[Store]:
    """An S3 server with an empty bucket, ended at the end."""
    (port,) = free_ports(1)
    store = Store(port, folder / "moto.log", bucket)
    with running([PYTHON, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)], store.log, IN_PATH):
        eventually(lambda: store.is_up, 60)
        yield store.with_bucket().as_user("reader", READING)


@contextmanager
def running(command: list[Path | str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A program of .venv-local that sees the packages, nothing else of this process, and ends with the block."""
    process = start(command, log, str(log.parent), cwd=log.parent, env=surroundings(log.parent) | dict(environment))
    try:
        yield
    finally:
        # the first one ends those it started, and what they share
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        stop(*marked(str(log.parent), process.pid))


def surroundings(folder: Path) -> dict[str, str]:
    """What an image has built in: where programs and packages are, and a folder for temporary files."""
    path = f"{VENV / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(packages()), "TMPDIR": str(folder), "HOME": str(folder)}
