"""Bring back what an earlier start of the same server compiled, and keep what this one compiles.

Runs twice in a vLLM pod, and never keeps it from starting. As an init container it copies the entry of this server from
the claim, which it can only read, into the pod's own cache. As a sidecar, which alone can write the claim, it waits
until the server is healthy, copies the cache once, and is idle. vLLM itself never sees the claim. By environment alone:

    ACTION            restore, or publish
    CACHE_KEY         stands for image, checkpoint, GPU, arguments and variables; the CPU of the machine, for which
                      compilers write, and the pod's place in its group join it here
    CACHE_DIR         the pod's own cache
    KEPT_DIR          the claim
    LIMIT_MIB         restore: what the cache may hold; publish: what the claim may
    RESTORE_S         restore: seconds after which it is given up
    HEALTH_URL        publish: what answers when the server is healthy; pods of a group ask LWS_LEADER_ADDRESS instead
    LWS_WORKER_INDEX  the place in the group, which compiles for ranks of its own; without it 0

An entry is a folder with a manifest of its files and their hashes. It is complete when it has its name, because it is
renamed to it; what does not match its manifest is not taken, and replaced by the next start. The manifest finds damage.
It proves nothing against who can write the claim: an entry is executable code, so a claim is of one stack alone.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import errno
import hashlib
import json
import os
import platform
import shutil
import signal
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Below the cache: code that compilers wrote, and what they measured of it. Not what is known of one machine
# (vllm/gpu_p2p_access_cache…, vllm/startup_plan) or comes from users (vllm/assets). Names of vLLM 0.33, and of what it
# calls with HOME there: FlashInfer, TVM-FFI, TileLang, the CUDA driver.
KEPT = (
    *(".cache/flashinfer", ".cache/tvm-ffi", ".nv/ComputeCache", ".tilelang", ".triton", "torchinductor", "triton"),
    *("vllm/deep_gemm", "vllm/flashinfer_autotune_cache", "vllm/modelinfos", "vllm/torch_compile_cache"),
)
CPU_FACTS = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU variant", "CPU part", "Features")
MANIFEST, RESTORED, RESTORING, INCOMING, BROKEN = "manifest.json", ".restored", ".restoring", ".incoming-", ".broken-"
MOST_FILES, MOST_MANIFEST_BYTES, CHUNK_BYTES, MIB = 200_000, 128 * 2**20, 2**20, 2**20
# A publisher that was killed leaves its folder; after so long it is not one at work.
ABANDONED_S, POLL_S, TRIES = 3600, 5, 5


class NotTakenError(Exception):
    """There is no entry that can be used, or none that can be written."""


class ChangedError(Exception):
    """The server was still writing."""


class Kept(NamedTuple):
    """What a manifest says of one file."""

    size: int
    sha256: str
    mtime_ns: int
    executable: bool


def machine(cpuinfo: str) -> str:
    """A short name of the CPU, the same on machines that run each other's code."""
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in CPU_FACTS:
            facts.setdefault(name.strip(), " ".join(sorted(value.split())))
    return hashlib.sha256(json.dumps([platform.machine(), facts], sort_keys=True).encode()).hexdigest()[:8]


def entry_name(environ: Mapping[str, str], proc: Path) -> str:
    """The folder of this pod's entry."""
    part = int(environ.get("LWS_WORKER_INDEX") or 0)
    return f"{environ['CACHE_KEY']}-{machine((proc / 'cpuinfo').read_text(encoding='utf-8'))}-{part}"


def is_kept(name: str) -> bool:
    """Whether a manifest may name this file: below one of the kept folders, by a path that leads nowhere else."""
    plain = "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))
    return plain and any(name.startswith(f"{kept}/") for kept in KEPT)


