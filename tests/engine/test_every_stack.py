"""Every stack of this project from its first `up` to its last, under the real engine, with a kill in every phase.

What is not proved here: that operators can be installed, and that a container starts.
"""

import base64
from collections.abc import Iterator

import pytest

from tests.cluster.world import NAMESPACE, SOON_S, names
from tests.engine.conftest import Story
from workshop.simcluster.api import wait_until

FOREIGN = "docker.io/somebody/elses:v1"
# stack → after how many begun changes each of its runs is killed
KILLS = {"local": (6,), "prod": (20, 15, 25), "sim": (20, 15, 25, 30)}


@pytest.fixture(scope="module", params=KILLS)
def fresh(request) -> Iterator[Story]:
    """One stack as its file says, on an empty cluster."""
    found = Story.begin(request.param)
    yield found
    found.end()


def test_an_engine_that_is_killed_again_and_again_is_resumed(fresh: Story):
    """Killed while it creates: the next `up` takes over what the state file does not know; nothing is done twice."""
    for after in KILLS[fresh.world.stack.name]:
        fresh.killed_up(after)
    fresh.up()
    assert fresh.preview() == {}
    plan = fresh.world.stack.plan
    jobs = {job for job in fresh.world.uids("batch/v1", "Job") if job.startswith("weights-")}
    assert jobs == {f"weights-{item.name}" for item in plan.weights.checkpoints if item.fetch}
    for name, replicas in fresh.world.wanted().items():
        fresh.world.settled(name, replicas)


def test_refresh_finds_nothing(fresh: Story):
    """What the cluster adds to the objects is no change, neither to the state nor to the next preview."""
    fresh.engine.on_stack("refresh", "--yes", "--skip-preview", capture=True)
    assert fresh.preview() == {}


def test_no_secret_in_the_state(fresh: Story):
    """No value of any Secret of the namespace is in the state file, in clear or in base64."""
    secrets = [item for item in fresh.world.api.items("v1", "Secret", NAMESPACE) if item.get("data")]
    values = [value for item in secrets for value in item["data"].values()]
    state = fresh.state()
    assert values
    assert [value for value in values if value in state or base64.b64decode(value).decode() in state] == []


def test_destroy_keeps_the_weights(fresh: Story):
    """Only the claims and their namespace outlive the stack."""
    claims = fresh.world.uids("v1", "PersistentVolumeClaim")
    fresh.engine.on_stack("destroy", "--yes", "--skip-preview", capture=True)
    wait_until(lambda: not fresh.world.pods(), SOON_S, "all pods are gone")
    assert fresh.world.uids("v1", "PersistentVolumeClaim") == claims
    assert NAMESPACE in names(fresh.world.api.items("v1", "Namespace"))
    left = {
        kind: names(fresh.world.api.items(version, kind, NAMESPACE))
        for version, kind in (
            ("apps/v1", "Deployment"),
            ("batch/v1", "Job"),
            ("v1", "Service"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("policy/v1", "PodDisruptionBudget"),
        )
    }
    assert set().union(*left.values()) == set()


def test_what_belongs_to_others_is_refused_and_left_alone(fresh: Story):
    """A Deployment of the gateway's name that somebody else made stops `up` with who owns it, and stays as it was."""
    labels = {"app": "foreign"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "litellm", "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "litellm", "image": FOREIGN}]},
            },
        },
    }
    fresh.world.api.create(body)
    before = fresh.world.deployment("litellm")
    assert "conflict" in fresh.failed_up()
    assert fresh.world.deployment("litellm")["spec"] == before["spec"]
    fresh.world.api.delete(body)


def test_up_again_takes_the_weights_over(fresh: Story):
    """The claims are adopted as they are, whatever an `up` that failed has made before, and nothing is left to do."""
    claims = fresh.world.uids("v1", "PersistentVolumeClaim")
    fresh.up()
    assert fresh.world.uids("v1", "PersistentVolumeClaim") == claims
    assert fresh.preview() == {}
    for name, replicas in fresh.world.wanted().items():
        fresh.world.settled(name, replicas)
