"""The table of tasks: another row changes every station that reads it, and no station asks for anything else.

They do not prove that vLLM or LiteLLM take it: tests/local does.
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
from planning.capacity.weights import weight_bytes
from planning.gateway.litellm import litellm_config
from planning.gateway.prices import free_routes, free_warnings
from planning.gateway.surface import INFERENCE
from planning.plan import Plan
from planning.tasks import (
    CHAT,
    EMBED,
    GENERATE,
    OF_A_CACHE,
    OF_WRITING,
    RERANK,
    TASKS,
    TRANSCRIBE,
    Question,
    Task,
    task_by_mode,
)
from settings import Refused, validate
from tests.unit.small_stack import A10, CATALOG, MODEL, stack
from workshop.local import chat
from workshop.local.blueprint import GATEWAY_FILE, Entrance, _modes
from workshop.local.chat import Endpoint
from workshop.local.objects import SecretRef, read

BASE = "Qwen/Qwen3-8B"
READER, ORDERER, ENCODER = "example/reader", "Qwen/Qwen3-Reranker-0.6B", "BAAI/bge-large-en-v1.5"
HEARER = "openai/whisper-large-v3-turbo"
ENGINE = CATALOG.vllm
ROUTED = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}


def known() -> Any:
    """The catalogue with a model more, like another but that it only reads."""
    reader = CATALOG.models[BASE].model_copy(update={"task": TaskName.EMBED})
    return replace(CATALOG, models={**CATALOG.models, READER: reader})


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


def test_arguments_follow_the_task():
    """Options of the task are there, parsers and prefix caching are not; the rest is the same."""
    writer, reader = (set(server.args[1:]) for server in planned(raw(a={}, b={"model": READER})).servers)
    assert reader - writer == {"--served-model-name=b", "--shutdown-timeout=60", *ENGINE.tasks["embed"]}
    assert writer - reader == {
        "--served-model-name=a",
        "--shutdown-timeout=410",
        "--enable-prefix-caching",
        "--reasoning-parser=qwen3",
        "--enable-auto-tool-choice",
        "--tool-call-parser=hermes",
    }


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


def test_who_does_not_write_has_no_head():
    """Where the size of the files is not known, the rows of a head that is dropped are not counted."""
    counted = CATALOG.models[BASE].checkpoint.model_copy(update={"loaded_bytes": None, "disk_bytes": None})
    writer, reader = (known().models[name].model_copy(update={"checkpoint": counted}) for name in (BASE, READER))
    assert writer.architecture is not None
    head = 2 * writer.architecture.vocab_size * writer.architecture.hidden_size
    assert weight_bytes(writer, Parallelism())[0] - weight_bytes(reader, Parallelism())[0] == head


def test_no_reason_names_a_sampler_that_is_not_there():
    """The number of sequences is the same, and why it is, is not."""
    writer, reader = (server.reasons["maxNumSeqs"] for server in planned(raw(a={}, b={"model": READER})).servers)
    assert writer == "256: vLLM's own default may spend GiBs on its sampler's trial run"
    assert reader == "256: vLLM's own default on small GPUs"


def test_the_gateway_is_told_the_mode_and_no_price_of_answers():
    """One price, of what is read; that of answers is no gap. Modes lead back to the task, for who sees only them."""
    plan = planned(raw(a={}, b={"model": READER}))
    found: Any = litellm_config(plan.gateway, {server.name: "http://x" for server in plan.servers})
    writer, reader = (item["model_info"] for item in found["model_list"])
    assert ("mode" in writer, reader["mode"]) == (False, "embedding")
    assert (writer["output_cost_per_token"] > 0, reader["output_cost_per_token"]) == (True, 0)
    assert reader["input_cost_per_token"] == writer["input_cost_per_token"]
    assert free_routes(plan.gateway.routes) == []
    given = planned(raw(b={"model": READER, "priceUsdPerMillionTokens": {"input": 2}}))
    prices = [(route.input_cost_per_token, route.output_cost_per_token) for route in given.gateway.routes]
    assert prices == [(2e-6, 0)]
    assert (task_by_mode(None), task_by_mode("embedding")) == (GENERATE, EMBED)
    assert (task_by_mode("rerank"), task_by_mode("audio_transcription")) == (RERANK, TRANSCRIBE)


def test_the_longest_request_is_that_of_reading():
    """A whole context at the slowest accepted speed of prompts, whatever an answer could have, or many short texts."""
    plan = planned(raw(a={}, b={"model": READER}, c={"model": READER, "contextTokens": 40960}))
    assert [server.timing.longest_request_s for server in plan.servers] == [410, 60, 82]


def test_alerts_name_the_models_they_are_about():
    """One that says nothing of some servers names the others; one that says nothing of any is not there."""
    mixed, alone = rules(planned(raw(a={}, b={"model": READER}))), rules(planned(raw(b={"model": READER})))
    assert [alert for alert in mixed if alert not in alone] == ["LLMHighTTFT", "LLMGPUCacheNearFull"]
    assert [alert for alert in mixed if alert not in rules(planned(raw(a={})))] == ["LLMSlowAnswers"]
    assert 'model_name=~"a"' in mixed["LLMHighTTFT"]
    assert 'model_name=~"a"' in mixed["LLMGPUCacheNearFull"]
    assert 'model_name=~"b"' in mixed["LLMSlowAnswers"]
    assert "model_name=" not in mixed["LLMHighWaitQueue"]
    assert "model_name=" not in rules(planned(raw(a={})))["LLMHighTTFT"]


def test_the_dashboard_has_no_panel_of_what_nobody_says():
    """While one server says it, it is there."""
    mixed, alone = panels(planned(raw(a={}, b={"model": READER}))), panels(planned(raw(b={"model": READER})))
    assert mixed == panels(planned(raw(a={})))
    assert mixed - alone == {
        "Time to first token", "Time between tokens", "Generated tokens", "KV cache used",
    }  # fmt: skip


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


def test_answers_are_slow_by_an_edge_of_their_own_histogram():
    """The threshold of first tokens, or the next one that the histogram of whole answers can tell."""

    def limits(seconds: float) -> list[str]:
        settings = raw(b={"model": READER}) | {"observability": {"alerts": {"timeToFirstTokenS": seconds}}}
        return [
            query.rpartition(" > ")[2] for name, query in rules(planned(settings)).items() if name == "LLMSlowAnswers"
        ]

    assert [limits(seconds) for seconds in (0.1, 5, 7.5)] == [["0.3"], ["5"], ["10"]]


def test_an_encoder_has_no_cache_to_look_at():
    """It reads as many texts at once as are let in, and no metric of a cache is looked at."""
    plan = planned(raw(b={"model": ENCODER, "contextTokens": 512, "replicas": {"min": 1, "max": 2}}))
    (encoder,) = plan.servers
    assert (encoder.memory.kv_cache_gib, encoder.memory.max_concurrency, encoder.memory.fits) == (0, 256, True)
    assert encoder.watched.silent_roles == OF_WRITING | OF_A_CACHE
    assert panels(planned(raw(b={"model": READER}))) - panels(plan) == {"Prefix cache hit rate", "Preemptions"}


def test_a_reranker_is_told_how_a_pair_is_written_and_what_it_is():
    """Its template and its config; of a config that a user gives, the parts are together in the last option."""
    longer = ["--hf-overrides.rope_theta", "5000000"]
    orders = {"model": ORDERER, "args": ["--enforce-eager"]}
    plain, added = planned(raw(a=orders, b={**orders, "args": longer})).servers
    serving = CATALOG.models[ORDERER].serving
    assert f"--chat-template={serving.pair_template}" in plain.args
    assert [json.loads(server.args[-1].partition("=")[2]) for server in (plain, added)] == [
        serving.overrides,
        {**serving.overrides, "rope_theta": 5000000},
    ]
    own = planned(raw(a={"model": ORDERER, "args": ["--chat-template={{ messages[0].content }}"]})).servers[0]
    assert [word for word in own.args if word.startswith("--chat-template=")] == [
        "--chat-template={{ messages[0].content }}"
    ]


def said(catalog: Any = None, **models: Mapping[str, Any]) -> list[str]:
    """Refusals of these models."""
    settings, problems = validate(raw(**models))
    with pytest.raises(Refused) as refused:
        resolve_stack(settings, catalog or known(), problems)
    return [str(problem) for problem in refused.value.problems]


def test_what_only_writers_have_is_refused_of_others():
    """Parsers, guesses, an answer's length and its price: each at its place, whatever spelling it has."""
    wrong = {
        "model": READER,
        "maxOutputTokens": 5,
        "priceUsdPerMillionTokens": {"input": 1, "output": 2},
        "args": ["--reasoning-parser=qwen3", "--enable_auto_tool_choice", "-sc", '{"method": "mtp"}', "--seed=1"],
    }
    why = f"is for models that chat, and {READER} only answers /embeddings; leave it out"
    found = [text for text in said(m=wrong) if "writes" in text or "chat, " in text]
    assert sorted(found) == sorted(
        [
            f"models.m.maxOutputTokens: {READER} writes no tokens; leave it out",
            f"models.m.priceUsdPerMillionTokens.output: {READER} writes no tokens; leave it out",
            f"models.m.args[0]: --reasoning-parser {why}",
            f"models.m.args[1]: --enable_auto_tool_choice {why}",
            f"models.m.args[2]: -sc {why}",
        ]
    )
    assert said(m={"priceUsdPerMillionTokens": {"input": 1}}) == [
        f"models.m.priceUsdPerMillionTokens.output: is missing: {BASE} writes answers"
    ]


