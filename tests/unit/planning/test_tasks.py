"""The table of tasks: another row changes every station that reads it, and no station asks for anything else.

The second row of these tests is made here, of a model that only reads. They do not prove that vLLM or LiteLLM take it.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from catalog.schema import TaskName
from planning import resolve_stack, tasks
from planning.capacity.asked import Asked, workload
from planning.capacity.memory import PENALTY_BYTES_PER_LOGIT, activation_bytes, body_bytes
from planning.capacity.parallelism import Parallelism
from planning.gateway.litellm import litellm_config
from planning.gateway.prices import free_routes
from planning.gateway.surface import INFERENCE
from planning.plan import Plan
from planning.tasks import GENERATE, TASKS, Question, Task, task_by_mode
from settings import Refused, validate
from tests.unit.small_stack import A10, CATALOG, MODEL, stack
from workshop.local import chat
from workshop.local.blueprint import GATEWAY_FILE, Entrance, _modes
from workshop.local.chat import Endpoint
from workshop.local.objects import SecretRef, read

READS = "read"
BASE = "Qwen/Qwen3-8B"
READER = "example/reader"
# Metrics of the engine that are about what is written, or about a cache that lasts.
OF_WRITING = frozenset({"first_token_s", "between_tokens_s", "generated_tokens", "cache_used", "prefix_hits"})
READING = Task(
    calls=("/embeddings",),
    gateway_mode="embedding",
    writes=False,
    parsers=False,
    prefix_caching=False,
    silent_roles=OF_WRITING | {"prefix_queries"},
    question=Question("Hello", lambda text: {"input": text}, {}, lambda body: str(len(body["data"][0]["embedding"]))),
)
ENGINE = CATALOG.vllm
FOR_READING = ["--runner=pooling"]
ROUTED = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}


def known(reads: str | TaskName = READS) -> Any:
    """The catalogue with a second model, like the first but for its task."""
    reader = CATALOG.models[BASE].model_copy(update={"task": reads})
    engine = ENGINE.model_copy(update={"tasks": {**ENGINE.tasks, READS: FOR_READING}})
    return replace(CATALOG, models={**CATALOG.models, READER: reader}, engines={**CATALOG.engines, "vllm": engine})


@pytest.fixture
def second_row(monkeypatch):
    """The row of the second task."""
    monkeypatch.setattr(tasks, "TASKS", {**TASKS, READS: READING})


def raw(**models: Mapping[str, Any]) -> dict[str, Any]:
    """A stack of these models on A10s with a price."""
    pools = {"a10": {**A10, "pricePerNodeHourUsd": 2.84}}
    return stack(gpuPools=pools, models={name: {**ROUTED, **model} for name, model in models.items()})


def planned(settings: dict[str, Any], catalog: Any = None) -> Plan:
    """The plan of a stack that can be deployed."""
    return resolve_stack(validate(settings)[0], catalog or known())


def rules(plan: Plan) -> dict[str, str]:
    """Alert → query."""
    return {rule.alert: rule.expr for rule in plan.observability.alerts}


def panels(plan: Plan) -> set[str]:
    """Titles on the dashboard."""
    found: Any = plan.observability.dashboard["panels"]
    return {panel["title"] for panel in found}


def test_the_table_knows_every_task_and_so_does_the_engine():
    """A row per task of the catalogue, options of the engine for each, and calls that clients may make."""
    assert set(TASKS) == set(TaskName) == set(ENGINE.tasks)
    offered = {call.path for call in INFERENCE}
    for task in TASKS.values():
        assert set(task.calls) <= offered
        assert task.silent_roles <= set(ENGINE.roles) - {"running", "waiting", "step_tokens"}
    assert len({task.gateway_mode for task in TASKS.values()}) == len(TASKS)


@pytest.mark.usefixtures("second_row")
def test_arguments_follow_the_task():
    """Options of the task are there, parsers and prefix caching are not; the rest is the same."""
    writer, reader = (set(server.args[1:]) for server in planned(raw(a={}, b={"model": READER})).servers)
    assert reader - writer == {"--served-model-name=b", "--shutdown-timeout=17", *FOR_READING}
    assert writer - reader == {
        "--served-model-name=a",
        "--shutdown-timeout=410",
        "--enable-prefix-caching",
        "--reasoning-parser=qwen3",
        "--enable-auto-tool-choice",
        "--tool-call-parser=hermes",
    }


@pytest.mark.usefixtures("second_row")
def test_who_does_not_write_has_no_sampler():
    """Its trial run is that of the body alone, and it counts no penalties."""
    shape, gpu, one = CATALOG.models[BASE].architecture, CATALOG.gpus["nvidia-a10"], Parallelism()
    assert shape is not None
    writer, reader = (workload(Asked(), known().models[name], gpu, ENGINE) for name in (BASE, READER))
    assert replace(reader, samples=True) == writer
    stays = activation_bytes(shape, gpu, reader, one) - body_bytes(shape, reader, 1)
    assert stays == pytest.approx(0.15 * 2**30, abs=1)
    slots = PENALTY_BYTES_PER_LOGIT * writer.max_num_seqs * shape.vocab_size
    assert activation_bytes(shape, gpu, writer, one) > activation_bytes(shape, gpu, reader, one) + slots


@pytest.mark.usefixtures("second_row")
def test_no_reason_names_a_sampler_that_is_not_there():
    """The number of sequences is the same, and why it is, is not."""
    writer, reader = (server.reasons["maxNumSeqs"] for server in planned(raw(a={}, b={"model": READER})).servers)
    assert writer == "256: vLLM's own default may spend GiBs on its sampler's trial run"
    assert reader == "256: vLLM's own default on small GPUs"


@pytest.mark.usefixtures("second_row")
def test_the_gateway_is_told_the_mode_and_no_price_of_answers():
    """One price, of what is read; that of answers is no gap. Modes lead back to the task, for who sees only them."""
    plan = planned(raw(a={}, b={"model": READER}))
    found: Any = litellm_config(plan.gateway, {server.name: "http://x" for server in plan.servers})
    writer, reader = (item["model_info"] for item in found["model_list"])
    assert ("mode" in writer, reader["mode"]) == (False, "embedding")
    assert (writer["output_cost_per_token"] > 0, reader["output_cost_per_token"]) == (True, 0)
    assert reader["input_cost_per_token"] == writer["input_cost_per_token"]
    assert free_routes(plan.gateway.routes) == []
    given = planned(raw(b={"model": READER, "priceUsdPerMillionTokens": {"input": 2, "output": 3}}))
    prices = [(route.input_cost_per_token, route.output_cost_per_token) for route in given.gateway.routes]
    assert prices == [(2e-6, 0)]
    assert (task_by_mode(None), task_by_mode("embedding")) == (GENERATE, READING)


@pytest.mark.usefixtures("second_row")
def test_the_longest_request_is_that_of_reading():
    """A whole context at the slowest accepted speed of prompts, whatever an answer could have."""
    writer, reader = planned(raw(a={}, b={"model": READER})).servers
    assert (writer.timing.longest_request_s, reader.timing.longest_request_s) == (410, 17)


@pytest.mark.usefixtures("second_row")
def test_alerts_name_the_models_they_are_about():
    """One that says nothing of some servers names the others; one that says nothing of any is not there."""
    mixed, alone = rules(planned(raw(a={}, b={"model": READER}))), rules(planned(raw(b={"model": READER})))
    assert [alert for alert in mixed if alert not in alone] == ["LLMHighTTFT", "LLMGPUCacheNearFull"]
    assert 'model_name=~"a"' in mixed["LLMHighTTFT"]
    assert 'model_name=~"a"' in mixed["LLMGPUCacheNearFull"]
    assert "model_name=" not in mixed["LLMHighWaitQueue"]
    assert "model_name=" not in rules(planned(raw(a={})))["LLMHighTTFT"]


@pytest.mark.usefixtures("second_row")
def test_the_dashboard_has_no_panel_of_what_nobody_says():
    """While one server says it, it is there."""
    mixed, alone = panels(planned(raw(a={}, b={"model": READER}))), panels(planned(raw(b={"model": READER})))
    assert mixed == panels(planned(raw(a={})))
    assert mixed - alone == {
        "Time to first token", "Time between tokens", "Generated tokens", "KV cache used", "Prefix cache hit rate",
    }  # fmt: skip


@pytest.mark.usefixtures("second_row")
def test_scaling_looks_at_no_cache_that_says_nothing():
    """Sequences alone say how full such a replica is, in the queries and in the sentence."""
    both = {"replicas": {"min": 1, "max": 2}}
    writer, reader = (server.scaling for server in planned(raw(a=both, b={"model": READER, **both})).servers)
    assert writer is not None
    assert reader is not None
    cache = ENGINE.roles["cache_used"]
    assert ([cache in signal.query for signal in writer.signals]) == [False, True, True, False]
    assert [cache in signal.query for signal in reader.signals] == [False] * 4
    assert ("KV cache" in writer.reason, "KV cache" in reader.reason) == (True, False)


@pytest.mark.usefixtures("second_row")
@pytest.mark.parametrize(
    ("models", "said"),
    [
        (
            {"a": {"fallbacks": ["b"]}, "b": {"model": READER}},
            f"models.a.fallbacks[0]: 'b' does not answer {', '.join(GENERATE.calls)}, as 'a' does",
        ),
        (
            {"b": {"model": READER, "canary": {"weight": 10, "model": BASE}}},
            f"models.b.canary.model: {BASE} does not answer /embeddings, as {READER} does",
        ),
    ],
)
def test_only_who_answers_the_same_calls_stands_in(models, said):
    """A fallback and a canary are asked what the model was asked."""
    settings, problems = validate(raw(**models))
    with pytest.raises(Refused) as refused:
        resolve_stack(settings, known(), problems)
    assert [str(problem) for problem in refused.value.problems] == [said]


@pytest.mark.usefixtures("second_row")
def test_the_question_is_found_by_what_is_rendered():
    """A server that runs here is known by the mode that the gateway's file gives its model."""
    plan = planned(raw(a={}, b={"model": READER}))
    text = json.dumps(litellm_config(plan.gateway, {server.name: "http://x" for server in plan.servers}))
    objects = [{"kind": "ConfigMap", "metadata": {"name": "gateway"}, "data": {GATEWAY_FILE: text}}]
    assert _modes(read(objects, [])) == {"a": None, "b": "embedding"}
    entrance = Entrance("s", 80, SecretRef("k", "k"), "b", "embedding")
    assert (entrance.task.question, entrance.task.path) == (READING.question, "/v1/embeddings")


