"""The look at a bucket with files of each rank; the streamer itself is asked in tests/local."""

import pytest

from components.pod_scripts import check_shards
from tests.unit.components.pod_scripts.test_check_store import REPO, REVISION, URL, manifest, store

PATTERNS = "model-rank-0-part-*.safetensors model-rank-1-part-*.safetensors"
FILES = {
    "config.json": b"{}",
    "model-rank-0-part-0.safetensors": b"a",
    "model-rank-0-part-1.safetensors": b"b",
    "model-rank-1-part-0.safetensors": b"c",
}
ENVIRON = {"MODEL_DIR": URL, "MODEL_REPO": REPO, "MODEL_REVISION": REVISION, "MODEL_SHARDS": PATTERNS}


def run(files: dict[str, bytes]) -> int:
    """Run the script as its container does, on files that their manifest names."""
    return check_shards.main(ENVIRON, lambda: store({**files, "manifest.json": manifest(files)}))


def test_files_of_every_rank_are_let_through(capsys):
    """One part or several."""
    assert run(FILES) == 0
    assert capsys.readouterr().out == f"{URL} holds {REPO}@{REVISION}, 3 safetensors\n"


@pytest.mark.parametrize(
    ("gone", "more", "why"),
    [
        ("model-rank-1-part-0.safetensors", (), "model-rank-1-part-*.safetensors is missing"),
        ("", ("model-rank-2-part-0.safetensors",), "model-rank-2-part-0.safetensors is of no rank of this server"),
        ("", ("model-rank-10-part-0.safetensors",), "model-rank-10-part-0.safetensors is of no rank of this server"),
        (
            "model-rank-1-part-0.safetensors",
            ("model.safetensors",),
            "model-rank-1-part-*.safetensors is missing, model.safetensors is of no rank of this server",
        ),
        ("", ("model.safetensors",), "model.safetensors is of no rank of this server"),
    ],
)
def test_files_of_other_ranks_are_refused(gone: str, more: tuple[str, ...], why: str, capsys):
    """Although they are those of the manifest."""
    files = {name: text for name, text in FILES.items() if name != gone} | dict.fromkeys(more, b"x")
    assert run(files) == 1
    remedy = "save them with as many as this server has, 2, then restart this pod"
    assert capsys.readouterr().out == f"not ready: {URL} is not of these ranks: {why}; {remedy}\n"


def test_what_is_not_whole_is_said_as_of_whole_files(capsys):
    """The manifest and the small files are looked at by the same script."""
    objects = {**FILES, "config.json": b"{ }", "manifest.json": manifest(FILES)}
    assert check_shards.main(ENVIRON, lambda: store(objects)) == 1
    assert " is not complete: config.json is not what the manifest says; " in capsys.readouterr().out
