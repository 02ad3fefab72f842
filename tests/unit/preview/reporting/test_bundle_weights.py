"""The weights of a bundle's script with the real clients of both hubs, against a hub on 127.0.0.1.

Does not prove what other versions of the clients do, nor anything about Xet, which needs a server of its own.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.pod_scripts import fetch_weights
from preview.reporting.bundle import Bundle, Weights
from preview.reporting.bundle_listing import File
from preview.reporting.bundle_script import copy_script
from tests.unit.components.pod_scripts.hostile_hub import HEAD, Answer, HostileHub, serving

FILES = {
    "model.safetensors.index.json": json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}).encode(),
    "a.safetensors": b"one" * 100,
    "b.safetensors": b"two" * 200,
    "config.json": b"{}",
    "pytorch_model.bin": b"not wanted",
}
FETCHED = {name for name in FILES if name != "pytorch_model.bin"}
BOTH = pytest.mark.parametrize("kind", ["huggingface", "modelscope"])


@pytest.fixture
def hub() -> Iterator[HostileHub]:
    """A hub with one model, honest until a test makes it lie."""
    with serving(HostileHub(dict(FILES))) as running:
        yield running


def copied(folder: Path, hub: HostileHub, kind: str, *files: File) -> tuple[int, Path]:
    """Exit code of the script of one checkpoint, and where that is."""
    place = f"acme--tiny/{HEAD}"
    one = Weights("acme/tiny", HEAD, True, kind, None, place, "a claim", 900, True, files)
    (folder / "copy.sh").write_text(copy_script(Bundle("p", "s", (), (), (one,), ())))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1",
    }
    environment |= {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf")}
    command = ["sh", str(folder / "copy.sh"), "registry.corp", "out"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode, folder / "out" / place


@BOTH
def test_a_checkpoint_arrives_as_servers_take_it(tmp_path: Path, hub: HostileHub, kind: str):
    """All that the Job would fetch, and a manifest that it calls published."""
    code, target = copied(tmp_path, hub, kind)
    assert (code, {path.name for path in target.iterdir()}) == (0, {*FETCHED, "manifest.json"})
    job = {"MODEL_REPO": "acme/tiny", "MODEL_REVISION": HEAD, "TARGET_DIR": str(target), "HUB_KIND": kind}
    assert fetch_weights.is_published(fetch_weights.Job(job))


def flipped(hub: HostileHub) -> None:
    """One byte is another on its way."""
    hub.delivered["a.safetensors"] = FILES["a.safetensors"][:-1] + b"!"


def gone_afterwards(hub: HostileHub) -> None:
    """The hub does not answer once every file has been sent."""
    sent: set[str] = set()

    def lie(what: str, _answer: Answer) -> Answer | None:
        sent.add(what)
        done = all(any(name in item for item in sent if not item.startswith("head")) for name in FETCHED)
        return Answer(b"", 503) if done and not what.startswith(("get", "cdn")) else None

    hub.lie = lie


@BOTH
@pytest.mark.parametrize("harm", [flipped, gone_afterwards])
def test_what_the_hub_does_not_vouch_for_gets_no_manifest(
    tmp_path: Path, hub: HostileHub, kind: str, harm: Callable[[HostileHub], None]
):
    """Other bytes than it promised, or no second word from it."""
    harm(hub)
    code, target = copied(tmp_path, hub, kind)
    assert (code, (target / "manifest.json").exists()) == (1, False)


@BOTH
def test_hashes_of_a_listing_are_above_the_hub(tmp_path: Path, hub: HostileHub, kind: str):
    """What was listed before is not overruled by who sends it."""
    code, target = copied(tmp_path, hub, kind, File("a.safetensors", 300, "0" * 64))
    assert (code, (target / "manifest.json").exists()) == (1, False)
