"""A stack's whole life under the real engine: see conftest.py for what this proves and what not."""

import base64
import hashlib
import hmac
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.world import NAMESPACE, SCALE, SOON_S, names
from tests.engine.conftest import MASTER_KEY, Story
from workshop.kubernetes import is_ready
from workshop.simcluster.api import wait_until
from workshop.simcluster.furnish import furnish

SERVER = "vllm-qwen3-8b"
PYTHON = "3.14.6-slim-trixie"


def image(config: dict) -> None:
    """Another image of the server."""
    config["llm-stack:models"]["qwen3-8b"]["image"] = "docker.io/vllm/vllm-openai:v0.33.1"


def replicas(config: dict) -> None:
    """A second gateway."""
    config["llm-stack:gateway"]["replicas"] = 2


def context(config: dict) -> None:
    """Half the context."""
    config["llm-stack:models"]["qwen3-8b"]["contextTokens"] = 4096


def revision(config: dict) -> None:
    """Other weights."""
    config["llm-stack:models"]["qwen3-8b"]["revision"] = "1" * 40


def scaled(config: dict) -> None:
    """An autoscaler for the server."""
    config["llm-stack:models"]["qwen3-8b"]["replicas"] = {"min": 0, "max": 1}


def python(config: dict) -> None:
    """Another image for scripts."""
    config["llm-stack:images"] = {"overrides": {"python": {"version": PYTHON}}}


def another_name(config: dict) -> None:
    """The model under another public name, on a pool that has no GPU for both."""
    models = config["llm-stack:models"]
    models["qwen3-8b-chat"] = {**models.pop("qwen3-8b"), "replaces": "qwen3-8b"}


def test_up(story: Story):
    """From nothing: everything is created, and the server and the gateway are ready when the engine says so."""
    done = story.up()
    assert set(done) == {"create"}
    ready = {pod["metadata"]["labels"]["app.kubernetes.io/instance"] for pod in story.world.pods() if is_ready(pod)}
    assert ready == {SERVER, "litellm", "litellm-redis"}


def test_preview_is_empty(story: Story):
    """Nothing is left to do after an `up`."""
    assert story.preview() == {}


