"""An engine that is ended at any moment of `up`, of a change and of `destroy` heals by what docs/operations.md says.

What is not proved here: a machine that is lost with its backend, and Helm releases: a simulated cluster has none.
`LLM_STACK_KILLS` is how many times it is ended, 6 unless it says otherwise; `LLM_STACK_SEED` draws when.
"""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest

from tests.cluster.world import NAMESPACE
from tests.engine.conftest import BACKEND, Story
from tests.engine.test_engine import image, replicas, revision
from tests.harness import ROOT
from workshop.problems import Impossible
from workshop.process import stop
from workshop.simcluster.killed import helpers

KILLS = int(os.environ.get("LLM_STACK_KILLS", "6"))
SEED = int(os.environ.get("LLM_STACK_SEED", "1"))
HEALED_IN_S = 180
CHANGES = (image, revision, replicas)
# Steps of the stack `dev` from nothing; of a change of it.
ALL, FEW = 44, 6


@pytest.fixture(scope="module")
def healing() -> Iterator[Story]:
    """The stack `dev` with a hub token of its own, so that each kind of Secret is drawn or named."""
    found = Story.begin("dev")
    found.own_keys()
    found.secret("huggingFaceToken", "hf_engine_51c0ffee9ad2")
    yield found
    found.end()


def documented() -> list[list[str]]:
    """The commands of docs/operations.md, as arguments of `pulumi`."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = re.search(r"## After a killed update\n.*?```\n(.*?)```", text, re.DOTALL)
    assert block
    return [line.split()[1:] for line in block[1].splitlines() if line.startswith("pulumi ")]


def heal(story: Story) -> float:
    """Does what the documentation says; returns how many seconds it took."""
    begun = time.monotonic()
    for process in helpers(story.engine.environment()[BACKEND]):
        stop(process)
    for sidecar in (story.engine.home / "state").rglob("*.attrs"):
        if not sidecar.stat().st_size:
            sidecar.unlink()
    for arguments in documented():
        stack = [story.world.stack.name] if arguments[0] == "cancel" else ["--stack", story.world.stack.name]
        skip = [] if arguments[0] == "cancel" else ["--skip-preview"]
        # nothing to cancel after Ctrl-C
        with suppress(Impossible) if arguments[0] == "cancel" else nullcontext():
            story.engine.run([*arguments, *stack, "--yes", *skip], capture=True, timeout_s=HEALED_IN_S)
    return time.monotonic() - begun


@pytest.mark.parametrize("number", range(KILLS))
def test_what_is_killed_heals_by_what_is_documented(healing: Story, number: int):
    """One moment of one command after the other: afterwards everything is as the stack file says, in three minutes."""
    dice = random.Random(SEED * 1000 + number)
    how = signal.SIGINT if number % 5 == 4 else signal.SIGKILL
    alone = dice.random() < 0.5
    match number % 3:
        case 0:
            healing.killed("up", dice.randint(1, ALL if number == 0 else FEW), how, alone=alone)
        case 1:
            healing.change(CHANGES[number // 3 % len(CHANGES)])
            healing.killed("up", dice.randint(1, 3), how, alone=alone)
        case _:
            healing.killed("destroy", dice.randint(1, ALL), how, alone=alone)
            if dice.random() < 0.7:
                healing.engine.release(lambda _: None, 0)
                healing.killed("up", dice.randint(1, 12), alone=alone)
    took = heal(healing)
    assert healing.preview() == {}
    assert took <= HEALED_IN_S
    for body in healing.world.api.items("apps/v1", "Deployment", NAMESPACE):
        healing.world.settled(body["metadata"]["name"], body["spec"]["replicas"])


def test_a_sidecar_that_was_cut_off_is_removed(healing: Story):
    """A state file that cannot be read because its sidecar is empty is read again without it."""
    sidecar = healing.engine.state_file().with_suffix(".json.attrs")
    sidecar.write_text("", encoding="utf-8")
    with pytest.raises(Impossible, match="EOF"):
        healing.engine.run(["cancel", "--yes", healing.world.stack.name], capture=True)
    said: list[str] = []
    healing.engine.release(said.append, 0)
    assert f"an engine was killed while it wrote {sidecar.name}, which is removed" in said
    assert healing.preview() == {}


def test_helpers_of_a_killed_engine_are_ended(healing: Story):
    """They live on, in groups of their own; the next `make up` ends them."""
    backend = healing.engine.environment()[BACKEND]
    healing.change(image if "v0.33.1" not in str(healing.content) else replicas)
    assert healing.killed("up", 1, alone=True)
    assert list(helpers(backend)) != []
    healing.engine.release(lambda _: None, 0)
    assert list(helpers(backend)) == []
    healing.engine.up(lambda _: None, HEALED_IN_S)
