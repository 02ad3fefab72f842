"""The rendered Job that fills a bucket: from a hub on loopback, with the real clients of S3, before moto.

What it wrote is then looked at by the rendered check and read by vLLM's real loader, as one who may read alone.
Replaced are the addresses of hub and store, the values of Secrets, and the least size, for the model is a tiny one.
What the tier does not prove is in README.md beside this file.
"""

import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness import container_of, environment, pods, rendered
from tests.local.runs import eventually
from tests.local.store import PYTHON, WRITING, Store, serving, surroundings
from tests.local.test_object_store import TENSORS, option_of
from tests.unit.components.pod_scripts.hostile_hub import Answer, HostileHub
from tests.unit.components.pod_scripts.hostile_hub import serving as serving_hub

pytestmark = [pytest.mark.local, pytest.mark.sample]

STACK, SERVER = "variant:store-filled", "vllm-small"
OTHER = "f" * 40
# Of more than two parts of an upload; half of it is more than one.
LARGE_BYTES = 80 * 2**20
LARGE, SMALL = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def safetensors(size: int) -> bytes:
    """A file with one tensor of bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + os.urandom(size)


@dataclass(frozen=True)
class Filling:
    """The rendered Job, with its scripts, between a hub and a store. `store`: as one who may read alone."""

    hub: HostileHub
    store: Store
    writer: Store
    scripts: Path
    job: Mapping[str, Any]
    pod: Mapping[str, Any]

    def told(self, container: Mapping[str, Any], secret: str, keys: Store) -> dict[str, str]:
        """The rendered environment of a container, as it is here."""
        secrets = {f"secret:{secret}/access-key-id": keys.key_id, f"secret:{secret}/secret-access-key": keys.secret}
        values = {name: secrets.get(value, value) for name, value in environment(container).items()}
        return values | {"AWS_ENDPOINT_URL": self.store.url}

    @property
    def environment(self) -> dict[str, str]:
        """That of the Job."""
        told = self.told(container_of(self.job), "store-writer", self.writer)
        here = {"HF_ENDPOINT": self.hub.url, "EXPECTED_BYTES": "1", "HOME": str(self.scripts)}
        return surroundings(self.scripts) | told | here

    @property
    def prefix(self) -> str:
        """Where the checkpoint is in the bucket."""
        return self.environment["TARGET_URL"].removeprefix(f"s3://{self.store.bucket}/")

    @property
    def name(self) -> str:
        """Of the checkpoint."""
        return f"{self.environment['MODEL_REPO']}@{self.environment['MODEL_REVISION']}"

    def start(self, **changes: str) -> "subprocess.Popen[str]":
        """The Job, running."""
        command = [PYTHON, self.scripts / "fill_store.py"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=self.environment | changes, **pipes)

    def run(self, **changes: str) -> tuple[int, list[str]]:
        """(exit status, output) of the Job."""
        with self.start(**changes) as running:
            text = running.communicate(timeout=120)[0]
        return running.returncode, text.splitlines()

    def check(self) -> tuple[int, str]:
        """(exit status, output) of what a server's pod does first, with its rights."""
        told = surroundings(self.scripts) | self.told(self.pod["initContainers"][0], "store", self.store)
        command = [PYTHON, self.scripts / "check_store.py"]
        done = subprocess.run(command, env=told, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def names(self) -> set[str]:
        """Objects of the checkpoint."""
        return {name.removeprefix(f"{self.prefix}/") for name in self.store.names()}


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    """The Job of a stack, an empty bucket, and a hub with a large and a small file."""
    deployed = rendered(STACK)
    (job,) = (body for body in deployed.objects("Job") if body["metadata"]["name"].startswith("weights-"))
    pod = next(pod.spec for pod in pods(deployed) if pod.owner == f"Deployment {SERVER}")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for body in (job["spec"]["template"]["spec"], pod):
        (name,) = (volume["configMap"]["name"] for volume in body["volumes"] if "configMap" in volume)
        for file, text in deployed.object("ConfigMap", name)["data"].items():
            (scripts / file).write_text(text, encoding="utf-8")
    revision = environment(container_of(job))["MODEL_REVISION"]
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps({"weight_map": {"a": LARGE, "b": SMALL}}).encode(),
        LARGE: safetensors(LARGE_BYTES),
        SMALL: safetensors(1000),
    }
    folder = tmp_path / "s3"
    folder.mkdir()
    hub = HostileHub(files, commit=revision)
    with serving_hub(hub), serving(folder, "models") as store:
        yield Filling(hub, store, store.as_user("writer", WRITING), scripts, job, pod)


def everything(filling: Filling) -> set[str]:
    """What a full folder has."""
    return {*filling.hub.files, "manifest.json"}


def half_of_the_large_one(hub: HostileHub) -> tuple[threading.Event, threading.Event]:
    """Of the large file comes half, and the rest not before (the second); (the first) is when it is asked for."""
    asked, given = threading.Event(), threading.Event()
    content, half = hub.files[LARGE], LARGE_BYTES // 2

    def lie(what: str, _answer: Answer) -> Answer | None:
        if what != f"cdn {LARGE}" or given.is_set():
            return None
        if hub.count(f"cdn {LARGE}") == 1:
            return Answer(content[:half], cut=len(content) - half)
        asked.set()
        given.wait(60)
        return None

    hub.lie = lie
    return asked, given