def test_what_belongs_to_a_cache_is_refused_where_there_is_none():
    """Its dtype, its size and its prefixes; a step that has no room for a whole text, too."""
    none = f"{ENCODER} keeps no KV cache"
    wrong = {"contextTokens": 512, "kvCacheDtype": "fp8", "concurrency": 2, "args": ["--kv-cache-memory-bytes=1G"]}
    assert said(m={"model": ENCODER, **wrong}) == [
        f"models.m.kvCacheDtype: {none}; leave it out",
        f"models.m.concurrency: {none}, maxNumSeqs is what it reads at once; leave it out",
        f"models.m.args[0]: --kv-cache-memory-bytes means nothing: {none}; leave it out",
    ]
    (text,) = said(m={"model": ENCODER, "contextTokens": 512, "maxNumBatchedTokens": 256, "maxNumSeqs": 8})
    assert text.endswith("maxNumBatchedTokens is 256; use maxNumBatchedTokens: 512, or leave it out")


def test_pickles_are_refused_with_the_way_to_a_conversion():
    """Unless a commit is said, or the files are there already."""
    pickled = {"model": "BAAI/bge-m3"}
    (text,) = said(m=pickled)
    assert text.startswith("models.m.revision: is missing: BAAI/bge-m3 has its weights as pickles only")
    assert "refs/pr/130" in text
    assert planned(raw(m={**pickled, "revision": "a" * 40})).servers[0].checkpoint.pinned
    assert planned(raw(m=pickled) | {"weights": {"kind": "existingClaim", "claimName": "mine"}}).servers


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


