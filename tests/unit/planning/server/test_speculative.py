"""Guesses of the next tokens and KV cache beyond the GPU as fields: arguments, files, memory, and all that cannot be.

That vLLM divides its cache as planned here is proved by tests/vllm/test_kv_cache_size.py.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.capacity.budget import Parallelism
from planning.capacity.drafts import draft_weight_bytes
from planning.capacity.kv_cache import layout
from planning.capacity.tuning import Tuning
from planning.capacity.weights import weight_bytes
from planning.plan.weights import ClaimVolume, OwnClaim
from tests.unit.small_stack import CATALOG, CPU, GIB, H100, planned, properties, refusals, server, serving

SMALL, BIG, HYBRID = "Qwen/Qwen3-0.6B", "Qwen/Qwen3-14B", "Qwen/Qwen3.8-27B"
DRAFT = {"method": "draft_model", "model": SMALL, "tokens": 4}
BUCKET = {"kind": "objectStore", "url": "s3://models", "credentials": {"kind": "existingSecret", "name": "store"}}
COMMIT = "b" * 40


def told(args: tuple[str, ...]) -> dict[str, Any]:
    """What vLLM is told of guesses."""
    name = "--speculative-config="
    (word,) = [word.removeprefix(name) for word in args if word.startswith(name)]
    return json.loads(word)


@pytest.mark.parametrize(
    ("model", "field", "argument"),
    [
        (BIG, {"method": "ngram", "tokens": 3}, {"method": "ngram", "num_speculative_tokens": 3}),
        (HYBRID, {"method": "mtp", "tokens": 1}, {"method": "mtp", "num_speculative_tokens": 1}),
    ],
)
def test_a_field_is_its_argument(model: str, field: dict[str, Any], argument: dict[str, Any]):
    """The same memory, the same command line but for the place of the option."""
    size = {"model": model, "contextTokens": 16384}
    by_field = server(serving(H100, **size, speculative=field))
    by_argument = server(serving(H100, **size, args=[f"--speculative-config={json.dumps(argument)}"]))
    assert told(by_field.args) == argument
    assert (by_field.memory, sorted(by_field.args)) == (by_argument.memory, sorted(by_argument.args))
    assert (by_field.memory != server(serving(H100, **size)).memory) == (model == HYBRID)


def test_a_draft_is_fetched_and_loaded_beside_the_weights():
    """A claim of its own, mounted where vLLM is told that it is."""
    found = server(serving(H100, speculative=DRAFT))
    own, draft = found.checkpoints
    assert told(found.args) == {"method": "draft_model", "num_speculative_tokens": 4, "model": draft.source.argument}
    assert (own.model, draft.model, draft.revision) == (BIG, SMALL, CATALOG.models[SMALL].revision)
    assert isinstance(draft.place, OwnClaim)
    assert draft.source.volume == ClaimVolume(draft.place.name, f"/drafts/{draft.name}")
    assert draft.source.argument.startswith(f"/drafts/{draft.name}/Qwen--Qwen3-0.6B/")
    assert draft.fetch
    assert draft.fetch.least_bytes > GIB
    given_commit = server(serving(H100, speculative={**DRAFT, "revision": COMMIT})).checkpoints[1]
    assert (given_commit.revision, given_commit.pinned) == (COMMIT, True)


def test_a_draft_takes_weights_and_cache():
    """Its own weights by TP, and for each token its own layers."""
    model, draft = CATALOG.models[BIG], CATALOG.models[SMALL]
    assert model.architecture
    both, alone = Tuning(draft_tokens=4, draft=draft, draft_reads_tokens=True), Tuning(draft_tokens=4)
    for tensor in (1, 2, 4):
        spread = Parallelism(tensor)
        assert draft_weight_bytes(both, spread, 2) == weight_bytes(draft, spread)[1]
        sizes = [layout(model.architecture, spread, gpu=None, tuning=one).block_bytes for one in (both, alone)]
        assert sizes[0] - sizes[1] == 128 * 28 * max(1, 8 // tensor) * 2 * 128 * 2
    plain, found = (server(serving(H100, tensorParallel=1, **more)).memory for more in ({}, {"speculative": DRAFT}))
    grown = found.weights_gib - plain.weights_gib
    assert grown == pytest.approx(weight_bytes(draft, Parallelism())[1] / GIB)
    assert found.kv_cache_tokens < plain.kv_cache_tokens


def test_a_draft_of_every_stage_is_planned_on_the_fullest():
    """Nobody has to know which stage has it."""
    model, tuning = CATALOG.models[BIG], Tuning(draft_tokens=1, draft=CATALOG.models[SMALL])
    assert model.architecture
    pair = [layout(model.architecture, Parallelism(1, 2), tuning=one).block_bytes for one in (tuning, Tuning())]
    assert pair[0] - pair[1] == 128 * 28 * 8 * 2 * 128 * 2


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            {"speculative": {"method": "mtp", "model": SMALL, "tokens": 1}},
            "models.m.speculative: model and revision must be left out: mtp has no files of its own",
        ),
        (
            {"speculative": {"method": "eagle3", "tokens": 1}},
            "models.m.speculative: eagle3 needs model, the repository of the draft",
        ),
        (
            {"speculative": {**DRAFT, "model": "Qwen/Qwen3-0.6"}},
            "models.m.speculative.model: 'Qwen/Qwen3-0.6' is not in the catalogue",
        ),
        (
            {"speculative": {**DRAFT, "model": "Qwen/Qwen2.5-7B-Instruct"}},
            "models.m: its draft has 152064 words and it has 151936: a draft model must have the same vocabulary",
        ),
        (
            {"speculative": DRAFT, "weights": BUCKET},
            "models.m.speculative: needs files on a volume, and vLLM streams none but the model's own from a bucket",
        ),
        (
            {"speculative": {"method": "ngram", "tokens": 3}, "args": ["-sc.method=ngram"]},
            "models.m.args: -sc is decided by speculative; leave one of them out",
        ),
        (
            {"kvOffload": {"gib": 4}, "args": ["--kv-offloading-size", "4"]},
            "models.m.args: --kv-offloading-size is decided by kvOffload; leave one of them out",
        ),
        (
            {"args": ['--speculative-config={"model":"org/x","num_speculative_tokens":2}']},
            "models.m.args[0]: --speculative-config",
        ),
        ({"speculative": {"method": "medusa", "tokens": 1}}, "models.m.speculative.method"),
        ({"speculative": {"method": "ngram", "tokens": 0}}, "models.m.speculative.tokens"),
        ({"kvOffload": {"gib": 0}}, "models.m.kvOffload.gib"),
        ({"kvOffload": {}}, "models.m.kvOffload.gib"),
        (
            {"speculative": {"method": "mtp", "tokens": 1}},
            "models.m: --speculative-config: of an MTP layer in this checkpoint nothing is known",
        ),
        (
            {"model": HYBRID, "speculative": DRAFT},
            "models.m: the KV cache of a draft is only computed where both attend to all tokens in all layers; give ",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(model: dict[str, Any], expected: str):
    """Each at its path, once."""
    lines = refusals(serving(H100, **model))
    assert [line for line in lines if line.startswith(expected)] == lines[-1:]


def test_a_draft_is_cut_as_its_model_is():
    """Heads that TP does not divide stop the engine."""
    raw = serving(H100, speculative={**DRAFT, "model": "HuggingFaceTB/SmolLM2-135M-Instruct"}, tensorParallel=2)
    assert any("9 attention heads of its draft cannot be divided by tensorParallel 2" in line for line in refusals(raw))


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"speculative": {"method": "mtp", "tokens": 1}}, "models.m.speculative"),
        ({"speculative": {**DRAFT, "model": SMALL}}, "models.m.speculative"),
        ({"kvOffload": {"gib": 4}}, "models.m.kvOffload"),
    ],
)
def test_what_is_for_gpus_is_refused_without(model: dict[str, Any], path: str):
    """Once, at the field."""
    raw = serving(CPU, model=SMALL, contextTokens=2048, **model)
    assert refusals(raw) == [f"{path}: pool 'a10' has no GPUs; leave it out"]


def test_guesses_of_the_prompt_run_on_cpus():
    """They need no kernel of a GPU."""
    field = {"method": "ngram", "tokens": 3}
    assert told(server(serving(CPU, model=SMALL, contextTokens=2048, speculative=field)).args)["method"] == "ngram"


def test_a_canary_guesses_as_its_model_does():
    """From the same claim."""
    first, canary = planned(serving(H100, speculative=DRAFT, canary={"weight": 10, "maxNumSeqs": 8})).servers
    assert first.checkpoints == canary.checkpoints
    assert told(first.args) == told(canary.args)


@properties(60)
@given(st.floats(0.1, 200), st.sampled_from([1, 2, 4]), st.sampled_from([0, 4, 12]))
def test_the_memory_of_a_pod_holds_what_is_offloaded(gib: float, tensor: int, offloaded: int):
    """Requests and limits have the cache, which is in /dev/shm, and the weights that stay outside."""
    args = [f"--cpu-offload-gb={offloaded}"] if offloaded else []
    found = server(serving(H100, tensorParallel=tensor, contextTokens=4096, kvOffload={"gib": gib}, args=args))
    resources = found.resources
    assert resources.shm_gib >= gib
    weights = min(offloaded * tensor, weight_bytes(CATALOG.models[BIG], Parallelism(tensor))[0] / GIB)
    assert resources.memory_limit_gib >= resources.memory_gib >= resources.shm_gib + weights * 0.9
    assert f"--kv-offloading-size={gib:g}" in found.args
