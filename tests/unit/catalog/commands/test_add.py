"""`python -m catalog add`: the printed file is a catalogue, wrong inputs are refused, the hub is asked for files."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.__main__ import main
from catalog.schema import Model
from settings.commandline import FINE, REFUSED, USAGE
from tests.vllm.architectures import CONFIGS

SHA = "0123456789abcdef0123456789abcdef01234567"
CONFIG = CONFIGS["gpt-oss"]
INDEX = {"metadata": {"total_size": 123456789}, "weight_map": {"a": "model-1.safetensors"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's small files."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (tmp_path / "index.json").write_text(json.dumps(INDEX), encoding="utf-8")
    return tmp_path


def test_what_is_printed_is_a_catalogue_file(folder: Path, capsys: pytest.CaptureFixture[str]):
    """One model under its repository, with its commit, license, parameters and source; nothing is unknown."""
    args = ["--config", str(folder / "config.json"), "--index", str(folder / "index.json"), "--license", "apache-2.0"]
    assert main(["add", *args, "--repo", "me/mine", "--revision", SHA]) == FINE
    out, err = capsys.readouterr()
    ((name, entry),) = yaml.safe_load(out)["models"].items()
    model = Model.model_validate(entry)
    assert (name, model.revision, model.license, err) == ("me/mine", SHA, "apache-2.0", "")
    assert model.checkpoint.disk_bytes == 123456789
    assert (model.parameters or 0) > (model.active_parameters or 0) > 0
    assert entry["sources"][0].startswith("config.json, model.safetensors.index.json of me/mine, read 20")


def test_what_is_not_known_is_told_and_written(folder: Path, capsys: pytest.CaptureFixture[str]):
    """On stderr for who looks, as comments for who reads the file later."""
    assert main(["add", "--config", str(folder / "config.json")]) == FINE
    out, err = capsys.readouterr()
    assert err.splitlines() == [line.strip().removeprefix("# ") for line in out.splitlines() if "# unknown" in line]
    assert len(err.splitlines()) == 2


def test_the_quantisation_beside_the_config_is_read(folder: Path, capsys: pytest.CaptureFixture[str]):
    """hf_quant_config.json lies in the same folder."""
    (folder / "config.json").write_text(json.dumps(CONFIGS["llama"]), encoding="utf-8")
    (folder / "hf_quant_config.json").write_text(
        json.dumps({"quantization": {"quant_algo": "NVFP4"}}), encoding="utf-8"
    )
    assert main(["add", "--config", str(folder / "config.json")]) == FINE
    assert "checkpoint: {format: nvfp4}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is no JSON: "),
        ("[]", "must be a JSON object"),
        ("{}", "architectures is not there, so nothing is known of the KV cache"),
    ],
)
def test_files_that_are_none_are_refused(content, words, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """With the path and the fault, and nothing on stdout."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert main(["add", "--config", str(path)]) == REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}: {words}" in err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "--config is missing; or --hub"),
        (["--hub"], "--hub needs --repo"),
        (["--hub", "--repo", "a/b", "--config", "x"], "leave out --config"),
        (["--config", "x", "--repo", "ab"], "'ab' is no repository id"),
        (["--config", "x", "--revision", "main"], "'main' is no commit"),
    ],
)
def test_wrong_usage_says_what_is_right(args, words, capsys: pytest.CaptureFixture[str]):
    """Exit code 64."""
    assert main(["add", *args]) == USAGE
    assert words in capsys.readouterr().err


class Hub(BaseHTTPRequestHandler):
    """A hub on loopback with one repository, one that is gated, and one that sends away."""

    asked: list[tuple[str, str | None]] = []  # noqa: RUF012 - cleared by the fixture
    away = ""

    def do_GET(self) -> None:
        """Answers from a table."""
        self.asked.append((self.path, self.headers.get("Authorization")))
        files = [
            {"rfilename": name, "size": 77} for name in ("config.json", "model.safetensors", "consolidated.safetensors")
        ]
        info = {"sha": SHA, "gated": "auto", "cardData": {"license": "mit"}, "siblings": files}
        answers: dict[str, Any] = {
            "/api/models/me/mine/revision/main?blobs=true": info,
            f"/me/mine/resolve/{SHA}/config.json": CONFIGS["llama"],
        }
        if self.path.startswith("/api/models/me/away"):
            self.send_response(302)
            self.send_header("Location", f"{self.away}/api/models/me/mine/revision/main?blobs=true")
            self.end_headers()
            return
        status = 401 if "/me/gated" in self.path else 200 if self.path in answers else 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path)).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """That hub, as HF_ENDPOINT."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Hub) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    Hub.asked.clear()
    Hub.away = f"http://127.0.0.1:{servers[1].server_port}"
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{servers[0].server_port}")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield Hub
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_hub_gives_files_commit_license_and_bytes(hub: type[Hub], capsys: pytest.CaptureFixture[str]):
    """The files of that commit; copies in another layout are not counted."""
    assert main(["add", "--hub", "--repo", "me/mine"]) == FINE
    out, err = capsys.readouterr()
    model = Model.model_validate(yaml.safe_load(out)["models"]["me/mine"])
    assert (model.revision, model.license, model.gated, model.checkpoint.disk_bytes) == (SHA, "mit", True, 77)
    assert (err, [path for path, _ in hub.asked][1:]) == ("", [f"/me/mine/resolve/{SHA}/config.json"])


@pytest.mark.parametrize(
    ("name", "words"),
    [("me/gone", "the hub has no 'me/gone'"), ("me/gated", "the hub does not show 'me/gated' (401): set HF_TOKEN")],
)
def test_what_the_hub_refuses_says_what_to_do(name, words, hub: type[Hub], capsys: pytest.CaptureFixture[str]):
    """And is no traceback."""
    assert main(["add", "--hub", "--repo", name]) == REFUSED
    assert words in capsys.readouterr().err
    assert hub.asked


def test_the_token_goes_to_the_hub_alone(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Not to another host that it sends to, and into no output."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert main(["add", "--hub", "--repo", "me/away"]) in (FINE, REFUSED)
    assert hub.asked[:2] == [
        ("/api/models/me/away/revision/main?blobs=true", "Bearer hf_secret"),
        ("/api/models/me/mine/revision/main?blobs=true", None),
    ]
    assert "hf_secret" not in "".join(capsys.readouterr())


def test_a_hub_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """With the way without it."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["add", "--hub", "--repo", "a/b"]) == REFUSED
    assert "give the files with --config" in capsys.readouterr().err
