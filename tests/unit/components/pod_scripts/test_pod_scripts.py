"""The pod scripts, run for real against a fake hub client, tiny safetensors and an API server on 127.0.0.1.

Does not prove that the real `hf` and `modelscope` print what the fake prints, nor how NFS keeps its promises.
"""

import hashlib
import itertools
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from components.pod_scripts import NAMES, fetch_weights, prewarm_weights, source, verify_nodes

REVISION = "0123456789abcdef0123456789abcdef01234567"
NAME = f"acme/tiny@{REVISION}"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
TOKEN = "hf_doNotPrintMe"
RECORD_BYTES = len(f"{REVISION}\n{'a' * 64}\n1.5\n")

FAKE_CLIENT = r"""
import fnmatch, hashlib, json, os, pathlib, signal, sys

state = pathlib.Path(os.environ["FAKE_STATE"])
plan = json.loads((state / "plan.json").read_text())
hub = {p.relative_to(state / "hub").as_posix(): p for p in sorted((state / "hub").rglob("*")) if p.is_file()}
words = sys.argv[1:]
several = lambda option: [words[i + 1] for i, word in enumerate(words) if word == option]
local = pathlib.Path(several("--local-dir")[0])
calls = state / "calls.jsonl"
call = {"words": words, "target": pathlib.Path(os.environ["TARGET_DIR"]).exists(), "copied": []}
status = 0
if words[0] == "download":
    (local / ".cache").mkdir(exist_ok=True)
    (local / ".cache" / "tag").write_text("x")
    for name, path in hub.items():
        wanted = any(fnmatch.fnmatchcase(name, p) for p in several("--include"))
        wanted = wanted and not any(fnmatch.fnmatchcase(name, p) for p in several("--exclude"))
        if (local / name).exists() or not (wanted or plan.get("ignore_filters")):
            continue
        if len(call["copied"]) == plan.get("fail_after"):
            status = 1
            break
        (local / name).parent.mkdir(exist_ok=True)
        (local / name).write_bytes(path.read_bytes())
        call["copied"].append(name)
    for name, path in hub.items():
        if sys.argv[0].endswith("hf") and (local / name).exists():
            record = local / ".cache" / "huggingface" / "download" / f"{name}.metadata"
            record.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            record.write_text(f"{os.environ.get('FAKE_COMMIT') or os.environ['MODEL_REVISION']}\n{digest}\n1.5\n")
    for text in plan.get("say", []):
        print(text, file=sys.stderr)
    if "thief" in plan:
        (local.parent / f".lock-{pathlib.Path(os.environ['TARGET_DIR']).name}" / "owner").write_text(plan["thief"])
    if "fifo" in plan:
        stream = open(plan["fifo"], "w")
        print("started", file=stream, flush=True)
        signal.pause()
    status = plan.get("status", status)
elif plan.get("verify"):
    print(plan["verify"], file=sys.stderr)
    status = 1
else:
    count = 0
    for name, path in hub.items():
        count += (local / name).exists()
        want = hashlib.sha256(path.read_bytes()).hexdigest()
        if (local / name).exists() and (got := hashlib.sha256((local / name).read_bytes()).hexdigest()) != want:
            print(f"  - {name}: expected {want} (sha256), got {got}")
            status = 1
    if not status:
        print(f"Verified {count} file(s) for model 'acme/tiny'. All checksums match.")
with calls.open("a") as stream:
    stream.write(json.dumps(call) + "\n")
sys.exit(status)
"""


def safetensors(payload: bytes) -> bytes:
    """Return a file with two tensors of bytes."""
    size = len(payload)
    tensors = {"w": [2, size], "v": [0, 2]}  # the header need not list them in the order of the data
    layout = {n: {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]} for n, (a, b) in tensors.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}} | layout).encode()
    return len(header).to_bytes(8, "little") + header + payload


def with_header(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a file with this header, as JSON unless it is bytes, and a header length of its own if one is given."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(*offsets: object, shape: object = (4,), dtype: object = "U8") -> dict[str, object]:
    """Return an entry of a header: four bytes, unless told otherwise."""
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


PARSE = "its header does not parse"
COUNTS, SHAPE = (
    "its tensor 'w' has offsets or a shape that are no counts",
    "its tensor 'w' has another size than its shape",
)
ODD_SAFETENSORS = [
    (safetensors(b"one" * 100)[:-1], "it has 465 bytes, its header says 466"),
    (safetensors(b"one" * 100) + b"x", "it has 467 bytes, its header says 466"),
    (b"", PARSE),
    (b"\x80\x04not safetensors at all", "its header claims 7021991928458511488 bytes, at most 100000000 are allowed"),
    (with_header({}, length=100_000_001), "its header claims 100000001 bytes, at most 100000000 are allowed"),
    (with_header({}, length=100_000_000), "it has 10 bytes, its header says 100000008"),
    (with_header(b"[" * 200_000), PARSE),
    (with_header(b'{"w":' * 100_000 + b"}" * 100_000), PARSE),
    (with_header(b"\xff\xfe{}"), PARSE),
    (with_header('{"w": 1}'.encode("utf-16")), PARSE),
    (with_header(b'{"w": ' + b"9" * 10_000 + b"}"), PARSE),
    (with_header([]), PARSE),
    (with_header(None), PARSE),
    (with_header(b'{"w": {}, "w": {}}'), PARSE),
    (with_header({"__metadata__": []}), PARSE),
    (with_header({"__metadata__": {"format": 1}}), "its __metadata__ is not of text alone"),
    (with_header({"w": 1}), "its tensor 'w' is no entry of a tensor"),
    (with_header({"w": {"dtype": "U8"}}), "its tensor 'w' is no entry of a tensor"),
    (with_header({"w": tensor(0, 4, dtype=8)}, b"data"), "its tensor 'w' is no entry of a tensor"),
    (with_header({"w": tensor(0, 4, 8)}, b"data"), "its tensor 'w' is no entry of a tensor"),
    (with_header({"w": tensor(0, 4, dtype="U1")}, b"data"), "its tensor 'w' has the unknown type 'U1'"),
    (with_header({"w": tensor(-4, 0)}, b"data"), COUNTS),
    (with_header({"w": tensor(4, 0)}, b"data"), COUNTS),
    (with_header({"w": tensor(0, 4.0)}, b"data"), COUNTS),
    (with_header({"w": tensor(False, 4)}, b"data"), COUNTS),
    (with_header({"w": tensor(0, "4")}, b"data"), COUNTS),
    (with_header({"w": tensor(0, 2**64)}, b"data"), COUNTS),
    (with_header({"w": tensor(0, 4, shape=[4, None])}, b"data"), COUNTS),
    (with_header({"w": tensor(0, 4, shape=[5])}, b"data"), SHAPE),
    (with_header({"w": tensor(0, 4, shape=[2**63] * 50_000)}, b"data"), SHAPE),
    (
        with_header({"v": tensor(0, 4), "w": tensor(2, 6)}, b"datata"),
        "its tensors overlap or leave a gap at byte 2 of the data",
    ),
    (with_header({"w": tensor(4, 8)}, b"datadata"), "its tensors overlap or leave a gap at byte 0 of the data"),
]
ODD_INDEXES = [
    (b"{", "does not parse"),
    (b"[]", "does not parse"),
    (b"\xff", "does not parse"),
    (b'{"weight_map":' * 50_000, "does not parse"),
    (b'{"weight_map": {"a": ["x"]}}', "does not parse"),
    (b'{"weight_map": {"a": "x", "a": "y"}}', "does not parse"),
    (b'{"weight_map": {"a": 1}}', "names '1', which is no safetensors file beside it"),
    (
        b'{"weight_map": {"a": "../../etc/x.safetensors"}}',
        "names '../../etc/x.safetensors', which is no safetensors file beside it",
    ),
    (
        b'{"weight_map": {"a": "/etc/x.safetensors"}}',
        "names '/etc/x.safetensors', which is no safetensors file beside it",
    ),
    (
        b'{"weight_map": {"a": "pytorch_model.bin"}}',
        "names 'pytorch_model.bin', which is no safetensors file beside it",
    ),
]


class Hub:
    """A fake hub with a client on PATH, and a volume to fetch to."""

    def __init__(self, root: Path) -> None:
        self.root, self.volume = root, root / "models" / "acme--tiny"
        self.target, self.staging = self.volume / REVISION, self.volume / f".incoming-{REVISION}"
        self.lock = self.volume / f".lock-{REVISION}"
        (root / "bin").mkdir()
        (root / "hub").mkdir()
        for name in ("hf", "modelscope"):
            (root / "bin" / name).write_text(f"#!{sys.executable} -IS\n{FAKE_CLIENT}")
            (root / "bin" / name).chmod(0o755)
        self.plan()
        self.files = {
            INDEX: json.dumps({"weight_map": {"a": FIRST, "b": SECOND}}).encode(),
            FIRST: safetensors(b"one" * 100),
            SECOND: safetensors(b"two" * 200),
            "config.json": b"{}",
        }
        for name, content in self.files.items():
            self.add(name, content)

    def plan(self, **behaviour: object) -> None:
        """Tell the fake client how to behave from now on."""
        (self.root / "plan.json").write_text(json.dumps(behaviour))

    def add(self, name: str, content: bytes) -> None:
        """Put a file on the hub."""
        (self.root / "hub" / name).parent.mkdir(exist_ok=True)
        (self.root / "hub" / name).write_bytes(content)

    def environ(self, **extra: str) -> dict[str, str]:
        """Return the environment of the Job."""
        base = {
            "MODEL_REPO": "acme/tiny",
            "MODEL_REVISION": REVISION,
            "TARGET_DIR": str(self.target),
            "HF_TOKEN": TOKEN,
        }
        return base | {"PATH": str(self.root / "bin"), "FAKE_STATE": str(self.root)} | extra

    def run(self, **extra: str) -> int:
        """Run the Job with a clock of one second per look; return its exit status."""
        return fetch_weights.main(self.environ(**extra), itertools.count().__next__, never_sleep)

    def calls(self) -> list[dict]:
        """Return what the fake client was asked for and did, call by call."""
        log = self.root / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def copied(self) -> list[list[str]]:
        """Return the files that every download brought."""
        return [call["copied"] for call in self.calls() if call["words"][0] == "download"]

    def downloading(self, before: int = 0) -> str:
        """Return the progress line of a whole download that took one second of the injected clock."""
        done = sum(map(len, self.files.values())) + 1 + len(self.files) * RECORD_BYTES  # the client's own state
        return f"downloading: {done} bytes, {(done - before) / 2**20:.1f} MiB/s"

    def manifest(self) -> dict:
        """Return the manifest that the hub's files must get."""
        entries = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in self.files.items()}
        return {
            "repo": "acme/tiny",
            "revision": REVISION,
            "commit": REVISION,
            "files": dict(sorted(entries.items())),
        }


