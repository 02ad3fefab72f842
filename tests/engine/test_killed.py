"""An engine that is ended at any moment of `up`, of a change and of `destroy` heals by what docs/operations.md says.

What is not proved here: a machine that is lost with its backend, and Helm releases: a simulated cluster has none.
`LLM_STACK_KILLS` is how many times it is ended, 6 unless it says otherwise; `LLM_STACK_SEED` draws when. What was done
each time, and how long it took to heal, is what `--junitxml` writes down as properties.
"""

import os
import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.cluster.world import NAMESPACE
from tests.engine.conftest import BACKEND, Story
from tests.engine.test_engine import context, image, replicas, revision
from tests.harness import ROOT
from workshop.problems import Impossible
from workshop.simcluster.api import wait_until
from workshop.simcluster.engine import helpers

KILLS = int(os.environ.get("LLM_STACK_KILLS", "6"))
SEED = int(os.environ.get("LLM_STACK_SEED", "1"))
HEALED_IN_S = 180
ENDED_IN_S = 10
CHANGES = (image, revision, replicas, context)


@pytest.fixture(scope="module")
def healing() -> Iterator[Story]:
    """The stack `dev` with a hub token of its own, so that each kind of Secret is drawn or named."""
    found = Story.begin("dev")
    found.own_keys()
    found.secret("huggingFaceToken", "hf_engine_51c0ffee9ad2")
    found.up()
    yield found
    found.end()


def documented() -> list[str]:
    """The commands of docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = re.search(r"## After a killed update\n.*?```\n(.*?)```", text, re.DOTALL)
    assert block
    return block[1].splitlines()


def heal(story: Story) -> float:
    """Does what the documentation says, to this backend alone; returns how many seconds it took."""
    begun = time.monotonic()
    for line in documented():
        match shlex.split(line):
            case ["pkill", "-f", pattern]:
                end_helpers(story, pattern)
            case ["find", *_]:
                # a backend in a folder is what `pulumi login --local` makes in the home folder
                home = {**os.environ, "HOME": str(story.engine.home / "state")}
                subprocess.run(["sh", "-c", line], check=True, env=home)
            case ["pulumi", "cancel"]:
                # nothing to cancel after Ctrl-C
                with suppress(Impossible):
                    story.engine.run(["cancel", "--yes", story.world.stack.name], capture=True)
            case ["pulumi", verb, *options]:
                story.engine.on_stack(verb, *options, "--yes", "--skip-preview", capture=True, timeout_s=HEALED_IN_S)
            case other:
                raise AssertionError(f"nobody tries {other}")
    return time.monotonic() - begun


def end_helpers(story: Story, pattern: str) -> None:
    """`pkill -f`, spared for who works on this machine for somebody else."""
    backend = story.engine.environment()[BACKEND]
    mine = helpers(backend)
    said = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False).stdout
    found = {int(number) for number in said.split()}
    # a child that was just made has its parent's name until it becomes another program
    still = [process for process in helpers(backend) if process in mine]
    assert [process for process in still if process.pid not in found] == []
    for process in mine:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    wait_until(lambda: helpers(backend) == [], ENDED_IN_S, "helpers end when they are told to")


def from_nothing(story: Story, dice: random.Random, **how: Any) -> list[str]:
    """`up` after a whole `destroy`."""
    steps = story.known()
    story.engine.on_stack("destroy", "--yes", "--skip-preview", capture=True)
    return [story.killed("up", dice.randint(1, steps), **how)]


def back_and_forth(config: dict[str, Any]) -> None:
    """All changes at once, or none of them any more."""
    model = config["llm-stack:models"]["qwen3-8b"]
    if "image" not in model:
        for change in CHANGES:
            change(config)
        return
    del model["image"], model["revision"]
    model["contextTokens"] = 8192
    config["llm-stack:gateway"]["replicas"] = 1


def of_a_change(story: Story, dice: random.Random, **how: Any) -> list[str]:
    """`up` of a stack file in which much has changed."""
    story.change(back_and_forth)
    return [story.killed("up", dice.randint(1, len(story.preview())), **how)]


def of_the_end(story: Story, dice: random.Random, **how: Any) -> list[str]:
    """`destroy`, and mostly an `up` that does not know what it has left."""
    steps = story.known()
    done = [story.killed("destroy", dice.randint(1, steps), **how)]
    missing = steps - story.known()
    if missing and dice.random() < 0.7:
        story.engine.release(lambda _: None, 0)
        done.append(story.killed("up", dice.randint(1, missing), alone=how["alone"]))
    return done


KINDS = (from_nothing, of_a_change, of_the_end)


@pytest.mark.parametrize("number", range(KILLS))
def test_what_is_killed_heals_by_what_is_documented(
    healing: Story, number: int, record_testsuite_property: Callable[[str, object], None]
):
    """One moment of one command after the other: afterwards everything is as the stack file says, in three minutes."""
    dice = random.Random(SEED * 1000 + number)
    how = signal.SIGINT if number % 5 == 4 else signal.SIGKILL
    kind = KINDS[number % len(KINDS)]
    done = kind(healing, dice, how=how, alone=dice.random() < 0.5)
    assert all(done), "it was done before it was killed"
    took = heal(healing)
    record_testsuite_property(f"{number}: {kind.__name__}, {how.name} at {done}", f"healed in {took:.0f} s")
    assert healing.preview() == {}
    assert took <= HEALED_IN_S
    for body in healing.world.api.items("apps/v1", "Deployment", NAMESPACE):
        healing.world.settled(body["metadata"]["name"], body["spec"]["replicas"])


def cut_off(story: Story) -> list[str]:
    """Empties the sidecars of the state and of every update's record, as an engine leaves one that is killed there."""
    records = sorted((story.engine.home / "state" / ".pulumi" / "history").rglob("*.json"))
    assert records
    sidecars = [file.with_suffix(".json.attrs") for file in (story.engine.state_file(), *records)]
    for sidecar in sidecars:
        sidecar.write_text("", encoding="utf-8")
    name = story.world.stack.name
    for command in (["cancel", "--yes", name], ["stack", "history", "--stack", name]):
        with pytest.raises(Impossible, match="EOF"):
            story.engine.run(command, capture=True)
    return [sidecar.name for sidecar in sidecars]


def test_sidecars_that_were_cut_off_are_removed_by_what_is_documented(healing: Story):
    """State and records that cannot be read because their sidecars are empty are read again without them."""
    cut_off(healing)
    heal(healing)
    assert healing.preview() == {}
    assert healing.engine.run(["stack", "history", "--stack", healing.world.stack.name], capture=True)


def test_sidecars_that_were_cut_off_are_removed_by_the_next_make_up(healing: Story):
    """The same without anybody's doing, and it says so."""
    cut = cut_off(healing)
    said: list[str] = []
    healing.engine.release(said.append, 0)
    assert sorted(said) == sorted(f"an engine was killed while it wrote {name}, which is removed" for name in cut)
    assert healing.preview() == {}


def test_helpers_of_a_killed_engine_are_ended(healing: Story):
    """They live on, in groups of their own; the next `make up` ends them."""
    backend = healing.engine.environment()[BACKEND]
    healing.change(back_and_forth)
    assert healing.killed("up", 1, alone=True)
    assert helpers(backend) != []
    healing.engine.release(lambda _: None, 0)
    assert helpers(backend) == []
    healing.engine.up(lambda _: None, HEALED_IN_S)