def open_below(root: Path, name: str) -> int:
    """A file descriptor of a regular file below `root`; raises OSError where any part of the way is a link."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        *folders, last = name.split("/")
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # a pipe is not waited for
        found = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise NotTakenError(f"{name} is no file")
    return found


def copy(found: int, target: Path, most_bytes: int) -> tuple[int, str]:
    """(bytes, SHA-256) of what an open file has, copied to `target`; closes the descriptor."""
    digest, size = hashlib.sha256(), 0
    with os.fdopen(found, "rb", buffering=0) as stream, target.open("wb", buffering=0) as out:
        while chunk := stream.read(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise NotTakenError(f"there are more than the {most_bytes:,} bytes that are left or were published")
            digest.update(chunk)
            out.write(chunk)
    return size, digest.hexdigest()


def manifest_of(entry: Path, key: str) -> dict[str, Kept]:
    """The files of an entry; raises NotTakenError where it is not one that was published here."""
    if not entry.is_dir():
        raise NotTakenError(f"there is no {key}")
    with os.fdopen(open_below(entry, MANIFEST), "rb") as stream:
        text = stream.read(MOST_MANIFEST_BYTES + 1)
    try:
        said = json.loads(text)
        files = {name: Kept(*values) for name, values in said["files"].items()}
        fine = said["key"] == key and len(files) <= MOST_FILES
        fine = fine and all([*map(type, one)] == [int, str, int, bool] and one.size >= 0 for one in files.values())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        fine, files = False, {}
    if not fine:
        raise NotTakenError(f"{MANIFEST} is not one of {key}")
    if strange := next((name for name in files if not is_kept(name)), None):
        raise NotTakenError(f"{MANIFEST} names {strange!r}, which is nothing that is kept")
    return files


def take(entry: Path, files: Mapping[str, Kept], target: Path | None, until: Callable[[], None]) -> None:
    """Copies all files of an entry, or only reads them; raises NotTakenError for the first that is not as it was."""
    for name, said in files.items():
        until()
        place = target / name if target else Path(os.devnull)
        if target:
            place.parent.mkdir(parents=True, exist_ok=True)
        if copy(open_below(entry, name), place, said.size) != (said.size, said.sha256):
            raise NotTakenError(f"{name} is not what was published")
        if target:
            place.chmod(0o755 if said.executable else 0o644)
            # FlashInfer's ninja compares times
            os.utime(place, ns=(said.mtime_ns, said.mtime_ns))


def restore(environ: Mapping[str, str], proc: Path, clock: Callable[[], float]) -> str:
    """Fills the pod's cache; returns what to say."""
    cache, name = Path(environ["CACHE_DIR"]), entry_name(environ, proc)
    if any((cache / kept).exists() for kept in KEPT):
        return "the cache of this pod is filled already"
    entry, start = Path(environ["KEPT_DIR"]) / name, clock()
    files = manifest_of(entry, name)
    total, limit = sum(one.size for one in files.values()), int(environ["LIMIT_MIB"]) * MIB
    if total > limit:
        raise NotTakenError(f"{name} has {total / MIB:.0f} MiB, the cache of a pod holds {limit / MIB:.0f}")

    def until() -> None:
        if clock() - start > int(environ["RESTORE_S"]):
            raise NotTakenError(f"{name} could not be read within {environ['RESTORE_S']} s")

    staging = cache / RESTORING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        take(entry, files, staging, until)
        for kept in KEPT:
            if (staging / kept).exists():
                (cache / kept).parent.mkdir(parents=True, exist_ok=True)
                (staging / kept).rename(cache / kept)
        (cache / RESTORED).write_text(name, encoding="utf-8")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return f"restored {name}: {len(files)} files, {total / MIB:.0f} MiB, in {clock() - start:.1f} s"


def compiled(cache: Path) -> Iterator[Path]:
    """The kept folders of a cache, unless there is a link on the way, which may lead anywhere."""
    for kept in KEPT:
        ways = [cache / kept, *(way for way in (cache / kept).parents if way != cache and way.is_relative_to(cache))]
        if not any(way.is_symlink() for way in ways):
            yield cache / kept


def cached(cache: Path) -> Iterator[str]:
    """Every regular file below the kept folders; links, pipes and the like are nobody's code."""
    for top in compiled(cache):
        for folder, _, names in os.walk(top):
            for path in (Path(folder, name) for name in sorted(names)):
                # nobody holds a lock afterwards, and what is being written has another name later
                if stat.S_ISREG(path.lstat().st_mode) and path.suffix not in (".lock", ".tmp"):
                    yield path.relative_to(cache).as_posix()


def stage(cache: Path, incoming: Path, key: str, most_bytes: int) -> int:
    """Copies the cache, with its manifest; returns its bytes. Raises ChangedError while the server still writes."""
    files: dict[str, Kept] = {}
    left = most_bytes
    for name in cached(cache):
        if len(files) == MOST_FILES:
            raise NotTakenError(f"the cache has more than {MOST_FILES:,} files")
        source, target = cache / name, incoming / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            before = source.lstat()
            size, digest = copy(open_below(cache, name), target, left)
            after = source.lstat()
        except FileNotFoundError:
            raise ChangedError from None
        if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, size, after.st_ino):
            raise ChangedError
        files[name] = Kept(size, digest, before.st_mtime_ns, bool(before.st_mode & stat.S_IXUSR))
        left -= size
    if not files:
        raise NotTakenError("the server has compiled nothing")
    (incoming / MANIFEST).write_text(json.dumps({"key": key, "files": files}), encoding="utf-8")
    return most_bytes - left