def test_the_question_is_found_by_what_is_rendered():
    """A server that runs here is known by the mode that the gateway's file gives its model."""
    plan = planned(raw(a={}, b={"model": READER}))
    text = json.dumps(litellm_config(plan.gateway, {server.name: "http://x" for server in plan.servers}))
    objects = [{"kind": "ConfigMap", "metadata": {"name": "gateway"}, "data": {GATEWAY_FILE: text}}]
    assert _modes(read(objects, [])) == {"a": ("a", None), "b": ("b", "embedding")}
    entrance = Entrance("s", 80, SecretRef("k", "k"), "b", "embedding")
    assert (entrance.task.question, entrance.task.path) == (EMBED.question, "/v1/embeddings")


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
        shown = "".join(
            chat.question(Endpoint(1, ""), "m", task.path, query).text
            for task in [plan.servers[0].task]
            if (query := task.question)
        )
    # the row itself is no reader of the row
    return repr((replace(plan.servers[0], task=GENERATE), plan.observability, config, asked, shown))


OTHERS = [
    replace(GENERATE, **{field.name: getattr(TRANSCRIBE if field.name == "charged_by_second" else EMBED, field.name)})
    for field in fields(Task)
]
OTHERS += [
    replace(GENERATE, question=replace(CHAT, **{field.name: getattr(EMBED.question, field.name)}))
    for field in fields(Question)
]


