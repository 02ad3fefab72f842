"""Bring one revision of one model from a hub into a bucket, with no disk between them: read, prove, upload.

Runs as a Job in vLLM's image, which has what its streamer reads buckets with, and is configured by its environment:

    MODEL_REPO      organisation/name on Hugging Face's hub, or on a mirror of it (HF_ENDPOINT, HF_TOKEN)
    MODEL_REVISION  40-hex commit
    TARGET_URL      where it is published, e.g. s3://models/llm/Qwen--Qwen3-14B/<revision>
    EXPECTED_BYTES  optional: what the safetensors must total at least (2 % slack)
    MANIFEST_SHA256 optional: what the manifest must have, as `prove_weights` says
    FILES_AT_ONCE   optional, default 4: each takes up to 10 parts of memory

Keys and addresses of the store are the streamer's own variables. Exit status: 0 published or already there, 1 failed
and worth a retry, 2 refused because a retry cannot help.

The proofs are in `hub_files`, the clients of stores in `buckets`, and what is no checkpoint says `fetch_weights`; all
stand beside this script. An
object is what was promised, or is not there; `manifest.json` comes last. What is there already is kept if it is right,
however it came there, and refused if not: nothing in a bucket is ever overwritten or deleted.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import hashlib
import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from buckets import Store, store_of
from fetch_weights import HEADER_LIMIT, MIB, TICK_S, Job, RefusedError, RetryableError, check_files, progress
from hub_files import Arriving, File, Hub
from prove_weights import UnprovenError, prove

CHUNK_BYTES = 8 * MIB


class Filling:
    """One checkpoint on its way into a store.

    `skeleton`: a folder with the small files, and of the others what says what they hold, as holes of their size: so
    `check_files` looks at it as at a download.
    """

    def __init__(self, hub: Hub, store: Store, skeleton: Path) -> None:
        self.hub, self.store, self.skeleton = hub, store, skeleton
        self.arriving: list[Arriving] = []

    @property
    def done_bytes(self) -> int:
        """How much has come from the hub."""
        return sum(one.position for one in self.arriving)

    def file(self, file: File, there: Mapping[str, int]) -> str:
        """Bring one file there, unless it is; return its SHA-256."""
        arriving = Arriving(self.hub, file)
        self.arriving.append(arriving)
        small = None if file.is_large else arriving.read()
        digest = file.promised if small is None else hashlib.sha256(small).hexdigest()
        if file.name in there:
            head = self._kept(file, there[file.name], digest)
        else:
            stream = arriving if small is None else io.BytesIO(small)
            self.store.put(file.name, stream, file.size, digest)
            head = bytes(arriving.head)
            print(f"{file.name}: {file.size} bytes", flush=True)
        self._draw(file, head if small is None else small)
        return digest

    def _kept(self, file: File, size: int, digest: str) -> bytes:
        """The head of an object that is there and right; one without our note is read for that."""
        remedy = "nothing there is overwritten: remove it, or name another folder"
        if size != file.size:
            raise RefusedError(f"{file.name} is there with {size} bytes, the hub's has {file.size}; {remedy}")
        noted = self.store.note(file.name)
        stream, head, found = self.store.open(file.name), b"", hashlib.sha256()
        if noted:
            head = stream.read(8)
            head += stream.read(min(int.from_bytes(head, "little"), HEADER_LIMIT, size))
        while not noted and (piece := stream.read(CHUNK_BYTES)):
            head += piece if len(head) < 8 + min(int.from_bytes(head[:8], "little"), HEADER_LIMIT) else b""
            found.update(piece)
        if hasattr(stream, "close"):
            stream.close()
        if (noted or found.hexdigest()) != digest:
            raise RefusedError(f"{file.name} is there and not what the hub promises; {remedy}")
        print(f"{file.name}: there already", flush=True)
        return head

    def _draw(self, file: File, head: bytes) -> None:
        path = self.skeleton / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head[: file.size])
        os.truncate(path, file.size)


def published(store: Store, there: Mapping[str, int], name: str) -> dict[str, Any] | None:
    """The manifest that is there, if any; `name`: of what has to be there."""
    if "manifest.json" not in there:
        return None
    try:
        manifest = json.loads(store.open("manifest.json").read())
        found = f"{manifest['repo']}@{manifest['revision']}"
        _ = [(entry["bytes"], entry["sha256"]) for entry in manifest["files"].values()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise RefusedError(
            "manifest.json is there and does not parse; nothing there is overwritten: remove it"
        ) from None
    if found != name:
        raise RefusedError(f"the folder holds {found}, not {name}: give every revision a folder of its own")
    return manifest


def vouched(job: Job, manifest: str, url: str) -> None:
    """Refuse a manifest that is another than the one that was vouched for, if any was."""
    try:
        if wanted := job.read("MANIFEST_SHA256", "[0-9a-f]{64}|"):
            prove(manifest, wanted, url)
    except UnprovenError as reason:
        raise RefusedError(str(reason)) from None


def fill(job: Job, url: str, hub: Hub, store: Store) -> str:
    """Do what the module says; return how it ended."""
    there = store.sizes()
    manifest = published(store, there, job.name)
    if manifest and all(there.get(name) == entry["bytes"] for name, entry in manifest["files"].items()):
        vouched(job, json.dumps(manifest), url)
        return f"{url} already holds {job.name}"
    files = hub.listing()
    if odd := [name for name in there if name.endswith(".safetensors") and name not in files]:
        raise RefusedError(
            f"{', '.join(sorted(odd))} is there and not of {job.name}; a server would load it: remove it"
        )
    with tempfile.TemporaryDirectory() as folder:
        job.staging = Path(folder)
        at_once = int(job.read("FILES_AT_ONCE", r"[1-9]\d?", "4"))
        sums = _fill_all(Filling(hub, store, job.staging), files, there, at_once)
        check_files(job)
    if hub.listing() != files:
        raise RetryableError(f"the hub's two listings of {job.name} differ")
    entries = {name: {"bytes": file.size, "sha256": sums[name]} for name, file in files.items()}
    there = store.sizes()
    if missing := [name for name, entry in entries.items() if there.get(name) != entry["bytes"]]:
        raise RetryableError(f"{', '.join(missing)} went into the store and is not there")
    if manifest and manifest["files"] != entries:
        raise RefusedError(f"the manifest.json in {url} is of other files; nothing there is overwritten: remove it")
    whole = {"repo": job.repo, "revision": job.revision, "commit": hub.commit, "files": entries}
    text = json.dumps(whole, indent=1).encode()
    vouched(job, text.decode(), url)
    if not manifest:
        store.put("manifest.json", io.BytesIO(text), len(text), hashlib.sha256(text).hexdigest())
    return f"published {job.name} at {url}"


def _fill_all(filling: Filling, files: Mapping[str, File], there: Mapping[str, int], at_once: int) -> dict[str, str]:
    """Bring all files there; return their SHA-256 by name. The first that fails stops the others."""
    start, total = time.monotonic(), sum(file.size for file in files.values())
    with ThreadPoolExecutor(at_once) as pool:
        jobs: dict[str, Future[str]] = {
            # the largest first, so that none is left over at the end
            name: pool.submit(filling.file, file, there)
            for name, file in sorted(files.items(), key=lambda item: -item[1].size)
        }
        try:
            pending = set(jobs.values())
            while pending:
                done, pending = wait(pending, timeout=TICK_S, return_when=FIRST_EXCEPTION)
                for one in done:
                    one.result()
                print(progress(filling.done_bytes, 0, time.monotonic() - start, total), flush=True)
        except BaseException:
            filling.hub.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return {name: jobs[name].result() for name in files}


def main(
    environ: Mapping[str, str], store: Callable[[str, Mapping[str, str]], Store] = store_of, pause_s: float = 1
) -> int:
    """Fill what the environment asks for; return the exit status."""
    try:
        job = Job({**environ, "TARGET_DIR": "/nowhere"})
        job.read("MODEL_REVISION", r"[0-9a-f]{40}")  # a folder of a bucket holds one commit; a branch moves
        url = job.read("TARGET_URL", r"\w+://.+").rstrip("/")
        outcome = fill(job, url, Hub(environ, job.repo, job.revision, pause_s), store(url, environ))
        status = 0
    except RefusedError as refusal:
        status, outcome = 2, f"refused: {refusal}"
    except (RetryableError, KeyboardInterrupt) as failure:
        status, outcome = 1, f"failed, a retry may help: {str(failure) or 'stopped'}"
    except Exception as error:  # noqa: BLE001 - each store's client has errors of its own
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__} in {where.name}: {str(error)[:500]}"
        status, outcome = 1, f"failed, a retry may help: {told}"
    print(outcome, flush=True)
    return status


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; this one must give its uploads up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(os.environ))
