"""Weights in a bucket: the rendered pod's check and vLLM's real streamer before a real S3 server, moto, on loopback.

The server asks for signatures and rights. It stands for the endpoint of the stack, whose address is not allowed to be
loopback: that one address is replaced, and so are the folder /cache, the values of Secrets, and the one option of the
server that a CPU cannot have (ON_CPU). What the tier does not prove is in README.md beside this file.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from planning.stack.outward import CA_FILE
from tests.harness import VARIANTS, environment, merged, pods, rendered, stack
from tests.local.runs import eventually
from tests.local.store import PYTHON, Store, published, running, serving, surroundings
from tests.unit.components.pod_scripts.reading_proxy import reading_proxy
from workshop.local.chat import Endpoint, chat, request
from workshop.ports import LOOPBACK, free_ports

pytestmark = [pytest.mark.local, pytest.mark.sample]

STACK, MODEL, SERVER = "variant:store-with-keys", "small", "vllm-small"
ENDPOINT, API_KEY = "http://minio.storage.svc:9000", "sk-of-the-server"
PROXY, STORE_HOST = "http://proxy.example.com:3128", "store.example.com"
# Rendered beginning → what a CPU takes in its place. Compiling, which takes a minute, has nothing to do with weights.
ON_CPU = {"--gpu-memory-utilization=": "--enforce-eager", "--host=": f"--host={LOOPBACK}"}
KV_CACHE_GIB = "1"
LIMIT = 2 * 2**30
# Of two layers, 11 each, an embedding and a norm.
TENSORS = 24


@dataclass(frozen=True)
class Streaming:
    """The rendered pod, and the bucket that its environment leads to. `folder`: the published files, on this disk.

    `secrets`: rendered values that are something else here.
    """

    store: Store
    pod: Mapping[str, Any]
    script: Path
    folder: Path
    secrets: Mapping[str, str] = field(default_factory=dict)

    def told(self, container: Mapping[str, Any], cache: Path) -> dict[str, str]:
        """The rendered environment of a container, as it is here."""
        secrets = {
            "secret:store/access-key-id": self.store.key_id,
            "secret:store/secret-access-key": self.store.secret,
            f"secret:llm-keys/{SERVER}": API_KEY,
            **self.secrets,
        }
        values = {name: secrets.get(value, value) for name, value in environment(container).items()}
        assert [value for value in values.values() if value.startswith(("secret:", "field:"))] == []
        return {
            name: str(cache) + value.removeprefix("/cache") if value.startswith("/cache") else value
            for name, value in (values | {"AWS_ENDPOINT_URL": self.store.url}).items()
        }

    @property
    def check_environment(self) -> dict[str, str]:
        """That of the init container."""
        return self.told(self.pod["initContainers"][0], self.folder)

    @property
    def url(self) -> str:
        """Where the weights are, as rendered."""
        return self.check_environment["MODEL_DIR"]

    def name_of(self, file: str) -> str:
        """The name of a published file's object."""
        return f"{self.url.removeprefix(f's3://{self.store.bucket}/')}/{file}"

    def check(self, **changes: str | None) -> tuple[int, str]:
        """(exit status, output) of the rendered script with the rendered environment; None takes a variable away."""
        told = surroundings(self.script.parent) | self.check_environment | changes
        done = subprocess.run(
            [PYTHON, self.script],
            env={name: value for name, value in told.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    """The stack, rendered, and the server with what the weights Job publishes."""
    deployed = rendered(STACK)
    pod = next(pod.spec for pod in pods(deployed) if pod.owner == f"Deployment {SERVER}")
    check = pod["initContainers"][0]
    told = environment(check)
    (mount,) = [one for one in check["volumeMounts"] if one["mountPath"] == "/scripts"]
    name = next(one["configMap"]["name"] for one in pod["volumes"] if one["name"] == mount["name"])
    assert check["command"] == ["python3", "/scripts/check_store.py"]
    script = tmp_path_factory.mktemp("scripts") / "check_store.py"
    script.write_text(deployed.object("ConfigMap", name)["data"][script.name], encoding="utf-8")
    folder = published(tmp_path_factory.mktemp("weights"), told["MODEL_REPO"], told["MODEL_REVISION"])
    bucket, _, prefix = told["MODEL_DIR"].removeprefix("s3://").partition("/")
    assert told["AWS_ENDPOINT_URL"] == ENDPOINT
    with serving(tmp_path_factory.mktemp("s3"), bucket) as store:
        store.fill(prefix, folder)
        yield Streaming(store, pod, script, folder)


@dataclass(frozen=True)
class Server:
    """A vLLM that is ready. `read`: the objects it has read parts of until then."""

    endpoint: Endpoint
    cache: Path
    log: str
    read: set[str]


@pytest.fixture(scope="module")
def server(streaming: Streaming, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A vLLM with the rendered arguments and environment, but for what the head of this file names."""
    folder, (port,) = tmp_path_factory.mktemp("vllm"), free_ports(1)
    container, cache, log = streaming.pod["containers"][0], folder / "cache", folder / "vllm.log"
    replaced = ON_CPU | {"--port=": f"--port={port}"}
    url, *rest = (
        next((here for begin, here in replaced.items() if word.startswith(begin)), word) for word in container["args"]
    )
    # the entrypoint of the CPU build, as workshop/local/images.py has it
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", url, *rest]
    told = streaming.told(container, cache) | {"VLLM_CPU_KVCACHE_SPACE": KV_CACHE_GIB}
    endpoint = Endpoint(port, API_KEY)
    assert streaming.store.read() == set()

    def is_ready() -> bool:
        text = log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, text[-5000:]
        try:
            return request(endpoint, "GET", "/health")[0] == 200
        except OSError:
            return False

    cache.mkdir()
    with running(command, log, told):
        eventually(is_ready)
        yield Server(endpoint, cache, log.read_text(encoding="utf-8", errors="replace"), streaming.store.read())


def remedy(told: Mapping[str, str]) -> str:
    """What ends every refusal of what is not whole."""
    held = f"{told['MODEL_REPO']}@{told['MODEL_REVISION']}"
    return f"; publish {held} there, with the manifest.json of its weights Job, then restart this pod\n"


def test_a_published_checkpoint_is_let_through(streaming: Streaming):
    """The rendered init container finds all of it with the rights to list and to read, and no region told."""
    told = streaming.check_environment
    said = f"{streaming.url} holds {told['MODEL_REPO']}@{told['MODEL_REVISION']}, 3 safetensors\n"
    assert streaming.check() == (0, said)


def test_every_fault_of_a_bucket_is_said_at_once(streaming: Streaming):
    """A shard that is missing, one too many, and a config.json that was changed keep the pod from starting."""
    shard, config = "model-00002-of-00003.safetensors", "config.json"
    try:
        streaming.store.delete(streaming.name_of(shard))
        streaming.store.put(streaming.name_of("other.safetensors"), b"")
        streaming.store.put(streaming.name_of(config), (streaming.folder / config).read_bytes() + b" ")
        found = streaming.check()
    finally:
        streaming.store.delete(streaming.name_of("other.safetensors"))
        for name in (shard, config):
            streaming.store.put(streaming.name_of(name), (streaming.folder / name).read_bytes())
    faults = f"{shard} is missing, other.safetensors is not in the manifest, {config} is not what the manifest says"
    said = f"not ready: {streaming.url} is not complete: {faults}"
    assert found == (1, said + remedy(streaming.check_environment))


def test_another_revision_is_not_let_through(streaming: Streaming):
    """It says what is there and what is wanted; and where nothing is, that."""
    told = streaming.check_environment
    wanted = {"MODEL_REPO": told["MODEL_REPO"], "MODEL_REVISION": "e" * 40}
    held = f"{told['MODEL_REPO']}@{told['MODEL_REVISION']}, this server wants {told['MODEL_REPO']}@{'e' * 40}"
    said = f"not ready: {streaming.url} holds {held}{remedy(wanted)}"
    assert streaming.check(MODEL_REVISION="e" * 40) == (1, said)
    nowhere = streaming.url.replace(told["MODEL_REVISION"], "e" * 40)
    said = f"not ready: {nowhere} has no manifest.json, so nothing was published there{remedy(wanted)}"
    assert streaming.check(MODEL_REVISION="e" * 40, MODEL_DIR=nowhere) == (1, said)


def test_a_bucket_may_be_in_the_name_of_an_endpoint(streaming: Streaming):
    """`addressing: virtualHost` is heard by the client that lists: the host that it asks begins with the bucket."""
    other = merged(VARIANTS[STACK.partition(":")[2]], {"weights": {"addressing": "virtualHost"}})
    pod = next(pod.spec for pod in pods(stack(other)) if pod.owner == f"Deployment {SERVER}")
    check, engine = (streaming.told(pod[key][0], streaming.folder) for key in ("initContainers", "containers"))
    assert check["AWS_CONFIG_FILE"] == engine["AWS_CONFIG_FILE"] == "/tmp/aws-config"
    tmp = [one["name"] for container in (pod["initContainers"][0], pod["containers"][0])
           for one in container["volumeMounts"] if one["mountPath"] == "/tmp"]  # fmt: skip
    assert tmp == ["tmp", "tmp"]
    here = {**check, "AWS_CONFIG_FILE": str(streaming.script.with_name("aws-config"))}
    # RFC 6761: no such name is ever found
    code, said = streaming.check(**{**here, "AWS_ENDPOINT_URL": "http://store.invalid:9000", "AWS_MAX_ATTEMPTS": "1"})
    assert (code, f"http://{streaming.store.bucket}.store.invalid:9000/" in said) == (1, True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "NoCredentialsError: Unable to locate credentials",
        ),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, "InvalidAccessKeyId"),
    ],
)
def test_who_may_not_read_is_told_so_without_a_key(streaming: Streaming, changes: dict[str, str | None], why: str):
    """No key, a wrong secret and an unknown key are refused in one line, which shows no secret."""
    code, said = streaming.check(**changes)
    secrets = (streaming.store.secret, "wrong-secret")
    assert (code, said.count("\n"), [secret for secret in secrets if secret in said]) == (1, 1, [])
    assert said.startswith(f"not ready: {streaming.url} cannot be read: ")
    assert why in said


def test_the_server_streams_and_answers(streaming: Streaming, server: Server):
    """The real vLLM takes the rendered arguments, reads every shard from the bucket and answers; its disk has none."""
    answer = chat(server.endpoint, MODEL, "Hello", max_tokens=8, ignore_eos=True)
    assert (answer.status, answer.body["usage"]["completion_tokens"]) == (200, 8)
    files = {str(file.relative_to(streaming.folder)) for file in streaming.folder.rglob("*") if file.is_file()}
    shards = {name for name in files if name.endswith(".safetensors")}
    assert server.read == {streaming.name_of(name) for name in shards}
    (kept,) = (server.cache / "xdg" / "vllm" / "assets" / "model_streamer").iterdir()
    assert {str(file.relative_to(kept)) for file in kept.rglob("*") if file.is_file()} == files - shards
    assert list(server.cache.parent.rglob("*.safetensors")) == []
    assert f"'model_loader_extra_config': {{'memory_limit': {LIMIT}}}" in server.log
    assert API_KEY not in server.log
    assert streaming.store.secret not in server.log


def test_the_loader_takes_what_is_planned_and_streams_the_very_weights(streaming: Streaming):
    """The options of one GPU and of several are vLLM's own, one it does not know is not; tensors are the files'."""
    several = next(word for pod in pods(rendered("variant:store-with-key-file")) for word in option_of(pod.spec))
    (one,) = option_of(streaming.pod)
    unknown = '--model-loader-extra-config={"buffer":1}'
    words = [streaming.url, streaming.folder, one, several, unknown]
    told = surroundings(streaming.script.parent) | streaming.told(streaming.pod["containers"][0], streaming.folder)
    reader = Path(__file__).with_name("read_store.py")
    done = subprocess.run([PYTHON, reader, *words], env=told, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    known = {"loader": "RunaiModelStreamerLoader", "memory_limit": str(LIMIT)}
    assert found["options"] == [
        {**known, "distributed": False},
        {**known, "distributed": True},
        {"error": "Unexpected extra config keys for runai_streamer: {'buffer'}"},
    ]
    assert found["streamed"] == found["there"]
    assert len(found["there"]) == TENSORS


def test_a_bucket_behind_a_proxy_is_checked_and_streamed_through_it(streaming: Streaming, tmp_path: Path):
    """Both clients make every connection by the proxy, give its password, and trust the company's authority."""
    company = {
        "proxy": {"endpoint": PROXY, "existingSecret": "proxy"},
        "caBundle": {"kind": "configMap", "name": "company-ca"},
    }
    weights = {"endpoint": f"https://{STORE_HOST}:9000"}
    other = merged(VARIANTS[STACK.partition(":")[2]], {"cluster": company, "weights": weights})
    pod = next(pod.spec for pod in pods(stack(other)) if pod.owner == f"Deployment {SERVER}")
    with reading_proxy(tmp_path, streaming.store.port, STORE_HOST, password="p4ss") as proxy:
        here = {"secret:proxy/url": proxy.url, CA_FILE: str(proxy.authority)}
        behind = replace(streaming, pod=pod, secrets=here)
        told = behind.told(pod["initContainers"][0], streaming.folder) | weights_at(weights["endpoint"])
        code, said = behind.check(**told)
        assert (code, said.endswith(", 3 safetensors\n")) == (0, True), said
        checked = len(proxy.asked)
        told = surroundings(tmp_path) | behind.told(pod["containers"][0], tmp_path) | weights_at(weights["endpoint"])
        words = [streaming.url, streaming.folder, *option_of(pod)]
        reader = Path(__file__).with_name("read_store.py")
        done = subprocess.run(
            [PYTHON, reader, *words], env=told, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["streamed"] == found["there"]
    assert {*proxy.asked} == {f"{STORE_HOST}:9000"}
    assert 0 < checked < len(proxy.asked)


def test_a_bucket_is_copied_to_a_disk_byte_for_byte(streaming: Streaming, tmp_path: Path):
    """The rendered init container brings every file, and none that has another hash; the server needs no key."""
    variant = VARIANTS[STACK.partition(":")[2]]
    bucket = {key: value for key, value in variant["weights"].items() if value is not None}
    copied = {**variant, "weights": {"kind": "nodeCache", "storageClass": "nvme", "from": bucket}}
    deployed = stack(copied)
    pod = next(pod.spec for pod in pods(deployed) if pod.owner == f"Deployment {SERVER}")
    (check,) = [container for container in pod["initContainers"] if container["name"] == "copy"]
    name = next(volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "scripts")
    for file, text in deployed.object("ConfigMap", name)["data"].items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    behind = replace(streaming, script=tmp_path / check["command"][1].rpartition("/")[2])
    told = {**behind.told(check, tmp_path), "COPY_DIR": str(tmp_path / "copy")}
    shard = "model-00002-of-00003.safetensors"
    try:
        streaming.store.put(streaming.name_of(shard), b"!" + (streaming.folder / shard).read_bytes()[1:])
        code, said = behind.check(**told)
        assert (code, f"{shard} is not what the manifest says" in said) == (1, True), said
        assert not (tmp_path / "copy" / "manifest.json").exists()
    finally:
        streaming.store.put(streaming.name_of(shard), (streaming.folder / shard).read_bytes())
    code, said = behind.check(**told)
    assert (code, "copied " in said) == (0, True), said
    there = {str(file.relative_to(tmp_path / "copy")): file.read_bytes() for file in (tmp_path / "copy").rglob("*.*")}
    # vLLM compiled beside them
    assert there == {file.name: file.read_bytes() for file in streaming.folder.iterdir() if file.is_file()}
    server = environment(pod["containers"][0])
    assert [variable for variable in server if variable.startswith(("AWS_", "RUNAI_"))] == []
    assert pod["containers"][0]["args"][0] == environment(check)["COPY_DIR"]


def weights_at(endpoint: str) -> dict[str, str]:
    """The variable of the endpoint as rendered, which stands for the store itself elsewhere here."""
    return {"AWS_ENDPOINT_URL": endpoint}


def option_of(pod: Mapping[str, Any]) -> list[str]:
    """What a server is told of its loader."""
    words = [word for container in pod["containers"] for word in container.get("args", [])]
    return [word for word in words if word.startswith("--model-loader-extra-config=")]
