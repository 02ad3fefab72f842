"""Weights on a claim: what counts as there, how they are made and published, what is said when they cannot be.

The maker is a script of a few lines; that the real one makes a model vLLM serves is shown by tests/local.
"""

import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from settings.problems import Problem, Refused
from workshop import process
from workshop.local import weights
from workshop.local.blueprint import Checkpoint

WANTED = Checkpoint("weights", "org--small/abc", "org/small", "abc")
MAKES = """
import pathlib, sys
target = pathlib.Path(sys.argv[1])
(target / 'sub').mkdir()
(target / 'config.json').write_text('{}')
(target / 'sub' / 'w.bin').write_bytes(b'123')
"""


@pytest.fixture
def maker(tmp_path, monkeypatch):
    """A cache of its own, and a way to say how `org/small` is made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.01)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)

    def makes(script: str = MAKES):
        (tmp_path / "make.py").write_text(script)
        monkeypatch.setattr(weights, "MAKER", tmp_path / "make.py")
        monkeypatch.setattr(weights, "KNOWN", ("org/small",))
        return tmp_path / "venv"

    return makes


def published(folder: Path) -> list[str]:
    """Everything beside a checkpoint, itself included; whoever waits for it holds a lock there."""
    return [path.name for path in folder.parent.iterdir() if path.suffix != ".lock"]


def entry(data: bytes) -> dict:
    """What a manifest says of a file."""
    return {"bytes": len(data), "sha256": sha256(data).hexdigest()}


def test_weights_are_made_and_published_whole(maker):
    """All files with a manifest, where pods look, and nothing beside them; the second time nothing is done."""
    said = []
    took = weights.prepare(WANTED, maker(), said.append)
    folder = weights.place(WANTED)
    assert (took > 0, [text.partition(":")[0] for text in said[:1]]) == (True, ["making org/small, about 40 s"])
    assert json.loads((folder / "manifest.json").read_text()) == {
        "repo": "org/small",
        "revision": "abc",
        "files": {"config.json": entry(b"{}"), "sub/w.bin": entry(b"123")},
    }
    assert (published(folder), weights.is_there(WANTED)) == (["abc"], True)
    assert weights.prepare(WANTED, maker("1/0"), said.append) == 0


def test_a_maker_that_fails_is_refused_with_its_last_words(maker):
    """And nothing is published or left behind."""
    venv = maker("print('a'); print('no space'); raise SystemExit(3)")
    with pytest.raises(Refused) as caught:
        weights.prepare(WANTED, venv, lambda _: None)
    assert caught.value.problems == (Problem("claim weights", "org/small could not be made: a no space"),)
    assert (published(weights.place(WANTED)), weights.is_there(WANTED)) == ([], False)


def test_who_gives_up_leaves_no_maker_behind(maker, tmp_path):
    """Ctrl-C while it converts ends it."""
    venv = maker(f"import os, signal\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nsignal.pause()")

    def interrupt(_text: str) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.prepare(WANTED, venv, interrupt)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert published(weights.place(WANTED)) == []


@pytest.mark.parametrize(
    "break_it",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{} "),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_text("{}"),
        lambda folder: weights.write_manifest(folder, "org/small", "other"),
        lambda folder: weights.write_manifest(folder, "org/other", "abc"),
    ],
    ids=["missing", "size", "no manifest", "half", "list", "empty", "revision", "repository"],
)
def test_what_is_not_whole_is_made_again_and_nothing_is_deleted(maker, break_it):
    """Another revision, a missing or cut file or manifest: it is put aside, and the new one takes its place."""
    weights.prepare(WANTED, maker(), lambda _: None)
    folder = weights.place(WANTED)
    break_it(folder)
    assert weights.is_there(WANTED) is False
    assert weights.prepare(WANTED, maker(), lambda _: None) > 0
    aside = [name.rpartition("-")[0] for name in published(folder) if name != folder.name]
    assert (weights.is_there(WANTED), aside) == (True, [".broken-abc"])


def test_weights_nobody_can_make_are_refused(maker):
    """With the place to put them; what is there or can be made is fine."""
    maker()
    other = Checkpoint("weights", "org--big/def", "org/big", "def")
    assert weights.problems([WANTED, other], {"weights"}) == [
        Problem(
            "claim weights",
            f"holds no org/big@def; put its files and a manifest.json into {weights.place(other)}, "
            "let weights.kind sharedClaim download it, or serve org/small",
        )
    ]
    weights.place(other).mkdir(parents=True)
    weights.write_manifest(weights.place(other), "org/big", "def")
    assert weights.problems([WANTED, other], {"weights"}) == []


def test_a_claim_without_room_or_place_is_refused(maker, tmp_path, monkeypatch):
    """All of them; one that is there with all that is wanted needs neither."""
    maker()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0.2 * 10**9))
    fix = "set XDG_CACHE_HOME to another directory"
    room = f"takes about 0.3 GB in {tmp_path}/cache/llm-stack/claims/weights, 0.2 GB are free; {fix}"
    assert weights.problems([WANTED], {"weights", "other"}) == [Problem("claim weights", room)]
    weights.prepare(WANTED, maker(), lambda _: None)
    assert weights.problems([WANTED], {"weights"}) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert weights.problems([WANTED], {"weights", "other"}) == [
        Problem(
            f"claim {name}",
            f"{tmp_path}/file/llm-stack/claims/{name} cannot be written ({tmp_path}/file: not a directory); {fix}",
        )
        for name in ("other", "weights")
    ]


def test_a_user_without_a_home_has_no_claims(monkeypatch):
    """Which is one reason for all of them, and none where there are none."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", _homeless)
    found = [weights.problems([WANTED], {"weights", "other"}), weights.problems([], {"a"}), weights.problems([], set())]
    assert [[problem.path for problem in problems] for problems in found] == [["HOME"], ["HOME"], []]


def _homeless() -> Path:
    raise RuntimeError
