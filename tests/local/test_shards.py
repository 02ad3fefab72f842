"""Files of each rank in a bucket: the rendered check and the real loader of vLLM, two ranks, before a real S3 server.

The files are saved by vLLM's own code, their manifest by `python -m preview manifest --write`. What stands for the
endpoint of the stack is said in test_object_store.py.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from preview.__main__ import main as preview
from tests.harness import VARIANTS, environment, merged, pods, stack
from tests.local.store import PYTHON, serving, surroundings
from tests.local.test_object_store import SERVER, STACK, Streaming
from workshop.ports import free_ports

pytestmark = [pytest.mark.local, pytest.mark.sample]

RANKS = 2
SHARDED = {
    "gpuPools": {"l4": {"gpusPerNode": RANKS}},
    "models": {"small": {"tensorParallel": RANKS, "canary": None}},
    "weights": {"layout": "sharded"},
}
READER = Path(__file__).with_name("read_shards.py")


@dataclass(frozen=True)
class Sharded:
    """The rendered pod with the bucket, and every rank, which has saved its files and waits to read them."""

    streaming: Streaming
    ranks: list[subprocess.Popen[str]]

    def read(self) -> list[dict[str, dict[str, str]]]:
        """Lets them read; what each found."""
        for rank in self.ranks:
            assert rank.stdin
            rank.stdin.write("\n")
            rank.stdin.flush()
        texts = [rank.communicate(timeout=200)[0] for rank in self.ranks]
        assert [rank.returncode for rank in self.ranks] == [0] * RANKS, texts[0][-5000:]
        return [json.loads(next(line for line in text.splitlines() if line.startswith('{"read"'))) for text in texts]


@contextmanager
def ranks(told: dict[str, str], *words: str | Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Every rank, once all have saved; ended at the end."""
    (port,) = free_ports(1)
    started = [
        subprocess.Popen(
            [PYTHON, READER, str(rank), str(RANKS), str(port), *words],
            env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    try:
        for process in started:
            assert process.stdout
            text = list(takewhile(lambda line: line != "SAVED\n", process.stdout))
            assert process.poll() is None, "".join(text)[-5000:]
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharded]:
    """Saved, published and there to be read."""
    deployed = stack(merged(VARIANTS[STACK.partition(":")[2]], SHARDED))
    pod = next(pod.spec for pod in pods(deployed) if pod.owner == f"Deployment {SERVER}")
    told, scripts = environment(pod["initContainers"][0]), tmp_path_factory.mktemp("scripts")
    (mount,) = [one for one in pod["initContainers"][0]["volumeMounts"] if one["mountPath"] == "/scripts"]
    name = next(one["configMap"]["name"] for one in pod["volumes"] if one["name"] == mount["name"])
    for file, text in deployed.object("ConfigMap", name)["data"].items():
        (scripts / file).write_text(text, encoding="utf-8")
    whole, folder = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("shards")
    subprocess.run([PYTHON, READER.with_name("make_tiny_qwen3.py"), whole], check=True, capture_output=True)
    for file in whole.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    bucket, _, prefix = told["MODEL_DIR"].removeprefix("s3://").partition("/")
    with serving(tmp_path_factory.mktemp("s3"), bucket) as store:
        streaming = Streaming(store, pod, scripts / "check_shards.py", folder)
        engine = surroundings(scripts) | streaming.told(pod["containers"][0], scripts)
        with ranks(engine, whole, folder, streaming.url, *options_of(pod)) as started:
            assert preview(["manifest", str(folder), "--write", f"{told['MODEL_REPO']}@{told['MODEL_REVISION']}"]) == 0
            store.fill(prefix, folder)
            yield Sharded(streaming, started)


def options_of(pod: Mapping[str, Any]) -> list[str]:
    """Options of the server about loading."""
    return [word for word in pod["containers"][0]["args"] if "load" in word]


def test_the_rendered_check_lets_the_ranks_of_the_server_through_and_no_others(sharded: Sharded):
    """As many as its GPUs; one more than are there is said before the server starts."""
    streaming = sharded.streaming
    told = streaming.check_environment
    assert streaming.url.endswith(f"{told['MODEL_REVISION']}-tp{RANKS}")
    code, said = streaming.check()
    assert (code, said.startswith(f"{streaming.url} holds {told['MODEL_REPO']}@")) == (0, True), said
    code, said = streaming.check(MODEL_SHARDS=f"{told['MODEL_SHARDS']} model-rank-2-part-*.safetensors")
    assert (code, "model-rank-2-part-*.safetensors is missing" in said) == (1, True), said


def test_the_loader_reads_what_each_rank_has(sharded: Sharded):
    """With the rendered options and environment every rank has the tensors that it has of the whole files."""
    streaming = sharded.streaming
    assert options_of(streaming.pod) == ["--load-format=runai_streamer_sharded"]
    assert environment(streaming.pod["containers"][0])["RUNAI_STREAMER_MEMORY_LIMIT"] == str(2 * 2**30)
    shards = {streaming.name_of(file.name) for file in streaming.folder.glob("*.safetensors")}
    assert streaming.store.read() & shards == set()
    found = sharded.read()
    assert [one["read"] for one in found] == [one["there"] for one in found]
    first, second = (one["there"] for one in found)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} != set()
    assert (streaming.store.read() & shards, len(shards) > RANKS) == (shards, True)
