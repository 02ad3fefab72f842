"""Weights for which somebody vouched: proven before they are published, and before a server loads them.

The Job runs with the real client of a hub, which lies. Does not prove what the value is worth: that is for who gave it.
"""

import hashlib
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.pod_scripts import check_store, fetch_proven, fill_store, prove_weights
from preview.__main__ import main as preview
from preview.reporting import manifest_hash
from tests.unit.components.pod_scripts.hostile_hub import HEAD, Answer, HostileHub, serving
from tests.unit.components.pod_scripts.test_fetch_from_hub import FILES, FLIPPED, NAME, Volume
from tests.unit.components.pod_scripts.test_fill_store import URL, WANTED, MemoryStore, manifest_of
from tests.unit.components.pod_scripts.test_pod_scripts import FIRST, lines, never_sleep, tree


def vouched(files: dict[str, bytes]) -> str:
    """As the documents say it, in other words than the scripts do."""
    text = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


RIGHT, WRONG = vouched(WANTED), "0" * 64
OTHERS = vouched({**WANTED, FIRST: FLIPPED})


def refusal(where: str, found: str = RIGHT, wanted: str = WRONG) -> str:
    """What is said of other files than those that were vouched for."""
    return (
        f"the files of {where} have the manifest {found}, and {wanted} was vouched for (manifestSha256): correct that "
        "value if it is wrong; if it is right, these are other files, and nothing may load them"
    )


def written(folder: Path, files: dict[str, bytes], **changes: bytes) -> Path:
    """A published folder; `changes` come after its manifest."""
    for name, content in {**files, "manifest.json": json.dumps(manifest_of(files)).encode(), **changes}.items():
        (folder / name).write_bytes(content)
    return folder


# --- the value --------------------------------------------------------------------------------------------------------


def test_the_value_is_what_sha256sum_makes_of_all_files(tmp_path: Path, capsys) -> None:
    """The command of the documents, ours on the folder and on its manifest, and the pods' script agree."""
    folder = written(tmp_path, {**WANTED, "é.json": b"[]", "a b.txt": b"c"})
    names = "find . -type f ! -name manifest.json -printf '%P\\n' | LC_ALL=C sort"
    shell = f"{names} | xargs -d '\\n' sha256sum | sha256sum | cut -d' ' -f1"
    (folder / ".cache").mkdir()
    told = subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    assert [preview(["manifest", str(path)]) for path in (folder, folder / "manifest.json")] == [0, 0]
    assert lines(capsys) == [told, told]
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert prove_weights.manifest_sha256(files) == told
    assert manifest_hash.manifest_sha256({name: entry["sha256"] for name, entry in files.items()}) == told


def test_what_no_job_publishes_is_not_in_it(tmp_path: Path, capsys) -> None:
    """What a plain download brings besides changes nothing."""
    folder = written(tmp_path, {**WANTED, "README.md": b"x", "pytorch_model.bin": b"y", ".gitattributes": b"z"})
    assert (preview(["manifest", str(folder)]), lines(capsys)) == (0, [RIGHT])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}"}, "has no safetensors, so it is no checkpoint"),
        ({}, "has no safetensors, so it is no checkpoint"),
    ],
)
def test_what_is_no_checkpoint_has_no_value(tmp_path: Path, capsys, files: dict[str, bytes], said: str) -> None:
    """A typing error in a path is not a hash of nothing."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert preview(["manifest", str(tmp_path)]) == 64
    assert said in capsys.readouterr().err


def test_a_path_that_is_not_there_is_named_as_it_was_given(tmp_path: Path, capsys) -> None:
    """By no option of another command."""
    assert preview(["manifest", str(tmp_path / "none")]) == 64
    assert capsys.readouterr().err == f"python -m preview: {tmp_path / 'none'}: no such file or directory\n"


def test_a_listing_of_the_hub_is_not_enough(tmp_path: Path, capsys) -> None:
    """It has git's hashes of small files, which are none of their bytes."""
    siblings = [{"rfilename": "config.json", "size": 2}, {"rfilename": FIRST, "size": 1, "lfs": {"sha256": "a" * 64}}]
    (tmp_path / "hub.json").write_text(json.dumps({"id": "acme/tiny", "sha": HEAD, "siblings": siblings}))
    assert preview(["manifest", str(tmp_path / "hub.json")]) == 64
    assert "has no SHA-256 of config.json; download the files, and give their folder" in capsys.readouterr().err


