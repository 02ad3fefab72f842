"""The copy of weights on a node's disk: every byte is checked, and what was cut off is made again."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.pod_scripts import copy_weights

REPO, REVISION = "org/small", "c" * 40
FILES = {"config.json": b"{}", "model-00001.safetensors": b"a" * 1000, "model-00002.safetensors": b"b" * 500}


NAMES_NONE = "/manifest.json names no files, files outside of it, or no hashes"


def published(folder: Path, **changes: object) -> Path:
    """A directory as a weights Job publishes it."""
    entries = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in FILES.items()}
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    manifest = {"repo": REPO, "revision": REVISION, "files": entries, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What is copied."""
    return published(tmp_path / "models" / "small")


def run(source: Path, target: Path) -> int:
    """Run the script as its container does, with a clock that stands still."""
    environ = {"MODEL_DIR": str(source), "COPY_DIR": str(target), "MODEL_REPO": REPO, "MODEL_REVISION": REVISION}
    return copy_weights.main(environ, lambda: 0.0)


def held(folder: Path) -> dict[str, bytes]:
    """Files of a folder but its manifest."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: text for name, text in found.items() if name != "manifest.json"}


def test_all_files_are_copied(source, tmp_path, capsys):
    """With their manifest, and nothing else; the original stays as it is."""
    assert run(source, tmp_path / "copy") == 0
    assert held(tmp_path / "copy") == held(source) == FILES
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == (source / "manifest.json").read_bytes()
    assert capsys.readouterr().out.splitlines() == [
        f"{source} holds {REPO}@{REVISION}, 3 files",
        "copied 0.00 GiB in 0 s, 1432418.8 MiB/s",
    ]


def test_a_copy_that_is_there_is_left_alone(source, tmp_path, capsys):
    """A container that is started again reads nothing twice."""
    run(source, tmp_path / "copy")
    (source / "model-00001.safetensors").unlink()
    assert run(source, tmp_path / "copy") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'copy'} is there already"


def test_a_copy_that_was_cut_off_is_continued(source, tmp_path):
    """Whole files are kept, half of one is made again."""
    target = tmp_path / "copy"
    target.mkdir()
    (target / "model-00002.safetensors").write_bytes(FILES["model-00002.safetensors"])
    (target / "model-00001.safetensors.partial").write_bytes(b"a" * 10)
    (source / "model-00002.safetensors").write_bytes(b"not read again")
    assert run(source, target) == 0
    assert held(target) == FILES


@pytest.mark.parametrize("damage", [b"a" * 999 + b"b", b"a" * 999, b"a" * 1001])
def test_a_damaged_file_is_never_part_of_a_copy(source, tmp_path, capsys, damage):
    """Another byte, one less, one more: the file is named, and no manifest says that the copy is whole."""
    (source / "model-00001.safetensors").write_bytes(damage)
    assert run(source, tmp_path / "copy") == 1
    found = hashlib.sha256(damage).hexdigest()
    said = f"not ready: {source}/model-00001.safetensors is not what the manifest says: it has {len(damage)} bytes, "
    assert capsys.readouterr().out.splitlines()[-1] == said + found
    assert not (tmp_path / "copy" / "manifest.json").exists()
    assert "model-00001.safetensors" not in held(tmp_path / "copy")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"revision": "d" * 40}, f"holds {REPO}@{'d' * 40}, this server wants {REPO}@{REVISION}"),
        (
            {"files": {"../x": {"bytes": 0, "sha256": "0" * 64}}},
            NAMES_NONE,
        ),
        (
            {"files": {"/etc/x": {"bytes": 0, "sha256": "0" * 64}}},
            NAMES_NONE,
        ),
        (
            {"files": {"x": {"bytes": 0, "sha256": ""}}},
            NAMES_NONE,
        ),
        ({"files": {"x": 3}}, "/manifest.json does not parse"),
        ({"files": {}}, NAMES_NONE),
    ],
)
def test_what_is_not_this_checkpoint_is_not_copied(tmp_path, capsys, changes, why):
    """Another revision, paths that lead elsewhere, a manifest without hashes."""
    source = published(tmp_path / "models", **changes)
    assert run(source, tmp_path / "copy") == 1
    said = capsys.readouterr().out
    assert why in said
    assert said.startswith(f"not ready: {source}")
    assert not (tmp_path / "copy").exists()


def test_nothing_published_is_said(tmp_path, capsys):
    """With what to do."""
    assert run(tmp_path / "models", tmp_path / "copy") == 1
    assert capsys.readouterr().out == (
        f"not ready: {tmp_path}/models has no manifest.json, so nothing was published there; publish {REPO}@{REVISION} "
        "there, as its weights Job does, then restart this pod\n"
    )


def test_a_disk_that_is_too_small_is_said_before_it_is_full(source, tmp_path, capsys, monkeypatch):
    """Nothing is copied to it."""
    monkeypatch.setattr(copy_weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    assert run(source, tmp_path / "copy") == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"not ready: {tmp_path}/copy has room for 0.00 GiB, the checkpoint takes 0.00"
    )
    assert held(tmp_path / "copy") == {}


def test_a_variable_that_is_missing_is_named(capsys):
    """Not a traceback."""
    assert copy_weights.main({"MODEL_REPO": REPO}) == 1
    assert capsys.readouterr().out == "not ready: MODEL_REVISION is not set\n"
