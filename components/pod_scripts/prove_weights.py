"""Prove that published weights are those that somebody vouched for elsewhere, before a server loads them.

Runs as an init container of a vLLM pod and only ever reads, configured by its environment alone:

    MODEL_DIR        the published folder, e.g. /models/Qwen--Qwen3-14B/<revision>, or its URL in a bucket
    MANIFEST_SHA256  what its manifest must have
    PROVE_BYTES      "true" hashes every file too; anything else: who wrote or copied them has done that
    READ_THREADS     optional, default 8: files that are hashed at a time

MANIFEST_SHA256 is the SHA-256 of a text that has one line for each file of `manifest.json`, sorted by the bytes of its
name, as `sha256sum` prints it: the file's SHA-256, two spaces, its name, a line feed. Exit status: 0 proven, 1 not.
A bucket is read as `check_store`, beside this script, does it.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHUNK_BYTES = 8 * 2**20

Files = Mapping[str, Mapping[str, Any]]  # name → bytes and sha256


class UnprovenError(Exception):
    """The folder holds something else than what was vouched for."""


def manifest_sha256(files: Files) -> str:
    """Return the one hash that stands for all files of a manifest."""
    lines = [f"{files[name]['sha256']}  {name}\n".encode() for name in sorted(files, key=str.encode)]
    return hashlib.sha256(b"".join(lines)).hexdigest()


def prove(text: str, wanted: str, where: str) -> Files:
    """Return the files of a manifest that is what was vouched for; anything else is an error."""
    try:
        files = dict(json.loads(text)["files"])
        found = manifest_sha256(files)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UnprovenError(f"the manifest.json of {where} does not parse") from None
    if found != wanted:
        raise UnprovenError(
            f"the files of {where} have the manifest {found}, and {wanted} was vouched for (manifestSha256): correct "
            "that value if it is wrong; if it is right, these are other files, and nothing may load them"
        )
    return files


def manifest_of(url: str) -> str:
    """Return the text of a folder's manifest, or of a bucket's."""
    if "://" not in url:
        return (Path(url) / "manifest.json").read_text(encoding="utf-8")
    from check_store import streamer  # noqa: PLC0415 - beside this script where a bucket is read

    with tempfile.TemporaryDirectory() as folder:
        streamer()[1](url, folder, ["*/manifest.json"], None)
        return (Path(folder) / "manifest.json").read_text(encoding="utf-8")


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file; the kernel keeps its pages for the server."""
    found, chunk = hashlib.sha256(), memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(chunk):
            found.update(chunk[:count])
    return found.hexdigest()


def prove_bytes(folder: Path, files: Files, threads: int) -> None:
    """Compare every file with the manifest, all faults at once."""
    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(files, pool.map(lambda name: hash_of(folder / name), files), strict=True))
    if faults := sorted(name for name, entry in files.items() if found[name] != entry["sha256"]):
        raise UnprovenError(f"{', '.join(faults)} of {folder} are not what the manifest says, so nothing may load them")


def main(environ: Mapping[str, str]) -> int:
    """Prove; return the exit status."""
    try:
        url, wanted = environ["MODEL_DIR"], environ["MANIFEST_SHA256"]
        files = prove(manifest_of(url), wanted, url)
        if environ.get("PROVE_BYTES") == "true":
            prove_bytes(Path(url), files, int(environ.get("READ_THREADS") or 8))
        print(f"{url} is what was vouched for, {len(files)} files", flush=True)
    except KeyError as missing:
        print(f"not proven: {missing.args[0]} is not set", flush=True)
    except (UnprovenError, OSError) as reason:
        print(f"not proven: {reason}", flush=True)
    except Exception as error:  # noqa: BLE001 - each store's client has errors of its own
        print(f"not proven: {environ['MODEL_DIR']} cannot be read: {type(error).__name__}: {error}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; nothing here needs tidying up.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
