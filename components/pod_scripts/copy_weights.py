"""Copy the weights from a volume to the pod's own on its node's disk, and check every byte on the way.

Runs as an init container of a vLLM pod, configured by its environment alone:

    MODEL_DIR       the published directory, e.g. /models/Qwen--Qwen3-14B/<revision>; only ever read
    COPY_DIR        where its copy goes, e.g. /copy/Qwen--Qwen3-14B/<revision>
    MODEL_REPO      organisation/name the server is configured for
    MODEL_REVISION  40-hex commit, or "main" when unpinned
    COPY_THREADS    optional, default 8: files that are copied at a time

Exit status: 0 ready, 1 not (a message names what is missing and what to do). The manifest is written last, so a copy
that was cut off is made again, but for the files of it that are whole; a copy that is there is left alone.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

CHUNK_BYTES = 8 * 2**20
GIB, MIB = 2**30, 2**20

Files = Mapping[str, Mapping[str, Any]]  # name → bytes and sha256


class NotReadyError(Exception):
    """The volume does not hold what the server is going to load, or the disk cannot."""


def promised(directory: Path, repo: str, revision: str) -> Files:
    """Return the files of the manifest, or say why this is not the revision asked for."""
    remedy = f"publish {repo}@{revision} there, as its weights Job does, then restart this pod"
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        held, files = f"{manifest['repo']}@{manifest['revision']}", dict(manifest["files"])
        odd = [name for name in files if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
        whole = all(len(entry["sha256"]) == 64 and entry["bytes"] >= 0 for entry in files.values())
    except FileNotFoundError:
        raise NotReadyError(f"{directory} has no manifest.json, so nothing was published there; {remedy}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotReadyError(f"{directory}/manifest.json does not parse; {remedy}") from None
    if held != f"{repo}@{revision}":
        raise NotReadyError(f"{directory} holds {held}, this server wants {repo}@{revision}; {remedy}")
    if odd or not whole or not files:
        raise NotReadyError(f"{directory}/manifest.json names no files, files outside of it, or no hashes; {remedy}")
    return files


def copied(source: Path, target: Path, entry: Mapping[str, Any]) -> int:
    """Copy one file, hash what was read; return its bytes, 0 where a whole copy was there."""
    if target.is_file() and target.stat().st_size == entry["bytes"]:
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, total, found = target.with_name(f"{target.name}.partial"), 0, hashlib.sha256()
    with source.open("rb") as reader, partial.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            found.update(chunk)
            writer.write(chunk)
            total += len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    if (total, found.hexdigest()) != (entry["bytes"], entry["sha256"]):
        partial.unlink()
        raise NotReadyError(f"{source} is not what the manifest says: it has {total} bytes, {found.hexdigest()}")
    partial.replace(target)
    return total


def copy(directory: Path, target: Path, files: Files, threads: int, clock: Callable[[], float]) -> str:
    """Copy all files and then the manifest; return what was achieved."""
    if (target / "manifest.json").is_file():
        return f"{target} is there already"
    size = sum(entry["bytes"] for entry in files.values())
    target.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if (free := shutil.disk_usage(target).free + there) < size:
        raise NotReadyError(f"{target} has room for {free / GIB:.2f} GiB, the checkpoint takes {size / GIB:.2f}")
    start = clock()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(lambda name: copied(directory / name, target / name, files[name]), sorted(files)))
    shutil.copyfile(directory / "manifest.json", target / ".manifest")
    (target / ".manifest").replace(target / "manifest.json")
    seconds = clock() - start
    return f"copied {done / GIB:.2f} GiB in {seconds:.0f} s, {done / MIB / max(seconds, 1e-9):.1f} MiB/s"


def main(environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> int:
    """Check and copy; return the exit status."""
    try:
        repo, revision = environ["MODEL_REPO"], environ["MODEL_REVISION"]
        source, target = Path(environ["MODEL_DIR"]), Path(environ["COPY_DIR"])
        files = promised(source, repo, revision)
        print(f"{source} holds {repo}@{revision}, {len(files)} files", flush=True)
        print(copy(source, target, files, int(environ.get("COPY_THREADS") or 8), clock), flush=True)
    except KeyError as missing:
        print(f"not ready: {missing.args[0]} is not set", flush=True)
    except (NotReadyError, OSError) as reason:
        print(f"not ready: {reason}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; what is copied stays for the next try.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
