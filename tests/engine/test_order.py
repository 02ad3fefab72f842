"""The steps that `tests.steps` replays are those of the real engine, in an order it allows.

What is not proved here: that the engine could not have chosen another order that the model does not have.
"""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.cluster.world import NAMESPACE
from tests.engine.conftest import Change, Story
from tests.engine.test_engine import SERVER, another_name, context, image, replicas, revision
from tests.harness import Deployed, stack
from tests.steps import Op, Update

# What the engine calls the making of what is replaced, and the deletions.
MADE = {"create": Op.CREATE, "update": Op.UPDATE, "create-replacement": Op.REPLACE}
DELETED = ("delete", "delete-replaced")


def no_redis(config: dict[str, Any]) -> None:
    """The gateway counts by itself."""
    config["llm-stack:gateway"]["redis"] = {"kind": "none"}


def a_redis(config: dict[str, Any]) -> None:
    """It has a Redis again."""
    del config["llm-stack:gateway"]["redis"]


def deployed(story: Story) -> Deployed:
    """The present stack file under mocks, without secrets: they are the same before and after."""
    config = {key.removeprefix("llm-stack:"): value for key, value in story.content["config"].items()}
    return stack({key: value for key, value in config.items() if ":" not in key})


def events(story: Story) -> list[tuple[str, str, str]]:
    """(begun or done, operation, `Kind/logical name`) of every step of an `up`, in the order of the engine."""
    found = []
    lines = story.engine.on_stack("up", "--yes", "--skip-preview", "--json", capture=True).splitlines()
    for event in map(json.loads, lines):
        for key, phase in (("resourcePreEvent", "begun"), ("resOutputsEvent", "done")):
            metadata = event.get(key, {}).get("metadata")
            if metadata:
                qualified, name = metadata["urn"].split("::")[2:]
                kind = qualified.rpartition("$")[2].rpartition(":")[2]
                found.append((phase, metadata["op"], f"{kind}/{name}"))
    return found


@pytest.fixture(scope="module")
def plain():
    """The stack `dev`, deployed; its Secret has a key for the server under its other name, too."""
    found = Story.begin("dev")
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "llm-keys", "namespace": NAMESPACE}}
    found.world.api.patch(keys, {"stringData": {f"{SERVER}-chat": "sk-engine-5b0e94d17c2f"}})
    found.engine.up(lambda _: None, 180)
    yield found
    found.end()


@pytest.mark.parametrize("change", [image, context, no_redis, a_redis, replicas, revision, another_name])
def test_the_engine_does_what_is_replayed(plain: Story, change: Change):
    """The same operations on the same resources; none before what it depends on is done, deletions last, in layers."""
    before = deployed(plain)
    plain.change(change)
    update = Update.between(before, deployed(plain))
    seen = events(plain)
    made = {title: MADE[op] for phase, op, title in seen if phase == "begun" and op in MADE}
    expected = {step.title: step.op for step in update.steps.values() if step.op is not Op.SAME}
    assert made == expected
    place = {(phase, title): number for number, (phase, op, title) in enumerate(seen) if op in MADE}
    late = [
        (update.after[other].title, update.after[urn].title)
        for urn in update.steps
        for other in update.ancestors[urn]
        if update.after[urn].title in expected and update.after[other].title in expected
        if place["done", update.after[other].title] > place["begun", update.after[urn].title]
    ]
    assert late == []
    gone = [(phase, title) for phase, op, title in seen if op in DELETED]
    layers = [{step.title for step in layer if step.old and step.old.custom} for layer in update.deletions]
    first = {one.title for step in update.steps.values() for one in step.first}
    assert {title for _, title in gone if title.partition("/")[0] != "VllmServer"} == set().union(*layers, first)
    for layer, following in pairwise(layers):
        ends = [number for number, (phase, title) in enumerate(gone) if title in layer - first and phase == "done"]
        begins = [
            number for number, (phase, title) in enumerate(gone) if title in following - first and phase == "begun"
        ]
        assert not ends or not begins or max(ends) < min(begins)
    assert plain.preview() == {}
