"""Two servers behind one name, on this machine: a tiny random Qwen3 stands for the model, everything else is real.

What it says is noise, so nothing here reads it; a catalogue entry's parsers, routes and weights are what is tried.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from catalog import load_catalog
from tests.harness import ROOT
from tests.local.runs import Run, eventually, project
from tests.unit.components.pod_scripts.hostile_hub import HostileHub, serving
from workshop.local.chat import Endpoint, chat, load, request
from workshop.local.screen import endpoint
from workshop.local.toolchain import VENV
from workshop.local.translate import LOOPBACK
from workshop.local.weights import write_manifest

pytestmark = pytest.mark.local

MODEL, REPOSITORY = "qwen3", "Qwen/Qwen3-0.6B"
STABLE, CANARY = f"vllm-{MODEL}", f"vllm-{MODEL}-canary"
WEIGHT = 20
SQL, LEGAL, COMMIT = "acme/sql", "acme/legal", "c" * 40
# Both servers ask for a memory that fits this model, not the one it stands for.
STACK = f"""\
config:
  pulumi:disable-default-providers: ["kubernetes"]
  llm-stack:cluster: {{context: canary, identifier: canary}}
  llm-stack:gpuPools:
    this-machine: {{gpu: none, nodes: 2, cpusPerNode: 4, memoryGibPerNode: 16}}
  llm-stack:weights: {{kind: existingClaim, claimName: tiny}}
  llm-stack:models:
    {MODEL}:
      model: {REPOSITORY}
      pool: this-machine
      contextTokens: 2048
      memoryGib: 5
      args:
        - --enforce-eager
        - --dtype=float32
        - --structured-outputs-config={{"backend":"xgrammar","disable_any_whitespace":true}}
      canary: {{weight: {WEIGHT}, maxNumSeqs: 8}}
      adapters:
        sql: {{repo: {SQL}, revision: {COMMIT}, rank: 8}}
        legal: {{repo: {LEGAL}, revision: {COMMIT}}}
  llm-stack:gateway: {{replicas: 1, existingSecret: llm-keys, retries: 4, redis: {{kind: none}}}}
  llm-stack:gpuOperator: {{install: false, verifyNodes: false}}
  llm-stack:observability: {{install: false}}
  llm-stack:images: {{overrides: {{vllm-cpu: {{version: v0.32.0}}}}}}
"""
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def taken() -> Iterator[list[socket.socket]]:
    """The ports of both Services, held by somebody else (this test) for as long as the stack runs."""
    held = []
    for port in (8000, 4000):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen()
        held.append(listening)
    yield held
    for listening in held:
        listening.close()


def fetched(repository: str, claim: Path, folder: Path, seed: int, **asked: str) -> int:
    """The exit status of the script that brings an adapter from a hub on loopback to the claim, by the real client."""
    maker = Path(__file__).with_name("make_tiny_adapter.py")
    made = [VENV / "bin" / "python", maker, folder / "files", str(seed), REPOSITORY]
    subprocess.run(made, check=True, capture_output=True, timeout=300)
    files = {file.name: file.read_bytes() for file in (folder / "files").iterdir()}
    with serving(HostileHub(files, commit=COMMIT)) as hub:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
            "HOME": str(folder),
            "HF_ENDPOINT": hub.url,
            "MODEL_REPO": repository,
            "MODEL_REVISION": COMMIT,
            "TARGET_DIR": str(claim / repository.replace("/", "--") / COMMIT),
            "BASE_MODEL": REPOSITORY,
            "MAX_RANK": "8",
            "ADAPTER_FIELD": f"models.{MODEL}.adapters",
            **asked,
        }
        script = ROOT / "components" / "pod_scripts" / "fetch_adapter.py"
        return subprocess.run([sys.executable, script], env=environment, timeout=300, check=False).returncode


@pytest.fixture(scope="module")
def canary_stack(tmp_path_factory: pytest.TempPathFactory, taken: list[socket.socket]) -> Iterator[Run]:
    """Both servers and the gateway, up, with a cache of their own."""
    assert len(taken) == 2
    cache, revision = tmp_path_factory.mktemp("cache"), load_catalog().models[REPOSITORY].revision
    assert revision is not None
    target = cache / "llm-stack" / "claims" / "tiny" / REPOSITORY.replace("/", "--") / revision
    target.mkdir(parents=True)
    maker = Path(__file__).with_name("make_tiny_qwen3.py")
    subprocess.run([VENV / "bin" / "python", maker, target], check=True, capture_output=True, timeout=300)
    write_manifest(target, REPOSITORY, revision)
    for seed, repository in enumerate((SQL, LEGAL)):
        assert fetched(repository, target.parents[1], tmp_path_factory.mktemp("hub"), seed) == 0
    folder = project(tmp_path_factory.mktemp("canary"), canary=STACK)
    run = Run(folder, "canary", {"XDG_CACHE_HOME": str(cache)})
    try:
        yield run.up()
    finally:
        run.call("down", "--now")


def answered_by(run: Run) -> Counter[str]:
    """Requests each server has answered, by its own count: the gateway's comes late, maybe after the next question."""
    found: Counter[str] = Counter()
    for server in (STABLE, CANARY):
        _, samples = run.scrape(server, "http", "/metrics")
        found[server] = int(sum(item.value for item in samples if item.name == "vllm:request_success_total"))
    return found


