"""One stack file of one name in two backends, on one cluster: whose the namespace is, and how it changes hands.

What is not proved here: two organisations of Pulumi Cloud; a backend in a folder stands for any.
"""

from collections.abc import Iterator

import pytest

from planning.stack.identity import CLAIM, lost_claim
from tests.cluster.world import NAMESPACE
from tests.engine.conftest import Story
from tests.engine.test_engine import SERVER, image
from workshop.problems import Impossible

OWNER = "llm-stack-dev"
LOST = lost_claim(NAMESPACE, {"stack": OWNER}, "own")


@pytest.fixture(scope="module")
def first() -> Iterator[Story]:
    """The stack `dev`, deployed from one backend."""
    found = Story.begin("dev")
    found.up()
    yield found
    found.end()


@pytest.fixture(scope="module")
def second(first: Story, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The same from another backend, where nothing was deployed yet, with another image of the server."""
    story = first.beside(tmp_path_factory.mktemp("elsewhere"))
    story.change(image)
    return story


def told(story: Story, yes: bool) -> None:
    """Says in the stack file that everything is taken over, or no more."""
    story.change(lambda config: config["llm-stack:cluster"].update(takeOver=yes))


def image_of(story: Story) -> str:
    """That of the server on the cluster."""
    return story.world.deployment(SERVER)["spec"]["template"]["spec"]["containers"][0]["image"]


def test_another_state_is_refused_before_it_changes_anything(first: Story, second: Story):
    """The second `up` ends with whose the namespace is and with the way out; each object is as it was."""
    before = first.managed()
    refusal = second.failed_up()
    claim = first.world.api.get("v1", "ConfigMap", CLAIM, NAMESPACE)
    assert claim is not None
    assert f"{OWNER}, state {claim['data']['state']}; cluster.takeOver: true takes over" in refusal
    assert first.managed() == before
    assert first.preview() == {}


def test_told_so_it_takes_over(second: Story):
    """With the word for one `up`; without it nothing but the word changes, and then nothing."""
    told(second, True)
    second.up()
    assert image_of(second) == second.content["config"]["llm-stack:models"]["qwen3-8b"]["image"]
    told(second, False)
    assert set(second.up()) == {"update"}
    assert second.preview() == {}


@pytest.mark.parametrize("verb", ["preview", "up", "destroy"])
def test_who_was_taken_over_from_is_refused(first: Story, second: Story, verb: str):
    """It is told whose the namespace is, and nothing of the new owner's is touched."""
    before = second.managed()
    options = {
        "preview": [],
        "up": ["--yes", "--skip-preview"],
        "destroy": ["--yes", "--skip-preview", "--run-program"],
    }
    with pytest.raises(Impossible, match="another state") as refusal:
        first.engine.on_stack(verb, *options[verb], capture=True)
    assert LOST in str(refusal.value)
    assert second.managed() == before


def test_it_takes_back_what_was_taken(first: Story, second: Story):
    """With the word and a refresh, all is as the first file says; now the second is refused."""
    told(first, True)
    first.engine.on_stack("up", "--refresh", "--yes", "--skip-preview", capture=True)
    assert first.preview() == {}
    assert image_of(first) != second.content["config"]["llm-stack:models"]["qwen3-8b"]["image"]
    assert LOST in second.failed_up()


def test_after_a_destroy_whoever_comes_next_has_it(first: Story, second: Story):
    """The claim goes with the rest, and is taken without a word by who has a state of what was there once."""
    first.destroy()
    assert first.world.api.get("v1", "ConfigMap", CLAIM, NAMESPACE) is None
    second.engine.on_stack("up", "--refresh", "--yes", "--skip-preview", capture=True)
    assert second.preview() == {}
