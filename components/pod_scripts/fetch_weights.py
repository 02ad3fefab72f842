"""Bring one revision of one model onto a shared volume: stage, verify, publish.

Runs as a Job, configured by its environment alone:

    MODEL_REPO      organisation/name on the hub
    MODEL_REVISION  40-hex commit, or "main" when unpinned
    TARGET_DIR      where the revision is published, e.g. /models/Qwen--Qwen3-14B/<revision>
    HUB_KIND        huggingface (default; needs `hf`) or modelscope (needs `modelscope`)
    EXPECTED_BYTES  optional: what the safetensors must total at least (2 % slack) and what must fit on the volume
    READ_THREADS    optional, default 8: threads that hash
    HF_ENDPOINT, HF_TOKEN, MODELSCOPE_API_TOKEN, ... pass through to the hub's client; tokens are never printed

Exit status: 0 published or already there, 1 failed and worth a retry, 2 refused because a retry cannot help. A reader
of TARGET_DIR sees nothing, or everything and `manifest.json`. Retries are the Job's matter; staged files stay for them.

What is published is what the hub promised, and of the commit that was asked for:

- `hf` records per file the commit and the hash of the hub's answer (`.cache/huggingface/download/*.metadata`), and the
  listing it downloaded from (`trees/<commit>.json` beside them); `modelscope` compares with the listing while it loads.
- Both clients are then asked to verify against a second listing, which has to name exactly the files that came.
- The bytes are hashed once more for the manifest, and compared with what was recorded.

Bytes that differ are dropped and asked for again; a file that is wrong although it is what the hub promises is refused.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CLIENTS = {"huggingface": "hf", "modelscope": "modelscope"}
SETTINGS = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "TQDM_DISABLE": "1"}
SETTINGS |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", "NO_COLOR": "1"}
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN")
FORBIDDEN = (".bin", ".ckpt", ".gguf", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so")  # pickles, code, other formats
INCLUDE = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken", "tokenizer*", "LICEN?E*", "NOTICE*")
# original/ and metal/ repeat the weights in other layouts (Llama, gpt-oss); the manifest's name is ours.
EXCLUDE = (*(f"*{suffix}" for suffix in FORBIDDEN), "original/*", "metal/*", "manifest.json")
# How the clients say what no retry changes. An expired address of a CDN answers 403 too, so only the hub's own count.
FINAL = re.compile(
    r"requires approval|Revision not found in|' not found\.|certificate verify failed"
    r"|40[14] (?:Unauthorized|Not Found)' for url '[^']*/api/|Cannot access content at: \S*/api/"
    r"|\[40[134]\] HTTP 40[134] on GET /api/",
    re.IGNORECASE,
)
FINAL_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)
OFFLINE = "Returning existing local_dir"  # `hf download` exits 0 with this when it could not reach the hub at all
RECORDS = Path(".cache/huggingface")  # where `hf` keeps what the hub told it, below its --local-dir
COMMIT = re.compile(r"[0-9a-f]{40}")
HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}")
MISMATCH = re.compile(r"(?:error: |[\s-]*)(.+): expected \w+.*, got ")  # how both clients' `cache verify` says it
VERIFIED = re.compile(r"Verified (\d+) file\(s\)")  # what both say at the end, with how many they compared
MISSING = re.compile(r"(\d+) remote file\(s\) are missing locally")
SURPLUS = re.compile(r"\d+ local file\(s\) are absent from the remote revision: (.+)")  # modelscope's, ten at most
HASHLESS = re.compile(r"(\d+) file\(s\) have no SHA-256 metadata")
SLACK = 0.02  # share of EXPECTED_BYTES, because catalogues round
TICK_S, LOCK_POLL_S = 30, 10  # seconds between heartbeats with their progress lines; between looks at another's
STALE_S = 240  # a heartbeat that stands still this long is dead; NFS may show one that is 60 s old
HEADER_LIMIT = 100_000_000  # bytes, the safetensors library's own
# Bits per element, by the names the safetensors library knows (0.8.0, enum Dtype).
DTYPES = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
DTYPES |= {"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32}
DTYPES |= {"F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
COUNT_LIMIT = 2**64
MIB = 2**20


class RetryableError(Exception):
    """Failed for a reason that the next attempt may not meet."""


class RefusedError(Exception):
    """Stopped for a reason that the next attempt would meet again."""


class Job:
    """What to fetch and where to, read from the environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.repo = self.read("MODEL_REPO", r"[\w.-]+/[\w.-]+")
        self.revision = self.read("MODEL_REVISION", r"[0-9a-f]{40}|main")
        self.name = f"{self.repo}@{self.revision}"
        self.target = Path(self.read("TARGET_DIR", "/.+"))
        self.staging = self.target.with_name(f".incoming-{self.target.name}")
        self.client = CLIENTS[self.read("HUB_KIND", "|".join(CLIENTS), "huggingface")]
        self.expected_bytes = int(self.read("EXPECTED_BYTES", r"\d+", "0"))
        self.threads = int(self.read("READ_THREADS", r"[1-9]\d*", "8"))

    def read(self, key: str, pattern: str, default: str = "") -> str:
        """Return one variable, or its default where it is unset or empty."""
        value = self.environ.get(key) or default
        if not re.fullmatch(pattern, value):
            raise RefusedError(f"{key} is {value!r}, which does not match {pattern}")
        return value

    def files(self) -> dict[str, Path]:
        """Return the model's staged files by name, without the client's hidden state and our manifest."""
        found = {p.relative_to(self.staging).as_posix(): p for p in self.staging.rglob("*") if p.is_file()}
        return {n: found[n] for n in sorted(found) if not n.startswith(".") and n != "manifest.json"}

    def record(self, name: str) -> Path:
        """Return where `hf` records what the hub answered for a file: lines with commit, hash and time."""
        return self.staging / RECORDS / "download" / f"{name}.metadata"

    def stamps(self) -> dict[str, int]:
        """Return when each staged file was last changed, by the volume's clock, in nanoseconds."""
        return {name: path.stat().st_ctime_ns for name, path in self.files().items()}

    def staged_bytes(self) -> int:
        """Return how much is staged, whole or in part; files may come and go meanwhile."""
        total = 0
        for path in (Path(folder, name) for folder, _, names in os.walk(self.staging) for name in names):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