def size_of(folder: Path) -> int:
    """Bytes below a folder."""
    return sum(Path(inner, name).lstat().st_size for inner, _, names in os.walk(folder) for name in names)


def make_room(kept: Path, name: str, wanted: int, limit: int, now: float) -> None:
    """Removes what killed publishers have left, and of other entries the oldest until there is room for this one."""
    entries = {}
    for found in kept.iterdir():
        # another publisher may have been quicker
        with suppress(OSError):
            age_s = now - found.lstat().st_mtime
            if found.name.startswith((INCOMING, BROKEN)):
                if age_s > ABANDONED_S:
                    shutil.rmtree(found, ignore_errors=True)
            elif found.name != name and found.is_dir():
                entries[found] = (age_s, size_of(found))
    used = sum(size for _, size in entries.values())
    for found, (_, size) in sorted(entries.items(), key=lambda item: -item[1][0]):
        if used + wanted <= limit:
            break
        print(f"removing {found.name}, the oldest, which takes {size / MIB:.0f} MiB", flush=True)
        shutil.rmtree(found, ignore_errors=True)
        used -= size


def renamed(folder: Path, name: Path) -> bool:
    """Whether a folder got its name, all at once; a name that is taken stays whose it is."""
    try:
        folder.rename(name)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def publish(environ: Mapping[str, str], proc: Path, now: Callable[[], float]) -> str:
    """Copies the cache of a healthy server to the claim, unless it is there; returns what to say."""
    cache, kept, name = Path(environ["CACHE_DIR"]), Path(environ["KEPT_DIR"]), entry_name(environ, proc)
    entry, own, limit = kept / name, environ.get("HOSTNAME") or platform.node(), int(environ["LIMIT_MIB"]) * MIB
    with suppress(OSError):
        if (cache / RESTORED).read_text(encoding="utf-8") == name:
            return f"nothing to publish: {name} was restored"
    with suppress(NotTakenError, OSError):
        take(entry, manifest_of(entry, name), None, lambda: None)
        return f"nothing to publish: {name} is there"
    # neither complete nor, from here on, a quicker publisher's
    damaged = os.path.lexists(entry)
    incoming, broken = kept / f"{INCOMING}{own}", kept / f"{BROKEN}{own}"
    shutil.rmtree(incoming, ignore_errors=True)
    shutil.rmtree(broken, ignore_errors=True)
    try:
        make_room(kept, name, sum(map(size_of, compiled(cache))), limit, now())
        incoming.mkdir()
        size = stage(cache, incoming, name, limit)
        if damaged:
            with suppress(FileNotFoundError):
                entry.rename(broken)
        if not renamed(incoming, entry):
            return f"another pod published {name} first"
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
        shutil.rmtree(broken, ignore_errors=True)
    return f"published {name}: {size / MIB:.0f} MiB"


def healthy(environ: Mapping[str, str]) -> bool:
    """Whether the server of this pod, or the leader of its group, answers."""
    url = environ["HEALTH_URL"].replace("127.0.0.1", environ.get("LWS_LEADER_ADDRESS") or "127.0.0.1")
    # no proxy of the environment stands between the containers of a pod
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=POLL_S) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def main(environ: Mapping[str, str], proc: Path = Path("/proc"), pause: Callable[[float], None] = time.sleep) -> None:
    """Never fails: a server without its cache starts slowly, and that is all."""
    if environ["ACTION"] == "restore":
        try:
            print(restore(environ, proc, time.monotonic), flush=True)
        except (NotTakenError, OSError) as reason:
            print(f"starts without a kept cache: {reason}", flush=True)
        return
    while not healthy(environ):
        pause(POLL_S)
    for _ in range(TRIES):
        try:
            print(publish(environ, proc, time.time), flush=True)
        except ChangedError:
            print("the server is still writing", flush=True)
            pause(POLL_S)
        except (NotTakenError, OSError) as reason:
            print(f"not published: {reason}", flush=True)
            return
        else:
            return


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; what is half copied, the next publisher removes.
    signal.signal(signal.SIGTERM, lambda _signum, _frame: os._exit(0))
    main(os.environ)
    while os.environ["ACTION"] == "publish":
        signal.pause()
