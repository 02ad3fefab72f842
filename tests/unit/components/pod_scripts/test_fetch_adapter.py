"""Adapters that a Job fetches with the real client of a hub: published if their server can load them, else refused.

That vLLM loads what is published is proved by tests/local/test_canary.py; that it refuses what is refused here is not.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.pod_scripts import fetch_adapter
from tests.unit.components.pod_scripts.hostile_hub import HostileHub, serving
from tests.unit.components.pod_scripts.test_fetch_from_hub import NAME, Volume
from tests.unit.components.pod_scripts.test_pod_scripts import lines, never_sleep, safetensors, tree
from tests.unit.components.pod_scripts.test_prove_weights import vouched

BASE, FIELD = "Qwen/Qwen3-14B", "models.chat.adapters.sql"
CONFIG = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "base_model_name_or_path": BASE, "bias": "none"}
WEIGHTS = "adapter_model.safetensors"


def files(**config: object) -> dict[str, bytes]:
    """The repository of an adapter."""
    text = json.dumps({**CONFIG, **config}).encode()
    return {"adapter_config.json": text, WEIGHTS: safetensors(b"low" * 100), "README.md": b"not wanted"}


@pytest.fixture
def hub() -> Iterator[HostileHub]:
    """A hub with one adapter."""
    with serving(HostileHub(files())) as running:
        yield running


@pytest.fixture
def volume(tmp_path: Path, hub: HostileHub) -> Volume:
    """An empty volume."""
    return Volume(tmp_path, hub)


@pytest.fixture(autouse=True)
def checking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Job of `Volume` is the one that looks at adapters."""
    plain = fetch_adapter.fetch_weights.main

    def main(environ: dict[str, str], *_clocks: object) -> int:
        monkeypatch.setattr(fetch_adapter.fetch_weights, "main", plain)
        asked = {"BASE_MODEL": BASE, "MAX_RANK": "16", "ADAPTER_FIELD": FIELD, "EXPECTED_BYTES": "0"}
        try:
            return fetch_adapter.main({**asked, **environ}, itertools.count().__next__, never_sleep)
        finally:
            monkeypatch.setattr(fetch_adapter.fetch_weights, "main", main)

    monkeypatch.setattr(fetch_adapter.fetch_weights, "main", main)


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_an_adapter_is_published_as_weights_are(volume: Volume, kind: str, capsys) -> None:
    """Whole, with its manifest, and a second run finds it."""
    assert volume.run(kind) == 0
    assert lines(capsys)[-1] == f"published {NAME} at {volume.target}"
    assert tree(volume.target).keys() == {"adapter_config.json", WEIGHTS, "manifest.json"}
    assert (volume.run(kind), lines(capsys)) == (0, [f"{volume.target} already holds {NAME}"])


@pytest.mark.parametrize("named", [BASE, "qwen/qwen3-14b", "/data/models/Qwen3-14B", "./Qwen3-14B/", None, ""], ids=str)
def test_a_base_has_several_names(volume: Volume, hub: HostileHub, named: str | None) -> None:
    """Its repository, or a folder of somebody's disk that is called like it, or none at all."""
    hub.files.update(files(base_model_name_or_path=named))
    assert volume.run() == 0


OWN = "merge it into a checkpoint of its own"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"r": 64}, f"its rank is 64, and {FIELD}.rank is 16; write rank: 64"),
        ({"rank_pattern": {"q_proj": 32}}, f"its rank is 32, and {FIELD}.rank is 16; write rank: 32"),
        ({"r": 0}, "adapter_config.json has a rank that is none"),
        ({"r": None}, "adapter_config.json has a rank that is none"),
        ({"r": True}, "adapter_config.json has a rank that is none"),
        ({"rank_pattern": ["q_proj"]}, "adapter_config.json has a rank that is none"),
        (
            {"base_model_name_or_path": "acme/x"},
            f"its base is 'acme/x', and {FIELD} is for '{BASE}'; are both one model, write {FIELD}.base: acme/x",
        ),
        (
            {"base_model_name_or_path": "/x/Qwen3"},
            f"its base is '/x/Qwen3', and {FIELD} is for '{BASE}'; are both one model, write {FIELD}.base: /x/Qwen3",
        ),
        ({"peft_type": "IA3"}, "it is an adapter of type IA3, and only LORA is served"),
        ({"use_dora": True}, f"adapter_config.json has use_dora, which vLLM does not serve; {OWN}"),
        (
            {"bias": "all", "init_lora_weights": "pissa", "modules_to_save": ["lm_head"]},
            f"adapter_config.json has bias, init_lora_weights, modules_to_save, which vLLM does not serve; {OWN}",
        ),
    ],
)
def test_what_the_server_could_not_load_is_refused(
    volume: Volume, hub: HostileHub, config: dict[str, object], text: str, capsys
) -> None:
    """For good, with the value, the field and what to write; nothing is published."""
    hub.files.update(files(**config))
    assert volume.run() == 2
    assert lines(capsys)[-1] == f"refused: {NAME}: {text}"
    assert not volume.target.exists()


def test_everything_against_an_adapter_is_said_at_once(volume: Volume, hub: HostileHub, capsys) -> None:
    """So that one attempt is enough to mend it."""
    hub.files.update(files(r=32, base_model_name_or_path="acme/other", use_dora=True))
    assert volume.run() == 2
    assert lines(capsys)[-1].count("; ") == 2 + 3


@pytest.mark.parametrize("start", ["gaussian", "eva", True, False])
def test_a_plain_start_is_no_hindrance(volume: Volume, hub: HostileHub, start: object) -> None:
    """These begin beside the base and leave it as it is."""
    hub.files.update(files(init_lora_weights=start, modules_to_save=["score"]))
    assert volume.run() == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"adapter_config.json": None}, "it has no adapter_config.json, so it is no LoRA adapter"),
        ({WEIGHTS: None, "model.safetensors": safetensors(b"low")}, f"it has no {WEIGHTS}, so it is no LoRA adapter"),
        ({"adapter_config.json": b"[1]"}, "adapter_config.json does not parse"),
        ({"adapter_config.json": b"{"}, "adapter_config.json does not parse"),
    ],
)
def test_a_repository_that_is_no_adapter_is_refused(
    volume: Volume, hub: HostileHub, changes: dict[str, bytes | None], text: str, capsys
) -> None:
    """A checkpoint, or a file that nobody can read."""
    for name, content in changes.items():
        hub.files.pop(name, None)
        hub.files.update({name: content} if content is not None else {})
    assert (volume.run(), lines(capsys)[-1]) == (2, f"refused: {NAME}: {text}")


def test_what_was_published_for_another_rank_is_looked_at_again(volume: Volume, capsys) -> None:
    """A smaller rank than the files have is refused with every run, and they stay."""
    assert volume.run() == 0
    before = tree(volume.target)
    assert volume.run(MAX_RANK="8") == 2
    assert lines(capsys)[-1] == f"refused: {NAME}: its rank is 16, and {FIELD}.rank is 8; write rank: 16"
    assert tree(volume.target) == before


def test_an_adapter_may_be_vouched_for(volume: Volume, hub: HostileHub, capsys) -> None:
    """As weights are: other files of the same name are not published."""
    right = vouched({name: content for name, content in files().items() if name != "README.md"})
    hub.files[WEIGHTS] = safetensors(b"bad" * 100)
    assert volume.run("modelscope", MANIFEST_SHA256=right) == 2
    assert f"{right} was vouched for (manifestSha256)" in lines(capsys)[-1]
    hub.files.update(files())
    assert volume.run("modelscope", MANIFEST_SHA256=right) == 0