class Promises(NamedTuple):
    """What the hub said of the staged files: one commit, each file's hashes, and how many files its listing had."""

    commit: str
    hashes: Mapping[str, tuple[str, ...]]
    listed: int


class Lock:
    """A directory as a lock: `mkdir` is atomic on NFS, where `flock` may succeed for everybody.

    The owner rewrites its heartbeat. A waiter calls it dead when its text stands still for STALE_S of the waiter's own
    clock, so the clocks of nodes and servers need not agree. Who lost the lock notices at its next heartbeat.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.me, self.beats = path, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", 0

    def read(self) -> str:
        """Return who holds the lock, with the count of its heartbeats."""
        with suppress(FileNotFoundError):
            return (self.path / "owner").read_text(encoding="utf-8")
        return "nobody yet"

    def beat(self) -> None:
        """Show that the owner lives, or stop it where another has taken the lock."""
        if self.beats and not self.read().startswith(self.me):
            raise RetryableError(f"lost {self.path.name} to {self.read()}")
        self.beats += 1
        (self.path / self.me).write_text(f"{self.me}, heartbeat {self.beats}", encoding="utf-8")
        (self.path / self.me).replace(self.path / "owner")

    def take(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        """Wait until the lock is free or its owner dead, and hold it."""
        seen, since = "", 0.0
        while True:
            with suppress(FileExistsError):
                self.path.mkdir()
                return self.beat()
            if (text := self.read()) != seen:
                seen, since = text, clock()
                print(f"waiting for {self.path.name}, held by {seen}", flush=True)
            elif clock() - since >= STALE_S:
                print(f"taking over {self.path.name}: no heartbeat for {STALE_S} s from {seen}", flush=True)
                with suppress(FileNotFoundError):  # renamed first, so that only one of several waiters removes it
                    shutil.rmtree(self.path.rename(self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex[:8]}")))
            else:
                sleep(LOCK_POLL_S)

    def release(self) -> None:
        """Free the lock, unless it is another's by now."""
        if self.read().startswith(self.me):
            shutil.rmtree(self.path, ignore_errors=True)