def test_ports_that_somebody_has_are_left_alone(canary_stack: Run, taken: list[socket.socket]):
    """The Services got others, and nobody has connected to the listeners that were there."""
    here = {service["here"] for service in canary_stack.status()["services"]}
    assert here & {8000, 4000} == set()
    for listening in taken:
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_each_adapter_answers_by_its_own_name(canary_stack: Run):
    """Through the gateway and at either server: one name one answer, and another name another one."""
    gateway = canary_stack.gateway()

    def answers(name: str) -> set[str]:
        found = [chat(gateway, name, "Tell me a story.", max_tokens=24, logprobs=True) for _ in range(12)]
        assert {answer.status for answer in found} == {200}, found[0].text
        assert {answer.body["model"] for answer in found} == {name}
        return {str([word["token"] for word in answer.body["choices"][0]["logprobs"]["content"]]) for answer in found}

    told = {name: answers(name) for name in (MODEL, "sql", "legal")}
    assert {name: len(words) for name, words in told.items()} == {MODEL: 1, "sql": 1, "legal": 1}
    assert len(set.union(*told.values())) == 3
    status, text = request(gateway, "GET", "/v1/models")
    assert (status, {entry["id"] for entry in json.loads(text)["data"]}) == (200, {MODEL, "sql", "legal"})
    assert chat(gateway, "tickets", "Hello", max_tokens=1).status == 400


def test_the_canary_gets_its_share(canary_stack: Run):
    """Of 150 requests, about a fifth go to the canary: within four standard deviations, all of them answered."""
    before, gateway = answered_by(canary_stack), canary_stack.gateway()
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda _: chat(gateway, MODEL, "Hello", max_tokens=1).status, range(150)))
    assert Counter(statuses) == {200: 150}
    # what is counted may be seen a moment after the answer
    eventually(lambda: sum((answered_by(canary_stack) - before).values()) == 150)
    shares = answered_by(canary_stack) - before
    # n p ± 4 √(n p (1 − p)) = 30 ± 19.6
    assert 10 < shares[CANARY] < 50


def called(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The tool calls of the first answer that is one: noise within a grammar does not always come to an end."""
    options: dict[str, Any] = {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "chat_template_kwargs": {"enable_thinking": False},
        "temperature": 1,
        "max_tokens": 150,
    }
    for seed in range(20):
        answer = chat(endpoint, MODEL, "The weather?", seed=seed, **options)
        assert answer.status == 200, answer.text
        if calls := answer.body["choices"][0]["message"].get("tool_calls"):
            return calls
    return []


def test_a_named_tool_is_called(canary_stack: Run):
    """The parser of the catalogue's entry reads the call; its arguments keep to a strict schema."""
    plan = canary_stack.plan
    server = endpoint(plan, plan.servers[0], canary_stack.status())
    assert [call["function"]["name"] for call in called(canary_stack.gateway())] == ["get_weather"]
    # asked of the server, because LiteLLM 1.109.1 leaves `strict` out of what it passes on
    (call,) = called(server)
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) in ({"city": "Paris"}, {"city": "Rome"})


def test_thoughts_are_told_from_the_answer(canary_stack: Run):
    """The reasoning parser of the catalogue's entry is at work: noise without the end of a thought is a thought."""
    answer = chat(canary_stack.gateway(), MODEL, "Hello", max_tokens=8, temperature=1)
    message = answer.body["choices"][0]["message"]
    assert (answer.status, bool(message.get("reasoning_content")), message.get("content")) == (200, True, None)


def test_a_small_load_is_measured(canary_stack: Run):
    """Figures of every kind come out of it; the gateway's share is a difference, which noise may take below zero."""
    plan = canary_stack.plan
    server = endpoint(plan, plan.servers[0], canary_stack.status())
    found = load(canary_stack.gateway(), server, MODEL, MODEL)
    assert all(value > 0 for name, value in vars(found).items() if name != "overhead_ms"), found
    assert found.first_token_s <= found.slowest_first_token_s


def test_a_burst_survives_the_death_of_one_server(canary_stack: Run):
    """SIGKILL in the middle of 60 requests: every one is answered, because the gateway tries the other server."""
    gateway, done = canary_stack.gateway(), 0

    def one(number: int) -> int:
        nonlocal done
        status = chat(gateway, MODEL, f"Tell me of {number}", max_tokens=40, ignore_eos=True).status
        done += 1
        return status

    with ThreadPoolExecutor(8) as pool:
        burst = [pool.submit(one, number) for number in range(60)]
        eventually(lambda: done >= 15)
        os.kill(canary_stack.container(CANARY)["pid"], signal.SIGKILL)
        statuses = [item.result() for item in burst]
    assert Counter(statuses) == {200: 60}
    eventually(lambda: canary_stack.container(CANARY)["restarts"])
    assert [canary_stack.container(name)["restarts"] for name in (STABLE, CANARY)] == [0, 1]
