"""`preview manifest --write`: the manifest of files that no Job publishes, as the look at a bucket takes it."""

import hashlib
import json
from pathlib import Path

import pytest

from preview.__main__ import main

FILES = {"config.json": b"{}", "model-rank-0-part-0.safetensors": b"a", "model-rank-1-part-0.safetensors": b"b"}
HELD = f"org/small@{'c' * 40}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint as vLLM's own example leaves it."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_it_names_every_file_with_size_and_hash(folder: Path, capsys):
    """As a Job writes it; the hash is said as ever, and is that of the manifest too."""
    assert main(["manifest", str(folder), "--write", HELD]) == 0
    assert main(["manifest", str(folder / "manifest.json")]) == 0
    first, second = capsys.readouterr().out.split()
    assert first == second
    files = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in FILES.items()}
    assert json.loads((folder / "manifest.json").read_text()) == {
        "repo": "org/small",
        "revision": "c" * 40,
        "files": files,
    }


def test_one_that_is_there_is_left_alone(folder: Path, capsys):
    """It may be somebody's promise."""
    (folder / "manifest.json").write_text("{}")
    assert main(["manifest", str(folder), "--write", HELD]) == 64
    assert "is there already; take it away if it is of other files" in capsys.readouterr().err
    assert (folder / "manifest.json").read_text() == "{}"


@pytest.mark.parametrize("held", ["org/small", "org/small@main", f"small@{'c' * 40}", f"org/small@{'C' * 40}"])
def test_it_is_of_a_commit(folder: Path, held: str, capsys):
    """A branch moves."""
    assert main(["manifest", str(folder), "--write", held]) == 64
    assert f"--write is ORG/NAME@COMMIT with 40 hex digits, not '{held}'" in capsys.readouterr().err
    assert not (folder / "manifest.json").exists()


def test_it_is_of_a_folder(folder: Path, capsys):
    """A manifest is there already."""
    assert main(["manifest", str(folder), "--write", HELD]) == 0
    assert main(["manifest", str(folder / "manifest.json"), "--write", HELD]) == 64
    assert "--write needs a folder" in capsys.readouterr().err