def test_servers_stream_what_the_job_wrote(filling: Filling, tmp_path: Path):
    """Filled by one who may write, checked and read by one who may not; vLLM's loader gets the very tensors."""
    folder = tmp_path / "tiny"
    maker = Path(__file__).with_name("make_tiny_qwen3.py")
    subprocess.run([PYTHON, maker, folder, "100KB"], check=True, capture_output=True, timeout=300)
    filling.hub.files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    url, name = filling.environment["TARGET_URL"], filling.name
    code, said = filling.run()
    assert (code, said[-1]) == (0, f"published {name} at {url}")
    assert filling.check() == (0, f"{url} holds {name}, 3 safetensors\n")
    told = surroundings(filling.scripts) | filling.told(filling.pod["containers"][0], "store", filling.store)
    (option,) = option_of(filling.pod)
    command = [PYTHON, Path(__file__).with_name("read_store.py"), url, folder, option]
    cache = {"VLLM_CACHE_ROOT": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=told | cache, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["streamed"], len(found["there"])) == (found["there"], TENSORS)
    filling.hub.asked.clear()
    assert (filling.run(), filling.hub.asked) == ((0, [f"{url} already holds {name}"]), [])


def test_who_may_read_may_not_fill(filling: Filling):
    """The keys of the servers are refused by the store, and the Job says by whom."""
    code, said = filling.run(AWS_ACCESS_KEY_ID=filling.store.key_id, AWS_SECRET_ACCESS_KEY=filling.store.secret)
    assert (code, "AccessDenied" in said[-1], filling.names(), filling.store.uploads()) == (1, True, set(), [])
    assert filling.store.secret not in "\n".join(said)


def test_a_killed_job_is_finished_by_the_next(filling: Filling):
    """After SIGKILL in the middle of a file no server starts; the next run keeps what is whole and brings the rest."""
    asked, given = half_of_the_large_one(filling.hub)
    with filling.start() as running:
        assert asked.wait(60)
        eventually(lambda: filling.names() == set(filling.hub.files) - {LARGE})
        running.kill()
    given.set()
    code, said = filling.check()
    assert (code, "has no manifest.json, so nothing was published there" in said) == (1, True)
    code, said = filling.run()
    assert (code, {line for line in said if line.endswith("there already")}) == (
        0,
        {f"{name}: there already" for name in filling.hub.files if name != LARGE},
    )
    assert filling.names() == everything(filling)
    assert filling.check()[0] == 0


def test_a_job_that_is_ended_leaves_no_parts(filling: Filling):
    """At SIGTERM uploads are given up before their time, and it says that a retry may help."""
    asked, given = half_of_the_large_one(filling.hub)
    with filling.start() as running:
        assert asked.wait(60)
        eventually(lambda: filling.store.uploads() == [f"{filling.prefix}/{LARGE}"])
        running.send_signal(signal.SIGTERM)
        given.set()
        text = running.communicate(timeout=60)[0]
    assert (running.returncode, text.splitlines()[-1]) == (1, "failed, a retry may help: stopped")
    assert (filling.store.uploads(), filling.names() & {LARGE, "manifest.json"}) == ([], set())


def test_a_flipped_bit_of_a_large_file_makes_no_object(filling: Filling):
    """Its parts are uploaded as they come, and given up when the last one proves it wrong."""
    content = filling.hub.files[LARGE]
    filling.hub.delivered[LARGE] = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    code, said = filling.run()
    digest = hashlib.sha256(content).hexdigest()
    fault = f"{LARGE} came damaged: its hash is not {digest}, which the hub promised"
    assert (code, said[-1]) == (1, f"failed, a retry may help: {fault}")
    assert (filling.store.uploads(), filling.names() & {LARGE, "manifest.json"}) == ([], set())


def test_a_foreign_commit_is_refused(filling: Filling):
    """A hub that delivers another commit ends the Job for good; no server starts."""
    filling.hub.commit = OTHER
    code, said = filling.run()
    assert code == 2
    assert said[-1].startswith("refused: the hub gave ")
    assert f"of commit {OTHER!r} for {filling.name}" in said[-1]
    assert (filling.names(), filling.check()[0]) == (set(), 1)


def test_a_hub_that_lies_of_everything_is_told_from_one_that_was_vouched_for(filling: Filling):
    """Its files have the hashes that it promises, and not the manifest; what has it is proven by who may read alone."""
    files = filling.hub.files
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    value = hashlib.sha256("".join(lines).encode()).hexdigest()
    filling.hub.files = {**files, "config.json": b"[]"}
    code, said = filling.run(MANIFEST_SHA256=value)
    assert (code, f"and {value} was vouched for" in said[-1], "manifest.json" in filling.names()) == (2, True, False)
    filling.hub.files = files
    filling.store.delete(f"{filling.prefix}/config.json")
    assert filling.run(MANIFEST_SHA256=value)[0] == 0
    told = surroundings(filling.scripts) | filling.told(filling.pod["initContainers"][0], "store", filling.store)
    for wanted, status in ((value, 0), ("0" * 64, 1)):
        command = [PYTHON, filling.scripts / "prove_weights.py"]
        done = subprocess.run(
            command, env=told | {"MANIFEST_SHA256": wanted}, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