@pytest.mark.parametrize("row", OTHERS, ids=[field.name for shape in (Task, Question) for field in fields(shape)])
def test_every_field_is_read(row, monkeypatch):
    """A row that differs in one field leads to something else that is declared, or asked."""
    before = facts()
    monkeypatch.setattr(tasks, "TASKS", {TaskName.GENERATE: row})
    assert facts() != before


# --- speech -----------------------------------------------------------------------------------------------------------


def heard(**settings: Any) -> dict[str, Any]:
    """A stack with a model that transcribes, beside one that chats."""
    return raw(a={}, s={"model": HEARER, "contextTokens": 448, **settings})


def test_speech_is_charged_by_the_second():
    """What was said for an hour, else what its encoder reads and a speaker says in a second; never by the token."""
    for settings, price in (({"priceUsdPerAudioHour": 0.36}, 0.0001), ({}, None)):
        plan = planned(heard(**settings))
        config: Any = litellm_config(plan.gateway, {server.name: "http://x" for server in plan.servers})
        chat_info, info = (item["model_info"] for item in config["model_list"])
        cost = plan.servers[1].cost
        assert cost is not None
        estimate = 50 * cost.usd_per_input_token + 4 * cost.usd_per_output_token
        assert info == {
            "id": "vllm-s",
            "mode": "audio_transcription",
            "input_cost_per_second": pytest.approx(price or estimate, rel=1e-3),
        }
        assert "input_cost_per_second" not in chat_info
        assert free_routes(plan.gateway.routes) == []


def test_speech_without_a_price_is_said():
    """By the field that gives one."""
    free = [replace(route, input_cost_per_second=0) for route in planned(heard()).gateway.routes[1:]]
    assert list(free_warnings(free)) == [
        "vllm-s: its audio is charged at zero, so no budget ends; give models.s.priceUsdPerAudioHour"
    ]


@pytest.mark.parametrize(
    ("settings", "path", "text"),
    [
        ({"args": ["--reasoning-parser=qwen3"]}, "args[0]", "is for models that chat"),
        ({"args": ["--enable-auto-tool-choice", "--tool-call-parser=hermes"]}, "args[1]", "is for models that chat"),
        ({"speculative": {"method": "ngram", "tokens": 2}}, "speculative", "is for models that chat"),
        (
            {"priceUsdPerMillionTokens": {"input": 1, "output": 2}},
            "priceUsdPerMillionTokens",
            "use priceUsdPerAudioHour",
        ),
        ({"fallbacks": ["a"]}, "fallbacks", "/audio/transcriptions"),
        ({"contextTokens": 449}, "", "449 exceeds the 448"),
        ({"maxNumBatchedTokens": 1024}, "", "1500"),
        ({"routing": "prefix", "replicas": {"min": 2, "max": 2}}, "routing", "prefix is for models that chat"),
    ],
)
def test_speech_refuses_what_is_not_about_it(settings: dict[str, Any], path: str, text: str):
    """By path, value and what to do instead."""
    told = said(a={}, s={"model": HEARER, "contextTokens": 448, **settings})
    assert any(line.startswith(f"models.s.{path}".rstrip(".")) and text in line for line in told), told


def test_a_price_of_audio_is_for_speech_alone():
    """Who chats is charged by the token."""
    with pytest.raises(Refused, match="use priceUsdPerMillionTokens"):
        planned(raw(a={"priceUsdPerAudioHour": 1}))


def test_speech_has_alerts_of_whole_answers():
    """The gateway streams none of them, so nobody waits for a first token; a cache it has."""
    alone, queries = rules(planned(raw(s={"model": HEARER, "contextTokens": 448}))), rules(planned(heard()))
    assert ("LLMHighTTFT" in alone, "LLMSlowAnswers" in alone, "LLMGPUCacheNearFull" in alone) == (False, True, True)
    assert 'model_name=~"s"' in queries["LLMSlowAnswers"]
    assert 'model_name=~"a"' in queries["LLMHighTTFT"]