def facts() -> str:
    """All that follows from the small stack, and how its model is asked by `make up`."""
    plan = planned(stack(models={"m": {**MODEL, "replicas": {"min": 1, "max": 2}}}), CATALOG)
    config = litellm_config(plan.gateway, {server.name: "http://x" for server in plan.servers})
    asked = []

    def request(*what: object) -> tuple[int, str]:
        asked.append(what)
        return 200, json.dumps({"choices": [{"message": {"content": "Paris"}}], "data": [{"embedding": [1]}]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat, "request", request)
        shown = chat.question(Endpoint(1, ""), "m", plan.servers[0].task).text
    # the row itself is no reader of the row
    return repr((replace(plan.servers[0], task=GENERATE), plan.observability, config, asked, shown))


OTHERS = [replace(GENERATE, **{field.name: getattr(READING, field.name)}) for field in fields(Task)]
OTHERS += [
    replace(GENERATE, question=replace(GENERATE.question, **{field.name: getattr(READING.question, field.name)}))
    for field in fields(Question)
]


@pytest.mark.parametrize("row", OTHERS, ids=[field.name for shape in (Task, Question) for field in fields(shape)])
def test_every_field_is_read(row, monkeypatch):
    """A row that differs in one field leads to something else that is declared, or asked."""
    before = facts()
    monkeypatch.setattr(tasks, "TASKS", {TaskName.GENERATE: row})
    assert facts() != before