def never_sleep(seconds: float) -> None:
    """Stand in for sleep where nothing may wait."""
    raise AssertionError(f"slept {seconds} s")


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory with its content."""
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def names(directory: Path) -> list[str]:
    """Return the names in a directory, hidden ones too."""
    return sorted(path.name for path in directory.iterdir())


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines printed since the last look."""
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """Return a hub with one sharded model, and an empty volume."""
    return Hub(tmp_path)


def test_source_returns_every_script_as_it_stands_in_the_package() -> None:
    """A script's source is the text of its file."""
    folder = Path(fetch_weights.__file__).parent
    assert [source(name) for name in NAMES] == [(folder / f"{name}.py").read_text() for name in NAMES]


def test_source_names_the_scripts_there_are() -> None:
    """An unknown script is refused with the list of known ones."""
    known = (
        "no pod script 'fetch'; there are buckets, check_shards, check_store, compile_cache, copy_store, "
        "copy_weights, fetch_adapter, fetch_proven, fetch_weights, fill_store, gateway_admin, gateway_at_zero, "
        "gateway_audit, gateway_auth, gateway_hooks, gateway_migrate, gateway_providers, gateway_surface, "
        "gateway_teams, hub_files, prewarm_weights, prove_weights, verify_nodes, start_postgres"
    )
    with pytest.raises(ValueError, match=f"^{known}$"):
        source("fetch")


