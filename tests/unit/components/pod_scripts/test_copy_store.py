"""The copy of weights from a bucket to a node's disk, from a store in memory.

That the rendered pod does it with the real client of S3 is proved in tests/local/test_object_store.py.
"""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.pod_scripts import copy_store, copy_weights
from tests.unit.components.pod_scripts.test_copy_weights import FILES, REPO, REVISION, held
from tests.unit.components.pod_scripts.test_fill_store import MemoryStore

URL = f"s3://models/llm/small/{REVISION}"
REMEDY = f"publish {REPO}@{REVISION} there, as its weights Job does, then restart this pod"
FIRST = "model-00001.safetensors"


def store(**changes: object) -> MemoryStore:
    """A folder as it is published, `changes` in its manifest."""
    made = MemoryStore()
    entries = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in FILES.items()}
    manifest = {"repo": REPO, "revision": REVISION, "files": entries, **changes}
    texts = {**FILES, "manifest.json": json.dumps(manifest).encode()}
    made.objects = {name: (text, "") for name, text in texts.items()}
    return made


def run(bucket: MemoryStore, target: Path) -> int:
    """Run the script as its container does, with a clock that stands still."""
    environ = {"MODEL_DIR": URL, "COPY_DIR": str(target), "MODEL_REPO": REPO, "MODEL_REVISION": REVISION}
    return copy_store.main(environ, lambda: 0.0, lambda _url, _environ: bucket)


def test_all_files_are_copied_and_then_the_manifest(tmp_path, capsys):
    """They are the bucket's, byte for byte, and nothing else is there."""
    bucket, target = store(), tmp_path / "copy"
    assert run(bucket, target) == 0
    assert held(target) == FILES
    assert (target / "manifest.json").read_bytes() == bucket.contents["manifest.json"]
    assert capsys.readouterr().out.splitlines() == [
        f"{URL} holds {REPO}@{REVISION}, 3 files",
        "copied 0.00 GiB in 0 s, 1432418.8 MiB/s",
    ]


def test_a_copy_that_is_there_is_left_alone_and_the_bucket_is_not_asked(tmp_path, capsys):
    """A container that is started again in the same pod is there at once."""
    target = tmp_path / "copy"
    assert run(store(), target) == 0
    bucket = store()
    assert run(bucket, target) == 0
    assert bucket.opened == []
    assert capsys.readouterr().out.splitlines()[-1] == f"{target} is there already"


def test_whole_files_of_a_copy_that_was_cut_off_are_kept(tmp_path):
    """Only what is missing or partial is brought."""
    target = tmp_path / "copy"
    target.mkdir()
    (target / FIRST).write_bytes(FILES[FIRST])
    (target / "model-00002.safetensors.partial").write_bytes(b"b")
    bucket = store()
    assert run(bucket, target) == 0
    assert sorted(bucket.opened) == ["config.json", "manifest.json", "model-00002.safetensors"]
    assert held(target) == FILES


def test_bytes_that_are_not_those_of_the_manifest_are_not_kept(tmp_path, capsys):
    """The server does not start, and the next try asks for them again."""
    bucket, target = store(), tmp_path / "copy"
    flipped = b"A" + FILES[FIRST][1:]
    bucket.objects[FIRST] = (flipped, "")
    assert run(bucket, target) == 1
    digest = hashlib.sha256(flipped).hexdigest()
    said = f"not ready: {FIRST} is not what the manifest says: it has 1000 bytes, {digest}"
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert not (target / FIRST).exists()
    assert not (target / "manifest.json").exists()


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        (MemoryStore(), f"{URL} has no manifest.json, so nothing was published there; {REMEDY}"),
        (store(revision="d" * 40), f"{URL} holds {REPO}@{'d' * 40}, this server wants {REPO}@{REVISION}; {REMEDY}"),
        (store(files={}), f"{URL}/manifest.json names no files, files outside of it, or no hashes; {REMEDY}"),
    ],
)
def test_a_folder_without_the_checkpoint_is_said_to_be_so(tmp_path, capsys, bucket, said):
    """By its URL, with what to do."""
    assert run(bucket, tmp_path / "copy") == 1
    assert capsys.readouterr().out.splitlines() == [f"not ready: {said}"]


def test_a_disk_without_room_is_said_before_anything_is_brought(tmp_path, capsys, monkeypatch):
    """With what there is and what it takes."""
    monkeypatch.setattr(copy_weights.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    bucket = store()
    assert run(bucket, tmp_path / "copy") == 1
    assert bucket.opened == ["manifest.json"]
    assert "has room for 0.00 GiB, the checkpoint takes 0.00" in capsys.readouterr().out


def test_a_stream_that_can_only_be_read_is_enough(tmp_path):
    """That of Azure's client cannot be closed, and is no context of a `with`."""

    class Reading(MemoryStore):
        def open(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(read=super().open(name).read)

    bucket = Reading()
    bucket.objects = store().objects
    assert run(bucket, tmp_path / "copy") == 0
    assert held(tmp_path / "copy") == FILES
