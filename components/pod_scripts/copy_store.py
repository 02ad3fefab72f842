"""Copy the weights from a bucket to the pod's own volume on its node's disk, and check every byte on the way.

Runs as an init container of a vLLM pod, beside `buckets`, `copy_weights` and `fetch_weights`, configured by its
environment alone:

    MODEL_DIR       the published folder, e.g. s3://models/llm/Qwen--Qwen3-14B/<revision>; only ever read
    COPY_DIR, MODEL_REPO, MODEL_REVISION, COPY_THREADS    as of `copy_weights`

Keys and addresses of the store are the variables of its clients. Exit status: 0 ready, 1 not (a message names what is
missing and what to do). The manifest is written last, so a copy that was cut off is made again, but for the files of it
that are whole; a copy that is there is left alone.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from buckets import Store, store_of
from copy_weights import CHUNK_BYTES, GIB, MIB, Files, NotReadyError, promised
from fetch_weights import RefusedError

MANIFEST = "manifest.json"


def held(store: Store, url: str, folder: Path, repo: str, revision: str) -> Files:
    """Get the manifest into `folder`; return its files, or say why this is not the revision asked for."""
    if MANIFEST in store.sizes():
        with store.open(MANIFEST) as reader:
            (folder / MANIFEST).write_bytes(reader.read())
    try:
        return promised(folder, repo, revision)
    except NotReadyError as error:
        raise NotReadyError(str(error).replace(str(folder), url)) from None


def brought(store: Store, name: str, target: Path, entry: Mapping[str, Any]) -> int:
    """Bring one file, hash what was read; return its bytes, 0 where a whole copy was there."""
    if target.is_file() and target.stat().st_size == entry["bytes"]:
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, total, digest = target.with_name(f"{target.name}.partial"), 0, hashlib.sha256()
    with store.open(name) as reader, partial.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
            total += len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    if (total, digest.hexdigest()) != (entry["bytes"], entry["sha256"]):
        partial.unlink()
        raise NotReadyError(f"{name} is not what the manifest says: it has {total} bytes, {digest.hexdigest()}")
    partial.replace(target)
    return total


def copy(store: Store, folder: Path, target: Path, files: Files, threads: int, clock: Callable[[], float]) -> str:
    """Bring all files and then the manifest from `folder`; return what was achieved."""
    size = sum(entry["bytes"] for entry in files.values())
    target.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if (free := shutil.disk_usage(target).free + there) < size:
        raise NotReadyError(f"{target} has room for {free / GIB:.2f} GiB, the checkpoint takes {size / GIB:.2f}")
    start = clock()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(lambda name: brought(store, name, target / name, files[name]), sorted(files)))
    shutil.copyfile(folder / MANIFEST, target / f".{MANIFEST}")
    (target / f".{MANIFEST}").replace(target / MANIFEST)
    seconds = clock() - start
    return f"copied {done / GIB:.2f} GiB in {seconds:.0f} s, {done / MIB / max(seconds, 1e-9):.1f} MiB/s"


def main(
    environ: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    at: Callable[[str, Mapping[str, str]], Store] = store_of,
) -> int:
    """Check and copy; return the exit status."""
    try:
        url, repo, revision = (environ[key] for key in ("MODEL_DIR", "MODEL_REPO", "MODEL_REVISION"))
        target = Path(environ["COPY_DIR"])
        if (target / MANIFEST).is_file():
            print(f"{target} is there already", flush=True)
            return 0
        store = at(url, environ)
        with tempfile.TemporaryDirectory() as folder:
            files = held(store, url, Path(folder), repo, revision)
            print(f"{url} holds {repo}@{revision}, {len(files)} files", flush=True)
            threads = int(environ.get("COPY_THREADS") or 8)
            print(copy(store, Path(folder), target, files, threads, clock), flush=True)
    except KeyError as missing:
        print(f"not ready: {missing.args[0]} is not set", flush=True)
    except (NotReadyError, RefusedError) as reason:
        print(f"not ready: {reason}", flush=True)
    except Exception as error:  # noqa: BLE001 - each store's client has errors of its own
        print(f"not ready: {environ['MODEL_DIR']} cannot be copied: {type(error).__name__}: {error}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; what is copied stays for the next try.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
