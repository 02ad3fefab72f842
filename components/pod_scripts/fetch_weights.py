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
"""

# ruff: noqa: T201 - printing is how a pod speaks
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
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

CLIENTS = {"huggingface": "hf", "modelscope": "modelscope"}
SETTINGS = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "TQDM_DISABLE": "1"}
SETTINGS |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", "NO_COLOR": "1"}
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN")
FORBIDDEN = (".bin", ".ckpt", ".gguf", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so")  # pickles, code, other formats
INCLUDE = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken", "tokenizer*", "LICEN?E*", "NOTICE*")
# original/ and metal/ repeat the weights in other layouts (Llama, gpt-oss); the manifest's name is ours.
EXCLUDE = (*(f"*{suffix}" for suffix in FORBIDDEN), "original/*", "metal/*", "manifest.json")
FINAL = ("requires approval", "Revision not found in", "' not found.")  # how `hf` says what no retry changes
OFFLINE = "Returning existing local_dir"  # `hf download` exits 0 with this when it could not reach the hub at all
MISMATCH = re.compile(r"(?:error: |[\s-]*)(.+): expected \w+.*, got ")  # how both clients' `cache verify` says it
SLACK = 0.02  # share of EXPECTED_BYTES, because catalogues round
TICK_S, LOCK_POLL_S = 30, 10  # seconds between heartbeats with their progress lines; between looks at another's
STALE_S = 240  # a heartbeat that stands still this long is dead; NFS may show one that is 60 s old
HEADER_LIMIT = 100_000_000  # bytes, the safetensors library's own
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

    def staged_bytes(self) -> int:
        """Return how much is staged, whole or in part; files may come and go meanwhile."""
        total = 0
        for path in (Path(folder, name) for folder, _, names in os.walk(self.staging) for name in names):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


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


def run_client(job: Job, tick: Callable[[], None], *arguments: str) -> tuple[int, list[str]]:
    """Run the hub's command line; return its exit status and what it printed, without tokens."""
    if not (command := shutil.which(job.client, path=job.environ["PATH"])):
        raise RefusedError(f"this image has no `{job.client}` command")
    # ModelScope's default branch is called master: when unpinned, leave the choice to its client.
    pinned = [] if (job.client, job.revision) == ("modelscope", "main") else ["--revision", job.revision]
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
    return child.returncode, [text for text in output.splitlines() if text.strip()]


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
    status, said = run_client(job, tick, "download", job.repo, *chosen)
    if status and (reason := next((text for text in said if any(sign in text for sign in FINAL)), "")):
        raise RefusedError(f"the hub does not give {job.name}: {reason.strip()}")
    if status or any(OFFLINE in text for text in said):
        print("\n".join(said[-20:]), flush=True)
        raise RetryableError(f"the download of {job.name} did not finish; what is staged stays")


def drop(job: Job, faults: dict[str, str]) -> None:
    """Remove damaged files from staging, since a client would take them for downloaded, and ask for a retry."""
    for name, fault in faults.items():
        print(f"dropping {name}: {fault}", flush=True)
        (job.staging / name).unlink(missing_ok=True)
    if faults:
        raise RetryableError(f"{len(faults)} damaged file(s) of {job.name} dropped, to be downloaded again")


def safetensors_fault(path: Path) -> str:
    """Return what is wrong with a safetensors file, or nothing: 8 bytes of header length, the header, tensor data."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(min(length, HEADER_LIMIT))
    try:
        tensors = [tensor for name, tensor in json.loads(header).items() if name != "__metadata__"]
        want = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return "its header does not parse"
    return "" if size == want else f"it has {size} bytes, its header says {want}"


def check_files(job: Job) -> None:
    """Check what was staged without asking anybody: no code, no shard missing or cut short, enough bytes."""
    files = job.files()
    weights = {name: path for name, path in files.items() if name.endswith(".safetensors")}
    if alien := [name for name, path in files.items() if path.suffix.lower() in FORBIDDEN]:
        raise RefusedError(f"{job.name} brought {', '.join(alien)}: pickles and code are not published")
    faults = {name: fault for name, path in weights.items() if (fault := safetensors_fault(path))}
    for name in (name for name in files if name.endswith(".safetensors.index.json")):
        try:
            shards = set(json.loads(files[name].read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, LookupError, TypeError, AttributeError):
            faults[name], shards = "it does not parse", set()
        if missing := sorted(shard for shard in shards if not (files[name].parent / shard).is_file()):
            raise RefusedError(f"{job.name} lacks {', '.join(missing)}, which {name} names")
    drop(job, faults)
    total = sum(path.stat().st_size for path in weights.values())
    if not weights or total < job.expected_bytes * (1 - SLACK):
        raise RefusedError(
            f"{job.name} has {total} bytes of safetensors, at least {job.expected_bytes or 1} were promised"
        )


def check_with_hub(job: Job, lock: Lock) -> None:
    """Compare checksums with the hub's. Not with --fail-on-missing-files: our patterns leave files of the repo out."""
    status, said = run_client(job, lock.beat, "cache", "verify", job.repo)
    differing = [match[1] for text in said if (match := MISMATCH.match(text))]
    drop(job, dict.fromkeys(differing, "its checksum is not the hub's"))
    if status:
        print(f"checksum verification was not possible: {said[-1].strip() if said else 'no answer'}", flush=True)
        print("relying on the checks of structure and size, and on the SHA-256 in the manifest", flush=True)
    else:
        print("checksums agree with the hub's", flush=True)


def sha256(path: Path) -> str:
    """Hash one file and force it onto the disk."""
    digest, chunk = hashlib.sha256(), memoryview(bytearray(8 * MIB))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(chunk):
            digest.update(chunk[:count])
        os.fsync(stream.fileno())
    return digest.hexdigest()


def write_manifest(job: Job, lock: Lock) -> None:
    """Hash every file on several threads and write `manifest.json`."""
    files = job.files()
    with ThreadPoolExecutor(job.threads) as pool:
        hashes = {name: pool.submit(sha256, path) for name, path in files.items()}
        pending = set(hashes.values())
        while pending:
            pending = wait(pending, timeout=TICK_S).not_done
            lock.beat()
            print(f"hashed {len(files) - len(pending)} of {len(files)} files", flush=True)
    entries = {name: {"bytes": path.stat().st_size, "sha256": hashes[name].result()} for name, path in files.items()}
    manifest = {"repo": job.repo, "revision": job.revision, "files": entries}
    (job.staging / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    sha256(job.staging / "manifest.json")


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
        check_files(job)
        check_with_hub(job, lock)
        write_manifest(job, lock)
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
    except (RetryableError, OSError, KeyboardInterrupt) as failure:
        status, outcome = 1, f"failed, a retry may help: {str(failure) or 'stopped'}"
    print(outcome, flush=True)
    return status


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; this one must stop its client and its lock.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(os.environ))
