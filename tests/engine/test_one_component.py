"""A stack that is up from before there was `LlmStack` comes under it as it is.

What is not proved here: operators installed by Helm, which a simulated cluster cannot run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from planning.stack.identity import CLAIM
from preview.rendering.stackfile import PROJECT_FILE
from tests.engine.conftest import Story
from tests.harness import ROOT

FLAT = Path(__file__).parent / "flat"
NEW = {"LlmStack/llm-stack": "create", f"ConfigMap/{CLAIM}": "create"}
KINDS = (
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)


def run_from(story: Story, folder: Path) -> None:
    """Lets the engine run the program of another folder."""
    file = story.engine.home / "project" / PROJECT_FILE
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text(encoding="utf-8")), "main": str(folder)}))


@pytest.fixture(scope="module")
def flat() -> Iterator[Story]:
    """The stack `dev`, deployed by the program that had everything at the top."""
    found = Story.begin("dev")
    found.own_keys()
    run_from(found, FLAT)
    found.up()
    yield found
    found.end()


def uids(story: Story) -> dict[str, dict[str, str]]:
    """Kind → name → identity of what is on the cluster."""
    return {kind: story.world.uids(version, kind) for version, kind in KINDS}


def rename(config: dict) -> None:
    """The model under another public name, in place of the one that is served."""
    models = config["llm-stack:models"]
    (old,) = models
    models["renamed"] = {**models.pop(old), "replaces": old}


def test_a_rename_in_the_same_update_does_what_it_would_do_alone(flat: Story):
    """A model that is renamed meanwhile is found under its former name, at the top where it was."""
    alone = flat.preview(rename)
    run_from(flat, ROOT)
    assert flat.preview(rename) == {**alone, **NEW}
    assert "replace" in alone.values()


def test_nothing_is_replaced_and_nothing_is_deleted(flat: Story):
    """New are the component itself and the claim; every object stays the one it was, under the name it had."""
    before = uids(flat)
    run_from(flat, ROOT)
    assert flat.preview() == NEW
    assert flat.up() == {"create": 2}
    assert flat.preview() == {}
    after = uids(flat)
    assert after["ConfigMap"].pop(CLAIM)
    assert after == before
    assert all(before.values())
