"""What was begun the wrong way round, or has to be turned round while it runs, under the real engine.

What is not proved here: what the operator KEDA and its admission webhook do; its HPA is made here as it makes it.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.world import NAMESPACE, SCALE, SOON_S, names, stuck, variant
from tests.engine.conftest import BACKEND, Change, Story
from tests.engine.test_engine import SERVER, another_name
from workshop.process import stop
from workshop.simcluster.api import Object, wait_until
from workshop.simcluster.engine import helpers
from workshop.simcluster.furnish import furnish

HPA, SCALED = ("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject")


@pytest.fixture(scope="module")
def running() -> Iterator[Story]:
    """The stack `dev`, deployed: one model, and one GPU for it."""
    found = Story.begin("dev")
    found.own_keys()
    found.up()
    yield found
    found.end()


def back(config: dict[str, Any]) -> None:
    """The model under its first name, and nobody says whose place it takes."""
    models = config["llm-stack:models"]
    models["qwen3-8b"] = {key: value for key, value in models.pop("qwen3-8b-chat").items() if key != "replaces"}


def forth(config: dict[str, Any]) -> None:
    """The model under the second name, again without a word."""
    models = config["llm-stack:models"]
    models["qwen3-8b-chat"] = models.pop("qwen3-8b")


def replaces(config: dict[str, Any]) -> None:
    """What the second name should have had."""
    config["llm-stack:models"]["qwen3-8b-chat"]["replaces"] = "qwen3-8b"


def two_nodes(config: dict[str, Any]) -> None:
    """Room for a second replica."""
    config["llm-stack:gpuPools"]["a10"]["nodes"] = 2


def scaled_by(driver: str) -> Change:
    """One replica or two, by this driver."""

    def change(config: dict[str, Any]) -> None:
        models = config["llm-stack:models"]
        models[next(iter(models))]["replicas"] = {"min": 1, "max": 2}
        config["llm-stack:autoscaling"] = {"driver": driver, "install": False}

    return change


@contextmanager
def waiting_up(story: Story, server: str) -> Iterator[Future[dict[str, int]]]:
    """An `up` that waits for the GPU of the server that it will delete in the end."""
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(story.up)
        try:
            wait_until(lambda: begun.done() or server in stuck(story.world), SOON_S, "the new server has no GPU")
            assert not begun.done()
            yield begun
        finally:
            if not begun.done():
                # its engine ends with its provider
                stop(*helpers(story.engine.environment()[BACKEND]))


def served_by(story: Story, server: str) -> None:
    """One server, of this name, and nothing is left to do."""
    assert story.preview() == {}
    story.world.settled(server, 1)
    assert names(story.world.api.items("apps/v1", "Deployment", NAMESPACE)) == ["litellm", "litellm-redis", server]


def test_another_name_takes_its_place_on_a_full_pool(running: Story):
    """The old server goes before the new one starts, so the update ends although there is one GPU for both."""
    claims = running.world.uids("v1", "PersistentVolumeClaim")
    running.change(another_name)
    running.up()
    served_by(running, f"{SERVER}-chat")
    assert running.world.uids("v1", "PersistentVolumeClaim") == claims


def test_an_update_that_waits_for_gpus_goes_on(running: Story):
    """Without `replaces` it waits for the GPU of the old server, and ends once somebody deletes that by hand."""
    running.change(back)
    with waiting_up(running, SERVER) as update:
        running.world.api.delete(running.world.deployment(f"{SERVER}-chat"))
        update.result()
    served_by(running, SERVER)


def test_replaces_may_be_added_to_a_rename_that_has_failed(running: Story):
    """It comes too late and does no harm: the old server is deleted by hand, and the next `up` ends."""
    running.change(forth)
    with waiting_up(running, f"{SERVER}-chat"):
        pass
    running.change(replaces)
    running.engine.release(lambda _: None, SOON_S)
    running.world.api.delete(running.world.deployment(SERVER))
    running.up()
    served_by(running, f"{SERVER}-chat")


def keda_acts(story: Story) -> Object:
    """The HPA that KEDA makes of the one ScaledObject, under the name that it is told."""
    (scaled,) = story.world.api.items(*SCALED, NAMESPACE)
    owner = {key: scaled["metadata"][key] for key in ("name", "uid")}
    body = {
        "apiVersion": HPA[0],
        "kind": HPA[1],
        "metadata": {
            "name": scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"],
            "namespace": NAMESPACE,
            "ownerReferences": [{"apiVersion": SCALED[0], "kind": SCALED[1], "controller": True, **owner}],
        },
        "spec": {
            "scaleTargetRef": scaled["spec"]["scaleTargetRef"],
            "minReplicas": scaled["spec"]["minReplicaCount"],
            "maxReplicas": scaled["spec"]["maxReplicaCount"],
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": "s0-prometheus"},
                        "target": {"type": "AverageValue", "averageValue": "1"},
                    },
                }
            ],
        },
    }
    return story.world.api.apply(body, manager="keda")


def autoscalers(story: Story) -> dict[str, list[str]]:
    """Kind → names of what scales."""
    return {kind: names(story.world.api.items(version, kind, NAMESPACE)) for version, kind in (HPA, SCALED)}


def test_another_driver_takes_over_a_running_server(running: Story, tmp_path: Path):
    """From KEDA to the HPA and back, with KEDA's own HPA there: one `up` each, no conflict, and no pod is touched."""
    server = f"{SERVER}-chat"
    furnish(running.world.api, variant("dev", tmp_path, two_nodes), SCALE)
    running.change(two_nodes)
    running.change(scaled_by("keda"))
    running.up()
    keda_acts(running)
    before = running.world.uids("v1", "Pod")
    running.change(scaled_by("hpa"))
    found = {name: op for name, op in running.preview().items() if name.rpartition("/")[2] == server}
    assert found == {f"HorizontalPodAutoscaler/{server}": "create", f"ScaledObject/{server}": "delete"}
    running.up()
    assert running.preview() == {}
    left = {HPA[1]: [server], SCALED[1]: []}
    wait_until(lambda: autoscalers(running) == left, SOON_S, "KEDA's HPA goes with what it was made for")
    running.change(scaled_by("keda"))
    running.up()
    keda_acts(running)
    assert running.preview() == {}
    assert autoscalers(running) == {HPA[1]: [f"keda-hpa-{server}"], SCALED[1]: [server]}
    assert running.world.uids("v1", "Pod") == before


def test_another_namespace_has_the_gpus_after_a_destroy(running: Story):
    """Where they are not there twice: `destroy`, then `up`; the old namespace keeps its weights."""
    claims = running.world.uids("v1", "PersistentVolumeClaim")
    running.engine.on_stack("destroy", "--yes", "--skip-preview", capture=True)
    running.change(lambda config: config["llm-stack:cluster"].update(namespace="elsewhere"))
    running.up()
    assert running.preview() == {}
    served = running.world.api.items("apps/v1", "Deployment", "elsewhere")
    assert {item["metadata"]["name"]: item["status"].get("readyReplicas") for item in served} == {
        "litellm": 1,
        "litellm-redis": 1,
        f"{SERVER}-chat": 1,
    }
    assert running.world.uids("v1", "PersistentVolumeClaim") == claims
