"""Models that only read, behind the real LiteLLM: a vector per text, documents in an order, and what is measured of it.

Random stand-ins answer for the models, so nothing here reads what they say: they are asked in the
right way, by paths, modes and the words of a pair, and measured by the right metrics.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from catalog import load_catalog
from planning.tasks import OF_A_CACHE, OF_WRITING
from tests.local.runs import Run, project
from workshop.local.chat import request

pytestmark = [pytest.mark.local, pytest.mark.sample]

CATALOG = load_catalog()
VECTORS, PAIRS, ENCODER = "vectors", "pairs", "encoder"
STACK = f"""\
config:
  pulumi:disable-default-providers: ["kubernetes"]
  llm-stack:cluster: {{context: tasks, identifier: tasks}}
  llm-stack:gpuPools:
    this-machine: {{gpu: none, nodes: 3, cpusPerNode: 4, memoryGibPerNode: 12}}
  llm-stack:weights: {{kind: existingClaim, claimName: tiny}}
  llm-stack:models:
    {VECTORS}: &small
      model: Qwen/Qwen3-Embedding-0.6B
      pool: this-machine
      contextTokens: 2048
      memoryGib: 3
      # float32: whatever the machine's bfloat16 makes of them, the numbers are those of the checkpoint
      args: [--enforce-eager, --dtype=float32]
    {PAIRS}: {{<<: *small, model: Qwen/Qwen3-Reranker-0.6B}}
    {ENCODER}: {{<<: *small, model: BAAI/bge-reranker-v2-m3}}
  llm-stack:gateway: {{replicas: 1, existingSecret: llm-keys, redis: {{kind: none}}}}
  llm-stack:gpuOperator: {{install: false, verifyNodes: false}}
  llm-stack:autoscaling: {{install: false}}
  llm-stack:observability: {{install: false}}
  llm-stack:images: {{overrides: {{vllm-cpu: {{version: v0.32.0}}}}}}
"""
QUERY, DOCUMENTS = "capital of France?", ["Paris", "a yellow banana"]


@pytest.fixture(scope="module")
def tasks_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All three servers and the gateway, up, with a cache of their own in which their weights are made."""
    cache = tmp_path_factory.mktemp("cache")
    folder = project(tmp_path_factory.mktemp("tasks"), tasks=STACK)
    run = Run(folder, "tasks", {"XDG_CACHE_HOME": str(cache)})
    try:
        yield run.up()
    finally:
        run.call("down", "--now")


def ask(run: Run, path: str, **body: Any) -> dict[str, Any]:
    """The answer of the gateway."""
    status, text = request(run.gateway(), "POST", path, body)
    assert status == 200, text
    return json.loads(text)


def test_up_asks_every_model_what_it_is_for(tasks_stack: Run):
    """A vector is shown by its beginning, documents by their scores; who reads it is told that it is noise."""
    said = tasks_stack.said
    assert f"\n{VECTORS}  Which city is the capital of France?\n[" in said
    assert "64 dimensions" in said
    assert len(re.findall(r"\d\.\d{4} Paris is the capital of France", said)) == 2
    assert " ".join(said.split()).count("random: it says nothing sensible") == 3


def test_embeddings_are_answered_in_the_order_of_the_texts(tasks_stack: Run):
    """One request, several texts, several vectors of length one; the same text has the same vector."""
    answer = ask(tasks_stack, "/v1/embeddings", model=VECTORS, input=["one", "two", "one"])
    first, second, third = (item["embedding"] for item in answer["data"])
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    assert (len(first), first == pytest.approx(third, abs=1e-4), first == pytest.approx(second, abs=1e-4)) == (
        64, True, False,
    )  # fmt: skip
    assert sum(number * number for number in first) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("model", [PAIRS, ENCODER])
def test_documents_are_ranked(tasks_stack: Run, model: str):
    """Each with a score between 0 and 1, the best first, and no more than were asked for."""
    answer = ask(tasks_stack, "/v1/rerank", model=model, query=QUERY, documents=DOCUMENTS)
    scores = [result["relevance_score"] for result in answer["results"]]
    assert sorted(result["index"] for result in answer["results"]) == [0, 1]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    best = ask(tasks_stack, "/v1/rerank", model=model, query=QUERY, documents=DOCUMENTS, top_n=1)
    assert [result["index"] for result in best["results"]] == [answer["results"][0]["index"]]


def prompt(query: str, document: str, instruction: str) -> str:
    """A pair as Qwen3-Reranker was trained to read it, by its model card."""
    return (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def tokens(text: str) -> int:
    """How many the stand-in's tokenizer makes of it: one per byte, and one per special word."""
    for word in ("<|im_start|>", "<|im_end|>", "yes", "no"):
        text = text.replace(word, "\0")
    return len(text.encode())


@pytest.mark.parametrize("instruction", [None, "Find what somebody likes to eat"])
def test_a_pair_is_read_in_the_words_the_model_was_trained_with(tasks_stack: Run, instruction: str | None):
    """To the token, with the instruction of the request, or that of the model card."""
    more = {"instruction": instruction} if instruction else {}
    answer = ask(tasks_stack, "/v1/rerank", model=PAIRS, query=QUERY, documents=DOCUMENTS[:1], **more)
    usual = "Given a web search query, retrieve relevant passages that answer the query"
    assert answer["meta"]["tokens"]["input_tokens"] == tokens(prompt(QUERY, DOCUMENTS[0], instruction or usual))


@pytest.mark.parametrize(
    ("model", "silent"), [(VECTORS, OF_WRITING), (PAIRS, OF_WRITING), (ENCODER, OF_WRITING | OF_A_CACHE)]
)
def test_metrics_say_what_is_looked_at(tasks_stack: Run, model: str, silent: frozenset[str]):
    """Every role that is not silent has a series of such a server, and what counts requests and tokens has counted."""
    _, samples = tasks_stack.scrape(f"vllm-{model}", "http", "/metrics")
    names = {sample.name for sample in samples}
    roles = CATALOG.vllm.roles
    parts = {role: {name, f"{name}_bucket"} for role, name in roles.items() if role not in silent}
    assert [role for role, either in parts.items() if not either & names] == []
    total = {sample.name: sample.value for sample in samples if sample.labels.get("model_name") == model}
    assert total[f"{roles['whole_answer_s']}_count"] > 0
    assert total[roles["prompt_tokens"]] > 0
    assert total[roles["generated_tokens"]] == 0
    assert total[roles["cache_used"]] == 0


def test_a_model_is_not_asked_for_what_it_is_not_for(tasks_stack: Run):
    """An error of the client, and no other model is tried."""
    body = {"model": VECTORS, "messages": [{"role": "user", "content": "Hello"}]}
    status, _ = request(tasks_stack.gateway(), "POST", "/v1/chat/completions", body)
    assert 400 <= status < 500