def test_preview_with_another_kubeconfig_is_empty(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A colleague or CI, with the same context in a file of another path, sees no change, nor in the provider."""
    other = tmp_path / "config"
    shutil.copy(story.engine.environment()["KUBECONFIG"], other)
    monkeypatch.setattr(story.engine, "_kubeconfig", other)
    assert story.preview() == {}


def test_refresh_finds_nothing(story: Story):
    """What the cluster adds to the objects is no change, neither to the state nor to the next preview."""
    story.engine.on_stack("refresh", "--yes", "--skip-preview", capture=True)
    assert story.preview() == {}


def test_no_secret_in_the_state(story: Story):
    """Neither the master key nor a key derived from it is in the state file, in clear or in base64."""
    derived = "sk-" + hmac.new(MASTER_KEY.encode(), b"vllm-qwen3-8b", hashlib.sha256).hexdigest()
    (secret,) = [
        item for item in story.world.api.items("v1", "Secret", NAMESPACE) if item["metadata"]["name"].startswith(SERVER)
    ]
    # the cluster has it: what is looked for below is the real one
    assert derived in [base64.b64decode(value).decode() for value in secret["data"].values()]
    state = story.state()
    clear = [MASTER_KEY, derived]
    encoded = [base64.b64encode(value.encode()).decode() for value in clear]
    assert [value for value in [*clear, *encoded] if value in state] == []


def test_another_image_updates_one_deployment(story: Story):
    """A new image of one model is one update in place."""
    assert story.preview(image) == {f"Deployment/{SERVER}": "update"}


def test_more_gateways_update_one_deployment(story: Story):
    """A second gateway is one update in place."""
    assert story.preview(replicas) == {"Deployment/gateway": "update"}


def test_another_context_updates_one_deployment(story: Story):
    """A shorter context is the server's own: the gateway leaves it to the server to judge the length of a prompt."""
    assert story.preview(context) == {f"Deployment/{SERVER}": "update"}


def test_another_revision_is_fetched_beside_the_old_one(story: Story):
    """Weights of another revision get a claim and a Job of their own; the claim with the old ones stays."""
    found = story.preview(revision)
    claims = {name: op for name, op in found.items() if name.startswith("PersistentVolumeClaim/")}
    assert sorted(claims.values()) == ["create", "delete"]
    (old,) = [name.partition("/")[2] for name, op in claims.items() if op == "delete"]
    # the engine only forgets it: it is retained on delete
    assert '"retainOnDelete":true' in story.state()
    assert old
    assert found[f"Deployment/{SERVER}"] == "update"


def test_another_name_keeps_the_weights(story: Story):
    """A model under another public name keeps its claim and the Job that filled it: nothing is downloaded again."""
    found = story.preview(another_name)
    assert [name for name in found if name.startswith(("PersistentVolumeClaim/", "Job/weights", "Namespace/"))] == []
    assert {name: op for name, op in found.items() if name.startswith("Deployment/")} == {
        "Deployment/vllm-qwen3-8b-chat": "replace",
        "Deployment/gateway": "update",
    }


def test_a_killed_engine_is_resumed(story: Story):
    """The engine is killed in the middle of a change; the next `up` finishes it, once."""
    story.change(image)
    assert story.killed_up() == "update"
    story.up()
    assert story.preview() == {}
    (pod,) = story.world.settled(SERVER, 1)
    assert {item["image"] for item in pod["spec"]["containers"]} == {"docker.io/vllm/vllm-openai:v0.33.1"}


def test_replicas_belong_to_who_scales(story: Story):
    """Replicas an autoscaler set survive an update of the server, where the stack has one."""
    story.change(scaled)
    story.up()
    story.world.settled(SERVER, 1)
    story.world.scale(SERVER, 0)
    assert story.preview() == {}
    story.change(context)
    story.up()
    assert story.world.deployment(SERVER)["spec"]["replicas"] == 0
    story.world.scale(SERVER, 1)
    story.world.settled(SERVER, 1)


def test_another_script_image_runs_the_job_again(story: Story):
    """Node verification with another image replaces its Job under the same name; nothing else changes."""
    assert story.preview(python) == {"Job/a10-verify": "replace"}


def test_a_job_that_failed_is_run_again(story: Story):
    """An `up` that fails because a download fails is mended by the next one, without touching anything by hand."""
    furnish(story.world.api, story.world.stack, 1)  # in real time a download does not end by itself
    before = story.world.uids("batch/v1", "Job").keys()
    story.change(revision)

    def cut_short() -> set[str]:
        new = story.world.uids("batch/v1", "Job").keys() - before
        for name in new:
            metadata = {"name": name, "namespace": NAMESPACE}
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
            story.world.api.patch(job, {"spec": {"activeDeadlineSeconds": 1}})
        return new

    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(wait_until, cut_short, SOON_S, "the new Job is there")
        said = story.failed_up()
        (job,) = cut.result()
    assert "DeadlineExceeded" in said
    furnish(story.world.api, story.world.stack, SCALE)
    assert story.preview()[f"Job/{job}"] == "replace"
    story.up()
    assert story.preview() == {}
    assert job in story.world.uids("batch/v1", "Job")


def test_destroy_keeps_the_weights(story: Story):
    """Everything goes but the namespace and the claims with the weights."""
    claims = story.world.uids("v1", "PersistentVolumeClaim")
    assert claims
    story.engine.on_stack("destroy", "--yes", "--skip-preview", capture=True)
    wait_until(lambda: not story.world.pods(), SOON_S, "all pods are gone")
    assert story.world.uids("v1", "PersistentVolumeClaim") == claims
    assert "llm-serving" in names(story.world.api.items("v1", "Namespace"))
    assert story.world.api.items("apps/v1", "Deployment", NAMESPACE) == []
    assert story.world.api.items("batch/v1", "Job", NAMESPACE) == []


def test_up_again_takes_the_weights_over(story: Story):
    """The next `up` adopts the namespace and the claims as they are, and then nothing is left to do."""
    claims = story.world.uids("v1", "PersistentVolumeClaim")
    assert set(story.up()) == {"create"}
    assert story.world.uids("v1", "PersistentVolumeClaim") == claims
    assert story.preview() == {}
