"""The look at a bucket before a server streams from it; the streamer itself is asked in tests/local."""

import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

from components.pod_scripts import check_store

URL, REPO, REVISION = "s3://models/small", "org/small", "c" * 40
FILES = {"config.json": b"{}", "model-00001.safetensors": b"a" * 1000, "tokenizer/vocab.txt": b"a b"}


def manifest(files: Mapping[str, bytes] = FILES, **changes: object) -> bytes:
    """That of a weights Job."""
    entries = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in files.items()}
    return json.dumps({"repo": REPO, "revision": REVISION, "files": entries, **changes}).encode()


def store(objects: Mapping[str, bytes]) -> check_store.Store:
    """A bucket with these objects, which lists and gives them as the streamer does."""

    def names(url: str) -> list[str]:
        return [f"{url}/{name}" for name in objects if name.endswith(".safetensors")]

    def pull(url: str, folder: str, wanted: list[str] | None, unwanted: list[str] | None) -> None:
        assert (url, unwanted) == (URL, None)
        for name, text in objects.items():
            if any(fnmatch(f"small/{name}", pattern) for pattern in wanted or ()):
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes(text)

    return names, pull


def run(objects: Mapping[str, bytes]) -> int:
    """Run the script as its container does."""
    environ = {"MODEL_DIR": URL, "MODEL_REPO": REPO, "MODEL_REVISION": REVISION}
    return check_store.main(environ, lambda: store(objects))


def test_what_is_whole_is_let_through(capsys):
    """The manifest is of this revision, and all it names is there."""
    assert run({**FILES, "manifest.json": manifest()}) == 0
    assert capsys.readouterr().out == f"{URL} holds {REPO}@{REVISION}, 1 safetensors\n"


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        (FILES, "has no manifest.json, so nothing was published there; "),
        ({**FILES, "manifest.json": b"[]"}, "/manifest.json does not parse; "),
        (
            {**FILES, "manifest.json": manifest(revision="d" * 40)},
            f" holds {REPO}@{'d' * 40}, this server wants {REPO}@{REVISION}; ",
        ),
        (
            {"config.json": b"{}", "manifest.json": manifest()},
            " is not complete: model-00001.safetensors is missing, tokenizer/vocab.txt is missing; ",
        ),
        (
            {**FILES, "config.json": b"{ }", "manifest.json": manifest()},
            " is not complete: config.json is not what the manifest says; ",
        ),
        (
            {**FILES, "x.safetensors": b"", "manifest.json": manifest()},
            " is not complete: x.safetensors is not in the manifest; ",
        ),
    ],
)
def test_what_is_not_whole_is_said(objects, why, capsys):
    """With what to do about it."""
    assert run(objects) == 1
    said = capsys.readouterr().out
    assert why in said
    assert said.startswith(f"not ready: {URL}")
    assert said.endswith(
        f"; publish {REPO}@{REVISION} there, with the manifest.json of its weights Job, then restart this pod\n"
    )


def test_an_error_of_the_store_is_said_in_a_line(capsys):
    """Whatever its client raises."""

    def broken() -> check_store.Store:
        raise PermissionError("403 for GET models")

    environ = {"MODEL_DIR": URL, "MODEL_REPO": REPO, "MODEL_REVISION": REVISION}
    assert check_store.main(environ, broken) == 1
    assert capsys.readouterr().out == f"not ready: {URL} cannot be read: PermissionError: 403 for GET models\n"


def test_an_image_without_a_streamer_is_said(capsys):
    """It is asked for when the script runs, as here."""
    assert check_store.main({"MODEL_DIR": URL, "MODEL_REPO": REPO, "MODEL_REVISION": REVISION}) == 1
    assert capsys.readouterr().out == (
        "not ready: this image has no streamer (No module named 'runai_model_streamer'); use one with "
        "runai-model-streamer in it\n"
    )


def test_the_pods_clients_are_told_where_the_bucket_is(tmp_path, capsys):
    """In a file, where the environment names one; no other environment has any written."""
    config = tmp_path / "aws-config"
    environ = {"MODEL_DIR": URL, "MODEL_REPO": REPO, "MODEL_REVISION": REVISION, "AWS_CONFIG_FILE": str(config)}
    assert check_store.main(environ, lambda: store({**FILES, "manifest.json": manifest()})) == 0
    assert config.read_text() == "[default]\ns3 =\n    addressing_style = virtual\n"
    assert capsys.readouterr().out.endswith("1 safetensors\n")