def is_published(job: Job) -> bool:
    """Say whether TARGET_DIR holds this revision, every file of its manifest with its size."""
    try:
        manifest = json.loads((job.target / "manifest.json").read_text(encoding="utf-8"))
        found = f"{manifest['repo']}@{manifest['revision']}"
        whole = all((job.target / name).stat().st_size == f["bytes"] for name, f in manifest["files"].items())
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return False
    if found != job.name:
        raise RefusedError(f"{job.target} holds {found}, not {job.name}: give every revision its own directory")
    return whole


def run_client(job: Job, tick: Callable[[], None], *arguments: str, revision: str) -> tuple[int, list[str]]:
    """Run the hub's command line; return its exit status and what it printed, without tokens."""
    if not (command := shutil.which(job.client, path=job.environ["PATH"])):
        raise RefusedError(f"this image has no `{job.client}` command")
    # ModelScope's default branch is called master: when unpinned, leave the choice to its client.
    pinned = [] if (job.client, revision) == ("modelscope", "main") else ["--revision", revision]
    line = [command, *arguments, *pinned, "--local-dir", str(job.staging)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(line, env={**job.environ, **SETTINGS}, **pipes) as child:  # noqa: S603 - a list, no shell
        output = None
        try:
            while output is None:
                with suppress(subprocess.TimeoutExpired):
                    output = child.communicate(timeout=TICK_S)[0]
                tick()
        except BaseException:
            child.terminate()
            child.wait()  # the lock is not free before it is gone
            raise
    for token in filter(None, map(job.environ.get, TOKENS)):
        output = output.replace(token, "***")
    # the hub has a hand in this text too: nothing in it may move a reader's cursor
    shown = ("".join(sign if sign.isprintable() else " " for sign in text) for text in output.splitlines())
    return child.returncode, [text for text in shown if text.strip()]


def progress(done: int, before: int, seconds: float, expected: int) -> str:
    """Return one progress line; `before` bytes were there at the start, `expected` is 0 when unknown."""
    rate = (done - before) / max(seconds, 1e-9)
    eta = f", ETA {max(expected - done, 0) / rate:.0f} s" if expected and rate > 0 else ""
    return f"downloading: {done} bytes, {rate / MIB:.1f} MiB/s{eta}"


def download(job: Job, lock: Lock, clock: Callable[[], float]) -> None:
    """Let the hub's client complete the staging directory; it keeps the whole files that are there."""
    for orphan in (job.staging / "manifest.json", *job.staging.rglob("*.incomplete")):
        orphan.unlink(missing_ok=True)  # of a killed attempt; `hf` starts every file anew and never continues a part
    before, start = job.staged_bytes(), clock()
    need, free = int(job.expected_bytes * (1 + SLACK)) - before, shutil.disk_usage(job.staging).free
    if job.expected_bytes and need > free:
        raise RefusedError(f"{job.name} needs {need} more bytes, the volume of {job.target.parent} has {free} free")

    def tick() -> None:
        lock.beat()
        print(progress(job.staged_bytes(), before, clock() - start, job.expected_bytes), flush=True)

    chosen = [word for pattern in INCLUDE for word in ("--include", pattern)]
    chosen += [word for pattern in EXCLUDE for word in ("--exclude", pattern)]
    status, said = run_client(job, tick, "download", job.repo, *chosen, revision=job.revision)
    if status and (reason := next((text for text in said if FINAL.search(text)), "")):
        raise RefusedError(f"the hub does not give {job.name}: {reason.strip()}")
    if status or any(OFFLINE in text for text in said):
        print("\n".join(said[-20:]), flush=True)
        raise RetryableError(f"the download of {job.name} did not finish; what is staged stays")


def drop(job: Job, faults: Mapping[str, str]) -> None:
    """Remove files from staging with all that their client remembers of them, and ask for a retry.

    The listing goes too: a listing that was wrong once would be believed again.
    """
    for name, fault in faults.items():
        print(f"dropping {name}: {fault}", flush=True)
        (job.staging / name).unlink(missing_ok=True)
        job.record(name).unlink(missing_ok=True)
    if faults:
        shutil.rmtree(job.staging / RECORDS / "trees", ignore_errors=True)
        raise RetryableError(f"{len(faults)} damaged file(s) of {job.name} dropped, to be downloaded again")


def read_promises(job: Job) -> Promises:
    """Read what the hub promised of every staged file, and see that all of it is of the commit that was asked for.

    ModelScope's client records nothing; it has compared each file with the hub's SHA-256 itself.
    """
    if job.client != "hf":
        return Promises(job.revision, {}, 0)
    records, faults = {}, {}
    for name in job.files():
        try:
            commit, etag, seen = job.record(name).read_text(encoding="utf-8").split("\n")[:3]
            records[name] = (commit, etag, float(seen))
        except (OSError, ValueError):
            faults[name] = "there is no record that the hub delivered it"
    if not records:
        raise RefusedError(f"`hf` of this image has recorded no hash for {job.name}, so nothing can be checked")
    newest = max(records.values(), key=lambda record: record[2])[0]  # a branch may have moved between two attempts
    commit = newest if job.revision == "main" else job.revision
    foreign = {name: f"it is of commit {found}" for name, (found, *_) in records.items() if found != commit}
    if job.revision == commit and foreign:
        with suppress(RetryableError):
            drop(job, faults | foreign)
        raise RefusedError(f"the hub gave other commits for {job.name}: {', '.join(sorted(set(foreign.values())))}")
    drop(job, faults | foreign)
    if not COMMIT.fullmatch(commit):
        raise RefusedError(f"the hub names no commit for {job.name}, but {commit[:60]!r}")
    listed = read_listing(job, commit)
    hashes = {name: [etag.lower(), *listed.get(name, [])] for name, (_, etag, _) in records.items()}
    known = {name: tuple(text for text in found if HASH.fullmatch(text)) for name, found in hashes.items()}
    if bare := sorted(name for name, found in known.items() if not found):
        raise RefusedError(f"the hub promises no hash of {', '.join(bare)}, so {job.name} cannot be checked")
    return Promises(commit, known, len(listed))


def read_listing(job: Job, commit: str) -> dict[str, list[str]]:
    """Return the hash of every file in the listing that `hf` downloaded from; older versions keep none."""
    try:
        text = (job.staging / RECORDS / "trees" / f"{commit}.json").read_text(encoding="utf-8")
        files = json.loads(text)["files"]
        return {name: [str(entry.get("lfs_sha256") or entry["blob_id"]).lower()] for name, entry in files.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object of JSON, unless it has a key twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def is_count(value: object) -> bool:
    """Say whether a value of JSON is a whole number from 0 up to what 64 bits hold; `true` is none."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < COUNT_LIMIT


def tensor_fault(tensor: object) -> str:
    """Return what is wrong with one entry of a header, or nothing."""
    match tensor:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end]}:
            if not all(map(is_count, [*shape, start, end])) or start > end:
                return "has offsets or a shape that are no counts"
            if dtype not in DTYPES:
                return f"has the unknown type {dtype[:20]!r}"
            bits = DTYPES[dtype]
            for extent in shape:
                if (bits := bits * extent) > COUNT_LIMIT:
                    break
            return "" if bits == (end - start) * 8 else "has another size than its shape"
    return "is no entry of a tensor"


def safetensors_fault(path: Path) -> str:
    """Return what is wrong with a safetensors file, or nothing.

    The rules are those of the library that servers load with (safetensors 0.8.0, `Metadata::validate`): 8 bytes of
    header length, a JSON header, and tensors that fill the rest without a gap or an overlap.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > HEADER_LIMIT:
            return f"its header claims {length} bytes, at most {HEADER_LIMIT} are allowed"
        header = stream.read(length)
    try:
        entries = json.loads(header.decode("utf-8"), object_pairs_hook=once)
        metadata = entries.pop("__metadata__", None)
        if metadata is not None and not all(isinstance(value, str) for value in metadata.values()):
            return "its __metadata__ is not of text alone"
    except (ValueError, TypeError, AttributeError, RecursionError):
        return "its header does not parse"
    for name, tensor in entries.items():
        if fault := tensor_fault(tensor):
            return f"its tensor {name[:60]!r} {fault}"
    reached = 0
    for start, end in sorted(tensor["data_offsets"] for tensor in entries.values()):
        if start != reached:
            return f"its tensors overlap or leave a gap at byte {min(start, reached)} of the data"
        reached = end
    want = 8 + length + reached
    return "" if size == want else f"it has {size} bytes, its header says {want}"


def shards_of(path: Path) -> set[str]:
    """Return the files that an index names; raise ValueError where it is none, or names what is outside its folder."""
    if path.stat().st_size > HEADER_LIMIT:
        raise ValueError(f"has more than {HEADER_LIMIT} bytes")
    try:
        shards = set(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("does not parse") from None
    for shard in shards:
        if not isinstance(shard, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", shard):
            raise ValueError(f"names {str(shard)[:60]!r}, which is no safetensors file beside it")
    return shards


def check_files(job: Job) -> None:
    """Check what was staged: no code, no shard missing or malformed, enough bytes.

    The bytes are what the hub promises, so no retry changes what is wrong with them.
    """
    files = job.files()
    weights = {name: path for name, path in files.items() if name.endswith(".safetensors")}
    if alien := [name for name, path in files.items() if path.suffix.lower() in FORBIDDEN]:
        raise RefusedError(f"{job.name} brought {', '.join(alien)}: pickles and code are not published")
    for name, path in weights.items():
        if fault := safetensors_fault(path):
            raise RefusedError(f"{name} of {job.name} is what the hub promises, and damaged: {fault}")
    for name in (name for name in files if name.endswith(".safetensors.index.json")):
        try:
            shards = shards_of(files[name])
        except ValueError as fault:
            raise RefusedError(f"{name} of {job.name} {fault}") from None
        if missing := sorted(shard for shard in shards if not (files[name].parent / shard).is_file()):
            raise RefusedError(f"{job.name} lacks {', '.join(missing)}, which {name} names")
    total = sum(path.stat().st_size for path in weights.values())
    if not weights or total < job.expected_bytes * (1 - SLACK):
        raise RefusedError(
            f"{job.name} has {total} bytes of safetensors, at least {job.expected_bytes or 1} were promised"
        )


def check_with_hub(job: Job, lock: Lock, promises: Promises) -> None:
    """Compare every staged file with a second listing of the same commit; without one nothing is published.

    Not with --fail-on-missing-files: our patterns leave files of the repository out.
    """
    extra = ["--fail-on-extra-files"] if job.client == "modelscope" else []  # `hf` would count its own records
    status, said = run_client(job, lock.beat, "cache", "verify", job.repo, *extra, revision=promises.commit)
    faults = {match[1]: "its checksum is not the hub's" for text in said if (match := MISMATCH.match(text))}
    names = next((match[1].removesuffix("...") for text in said if (match := SURPLUS.search(text))), "")
    faults |= dict.fromkeys(names.split(", "), "the hub does not list it")
    # the hub has a hand in what its client prints, and no say in what is removed beside the staged files
    drop(job, {name: fault for name, fault in faults.items() if name in job.files()})
    told = {kind: match for kind in (VERIFIED, MISSING, HASHLESS) for text in said if (match := kind.search(text))}
    if HASHLESS in told:
        raise RefusedError(f"the hub promises no hash of {told[HASHLESS][1]} file(s) of {job.name}")
    if status or VERIFIED not in told:
        reasons = [text.strip() for text in said if text.lower().startswith("error")] or [*said[-1:], "no answer"]
        raise RetryableError(f"the hub did not say a second time what {job.name} holds: {reasons[0]}")
    agreed, staged = int(told[VERIFIED][1]), len(job.files())
    listed = agreed + (int(told[MISSING][1]) if MISSING in told else 0)
    if agreed != staged or (promises.listed and listed != promises.listed):
        shutil.rmtree(job.staging / RECORDS / "trees", ignore_errors=True)
        raise RetryableError(
            f"the hub's two listings of {job.name} differ: {promises.listed or staged} files, then {listed}, "
            f"{agreed} of the {staged} that are staged"
        )
    print("checksums agree with the hub's", flush=True)


def hash_file(path: Path, promised: Sequence[str]) -> tuple[str, str]:
    """Hash one file and force it onto the disk; return its SHA-256, and the first promise that it does not keep.

    A promise of 64 digits is a SHA-256, of 40 the SHA-1 of git's blob or of the plain bytes, of 32 an MD5: what hubs
    and the caches in front of them give as ETag.
    """
    sums = {"sha256": hashlib.sha256()}
    if any(len(text) == 40 for text in promised):
        size = path.stat().st_size
        sums |= {"git": hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)}
        sums |= {"sha1": hashlib.sha1(usedforsecurity=False)}
    if any(len(text) == 32 for text in promised):
        sums["md5"] = hashlib.md5(usedforsecurity=False)
    chunk = memoryview(bytearray(8 * MIB))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(chunk):
            for digest in sums.values():
                digest.update(chunk[:count])
        os.fsync(stream.fileno())
    found = {digest.hexdigest() for digest in sums.values()}
    return sums["sha256"].hexdigest(), next((text for text in promised if text not in found), "")


def write_manifest(job: Job, lock: Lock, promises: Promises, stamps: Mapping[str, int]) -> None:
    """Hash every file on several threads, compare with what was promised, and write `manifest.json`.

    `stamps`: when each file was last changed before it was compared with the hub's listing; it may not change after.
    """
    files = job.files()
    with ThreadPoolExecutor(job.threads) as pool:
        sums = {name: pool.submit(hash_file, path, promises.hashes.get(name, ())) for name, path in files.items()}
        pending = set(sums.values())
        while pending:
            pending = wait(pending, timeout=TICK_S).not_done
            lock.beat()
            print(f"hashed {len(files) - len(pending)} of {len(files)} files", flush=True)
    found = {name: result.result() for name, result in sums.items()}
    faults = {n: "it changed while it was checked" for n, stamp in job.stamps().items() if stamps.get(n) != stamp}
    faults |= {n: f"its hash is not {broken}, which the hub promised" for n, (_, broken) in found.items() if broken}
    drop(job, faults)
    entries = {name: {"bytes": path.stat().st_size, "sha256": found[name][0]} for name, path in files.items()}
    commit = {"commit": promises.commit} if COMMIT.fullmatch(promises.commit) else {}
    manifest = {"repo": job.repo, "revision": job.revision, **commit, "files": entries}
    (job.staging / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    hash_file(job.staging / "manifest.json", ())


def sync_folder(path: Path) -> None:
    """Force the names in a directory onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # some network file systems cannot sync a directory
        os.fsync(descriptor)
    os.close(descriptor)


def publish(job: Job) -> None:
    """Turn staging into the target by one rename; move a broken target aside, never delete it."""
    for hidden in job.staging.glob(".*"):  # the client's own state
        shutil.rmtree(hidden) if hidden.is_dir() else hidden.unlink()
    for folder in (job.staging, *(path for path in job.staging.rglob("*") if path.is_dir())):
        sync_folder(folder)
    if job.target.exists():
        aside = job.target.with_name(f".broken-{job.target.name}-{uuid.uuid4().hex[:8]}")
        job.target.rename(aside)
        print(f"{job.target} was not complete: moved aside to {aside}", flush=True)
    job.staging.rename(job.target)
    sync_folder(job.target.parent)


def fetch(job: Job, clock: Callable[[], float], sleep: Callable[[float], None]) -> str:
    """Do what the module says; return how it ended."""
    if is_published(job):
        return f"{job.target} already holds {job.name}"
    job.target.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(job.target.with_name(f".lock-{job.target.name}"))
    try:
        lock.take(clock, sleep)
        if is_published(job):  # by the one waited for
            return f"{job.target} already holds {job.name}"
        job.staging.mkdir(exist_ok=True)
        download(job, lock, clock)
        promises, stamps = read_promises(job), job.stamps()
        check_with_hub(job, lock, promises)
        check_files(job)
        write_manifest(job, lock, promises, stamps)
        lock.beat()
        publish(job)
        return f"published {job.name} at {job.target}"
    finally:
        lock.release()


def main(environ: Mapping[str, str], clock: Callable = time.monotonic, sleep: Callable = time.sleep) -> int:
    """Fetch what the environment asks for; return the exit status."""
    try:
        status, outcome = 0, fetch(Job(environ), clock, sleep)
    except RefusedError as refusal:
        status, outcome = 2, f"refused: {refusal}"
    except OSError as failure:
        final = failure.errno in FINAL_ERRORS
        status, outcome = (2, f"refused: {failure}") if final else (1, f"failed, a retry may help: {failure}")
    except (RetryableError, KeyboardInterrupt) as failure:
        status, outcome = 1, f"failed, a retry may help: {str(failure) or 'stopped'}"
    except Exception as bug:  # noqa: BLE001 - a fault of this script is met again by every retry
        where = traceback.extract_tb(bug.__traceback__)[-1]
        status, outcome = 2, f"refused: {type(bug).__name__} in {where.name}, line {where.lineno}: {str(bug)[:200]}"
    print(outcome, flush=True)
    return status


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; this one must stop its client and its lock.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(os.environ))
