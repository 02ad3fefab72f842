"""Check the weights on the volume and read them into the page cache, before the server starts.

Runs as an init container of every vLLM pod and only ever reads, configured by its environment alone:

    MODEL_DIR       the published directory, e.g. /models/Qwen--Qwen3-14B/<revision>
    MODEL_REPO      organisation/name the server is configured for
    MODEL_REVISION  40-hex commit, or "main" when unpinned
    PREWARM         "true" reads the safetensors as well; anything else only checks
    READ_THREADS    optional, default 8

Exit status: 0 ready, 1 not (a message names what is missing and what to do). Pages that are read count against this
container's own memory limit: give it the server's, or only a part of the weights stays warm.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

SLICE_BYTES = 256 * 2**20  # what one thread reads at a time: several share a large shard, each still reads in sequence
CHUNK_BYTES = 8 * 2**20
KEPT_FREE = 0.10  # share of the available memory that prewarming leaves alone
GIB, MIB = 2**30, 2**20

Slice = tuple[Path, int, int]  # file, offset, length


class NotReadyError(Exception):
    """The volume does not hold what the server is going to load."""


def check(directory: Path, repo: str, revision: str) -> list[Path]:
    """Return the safetensors of the manifest in loading order, or say why this is not the revision asked for."""
    remedy = f"publish {repo}@{revision} there, as its weights Job does, then restart this pod"
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        held, files = f"{manifest['repo']}@{manifest['revision']}", manifest["files"]
    except FileNotFoundError:
        raise NotReadyError(f"{directory} has no manifest.json, so nothing was published there; {remedy}") from None
    except (ValueError, LookupError, TypeError):
        raise NotReadyError(f"{directory}/manifest.json does not parse; {remedy}") from None
    if held != f"{repo}@{revision}":
        raise NotReadyError(f"{directory} holds {held}, this server wants {repo}@{revision}; {remedy}")
    faults = []
    for name, entry in sorted(files.items()):
        if not (directory / name).is_file():
            faults.append(f"{name} is missing")
        elif (size := (directory / name).stat().st_size) != entry["bytes"]:
            faults.append(f"{name} has {size} bytes instead of {entry['bytes']}")
    if faults:
        raise NotReadyError(f"{directory} is not complete: {', '.join(faults)}; {remedy}")
    return [directory / name for name in sorted(files) if name.endswith(".safetensors")]


def memory_available(proc: Path, cgroup: Path) -> int:
    """Return the bytes of page cache to be had: what the node has left, or the container's limit where that is less."""
    fields = dict(line.split(":") for line in (proc / "meminfo").read_text(encoding="utf-8").splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    with suppress(OSError, ValueError):  # cgroup v1, no cgroup, or memory.max is "max": no limit to respect
        limit, used = (int((cgroup / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
        available = min(available, max(limit - used, 0))
    return available


def slices(paths: list[Path], budget: int) -> list[Slice]:
    """Cut the files into slices in reading order and stop once `budget` bytes are planned."""
    planned, left = [], budget
    for path in paths:
        size = path.stat().st_size
        for offset in range(0, size, SLICE_BYTES):
            length = min(SLICE_BYTES, size - offset, left)
            if length > 0:
                planned.append((path, offset, length))
            left -= length
    return planned


def read(part: Slice) -> int:
    """Read one slice and forget it; the kernel keeps the pages."""
    path, offset, length = part
    buffer, done = memoryview(bytearray(CHUNK_BYTES)), 0
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        while done < length and (count := stream.readinto(buffer[: length - done])):
            done += count
    return done


def prewarm(paths: list[Path], threads: int, available: int, clock: Callable[[], float]) -> str:
    """Read the files in order on several threads; return what was achieved."""
    total = sum(path.stat().st_size for path in paths)
    start = clock()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(read, slices(paths, int(available * (1 - KEPT_FREE)))))
    seconds = clock() - start
    rate = f"{done / GIB:.2f} GiB in {seconds:.0f} s, {done / MIB / max(seconds, 1e-9):.1f} MiB/s"
    if done < total:
        return f"prewarmed {rate}; stopped before {total / GIB:.2f} GiB: {available / GIB:.2f} GiB of memory available"
    return f"prewarmed {rate}"


def main(
    environ: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    proc: Path = Path("/proc"),
    cgroup: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Check, prewarm where asked to; return the exit status."""
    try:
        repo, revision = environ["MODEL_REPO"], environ["MODEL_REVISION"]
        weights = check(Path(environ["MODEL_DIR"]), repo, revision)
        print(f"{environ['MODEL_DIR']} holds {repo}@{revision}, {len(weights)} safetensors", flush=True)
        if environ.get("PREWARM") == "true":
            threads = int(environ.get("READ_THREADS") or 8)
            print(prewarm(weights, threads, memory_available(proc, cgroup), clock), flush=True)
    except KeyError as missing:
        print(f"not ready: {missing.args[0]} is not set", flush=True)
    except (NotReadyError, OSError) as reason:
        print(f"not ready: {reason}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; nothing here needs tidying up.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