# --- before it is published -------------------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[HostileHub]:
    """A hub with one model, honest until a test makes it lie."""
    with serving(HostileHub(dict(FILES))) as running:
        yield running


@pytest.fixture
def volume(tmp_path: Path, hub: HostileHub) -> Volume:
    """An empty volume."""
    return Volume(tmp_path, hub)


@pytest.fixture(autouse=True)
def proving(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Job of `Volume` is the one that proves."""
    plain = fetch_proven.fetch_weights.main

    def main(environ: dict[str, str], *_clocks: object) -> int:
        monkeypatch.setattr(fetch_proven.fetch_weights, "main", plain)
        try:
            return fetch_proven.main(environ, itertools.count().__next__, never_sleep)
        finally:
            monkeypatch.setattr(fetch_proven.fetch_weights, "main", main)

    monkeypatch.setattr(fetch_proven.fetch_weights, "main", main)


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_what_was_vouched_for_is_published(volume: Volume, kind: str, capsys) -> None:
    """As without it, and it may run again."""
    assert volume.run(kind, MANIFEST_SHA256=RIGHT) == 0
    assert lines(capsys)[-1] == f"published {NAME} at {volume.target}"
    assert tree(volume.target).keys() == {*WANTED, "manifest.json"}
    assert (volume.run(kind, MANIFEST_SHA256=RIGHT), lines(capsys)) == (0, [f"{volume.target} already holds {NAME}"])


# Hugging Face's client keeps what it has of a commit, so it is asked once more.
RETRIES = {"huggingface": [1, 0], "modelscope": [0, 0]}


@pytest.mark.parametrize("kind", RETRIES)
def test_a_mirror_does_not_vouch_for_itself(volume: Volume, hub: HostileHub, kind: str, capsys) -> None:
    """Other bytes, of which it promises all hashes as they are, are not published; the right ones then are."""
    hub.files[FIRST] = FLIPPED
    assert volume.run(kind, MANIFEST_SHA256=RIGHT) == 2
    assert lines(capsys)[-1] == f"refused: {refusal(str(volume.staging), OTHERS, RIGHT)}"
    assert not volume.target.exists()
    hub.files[FIRST] = FILES[FIRST]
    assert [volume.run(kind, MANIFEST_SHA256=RIGHT) for _ in range(2)] == RETRIES[kind]
    assert tree(volume.target)[FIRST] == FILES[FIRST]


def test_what_was_published_before_is_proven_too(volume: Volume, capsys) -> None:
    """A value that comes later is not passed over, and what is there is not touched."""
    assert volume.run(MANIFEST_SHA256=RIGHT) == 0
    before = tree(volume.target)
    assert volume.run(MANIFEST_SHA256=WRONG) == 2
    assert lines(capsys)[-1] == f"refused: {refusal(str(volume.target))}"
    assert tree(volume.target) == before


def test_a_failed_download_stays_a_failed_download(volume: Volume, hub: HostileHub) -> None:
    """A retry is asked for as without a value."""
    hub.lie = lambda what, _answer: Answer(b"", 500) if what.startswith("tree") else None
    assert volume.run(MANIFEST_SHA256=RIGHT) == 1


@pytest.mark.parametrize("files", [FILES, {**FILES, FIRST: FLIPPED}], ids=["right", "other"])
def test_a_bucket_gets_its_manifest_only_when_that_is_right(files: dict[str, bytes], capsys) -> None:
    """The objects of other files lie there without one, so no server takes them; what is full is proven again."""
    store, told = MemoryStore(), {"MODEL_REPO": "acme/tiny", "MODEL_REVISION": HEAD, "TARGET_URL": URL}
    with serving(HostileHub(dict(files))) as hub:

        def run(wanted: str) -> int:
            return fill_store.main(
                {**told, "HF_ENDPOINT": hub.url, "MANIFEST_SHA256": wanted}, lambda *_: store, pause_s=0
            )

        if files is FILES:
            assert (run(RIGHT), "manifest.json" in store.objects) == (0, True)
            assert (run(WRONG), lines(capsys)[-1]) == (2, f"refused: {refusal(URL)}")
        else:
            assert (run(RIGHT), lines(capsys)[-1]) == (2, f"refused: {refusal(URL, OTHERS, RIGHT)}")
            assert "manifest.json" not in store.objects


# --- before it is loaded ----------------------------------------------------------------------------------------------


def prove(folder: Path | str, wanted: str, **more: str) -> int:
    """Run the init container; return its exit status."""
    return prove_weights.main({"MODEL_DIR": str(folder), "MANIFEST_SHA256": wanted, **more})


def test_a_folder_that_is_right_is_let_through(tmp_path: Path, capsys) -> None:
    """With its bytes, or by its manifest alone."""
    folder = written(tmp_path, WANTED)
    assert [prove(folder, RIGHT, PROVE_BYTES=word) for word in ("true", "false")] == [0, 0]
    assert lines(capsys) == [f"{folder} is what was vouched for, 4 files"] * 2


FAULTS: dict[str, tuple[dict[str, bytes], str, str, str]] = {
    "another manifest": ({}, "true", WRONG, ""),
    "other bytes": (
        {FIRST: FLIPPED, "config.json": b"[]"},
        "true",
        RIGHT,
        f"config.json, {FIRST} of DIR are not what the manifest says, so nothing may load them",
    ),
    "a manifest of words": ({"manifest.json": b"[]"}, "false", RIGHT, "the manifest.json of DIR does not parse"),
    "a deep manifest": (
        {"manifest.json": b"[" * 200_000},
        "false",
        RIGHT,
        "the manifest.json of DIR does not parse",
    ),
    "a manifest without hashes": (
        {"manifest.json": b'{"files": {"a": 1}}'},
        "false",
        RIGHT,
        "the manifest.json of DIR does not parse",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_anything_else_keeps_a_server_from_starting(tmp_path: Path, capsys, case: str) -> None:
    """It says what differs, all at once."""
    changes, every_byte, wanted, said = FAULTS[case]
    folder = written(tmp_path, WANTED, **changes)
    assert prove(folder, wanted, PROVE_BYTES=every_byte) == 1
    said = said.replace("DIR", str(folder)) or refusal(str(folder))
    assert lines(capsys) == [f"not proven: {said}"]


def test_what_is_missing_is_said(tmp_path: Path, capsys) -> None:
    """A folder without a manifest, or a variable that is not set."""
    assert prove(tmp_path, RIGHT) == 1
    assert lines(capsys)[0].startswith("not proven: [Errno 2] No such file or directory")
    assert (prove_weights.main({"MODEL_DIR": "/x"}), lines(capsys)) == (1, ["not proven: MANIFEST_SHA256 is not set"])


def test_a_bucket_is_proven_by_its_manifest(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """It is pulled by what pulls everything else there, and it alone."""
    asked: list[Any] = []

    def pull(url: str, folder: str, allowed: list[str], ignored: object) -> None:
        asked.append((url, allowed, ignored))
        written(Path(folder), WANTED)

    monkeypatch.setattr(check_store, "streamer", lambda: (lambda _url: [], pull))
    assert [prove("s3://models/x", wanted) for wanted in (RIGHT, WRONG)] == [0, 1]
    assert lines(capsys) == [
        "s3://models/x is what was vouched for, 4 files",
        f"not proven: {refusal('s3://models/x')}",
    ]
    assert asked == [("s3://models/x", ["*/manifest.json"], None)] * 2