class TestFetchWeights:
    """The download Job."""

    def test_publishes_everything_with_a_manifest(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A first run publishes the model's files and their hashes, and leaves nothing else on the volume."""
        assert hub.run() == 0
        said = [hub.downloading(), "checksums agree with the hub's", "hashed 4 of 4 files"]
        assert lines(capsys) == [*said, f"published {NAME} at {hub.target}"]
        published = tree(hub.target)
        assert json.loads(published.pop("manifest.json")) == hub.manifest()
        assert hub.files == published
        assert names(hub.volume) == [REVISION]

    def test_asks_the_client_for_the_pinned_revision_and_safe_files_only(self, hub: Hub) -> None:
        """Both client calls name repo, revision and staging, and verify does not fail on files we leave out."""
        hub.run()
        include = [w for p in fetch_weights.INCLUDE for w in ("--include", p)]
        exclude = [w for p in fetch_weights.EXCLUDE for w in ("--exclude", p)]
        where = ["--revision", REVISION, "--local-dir", str(hub.staging)]
        download = ["download", "acme/tiny", *include, *exclude, *where]
        assert [call["words"] for call in hub.calls()] == [download, ["cache", "verify", "acme/tiny", *where]]

    def test_leaves_out_pickles_code_duplicates_and_the_rest(self, hub: Hub) -> None:
        """Licence and tokenizer come along; pickles, code, other layouts, pictures and a foreign manifest do not."""
        for name in ("LICENSE", "tokenizer.model", "chat_template.jinja"):
            hub.add(name, b"kept")
        for name in ("pytorch_model.bin", "modeling.py", "tokenizer.pkl", "original/model.safetensors", "a.png"):
            hub.add(name, b"left out")
        hub.add("manifest.json", b"{}")
        assert hub.run() == 0
        kept = {"LICENSE", "tokenizer.model", "chat_template.jinja", "manifest.json", *hub.files}
        assert set(tree(hub.target)) == kept

    def test_second_run_is_a_no_op(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """With the revision published, nothing is called and nothing is written."""
        hub.run()
        calls, before = hub.calls(), {p: p.stat().st_mtime_ns for p in hub.volume.rglob("*")}
        capsys.readouterr()
        assert hub.run() == 0
        assert lines(capsys) == [f"{hub.target} already holds {NAME}"]
        assert hub.calls() == calls
        assert {p: p.stat().st_mtime_ns for p in hub.volume.rglob("*")} == before

    def test_resumes_after_a_crash_half_way(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A client that dies after one file is a retryable failure, and the next run downloads only the others."""
        hub.plan(fail_after=1, say=["connection reset"])
        assert hub.run() == 1
        failed = f"failed, a retry may help: the download of {NAME} did not finish; what is staged stays"
        assert lines(capsys)[1:] == ["connection reset", failed]
        assert (hub.target.exists(), hub.lock.exists()) == (False, False)
        hub.plan()
        assert hub.run() == 0
        assert hub.copied() == [["config.json"], [FIRST, SECOND, INDEX]]
        assert lines(capsys)[0] == hub.downloading(before=len(b"{}") + 1 + RECORD_BYTES)

    def test_removes_parts_of_a_killed_client(self, hub: Hub) -> None:
        """Parts that no client will ever continue are cleared before the download starts."""
        part = hub.staging / ".cache" / "huggingface" / "shard.1a2b3c4d.incomplete"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"lost")
        hub.plan(fail_after=0)
        hub.run()
        assert tree(hub.staging) == {".cache/tag": b"x"}

    def test_a_client_that_could_not_reach_the_hub_has_not_succeeded(self, hub: Hub, capsys) -> None:
        """`hf download` exits 0 when the hub is out of reach and something is staged: that is a failure here."""
        warning = "Returning existing local_dir `x` as remote repo cannot be accessed in `snapshot_download` (refused)."
        hub.plan(fail_after=2, status=0, say=[warning])
        assert hub.run() == 1
        failed = f"failed, a retry may help: the download of {NAME} did not finish; what is staged stays"
        assert lines(capsys)[1:] == [warning, failed]

    def test_what_a_successful_client_mentions_is_no_refusal(self, hub: Hub) -> None:
        """Only a client that failed is searched for the reasons that no retry changes."""
        hub.plan(say=["Warning: 'generation_config.json' not found."])
        assert hub.run() == 0

    def test_a_gated_repository_is_refused(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """What no retry changes ends with the hub's own sentence and status 2."""
        hub.plan(status=1, say=["Error: Access denied. Model 'acme/tiny' requires approval.", "Hint: set HF_DEBUG=1"])
        assert hub.run() == 2
        denied = "Error: Access denied. Model 'acme/tiny' requires approval."
        assert lines(capsys)[-1] == f"refused: the hub does not give {NAME}: {denied}"

    @pytest.mark.parametrize("content", [safetensors(b"one" * 100)[:-1], b"\x80\x04not safetensors at all", b""])
    def test_damaged_safetensors_are_dropped_and_heal(self, hub: Hub, capsys, content: bytes) -> None:
        """A staged shard that is not what the hub promises is dropped, so that the next run downloads it again."""
        hub.staging.mkdir(parents=True)
        (hub.staging / FIRST).write_bytes(content)
        assert hub.run() == 1
        dropped = f"failed, a retry may help: 1 damaged file(s) of {NAME} dropped, to be downloaded again"
        assert lines(capsys)[1:] == [f"dropping {FIRST}: its checksum is not the hub's", dropped]
        assert (hub.target.exists(), (hub.staging / FIRST).exists()) == (False, False)
        assert hub.run() == 0
        assert hub.copied() == [["config.json", SECOND, INDEX], [FIRST]]

    @pytest.mark.parametrize(("content", "fault"), ODD_SAFETENSORS, ids=range(len(ODD_SAFETENSORS)))
    def test_odd_safetensors_that_the_hub_promises_are_refused(self, hub: Hub, capsys, content: bytes, fault) -> None:
        """What is wrong in the repository itself ends with one line and status 2: a retry would bring it again."""
        hub.add(FIRST, content)
        assert hub.run() == 2
        said = lines(capsys)
        assert said[-1] == f"refused: {FIRST} of {NAME} is what the hub promises, and damaged: {fault}"
        assert (len(said), hub.target.exists(), len(hub.copied())) == (3, False, 1)

    @pytest.mark.parametrize(("content", "fault"), ODD_INDEXES, ids=range(len(ODD_INDEXES)))
    def test_odd_indexes_that_the_hub_promises_are_refused(self, hub: Hub, capsys, content: bytes, fault: str) -> None:
        """An index is believed only where it names safetensors files beside it."""
        hub.add(INDEX, content)
        assert hub.run() == 2
        assert lines(capsys)[-1] == f"refused: {INDEX} of {NAME} {fault}"
        assert not hub.target.exists()

    def test_a_fault_of_the_script_itself_is_one_line_and_not_retried(self, hub: Hub, capsys, monkeypatch) -> None:
        """What nobody foresaw has no traceback either, and names where it was met."""
        monkeypatch.setattr(fetch_weights, "sync_folder", lambda path: {}[path])
        assert hub.run() == 2
        assert lines(capsys)[-1].startswith("refused: KeyError in <lambda>, line ")

    @pytest.mark.parametrize(("number", "status"), [(13, 2), (30, 2), (28, 1), (116, 1)])
    def test_errors_of_the_volume_are_retried_where_they_may_heal(self, hub: Hub, monkeypatch, number, status) -> None:
        """No permission and a read-only volume stay so; a full one and a stale handle may not."""

        def fail(_path: Path) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fetch_weights, "sync_folder", fail)
        assert hub.run() == status

    def test_checksums_that_differ_from_the_hub_are_refused_and_heal(self, hub: Hub, capsys) -> None:
        """A shard of the right size with wrong bytes is dropped, and the next run publishes the right one."""
        hub.staging.mkdir(parents=True)
        (hub.staging / FIRST).write_bytes(safetensors(b"eno" * 100))
        assert hub.run() == 1
        assert lines(capsys)[1] == f"dropping {FIRST}: its checksum is not the hub's"
        assert not hub.target.exists()
        assert hub.run() == 0
        assert (hub.target / FIRST).read_bytes() == hub.files[FIRST]

    def test_nothing_is_published_when_checksums_cannot_be_compared(self, hub: Hub, capsys) -> None:
        """A hub that lists its files only once is asked again later, and the log says why."""
        hub.plan(verify="Traceback (most recent call last):\nhttpx.ConnectError: [Errno 111] Connection refused")
        assert hub.run() == 1
        reason = "httpx.ConnectError: [Errno 111] Connection refused"
        assert lines(capsys)[1:] == [
            f"failed, a retry may help: the hub did not say a second time what {NAME} holds: {reason}"
        ]
        assert not hub.target.exists()

    def test_reads_checksum_faults_of_modelscope(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """ModelScope's wording of a mismatch is understood like the other."""
        hub.plan(verify=f"error: {SECOND}: expected {'a' * 64} (sha256), got {'b' * 64}")
        assert hub.run(HUB_KIND="modelscope") == 1
        assert lines(capsys)[1] == f"dropping {SECOND}: its checksum is not the hub's"

    def test_modelscope_chooses_its_own_default_branch(self, hub: Hub) -> None:
        """Unpinned on ModelScope means its default branch, which is not called main."""
        target = hub.volume / "main"
        assert hub.run(HUB_KIND="modelscope", MODEL_REVISION="main", TARGET_DIR=str(target)) == 0
        where = ["--fail-on-extra-files", "--local-dir", str(hub.volume / ".incoming-main")]
        assert hub.calls()[-1]["words"] == ["cache", "verify", "acme/tiny", *where]

    def test_a_missing_shard_is_refused(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A repository whose index names a shard it does not have is never published."""
        (hub.root / "hub" / SECOND).unlink()
        assert hub.run() == 2
        assert lines(capsys)[-1] == f"refused: {NAME} lacks {SECOND}, which {INDEX} names"
        assert not hub.target.exists()

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_tiny.py", "tokenizer.PKL", "sub/optimizer.pt"])
    def test_pickles_and_code_are_refused(self, hub: Hub, capsys: pytest.CaptureFixture[str], name: str) -> None:
        """Whatever brought a pickle or a program into staging, it is not published."""
        hub.add(name, b"\x80\x04.")
        hub.plan(ignore_filters=True)
        assert hub.run() == 2
        assert lines(capsys)[-1] == f"refused: {NAME} brought {name}: pickles and code are not published"
        assert not hub.target.exists()

    def test_a_repository_without_safetensors_is_refused(self, hub: Hub, capsys) -> None:
        """A repository of pickles alone has nothing that may be published."""
        for name in (FIRST, SECOND, INDEX):
            (hub.root / "hub" / name).unlink()
        assert hub.run() == 2
        promised = f"refused: {NAME} has 0 bytes of safetensors, at least 1 were promised"
        assert lines(capsys)[-1] == promised

    @pytest.mark.parametrize(("expected", "status"), [(1257, 0), (1258, 2)])
    def test_fewer_bytes_than_expected_are_refused_beyond_the_slack(self, hub: Hub, capsys, expected, status) -> None:
        """The 1232 bytes of safetensors satisfy a promise of up to 2 % more."""
        assert len(hub.files[FIRST]) + len(hub.files[SECOND]) == 1232
        assert hub.run(EXPECTED_BYTES=str(expected)) == status
        refused = f"refused: {NAME} has 1232 bytes of safetensors, at least 1258 were promised"
        assert lines(capsys)[-1] == (refused if status else f"published {NAME} at {hub.target}")

    def test_progress_counts_what_this_attempt_brought(self) -> None:
        """Rate and remaining time come from the bytes of this attempt."""
        line = fetch_weights.progress(30 * 2**20, 10 * 2**20, 4.0, 100 * 2**20)
        assert line == "downloading: 31457280 bytes, 5.0 MiB/s, ETA 14 s"

    def test_a_volume_too_small_is_refused_before_downloading(self, hub: Hub, capsys, monkeypatch) -> None:
        """With 2 % of slack and less than that free, the client is not even started."""
        monkeypatch.setattr(fetch_weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=1019))
        assert hub.run(EXPECTED_BYTES="1000") == 2
        refused = f"refused: {NAME} needs 1020 more bytes, the volume of {hub.volume} has 1019 free"
        assert lines(capsys) == [refused]
        assert hub.calls() == []

    def test_staged_bytes_need_no_space_again(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        """The free space asked for is what is still to come."""
        hub.staging.mkdir(parents=True)
        (hub.staging / FIRST).write_bytes(hub.files[FIRST])
        free = int(1232 * 1.02) - len(hub.files[FIRST])
        monkeypatch.setattr(fetch_weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        assert hub.run(EXPECTED_BYTES="1232") == 0

    def test_the_token_is_never_printed(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A client that prints the token is printed without it, and its arguments do not carry it."""
        hub.plan(fail_after=0, say=[f"401 for Bearer {TOKEN}"])
        assert hub.run() == 1
        said = lines(capsys)
        assert said[1] == "401 for Bearer ***"
        assert (TOKEN in str(said), TOKEN in str(hub.calls())) == (False, False)

    def test_the_target_appears_complete_or_not_at_all(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until the one rename there is no target, and what is renamed is complete with its manifest."""
        seen, rename = [], Path.rename

        def spy(path: Path, to: Path) -> Path:
            seen.append((path, set(tree(path)), Path(to), Path(to).exists()))
            return rename(path, to)

        monkeypatch.setattr(fetch_weights.Path, "rename", spy)
        hub.run()
        assert [call["target"] for call in hub.calls()] == [False, False]
        assert seen == [(hub.staging, {*hub.files, "manifest.json"}, hub.target, False)]

    def test_a_failed_publication_leaves_no_target_and_is_finished_by_the_next_run(self, hub, capsys, monkeypatch):
        """When the last rename fails, readers see nothing, and the next run downloads nothing again."""

        def fail(_path: Path, _to: Path) -> None:
            raise OSError("stale file handle")

        with monkeypatch.context() as patch:
            patch.setattr(fetch_weights.Path, "rename", fail)
            assert hub.run() == 1
        assert lines(capsys)[-1] == "failed, a retry may help: stale file handle"
        assert not hub.target.exists()
        assert hub.run() == 0
        assert hub.copied() == [["config.json", FIRST, SECOND, INDEX], []]

    def test_a_broken_target_is_moved_aside(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A directory without a manifest makes room for the complete one and is kept."""
        hub.target.mkdir(parents=True)
        (hub.target / FIRST).write_bytes(b"half")
        assert hub.run() == 0
        [aside] = hub.volume.glob(f".broken-{REVISION}-*")
        assert lines(capsys)[-2] == f"{hub.target} was not complete: moved aside to {aside}"
        assert tree(aside) == {FIRST: b"half"}
        assert set(tree(hub.target)) == {*hub.files, "manifest.json"}

    def test_a_published_file_of_another_size_is_repaired(self, hub: Hub) -> None:
        """A target that no longer matches its manifest is replaced like a broken one."""
        hub.run()
        (hub.target / SECOND).write_bytes(b"cut")
        assert hub.run() == 0
        assert (hub.target / SECOND).read_bytes() == hub.files[SECOND]

    def test_a_target_of_another_revision_is_refused(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A directory that servers of another revision read is not touched."""
        hub.run()
        before = tree(hub.target)
        capsys.readouterr()
        assert hub.run(MODEL_REVISION="main") == 2
        wrong = f"{hub.target} holds {NAME}, not acme/tiny@main: give every revision its own directory"
        assert lines(capsys) == [f"refused: {wrong}"]
        assert tree(hub.target) == before

    @pytest.mark.parametrize(
        ("key", "value", "pattern"),
        [
            ("MODEL_REPO", "tiny", r"[\w.-]+/[\w.-]+"),
            ("MODEL_REVISION", "v1.0", "[0-9a-f]{40}|main"),
            ("TARGET_DIR", "models/x", "/.+"),
            ("HUB_KIND", "s3", "huggingface|modelscope"),
            ("EXPECTED_BYTES", "28GiB", r"\d+"),
            ("READ_THREADS", "0", r"[1-9]\d*"),
        ],
    )
    def test_a_malformed_environment_is_refused(self, hub: Hub, capsys, key: str, value: str, pattern: str) -> None:
        """Every variable is checked before anything is touched."""
        assert hub.run(**{key: value}) == 2
        assert lines(capsys) == [f"refused: {key} is {value!r}, which does not match {pattern}"]
        assert not hub.volume.exists()

    def test_an_image_without_the_client_is_refused(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """A missing command is named."""
        assert hub.run(PATH=str(hub.root)) == 2
        assert lines(capsys) == ["refused: this image has no `hf` command"]

    def test_waits_for_a_living_owner_and_uses_what_it_published(self, hub: Hub, capsys) -> None:
        """Of two Jobs on one volume the second waits while the first's heart beats, then has nothing to do."""
        hub.run()
        hub.target.rename(hub.root / "done")
        hub.lock.mkdir()
        calls, beats = hub.calls(), iter(["pod-a, heartbeat 2", "pod-a, heartbeat 3"])
        (hub.lock / "owner").write_text("pod-a, heartbeat 1")

        now = [0.0]

        def other_job(_: float) -> None:
            now[0] += fetch_weights.STALE_S - 1
            if text := next(beats, None):
                (hub.lock / "owner").write_text(text)
            else:
                (hub.root / "done").rename(hub.target)
                shutil.rmtree(hub.lock)

        capsys.readouterr()
        assert fetch_weights.main(hub.environ(), lambda: now[0], other_job) == 0
        waiting = [f"waiting for .lock-{REVISION}, held by pod-a, heartbeat {beat}" for beat in (1, 2, 3)]
        assert lines(capsys) == [*waiting, f"{hub.target} already holds {NAME}"]
        assert (hub.calls(), names(hub.volume)) == (calls, [REVISION])

    @pytest.mark.parametrize(
        ("files", "owner"), [({"owner": "pod-a, heartbeat 7"}, "pod-a, heartbeat 7"), ({}, "nobody yet")]
    )
    def test_takes_over_from_an_owner_without_heartbeat(self, hub: Hub, capsys, files: dict, owner: str) -> None:
        """A lock whose text stands still for 240 s of the waiter's clock is taken over, and not a poll earlier."""
        hub.lock.mkdir(parents=True)
        for name, text in files.items():
            (hub.lock / name).write_text(text)
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        assert fetch_weights.main(hub.environ(), lambda: now[0], sleep) == 0
        stale = f"taking over .lock-{REVISION}: no heartbeat for 240 s from {owner}"
        assert lines(capsys)[:2] == [f"waiting for .lock-{REVISION}, held by {owner}", stale]
        assert (now[0], names(hub.volume)) == (240.0, [REVISION])

    def test_an_owner_that_lost_its_lock_stops(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        """Who was taken for dead while it stood still neither publishes nor removes the new owner's lock."""
        hub.plan(thief="pod-b, heartbeat 1")
        assert hub.run() == 1
        assert lines(capsys) == [f"failed, a retry may help: lost .lock-{REVISION} to pod-b, heartbeat 1"]
        assert (hub.target.exists(), tree(hub.lock)) == (False, {"owner": b"pod-b, heartbeat 1"})

    def test_runs_alone_with_the_standard_library(self, hub: Hub) -> None:
        """The file by itself, with no site packages, is the whole program."""
        done = run_script("fetch_weights", hub.root, hub.environ())
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"published {NAME} at {hub.target}")

    def test_a_stopped_pod_stops_its_client_and_frees_the_lock(self, hub: Hub) -> None:
        """SIGTERM ends the download as a retryable failure without a lock for the next pod to wait for."""
        os.mkfifo(hub.root / "fifo")
        fifo = os.open(hub.root / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        hub.plan(fifo=str(hub.root / "fifo"))
        process = start_script("fetch_weights", hub.root, hub.environ())
        assert select.select([fifo], [], [], 30)[0] == [fifo]
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[0].splitlines()
        assert os.read(fifo, 100) == b"started\n"
        assert os.read(fifo, 100) == b""  # the end: the client is gone
        os.close(fifo)
        assert (process.returncode, said) == (1, ["failed, a retry may help: stopped"])
        assert names(hub.volume) == [f".incoming-{REVISION}"]


def start_script(name: str, folder: Path, environ: dict[str, str]) -> subprocess.Popen:
    """Start a script from its source alone, as a pod does, without site packages."""
    (folder / f"{name}.py").write_text(source(name))
    command = [sys.executable, "-I", "-S", str(folder / f"{name}.py")]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_script(name: str, folder: Path, environ: dict[str, str]) -> SimpleNamespace:
    """Run a script to its end; return its exit status and what it printed."""
    process = start_script(name, folder, environ)
    output = process.communicate(timeout=60)[0]
    return SimpleNamespace(returncode=process.returncode, stdout=output)


class TestPrewarmWeights:
    """The init container."""

    @pytest.fixture
    def volume(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> Path:
        """Return a published directory."""
        hub.run()
        capsys.readouterr()
        (hub.root / "meminfo").write_text("MemTotal:  16 kB\nMemAvailable:        8 kB\n")
        return hub.target

    def run(self, volume: Path, **extra: str) -> int:
        """Run the init container against it; return its exit status."""
        base = {"MODEL_DIR": str(volume), "MODEL_REPO": "acme/tiny", "MODEL_REVISION": REVISION}
        root = volume.parents[2]
        return prewarm_weights.main(base | extra, itertools.count().__next__, root, root / "cgroup")

    def ready(self, volume: Path) -> str:
        """Return the line of a volume in order."""
        return f"{volume} holds {NAME}, 2 safetensors"

    def test_reads_every_safetensors(self, volume: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
        """Prewarming reads all slices of all safetensors in order and says how fast."""
        monkeypatch.setattr(prewarm_weights, "SLICE_BYTES", 500)
        assert self.run(volume, PREWARM="true", READ_THREADS="2") == 0
        rate = f"{1232 / 2**30:.2f} GiB in 1 s, {1232 / 2**20:.1f} MiB/s"
        assert lines(capsys) == [self.ready(volume), f"prewarmed {rate}"]
        paths = [volume / FIRST, volume / SECOND]
        expected = [(volume / FIRST, 0, 466), (volume / SECOND, 0, 500), (volume / SECOND, 500, 266)]
        assert prewarm_weights.slices(paths, 10_000) == expected
        assert [prewarm_weights.read(part) for part in expected] == [466, 500, 266]
        assert prewarm_weights.read((volume / SECOND, 700, 500)) == 66

    def test_stops_before_the_available_memory_is_used_up(self, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With 1000 units available, 900 are read and the log says why the rest was not."""
        monkeypatch.setattr(prewarm_weights, "GIB", 1)
        monkeypatch.setattr(prewarm_weights, "MIB", 1)
        said = prewarm_weights.prewarm([volume / FIRST, volume / SECOND], 2, 1000, itertools.count().__next__)
        rate = "900.00 GiB in 1 s, 900.0 MiB/s"
        assert said == f"prewarmed {rate}; stopped before 1232.00 GiB: 1000.00 GiB of memory available"
        parts = [(volume / FIRST, 0, 466), (volume / SECOND, 0, 434)]
        assert prewarm_weights.slices([volume / FIRST, volume / SECOND], 900) == parts

    @pytest.mark.parametrize(
        ("limit", "used", "available"), [("max", "1", 8192), ("5000", "904", 4096), ("9", "10", 0)]
    )
    def test_the_container_limit_bounds_the_memory(self, volume: Path, limit: str, used: str, available: int) -> None:
        """Page cache counts against the container's memory limit, so a limit below MemAvailable is what counts."""
        cgroup = volume.parents[2] / "cgroup"
        cgroup.mkdir()
        (cgroup / "memory.max").write_text(f"{limit}\n")
        (cgroup / "memory.current").write_text(f"{used}\n")
        assert prewarm_weights.memory_available(volume.parents[2], cgroup) == available

    def test_only_checks_when_told_so(self, volume: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Without PREWARM=true the files are compared with the manifest and not read."""
        assert self.run(volume, PREWARM="false") == 0
        assert lines(capsys) == [self.ready(volume)]

    @pytest.mark.parametrize("prewarm", ["true", "false"])
    def test_writes_nothing_to_the_volume(self, volume: Path, prewarm: str) -> None:
        """No file or directory of the volume is created, changed or removed."""
        before = {p: (p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in volume.parent.rglob("*")}
        self.run(volume, PREWARM=prewarm)
        assert {p: (p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in volume.parent.rglob("*")} == before

    @pytest.mark.parametrize(("key", "value"), [("MODEL_REVISION", "f" * 40), ("MODEL_REPO", "acme/large")])
    def test_refuses_another_model_or_revision(self, volume: Path, capsys, key: str, value: str) -> None:
        """A server never loads another revision than the one it is configured for."""
        wanted = {"MODEL_REPO": "acme/tiny", "MODEL_REVISION": REVISION} | {key: value}
        assert self.run(volume, **{key: value}) == 1
        name = f"{wanted['MODEL_REPO']}@{wanted['MODEL_REVISION']}"
        remedy = f"publish {name} there, as its weights Job does, then restart this pod"
        assert lines(capsys) == [f"not ready: {volume} holds {NAME}, this server wants {name}; {remedy}"]

    def test_names_every_file_that_is_missing_or_cut_short(self, volume: Path, capsys) -> None:
        """All faults are told at once, with what to do."""
        (volume / "config.json").unlink()
        (volume / SECOND).write_bytes(b"cut")
        assert self.run(volume) == 1
        faults = f"config.json is missing, {SECOND} has 3 bytes instead of 766"
        remedy = f"publish {NAME} there, as its weights Job does, then restart this pod"
        assert lines(capsys) == [f"not ready: {volume} is not complete: {faults}; {remedy}"]

    @pytest.mark.parametrize(
        ("manifest", "fault"),
        [(None, " has no manifest.json, so nothing was published there"), ("[]", "/manifest.json does not parse")],
    )
    def test_refuses_a_directory_that_was_not_published(self, volume: Path, capsys, manifest, fault: str) -> None:
        """Files without a readable manifest are not weights."""
        (volume / "manifest.json").unlink()
        if manifest:
            (volume / "manifest.json").write_text(manifest)
        assert self.run(volume) == 1
        remedy = f"publish {NAME} there, as its weights Job does, then restart this pod"
        assert lines(capsys) == [f"not ready: {volume}{fault}; {remedy}"]

    def test_names_a_variable_that_is_not_set(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A pod without its environment says so."""
        assert prewarm_weights.main({"MODEL_REPO": "acme/tiny"}) == 1
        assert lines(capsys) == ["not ready: MODEL_REVISION is not set"]

    def test_runs_alone_with_the_standard_library(self, volume: Path) -> None:
        """The file by itself, with no site packages, is the whole program."""
        environ = {"MODEL_DIR": str(volume), "MODEL_REPO": "acme/tiny", "MODEL_REVISION": REVISION}
        done = run_script("prewarm_weights", volume.parents[2], environ)
        assert (done.returncode, done.stdout) == (0, f"{self.ready(volume)}\n")


def node(
    name: str, gpus: str = "8", ready: str = "True", memory: str = "143771", *, cordoned: bool = False, **labels: str
) -> dict:
    """Return a node of pool h200 as the API server shows it, unless `labels` say otherwise; "" leaves a thing out."""
    labels = {"pool": "h200", "nvidia.com/gpu.memory": memory} | labels
    return {
        "metadata": {"name": name, "labels": {key: value for key, value in labels.items() if value}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": {"cpu": "192", "nvidia.com/gpu": gpus} if gpus else {"cpu": "192"},
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    }


def expecting(nodes: int, **changes: object) -> verify_nodes.Expectation:
    """Return the promise of pool h200 in zone a."""
    selector = {"pool": "h200", "zone": "a"}
    promise = verify_nodes.Expectation(
        "h200", selector, nodes, "nvidia.com/gpu", gpus_per_node=8, gpu_memory_mib=143771
    )
    return replace(promise, **changes)


FEWER = "offers {} nvidia.com/gpu, promised 8 (does its device plugin run? or lower gpuPools.h200.gpusPerNode)"
UNREADY = "is not Ready (kubectl describe node says why)"
CORDONED = "is cordoned (kubectl uncordon makes it take pods again)"
LOWER_MEMORY, OR_MODELS = "lower gpuPools.h200.memoryGibPerNode", "or what its models ask for"
ELSEWHERE = "choose other nodes by gpuPools.{}.provisioning.labels"
CUT = "(cut it by the label mig.config=all-1g.18gb)"
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
CONTROL_TEXT = "node-role.kubernetes.io/control-plane:NoSchedule"
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
TOLERATED = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
MINE = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}


def foreign(taint: str, remedy: str) -> str:
    """Return what is said of a taint that pods do not tolerate."""
    return f"has the taint {taint}, which pods of the pool do not tolerate ({remedy})"


def add(key: str, value: str = "", effect: str = "NoSchedule") -> str:
    """Return what helps against a taint of the user's own."""
    given = f', value: "{value}"' if value else ""
    return f"add {{key: {key}{given}, effect: {effect}}} to gpuPools.h200.tolerations, or remove the taint"


DEDICATED = foreign("dedicated=ml:NoSchedule", add("dedicated", "ml"))


def tainted(*taints: dict, **fields: object) -> dict:
    """Return a node of pool h200 with these taints."""
    found = node("a", zone="a", **fields)  # pyright: ignore[reportArgumentType]
    return {**found, "spec": {**found["spec"], "taints": list(taints)}}


def labelled(labels: dict[str, str]) -> dict:
    """Return a node of pool h200 with these labels too."""
    found = node("a", zone="a")
    found["metadata"]["labels"] |= labels
    return found


def parts(label: str, value: str) -> str:
    """Return what is said of a node that offers parts of cards."""
    return f"offers parts of cards, promised whole ones (its {label} is '{value}'; switch that off there)"


class TestVerifyNodes:
    """The node verification Job."""

    @pytest.mark.parametrize(
        ("nodes", "expectation", "messages"),
        [
            ([node("a", zone="a"), node("b", zone="a")], expecting(2), []),
            ([node("a", zone="a"), node("b", zone="a", cordoned=True)], expecting(1), []),
            ([], expecting(0), []),
            ([node("c", gpus="", zone="a")], expecting(1, resource="", gpus_per_node=0), []),
            ([node("a", zone="a", memory="")], expecting(1), []),
            ([node("a", zone="a", memory="140896")], expecting(1), []),
            (
                [node("a", zone="a", memory="140895")],
                expecting(1),
                ["pool 'h200': node a has GPUs of 140895 MiB, promised 143771 (gpuPools.h200.gpu names another kind)"],
            ),
            (
                [node("h200-2", gpus="", zone="a"), node("h200-1", gpus="7", zone="a"), node("h200-3", zone="a")],
                expecting(2),
                [
                    f"pool 'h200': node h200-1 {FEWER.format(7)}",
                    f"pool 'h200': node h200-2 {FEWER.format(0)}",
                ],
            ),
            (
                [node("h200-1", ready="Unknown", cordoned=True, gpus="0", zone="a")],
                expecting(1),
                [f"pool 'h200': node h200-1 {UNREADY}, {CORDONED}, {FEWER.format(0)}"],
            ),
            (
                [node("h200-1", ready="False", zone="a"), node("h200-2", zone="b")],
                expecting(2),
                [
                    f"pool 'h200': node h200-1 {UNREADY}",
                    "pool 'h200': 1 of 2 nodes match pool=h200,zone=a, nearest: h200-2 (its zone is 'b')",
                ],
            ),
            (
                [node("cpu-1", pool="cpu"), node("gpu-7", pool="h100", zone="a")],
                expecting(4),
                ["pool 'h200': 0 of 4 nodes match pool=h200,zone=a, nearest: gpu-7 (its pool is 'h100')"],
            ),
            (
                [node("cpu-1", pool="", zone="a"), node("cpu-0", pool="cpu", zone="b")],
                expecting(1),
                ["pool 'h200': 0 of 1 nodes match pool=h200,zone=a, nearest: cpu-1 (it has no label pool)"],
            ),
            ([], expecting(1), ["pool 'h200': 0 of 1 nodes match pool=h200,zone=a, the cluster has no other node"]),
        ],
    )
    def test_judges_every_node_of_the_pool(self, nodes: list, expectation, messages: list[str]) -> None:
        """Enough good nodes are silence; otherwise every failing node is named with all its faults."""
        assert verify_nodes.judge(nodes, expectation) == messages

    @pytest.mark.parametrize(
        ("found", "tolerations", "faults"),
        [
            (tainted(GPU_TAINT), [TOLERATED], []),
            (tainted(GPU_TAINT), [], [foreign("nvidia.com/gpu=present:NoSchedule", add("nvidia.com/gpu", "present"))]),
            (
                tainted(GPU_TAINT, MINE, {"key": "night", "effect": "NoExecute"}),
                [TOLERATED],
                [DEDICATED, foreign("night:NoExecute", add("night", effect="NoExecute"))],
            ),
            # what a toleration leaves out matches everything, but for a value, which is compared
            (tainted(MINE), [{"key": "dedicated", "operator": "Exists"}], []),
            (tainted(MINE), [{"key": "dedicated", "operator": "Equal", "value": "ml"}], []),
            (tainted(MINE), [{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}], []),
            (tainted({"key": "dedicated", "effect": "NoSchedule"}), [{"key": "dedicated"}], []),
            (tainted(MINE), [{"operator": "Exists"}], []),
            (tainted(MINE), [{"key": "dedicated"}], [DEDICATED]),
            (tainted(MINE), [{"key": "dedicated", "value": "m"}], [DEDICATED]),
            (tainted(MINE), [{"key": "dedicated", "value": "ml", "effect": "NoExecute"}], [DEDICATED]),
            (tainted(MINE), [{"key": "other", "operator": "Exists"}], [DEDICATED]),
            # it only prefers
            (tainted({**MINE, "effect": "PreferNoSchedule"}), [], []),
            # said once, though the cluster says it three times
            (
                tainted(
                    {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
                    {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
                    {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
                    cordoned=True,
                    ready="Unknown",
                ),
                [],
                [UNREADY, CORDONED],
            ),
            (
                tainted({"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}),
                [],
                [foreign("node.kubernetes.io/disk-pressure:NoSchedule", "it goes when the node is well")],
            ),
            (tainted(CONTROL_PLANE), [], [foreign(CONTROL_TEXT, ELSEWHERE.format("h200"))]),
        ],
    )
    def test_a_taint_that_pods_do_not_tolerate_is_a_fault(self, found: dict, tolerations: list, faults: list) -> None:
        """Pods of the pool could not run there; the message says which toleration would help."""
        expectation = expecting(1, tolerations=tuple(tolerations))
        assert verify_nodes.node_faults(found, expectation) == faults

    @pytest.mark.parametrize(
        ("labels", "faults"),
        [
            ({}, []),
            ({"nvidia.com/gpu.sharing-strategy": "none", "nvidia.com/gpu.replicas": "1"}, []),
            ({"nvidia.com/gpu.sharing-strategy": "mps"}, [parts("nvidia.com/gpu.sharing-strategy", "mps")]),
            # once, whatever else says so
            (
                {"nvidia.com/gpu.sharing-strategy": "time-slicing", "nvidia.com/gpu.replicas": "4"},
                [parts("nvidia.com/gpu.replicas", "4")],
            ),
            ({"nvidia.com/gpu.slices.gi": "3"}, [parts("nvidia.com/gpu.slices.gi", "3")]),
        ],
    )
    def test_parts_of_cards_are_a_fault(self, labels: dict, faults: list[str]) -> None:
        """Slices and MIG devices are offered under the name of whole cards, and have less memory than was planned."""
        whole = {
            "nvidia.com/gpu.replicas": ("0", "1"),
            "nvidia.com/gpu.sharing-strategy": ("none",),
            "nvidia.com/gpu.slices.gi": (),
        }
        assert verify_nodes.node_faults(labelled(labels), expecting(1, whole_cards=whole)) == faults
        assert verify_nodes.node_faults(labelled(labels), expecting(1)) == []

    def test_what_is_offered_in_place_of_cards_is_named(self) -> None:
        """With MIG devices of several sizes there is no card left under the old name."""
        found = node("a", gpus="0", zone="a")
        found["status"]["allocatable"] |= {"nvidia.com/mig-1g.18gb": "7", "nvidia.com/mig-3g.71gb": "0", "cpu": "64"}
        promise = "offers 0 nvidia.com/gpu, promised 8"
        fix = "it offers nvidia.com/mig-1g.18gb: 7; or lower gpuPools.h200.gpusPerNode"
        assert verify_nodes.node_faults(found, expecting(1)) == [f"{promise} ({fix})"]

    @pytest.mark.parametrize(
        ("labels", "faults"),
        [
            ({}, [f"is not cut as promised: it has no label gpu.product {CUT}"]),
            ({"gpu.product": "H200-MIG-1g.18gb", "nvidia.com/gpu.memory": "143771"}, []),
            # drivers differ in how much they keep, and more does no harm
            ({"gpu.product": "H200-NVL-MIG-1g.18gb", "part.memory": "17536"}, []),
            (
                {"gpu.product": "H200", "mig.config.state": "failed", "part.memory": "15000", "part.replicas": "4"},
                [
                    f"is not cut as promised: its gpu.product is 'H200', its mig.config.state is 'failed' {CUT}",
                    "offers parts of slices, promised whole ones (its part.replicas is '4'; switch that off there)",
                    "has parts of cards of 15000 MiB, promised 16384 (gpuPools.h200.mig.profile names another kind)",
                ],
            ),
        ],
    )
    def test_cards_are_cut_as_promised(self, labels: dict, faults: list[str]) -> None:
        """By what labels say of the parts, and no part has less memory than was planned with."""
        environ = {
            "POOL_NAME": "h200",
            "EXPECTED_NODES": "1",
            "EXPECTED_GPU_MEMORY_MIB": "16384",
            "WHOLE_CARDS": "part.replicas=0|1",
            "MIG_CONFIG": "mig.config=all-1g.18gb",
            "MIG_LABELS": "gpu.product=H200-MIG-1g.18gb|H200-NVL-MIG-1g.18gb",
            "GPU_MEMORY_LABEL": "part.memory",
        }
        bare = node("a", gpus="8", zone="a")
        bare["metadata"]["labels"] = labels
        assert verify_nodes.node_faults(bare, verify_nodes.expectation_from(environ)) == faults

    def test_what_pods_ask_for_beside_gpus_is_there(self) -> None:
        """Every resource in its amount, and the label that places replicas; a node that has less is named with it."""
        environ = {
            "POOL_NAME": "h200",
            "EXPECTED_NODES": "1",
            "RESOURCES": '{"hugepages-2Mi": "5120Mi", "rdma/ib": "2"}',
            "TOPOLOGY_LABEL": "rack",
        }
        expectation = verify_nodes.expectation_from(environ)
        bare = node("a", gpus="8", zone="a")
        bare["status"]["allocatable"] |= {"hugepages-2Mi": "4Gi"}
        how = "does what offers it run there? gpuPools.h200.resources says how many"
        assert verify_nodes.node_faults(bare, expectation) == [
            f"offers 4Gi hugepages-2Mi, pods ask for 5120Mi ({how})",
            f"offers 0 rdma/ib, pods ask for 2 ({how})",
            "has no label rack, by which replicas over several nodes are placed (gpuPools.h200.exclusiveTopology)",
        ]
        bare["status"]["allocatable"] |= {"hugepages-2Mi": "5Gi", "rdma/ib": "2"}
        bare["metadata"]["labels"]["rack"] = "r1"
        assert verify_nodes.node_faults(bare, expectation) == []

    def test_cards_that_are_not_cut_are_named_with_the_way_to_cut_them(self) -> None:
        """A node that was never told offers whole cards in place of parts."""
        expectation = replace(
            expecting(1), resource="nvidia.com/mig-1g.18gb", gpus_per_node=56, mig_config="mig.config=all-1g.18gb"
        )
        (fault,) = verify_nodes.node_faults(node("a", gpus="8", zone="a"), expectation)
        assert fault == (
            "offers 0 nvidia.com/mig-1g.18gb, promised 56 (it offers nvidia.com/gpu: 8; or cut its cards by the label "
            "mig.config=all-1g.18gb, or lower gpuPools.h200.gpusPerNode)"
        )

    @pytest.mark.parametrize(
        ("labels", "older", "need"),
        [
            ({}, (), ""),
            ({"new": "580"}, (), ""),
            ({"new": "595", "old": "550"}, (), ""),
            ({"new": "570"}, (535, 570), ""),
            ({"new": "570"}, (), "has driver 570, its servers need 580 or newer"),
            ({"old": "550"}, (535, 570), "has driver 550, its servers need 580 or newer, or 535, or 570"),
        ],
    )
    def test_a_driver_that_the_images_do_not_run_on_is_a_fault(self, labels: dict, older: tuple, need: str) -> None:
        """By whichever label says the driver's version; where none does, nothing is known, and nothing said."""
        expectation = expecting(1, driver_labels=("new", "old"), oldest_driver=580, older_drivers=older)
        fix = " (update it, or give its models an image for it)"
        assert verify_nodes.node_faults(labelled(labels), expectation) == ([need + fix] if need else [])

    @pytest.mark.parametrize(
        ("allocatable", "faults"),
        [
            ({"cpu": "32", "memory": "120Gi", "ephemeral-storage": "90Gi"}, []),
            ({"cpu": "30", "memory": "115000Mi", "ephemeral-storage": "22592Mi"}, []),
            ({"cpu": "30000m", "memory": "120586240k", "ephemeral-storage": "94489280512"}, []),
            (
                {"cpu": "15890m", "memory": "27812Mi", "ephemeral-storage": "18242267924"},
                [
                    f"offers 15.89 CPU cores to pods, 30 are needed (lower gpuPools.h200.cpusPerNode {OR_MODELS})",
                    f"offers 27812 MiB of memory to pods, 115000 are needed ({LOWER_MEMORY} {OR_MODELS})",
                    "offers 17397.2 MiB of local disk to pods, 22592 are needed (give it a larger one)",
                ],
            ),
            # a kubelet that counts no local disk: the scheduler places no pod that asks for some
            (
                {"cpu": "30", "memory": "120Gi"},
                ["offers 0 MiB of local disk to pods, 22592 are needed (give it a larger one)"],
            ),
        ],
    )
    def test_too_little_for_pods_is_a_fault(self, allocatable: dict, faults: list[str]) -> None:
        """By what is allocatable, in whatever way the kubelet writes it."""
        expectation = expecting(1, cpus=30, memory_mib=115000, disk_mib=22592)
        found = node("a", zone="a")
        found["status"]["allocatable"] |= {"cpu": "0", **allocatable}
        assert verify_nodes.node_faults(found, expectation) == faults

    @pytest.mark.parametrize(
        ("text", "value"),
        [("192", 192), ("1930m", 1.93), ("16Gi", 2**34), ("129e6", 129e6), ("1E", 1e18), (".5", 0.5), ("5n", 5e-9)],
    )
    def test_reads_quantities_as_kubernetes_writes_them(self, text: str, value: float) -> None:
        """Decimal and binary suffixes, and exponents."""
        assert verify_nodes.quantity(text) == pytest.approx(value)

    def test_a_cpu_pool_is_not_made_of_control_planes(self) -> None:
        """Three of them match a CPU pool that asks for nothing but nodes without GPUs, and none of them counts."""
        expectation = verify_nodes.expectation_from(
            self.environ(POOL_NAME="cpu", NODE_SELECTOR="nvidia.com/gpu.present!=true", EXPECTED_NODES="2")
            | {"RESOURCE_NAME": "", "TOLERATIONS": "[]"}
        )
        nodes = [{**node(name, gpus=""), "spec": {"taints": [CONTROL_PLANE]}} for name in ("m1", "m2", "m3")]
        said = foreign(CONTROL_TEXT, ELSEWHERE.format("cpu"))
        assert verify_nodes.judge([*nodes, node("w", gpus="")], expectation) == [
            f"pool 'cpu': node {name} {said}" for name in ("m1", "m2", "m3")
        ]
        assert verify_nodes.judge([*nodes, node("w", gpus=""), node("v", gpus="")], expectation) == []

    def test_what_is_odd_about_a_pool_that_keeps_its_promise_is_noted(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Nodes that fail beyond those that were promised, and taints that only prefer, are no reason to fail."""
        nodes = [
            tainted({**MINE, "effect": "PreferNoSchedule"}),
            node("b", zone="a", cordoned=True),
            node("z", zone="b"),
        ]
        assert verify_nodes.main(self.environ(), lambda: nodes, lambda: 0.0, never_sleep) == 0
        assert lines(capsys) == [
            "pool 'h200': 1 of 1 nodes keep the promise",
            "note: node a has the taint dedicated=ml:PreferNoSchedule, so pods of the pool go elsewhere first",
            f"note: node b {CORDONED}",
        ]

    def test_notes_are_few(self) -> None:
        """A cluster of hundreds of other nodes is not listed."""
        nodes = [node(f"n{number}", zone="a", cordoned=True) for number in range(7)]
        assert verify_nodes.notes(nodes, expecting(0)) == [
            *(f"note: node n{number} {CORDONED}" for number in range(5)),
            "note: and 2 more nodes",
        ]

    def environ(self, **extra: str) -> dict[str, str]:
        """Return the environment of the Job."""
        base = {"POOL_NAME": "h200", "NODE_SELECTOR": "pool=h200,zone=a", "EXPECTED_NODES": "1", "TIMEOUT_S": "20"}
        return base | {"RESOURCE_NAME": "nvidia.com/gpu", "GPUS_PER_NODE": "8", "TERMINATION_LOG": "/none"} | extra

    @pytest.mark.parametrize(
        ("selector", "messages"),
        [
            ("pool=h100|h200,zone!=b", []),
            ("pool=h100|h20,zone=a", ["0 of 1 nodes match pool=h100|h20,zone=a, nearest: a (its pool is 'h200')"]),
            ("pool=h200,zone!=a", ["0 of 1 nodes match pool=h200,zone!=a, nearest: a (its zone is 'a')"]),
            ("pool=h200,spot!=true", []),
            ("spot=true|", ["0 of 1 nodes match spot=true|, nearest: a (it has no label spot)"]),
        ],
    )
    def test_selects_by_alternatives_and_exclusions(self, selector: str, messages: list[str]) -> None:
        """`|` separates values of which one must be there, and `!=` holds where the label is absent too."""
        expectation = verify_nodes.expectation_from(self.environ(NODE_SELECTOR=selector))
        assert verify_nodes.judge([node("a", zone="a")], expectation) == [f"pool 'h200': {text}" for text in messages]

    def test_polls_until_the_promise_is_kept(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A device plugin that needs a while is waited for, 15 s at a time."""
        answers = iter([[node("a", gpus="", zone="a")], [node("a", zone="a")]])
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        assert verify_nodes.main(self.environ(), lambda: next(answers), lambda: now[0], sleep) == 0
        waiting = f"waiting, 20 s left: pool 'h200': node a {FEWER.format(0)}"
        assert lines(capsys) == [waiting, "pool 'h200': 1 of 1 nodes keep the promise"]
        assert now[0] == 15.0

    def test_reports_every_reason_at_the_deadline(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The last look is at the deadline, and its reasons are also the termination message."""
        log = tmp_path / "termination-log"
        log.touch()
        now, naps = [0.0], []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            now[0] += seconds

        nodes = [node("a", gpus="7", zone="a"), node("b", gpus="0", zone="a")]
        environ = self.environ(EXPECTED_NODES="2", TERMINATION_LOG=str(log))
        assert verify_nodes.main(environ, lambda: nodes, lambda: now[0], sleep) == 1
        reasons = [f"pool 'h200': node {n} {FEWER.format(g)}" for n, g in (("a", 7), ("b", 0))]
        waiting = [f"waiting, {left} s left: {reasons[0]} (+1)" for left in (20, 5)]
        assert lines(capsys) == [*waiting, *reasons]
        assert (log.read_text(), naps) == ("\n".join(reasons), [15, 5.0])

    def test_the_termination_message_is_cut_to_what_the_kubelet_keeps(self, tmp_path: Path) -> None:
        """A pool of hundreds of failing nodes does not overflow the message, and no file is created for it."""
        log = tmp_path / "termination-log"
        verify_nodes.terminate_with("x" * 5000, log)
        assert not log.exists()
        log.touch()
        verify_nodes.terminate_with("x" * 5000, log)
        assert log.stat().st_size == 4096

    def test_asks_the_api_server_page_by_page_with_the_token(self, tmp_path: Path) -> None:
        """The script alone, against a server that pages, finds the node on the second page."""
        (tmp_path / "token").write_text("sa-token\n")
        with api_server([[node("cpu-1", pool="cpu")], [node("a", zone="a")]]) as (url, seen):
            environ = self.environ(API_SERVER=url, SERVICE_ACCOUNT_DIR=str(tmp_path), HTTP_PROXY="http://127.0.0.1:9")
            done = run_script("verify_nodes", tmp_path, environ)
        assert (done.returncode, done.stdout) == (0, "pool 'h200': 1 of 1 nodes keep the promise\n")
        first = ("/api/v1/nodes", {"limit": ["500"]}, "Bearer sa-token")
        assert seen == [first, ("/api/v1/nodes", {"limit": ["500"], "continue": ["1"]}, "Bearer sa-token")]

    def test_says_when_it_may_not_list_nodes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A refusal by the API server is told with the likely cause."""
        (tmp_path / "token").write_text("sa-token")
        with api_server([]) as (url, _):
            environ = self.environ(API_SERVER=url, SERVICE_ACCOUNT_DIR=str(tmp_path), TIMEOUT_S="0")
            assert verify_nodes.main(environ | {"TIMEOUT_S": "-1"}, sleep=never_sleep) == 1
        denied = "the API server answered 403 Forbidden; may its ServiceAccount list nodes?"
        assert lines(capsys) == [f"pool 'h200': {denied}"]

    def test_says_when_the_api_server_does_not_answer(self, tmp_path: Path, capsys) -> None:
        """A missing token or a refused connection is a reason, not a traceback."""
        environ = self.environ(SERVICE_ACCOUNT_DIR=str(tmp_path), TIMEOUT_S="0")
        assert verify_nodes.main(environ, clock=lambda: 0.0, sleep=never_sleep) == 1
        missing = f"nodes could not be listed: [Errno 2] No such file or directory: '{tmp_path}/token'"
        assert lines(capsys) == [f"pool 'h200': {missing}"]

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
    @pytest.mark.parametrize(("trusted", "status"), [("ca", 0), ("other", 1)])
    def test_trusts_only_the_cluster_ca(self, tmp_path: Path, trusted: str, status: int) -> None:
        """The address in a pod's environment is called over TLS, and a server of another CA gets no token."""
        for name in ("ca", "other"):
            make_certificate(tmp_path, name)
        (tmp_path / "token").write_text("sa-token")
        (tmp_path / "ca.crt").write_bytes((tmp_path / f"{trusted}.pem").read_bytes())
        with api_server([[node("a", zone="a")]], tmp_path / "ca.pem") as (url, seen):
            where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": url.rpartition(":")[2]}
            environ = self.environ(SERVICE_ACCOUNT_DIR=str(tmp_path), TIMEOUT_S="0", **where)
            done = run_script("verify_nodes", tmp_path, environ)
        assert (done.returncode, len(seen)) == (status, 1 - status)


def make_certificate(folder: Path, name: str) -> None:
    """Write a self-signed certificate for 127.0.0.1 with its key to `<name>.pem`."""
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    about = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt.pem")]
    subprocess.run([*request, *about, *files], check=True, capture_output=True)
    (folder / f"{name}.pem").write_bytes(
        (folder / f"{name}.crt.pem").read_bytes() + (folder / f"{name}.key").read_bytes()
    )


@contextmanager
def api_server(pages: list[list[dict]], certificate: Path | None = None) -> Iterator[tuple[str, list]]:
    """Serve pages of nodes, or 403 where there are none; yield the address and the requests seen."""
    seen: list = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            seen.append((url.path, query, self.headers["Authorization"]))
            if not pages:
                self.send_error(403, "Forbidden")
                return
            page = int(query.get("continue", ["0"])[0])
            more = {"continue": str(page + 1)} if page + 1 < len(pages) else {}
            body = json.dumps({"items": pages[page], "metadata": more}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that does not trust us hangs up

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
