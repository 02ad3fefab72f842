"""Servers from their settings: names, resources, reasons, canaries, CPU servers, and what is refused of them."""

from math import ceil
from typing import Any

import pytest

from planning.capacity.asked import default_batch
from planning.capacity.budget import Parallelism
from planning.near import ADD_MODEL
from planning.plan.servers import PodResources
from tests.unit.small_stack import A10, CATALOG, CPU, H100, H200, MODEL, planned, refusals, server, serving, stack

AWQ = {"model": "Qwen/Qwen3-8B-AWQ", "contextTokens": 8192}
NO_GPUS = "pool 'a10' has no GPUs; leave"
ONE_A10 = {**A10, "gpusPerNode": 1, "nodes": 1}


def on_cpu(pool: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    """The small stack with a quantised model on CPUs."""
    return serving({**CPU, **(pool or {})}, **{**AWQ, **model})


# --- what a server is -------------------------------------------------------------------------------------------------


def test_the_server_of_qwen3_14b():
    """Names, weight, parallelism, resources and why, for a model of which only pool and context are said."""
    found = server(serving())
    assert (found.name, found.model_name, found.model, found.pool) == ("vllm-m", "m", "Qwen/Qwen3-14B", "a10")
    assert (found.canary, found.weight, found.cpu, found.nodes_per_replica) == (False, 100, False, 1)
    assert (found.replicas, found.max_replicas, found.max_num_seqs) == (1, 1, 256)
    assert found.parallelism == Parallelism(2)
    assert found.resources == PodResources(4, 20, 51, 2, 8, 20)
    assert found.reasons == {
        "tensorParallel": "TP 2: needs 27.5 GiB of weights per GPU, one gives 20.2 GiB (22.0 × 0.92)",
        "maxNumSeqs": "256: vLLM's own default may spend GiBs on its sampler's trial run",
        "gpuMemoryUtilization": "0.92: vLLM's default, written out",
        "cpus": "4: 2 + one per GPU",
        "memoryGib": "20 requested: 8 + 2 per GPU + 8 of /dev/shm; up to 51 with weights in page cache",
        "weights.prewarm": "true: several readers fill the page cache from the volume, and the engine's one finds "
        "all of it there",
        "measured.start": "weights 60 s (500 MiB/s, readMibPerS), load 15 s (2048 MiB/s from the page cache), "
        "compile 240 s (planned; 195 s published), engine 60 s (planned)",
        "rollout": "room for 4 replicas, at most 1 run: a new pod starts first",
    }


def test_weights_are_read_beforehand_unless_the_user_says_otherwise():
    """The reason says who decided."""
    given = server({**serving(), "weights": {"storageClass": "rwx", "prewarm": False}})
    assert (given.checkpoint.source.prewarm, given.reasons["weights.prewarm"]) == (False, "false: given")
    assert server(serving()).checkpoint.source.prewarm is True


def test_measured_parts_of_a_start_reach_the_timing_of_a_server():
    """models.NAME.measured.start, and only where it says something."""
    figures = {"weightsGibPerGpu": 13.8, "kvTokens": 40_960, "gpus": 2, "start": {"compileS": 100}}
    found = server(serving(measured=figures)).timing
    assert [phase.seconds for phase in found.phases] == [60, 15, 100, 60]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (serving(model="Qwen/Qwen3-8B", contextTokens=4096), "1: one GPU is enough"),
        (serving(tensorParallel=2), "given"),
        # KV cache decides, not weights
        (
            serving(model="Qwen/Qwen3-8B"),
            "TP 2: needs 4.5 GiB of KV cache per GPU for 32768 tokens, one leaves 3.3 GiB, enough for 24160 tokens",
        ),
    ],
)
def test_the_parallelism_says_why(raw, reason):
    """The reader learns what one GPU lacks."""
    assert server(raw).reasons["tensorParallel"] == reason


@pytest.mark.parametrize(
    ("context", "tokens", "reason"),
    [
        (32_768, 32_768, None),
        ("leave out", 40_960, "40960: all the checkpoint has"),
    ],
)
def test_the_context_says_where_it_comes_from(context, tokens, reason):
    """Given, or as long as the checkpoint and the memory allow."""
    found = server(serving(contextTokens=context))
    assert (found.memory.context_tokens, found.reasons.get("contextTokens")) == (tokens, reason)


def test_a_context_of_our_choice_is_the_longest_that_fits():
    """Qwen3-8B on one A10 has less than its checkpoint offers, and says so."""
    found = server(serving(ONE_A10, model="Qwen/Qwen3-8B", contextTokens="leave out"))
    assert (found.memory.context_tokens, found.reasons["contextTokens"]) == (23_552, "23552: the longest that fits")


@pytest.mark.parametrize(
    ("tokens", "found_tokens"),
    [(1, 1), (15, 15), (40_960, 40_960)],
)
def test_the_ends_of_a_context_are_planned(tokens, found_tokens):
    """One token is a context, and so is all the checkpoint has."""
    assert server(serving(contextTokens=tokens)).memory.context_tokens == found_tokens


@pytest.mark.parametrize(
    ("model", "parallelism"),
    [
        ({"maxNumSeqs": 1}, Parallelism(2)),
        ({"gpuMemoryUtilization": 0.97}, Parallelism(2)),
        ({"gpuMemoryUtilization": 0.5}, Parallelism(2, 2)),
        ({"maxNumSeqs": 1024}, Parallelism(2)),
        ({"maxNumSeqs": 2048}, Parallelism(2, 2)),
        ({"args": ["--enforce-eager"], "maxNumSeqs": 512}, Parallelism(2)),
    ],
)
def test_what_is_asked_of_memory_decides_the_gpus(model, parallelism):
    """Fewer sequences, a larger share or no graphs need no more GPUs; the contrary does."""
    assert server(serving(contextTokens=16_384, **model)).parallelism == (parallelism)


@pytest.mark.parametrize(
    ("context", "sequences", "why"),
    [
        (16_384, 256, "vLLM's own default may spend GiBs on its sampler's trial run"),
        (24_576, 128, "256 leave too little memory"),
        (28_672, 64, "256 leave too little memory"),
        (30_720, 64, "256 leave too little memory"),
        (31_744, 16, "256 leave too little memory"),
    ],
)
def test_sequences_of_our_choice_are_as_many_as_let_the_context_fit(context, sequences, why):
    """Qwen3-8B on one A10: halved until sampler and CUDA graphs leave enough KV cache, and it says so."""
    found = server(serving(ONE_A10, model="Qwen/Qwen3-8B", contextTokens=context))
    assert (found.parallelism, found.memory.context_tokens) == (Parallelism(), context)
    assert (found.max_num_seqs, found.reasons["maxNumSeqs"]) == (sequences, f"{sequences}: {why}")
    assert f"--max-num-seqs={sequences}" in found.args


@pytest.mark.parametrize("tokens", [8, 100])
def test_sequences_of_our_choice_are_no_more_than_a_step_has_tokens(tokens):
    """VLLM would not start with more, on CPUs neither."""
    found = server(serving(maxNumBatchedTokens=tokens))
    assert (found.max_num_seqs, found.reasons["maxNumSeqs"]) == (tokens, f"{tokens}: one per token of a step")
    assert server(on_cpu(maxNumBatchedTokens=8)).max_num_seqs == 8


def test_more_sequences_than_a_step_has_tokens_are_refused():
    """Of a model, of its canary, and on CPUs."""
    said = "maxNumSeqs 4096 must be at most maxNumBatchedTokens, 2048: a step has a token for each"
    assert refusals(serving(maxNumSeqs=4096)) == [f"models.m: {said}"]
    assert refusals(serving(canary={"weight": 1, "maxNumSeqs": 4096})) == [f"models.m.canary: {said}"]
    assert refusals(on_cpu(maxNumSeqs=4096)) == [f"models.m: {said}"]


@pytest.mark.parametrize("model", [{"contextTokens": 32_768}, {"contextTokens": 24_576, "maxNumSeqs": 256}])
def test_sequences_are_not_lowered_in_vain_nor_against_what_is_said(model):
    """Sixteen are the fewest we choose, a given number is kept, and the refusal is that of 256."""
    (said,) = refusals(serving(ONE_A10, model="Qwen/Qwen3-8B", **model))
    assert f"for {model['contextTokens']} tokens, pool 'a10' leaves 3.3 GiB, enough for 24160 tokens; use " in said


def test_all_of_a_gpu_is_refused_because_the_cuda_context_needs_room_beside_it():
    """What CUDA and its handles take is made before vLLM's share is claimed."""
    assert refusals(serving(gpuMemoryUtilization=1.0)) == [
        "models.m: gpuMemoryUtilization 1 leaves 0.00 GiB of pool 'a10', the CUDA context needs 0.5"
    ]


@pytest.mark.parametrize(
    ("raw", "resources"),
    [
        # one GPU: 2 GiB of shared memory; a full node: 16
        (serving(model="Qwen/Qwen3-8B", contextTokens=4096), PodResources(3, 12, 29, 1, 2, 20)),
        (serving(H200, model="deepseek-ai/DeepSeek-R1-0528"), PodResources(10, 40, 730, 8, 16, 20)),
        # two pods of a replica load half of the weights each
        (
            serving({**H100, "nodes": 2}, model="deepseek-ai/DeepSeek-R1-0528"),
            PodResources(10, 40, 385, 8, 16, 20),
        ),
        # no pod is promised more than its share of a node
        (serving({**A10, "memoryGibPerNode": 40}), PodResources(4, 20, 36, 2, 8, 20)),
        (
            serving({**A10, "memoryGibPerNode": 40}, model="Qwen/Qwen3-8B", contextTokens=4096),
            PodResources(3, 12, 18, 1, 2, 20),
        ),
        (serving(cpus=7, memoryGib=32), PodResources(7, 32, 63, 2, 8, 20)),
    ],
)
def test_a_pod_asks_for_what_its_gpus_and_weights_need(raw, resources):
    """CPU cores, memory with room for the page cache, and shared memory for NCCL."""
    assert server(raw).resources == resources


def test_a_replica_over_two_nodes_is_a_group_of_pods():
    """TP 8 × PP 2 on two nodes of eight, which the plan says."""
    plan = planned(serving({**H100, "nodes": 2, "pricePerNodeHourUsd": 1}, model="deepseek-ai/DeepSeek-R1-0528"))
    found = plan.servers[0]
    assert (str(found.parallelism), found.nodes_per_replica) == ("TP 8 × PP 2", 2)
    assert "vllm-m: one replica spans 2 nodes; it stops when one of them does" in plan.warnings


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ("nvidia-a10", (256, 2048)),
        ("nvidia-a100-80gb", (256, 2048)),
        ("nvidia-h100", (1024, 8192)),
        ("nvidia-h200", (1024, 8192)),
        ("nvidia-b200", (1024, 16_384)),
    ],
)
def test_defaults_of_vllm_follow_the_gpu(gpu, expected):
    """Its own (sequences, tokens of a step) by memory; an A100 counts as small."""
    assert default_batch(CATALOG.vllm, CATALOG.gpus[gpu]) == expected


def test_memory_that_does_not_hold_what_is_in_it_is_refused():
    """/dev/shm of two GPUs is 8 GiB of the pod's memory; that much is accepted."""
    said = "7 GiB do not hold the 8 GiB of /dev/shm, which is in memory; use at least 8, or leave it out"
    assert refusals(serving(memoryGib=7)) == [f"models.m.memoryGib: {said}"]
    assert server(serving(memoryGib=8)).resources.memory_gib == 8


# --- canaries ---------------------------------------------------------------------------------------------------------


def test_a_canary_is_a_twin_with_changes():
    """Its own name, share, checkpoint, context and arguments; everything else is its model's."""
    canary = {"weight": 20, "model": "Qwen/Qwen3-14B-AWQ", "contextTokens": 4096, "maxNumSeqs": 8, "args": ["--seed=1"]}
    raw = serving(args=["--enforce-eager"], env={"X": "1"}, canary=canary)
    primary, twin = planned(raw).servers
    assert [(item.name, item.model_name, item.weight, item.canary) for item in (primary, twin)] == [
        ("vllm-m", "m", 80, False),
        ("vllm-m-canary", "m", 20, True),
    ]
    assert (twin.model, twin.memory.context_tokens, twin.max_num_seqs) == ("Qwen/Qwen3-14B-AWQ", 4096, 8)
    assert (twin.args[-2:], primary.args[-1]) == (("--enforce-eager", "--seed=1"), "--enforce-eager")
    assert (twin.env["X"], primary.memory.context_tokens) == ("1", 32_768)


def test_a_canary_may_take_all_of_the_traffic():
    """At 100 its model keeps running with nothing to do, ready to take over again."""
    assert [(item.name, item.weight) for item in planned(serving(canary={"weight": 100, "maxNumSeqs": 8})).servers] == [
        ("vllm-m", 0),
        ("vllm-m-canary", 100),
    ]


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        (
            {"model": "Qwen/Qwen3-14B-AWX"},
            "models.m.canary.model: 'Qwen/Qwen3-14B-AWX' is not in the catalogue; did you mean 'Qwen/Qwen3-14B-AWQ'?",
        ),
        (
            {"contextTokens": 200_000},
            "models.m.canary: contextTokens 200000 exceeds the 40960 of the checkpoint; use contextTokens: 40960",
        ),
        (
            {"image": "vllm/vllm-openai:latest"},
            'models.m.canary.image: "latest" is a floating tag; name an exact version',
        ),
        ({"args": ["--port=1"]}, "models.m.canary.args[0]: --port must be left out: the port is fixed"),
    ],
)
def test_what_is_wrong_with_a_canary_is_said_at_the_canary(canary, said):
    """Its model is fine and not mentioned."""
    assert said in refusals(serving(canary={"weight": 10, **canary}))
    assert [text for text in refusals(serving(canary={"weight": 10, **canary})) if ".canary" not in text] == []


def test_what_a_canary_inherits_is_said_once():
    """A wrong image, argument, variable or parallelism of the model is not repeated for its twin."""
    wrong = {"image": "vllm/vllm-openai:latest", "args": ["--sede=1"], "env": {"HF_TOKEN": "x"}, "kvCacheDtype": "fp9"}
    found = refusals(serving(**wrong, canary={"weight": 10, "contextTokens": 4096}))
    assert [text.partition(": ")[0] for text in found] == [
        "models.m.image",
        "models.m.kvCacheDtype",
        "models.m.args[0]",
        "models.m.env.HF_TOKEN",
    ]


def test_what_a_canary_repeats_itself_is_said_twice():
    """Its own image is its own mistake."""
    image = "vllm/vllm-openai:latest"
    found = refusals(serving(image=image, canary={"weight": 10, "image": image}))
    assert [text.partition(": ")[0] for text in found] == ["models.m.image", "models.m.canary.image"]


def test_a_canary_and_a_model_may_not_have_the_same_name():
    """The server of `m`'s canary would be called like that of the model `m-canary`."""
    models = {"m": {**MODEL, "canary": {"weight": 10, "maxNumSeqs": 8}}, "m-canary": MODEL}
    assert refusals(stack(models=models)) == [
        "models.m.canary: its server would have the name of models.m-canary; rename that model"
    ]


# --- taking the place of another --------------------------------------------------------------------------------------


def test_a_model_takes_the_place_of_another_with_its_canary():
    """Server and canary know by name which servers go before they start; without `replaces` none has to."""
    raw = serving(replaces="old", canary={"weight": 10, "maxNumSeqs": 8})
    assert [(item.name, item.replaces) for item in planned(raw).servers] == [
        ("vllm-m", "vllm-old"),
        ("vllm-m-canary", "vllm-old-canary"),
    ]
    assert server(serving()).replaces is None


def test_what_is_replaced_is_gone_and_replaced_once():
    """A model that is served still cannot be replaced, not even by itself, and no two start in one place."""
    models = {"m": {**MODEL, "replaces": "n"}, "n": {**MODEL, "replaces": "old"}, "o": {**MODEL, "replaces": "old"}}
    assert refusals(stack(models=models)) == [
        "models.m.replaces: 'n' is served still; take it out of models, or this line",
        "models.o.replaces: 'old' is replaced by models.n already",
    ]
    assert refusals(serving(replaces="m")) == [
        "models.m.replaces: 'm' is served still; take it out of models, or this line"
    ]


# --- CPU servers ------------------------------------------------------------------------------------------------------


def test_a_cpu_server_is_sized_by_its_node():
    """Weights, four contexts of cache and the runtime in memory; all cores but two."""
    found = server(on_cpu())
    assert (found.cpu, found.parallelism, found.max_num_seqs) == (True, Parallelism(), 16)
    # whole blocks of 128 tokens, 64 of them for one context
    blocks = 5 * 2**30 // (128 * 147_456)
    assert (found.memory.kv_cache_blocks, found.memory.kv_cache_tokens) == (blocks, blocks * 128)
    assert (found.memory.kv_cache_gib, found.memory.max_concurrency) == (5, blocks / 64)
    assert found.resources == PodResources(30, 15, 21, 0, 1, 10)
    assert found.env["VLLM_CPU_KVCACHE_SPACE"] == "5"
    assert found.reasons["kvCache"] == "5 GiB: 4 sequences of 8192 tokens"


def test_a_cpu_server_gets_a_short_context_unless_it_is_said():
    """Long prompts take minutes there."""
    found = server(on_cpu(contextTokens="leave out"))
    assert (found.memory.context_tokens, found.reasons["contextTokens"]) == (8192, "8192: prompts are slow on CPUs")
    assert server(on_cpu(contextTokens=40_960)).memory.context_tokens == 40_960


def test_a_small_node_holds_a_small_cache():
    """Where four contexts do not fit, as many whole GiB as there are."""
    assert server(on_cpu({"memoryGibPerNode": 14})).memory.kv_cache_gib == 2


FLOAT32 = {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "contextTokens": 2048}


@pytest.mark.parametrize("args", [["--dtype=float32"], ["--dtype", "float"], ["--enforce-eager", "--dtype=float32"]])
def test_a_cpu_server_may_compute_in_float32(args):
    """The user's dtype is the only one on the command line, and cache and memory are counted with 4 bytes."""
    usual, wide = (server(on_cpu({"memoryGibPerNode": 8}, **FLOAT32, args=given)) for given in ([], args))
    assert [item for item in wide.args if "--dtype" in item] == [item for item in args if "--dtype" in item]
    assert [item for item in usual.args if "--dtype" in item] == ["--dtype=bfloat16"]
    assert (usual.memory.kv_cache_gib, usual.memory.kv_cache_tokens) == (1, 46_592)
    assert (wide.memory.kv_cache_gib, wide.memory.kv_cache_tokens) == (1, 23_296)
    assert wide.memory.weights_gib == 2 * usual.memory.weights_gib
    given = args[-1].rpartition("=")[2]
    # half as fast, its tokens cost the gateway too little to be put together
    reasons = dict(usual.reasons)
    assert reasons.pop("streamInterval").startswith("4: ")
    assert wide.reasons == {
        **reasons,
        "dtype": f"{given}, given in args: 4 bytes per number that is not quantised",
    }


def test_the_cache_and_memory_of_a_cpu_server_grow_with_its_dtype():
    """Qwen3-8B: twice the GiB for the same four contexts, and a pod that holds 16 bytes for 8 of the checkpoint's."""
    usual, wide = (server(on_cpu(model="Qwen/Qwen3-8B", args=args)) for args in ([], ["--dtype=float32"]))
    assert (usual.memory.kv_cache_gib, wide.memory.kv_cache_gib) == (5, 9)
    loaded = usual.memory.weights_gib
    assert usual.resources.memory_gib == ceil(loaded + 5 + 4)
    assert wide.resources.memory_gib == ceil(2 * loaded + 9 + 4)
    # the page cache holds the files, which are bf16
    assert wide.resources.memory_limit_gib == ceil(wide.resources.memory_gib + loaded)


@pytest.mark.parametrize("dtype", ["half", "float16", "bfloat16", "auto"])
def test_other_dtypes_change_nothing_but_the_argument(dtype):
    """All of them take 2 bytes, which is what is planned with."""
    usual, chosen = (server(on_cpu(args=args)) for args in ([], [f"--dtype={dtype}"]))
    assert (chosen.memory, chosen.resources) == (usual.memory, usual.resources)
    assert [item for item in chosen.args if item.startswith("--dtype")] == [f"--dtype={dtype}"]
    assert chosen.reasons["dtype"] == f"{dtype}, given in args: 2 bytes per number that is not quantised"


def test_float32_is_counted_on_gpus_too():
    """Qwen3-14B takes 55 GiB then, so four A10s instead of two, and its tokens are never free."""
    pool = {**A10, "pricePerNodeHourUsd": 2.84, "gpusPerNode": 4}
    usual, wide = (server(serving(pool, contextTokens=8192, args=args)) for args in ([], ["--dtype=float32"]))
    assert (usual.parallelism.gpus, wide.parallelism.gpus) == (2, 4)
    assert [item for item in (*usual.args, *wide.args) if item.startswith("--dtype")] == ["--dtype=float32"]
    held = [found.memory.weights_gib * found.parallelism.gpus for found in (usual, wide)]
    assert held[1] == pytest.approx(2 * held[0], rel=0.01)
    assert wide.reasons["dtype"] == "float32, given in args: 4 bytes per number that is not quantised"
    assert usual.cost is not None
    assert wide.cost is not None
    assert min(*usual.cost.usd_per_million_tokens or (0.0,), *wide.cost.usd_per_million_tokens or (0.0,)) > 0


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            serving(ONE_A10, model="Qwen/Qwen3-8B", contextTokens=4096, args=["--dtype=float32"]),
            (
                "models.m: needs 30.5 GiB of weights per GPU, pool 'a10' gives 20.2 GiB (22.0 × 0.92); use "
                "--dtype=bfloat16, or gpuPools.a10.nodes: 2"
            ),
        ),
        (
            serving(model="Qwen/Qwen3-14B-FP8", args=["--dtype=float32"]),
            (
                "models.m: --dtype=float32 is not for fp8-block128 weights, whose kernels compute in bfloat16 or "
                "float16; use --dtype=bfloat16, or a bf16 checkpoint"
            ),
        ),
        (
            on_cpu(args=["--dtype", "float32"]),
            (
                "models.m: --dtype=float32 is not for awq-int4 weights, whose kernels compute in bfloat16 or float16; "
                "use --dtype=bfloat16, or a bf16 checkpoint"
            ),
        ),
    ],
)
def test_float32_that_cannot_be_is_refused(raw, said):
    """Where it does not fit the half as wide dtype is offered, and quantised weights have no kernels for it."""
    assert refusals(raw) == [said]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            on_cpu(model="Qwen/Qwen3-8B-FP8"),
            ["models.m: fp8-block128 weights do not run on CPUs; use a bf16 or awq-int4 checkpoint"],
        ),
        (
            on_cpu({"memoryGibPerNode": 8}, model="Qwen/Qwen3-8B"),
            [
                ("models.m: needs 15.3 GiB of weights and 1.1 GiB of KV cache, a node of pool 'a10' gives 7.2 GiB "
                "(8 × 0.9)")
            ],
        ),
        (
            on_cpu(model="deepseek-ai/DeepSeek-V4-Flash"),
            ["models.m: mixed weights do not run on CPUs; use a bf16 or awq-int4 checkpoint"],
        ),
        (
            on_cpu(model="Qwen/Qwen3.8-Flash-Next"),
            [
                ("models.m: its KV cache cannot be computed (kvProfile: unknown), and nothing is sized automatically "
                "on CPUs; use a GPU pool, and give models.m.measured: {weightsGibPerGpu, kvTokens, gpus}, read from "
                "a start-up log with python -m planning calibrate")
            ],
        ),
        (
            on_cpu(contextTokens=50_000, model="Qwen/Qwen3-0.6B"),
            ["models.m: contextTokens 50000 exceeds the 40960 of the checkpoint"],
        ),
        (on_cpu(tensorParallel=2), [f"models.m: {NO_GPUS} parallelism out"]),
        (on_cpu(expertParallel=True), [f"models.m: {NO_GPUS} parallelism out"]),
        (on_cpu(gpuMemoryUtilization=1), [f"models.m.gpuMemoryUtilization: {NO_GPUS} it out"]),
        (on_cpu(kvCacheDtype="fp8"), [f"models.m.kvCacheDtype: {NO_GPUS} it out"]),
        (on_cpu(tensorParallel=1, pipelineParallel=1, expertParallel=False), []),
        (
            on_cpu(model="Qwen/Qwen3-8B-FP8", tensorParallel=2, kvCacheDtype="fp8"),
            [
                f"models.m: {NO_GPUS} parallelism out",
                f"models.m.kvCacheDtype: {NO_GPUS} it out",
                "models.m: fp8-block128 weights do not run on CPUs; use a bf16 or awq-int4 checkpoint",
            ],
        ),
    ],
)  # fmt: skip
def test_what_a_cpu_cannot_do_is_refused(raw, said):
    """Formats without kernels, nodes that are too small, and settings of GPUs, which would otherwise be ignored."""
    assert refusals(raw) == said


# --- models and pools that are not there ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("Qwen/Qwen3-7B", ADD_MODEL),
        ("qwen/qwen3-14b", "; did you mean 'Qwen/Qwen3-14B'?"),
        ("Qwen3-14B", "; did you mean 'Qwen/Qwen3-14B'?"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest(model, said):
    """As the catalogue spells it."""
    assert refusals(serving(model=model)) == [f"models.m.model: '{model}' is not in the catalogue{said}"]


def test_an_unknown_pool_is_refused_with_the_nearest():
    """And what is wrong with the model is said with it."""
    assert refusals(serving(pool="a100")) == ["models.m.pool: no pool 'a100'; did you mean 'a10'?"]
    assert refusals(serving(pool="x", model="Qwen/Qwen3-14b")) == [
        "models.m.pool: no pool 'x'; known: a10",
        "models.m.model: 'Qwen/Qwen3-14b' is not in the catalogue; did you mean 'Qwen/Qwen3-14B'?",
    ]


def test_what_is_written_wrongly_is_refused_whatever_the_model_is():
    """Arguments, variables and the image of a server are looked at though its model, its pool or both are unknown."""
    written = {
        "args": ["--seed=x", "--tensor-parallel-size=2"],
        "env": {"VLLM_NO_SUCH": "1"},
        "engineVersion": "0.33.0",
    }
    wrong = [
        "models.m.engineVersion: is of an image that is not given; give image, or leave it out",
        "models.m.args[0]: --seed x: must be a whole number",
        "models.m.args[1]: --tensor-parallel-size is decided by tensorParallel",
        *refusals(serving(env={"VLLM_NO_SUCH": "1"})),
    ]
    model = f"models.m.model: 'Qwen/Qwen3-7B' is not in the catalogue{ADD_MODEL}"
    pool = "models.m.pool: no pool 'a100'; did you mean 'a10'?"
    assert [refusals(serving(**written, **unknown)) for unknown in UNKNOWN] == [
        [model, *wrong],
        [pool, *wrong],
        [pool, model, *wrong],
    ]


def test_a_canary_of_an_unknown_model_is_looked_at_as_well():
    """By its own arguments; its model is said once."""
    canary = {"weight": 10, "args": ["--seed=y"]}
    assert refusals(serving(model="Qwen/Qwen3-7B", args=["--seed=x"], canary=canary)) == [
        f"models.m.model: 'Qwen/Qwen3-7B' is not in the catalogue{ADD_MODEL}",
        "models.m.args[0]: --seed x: must be a whole number",
        "models.m.canary.args[0]: --seed y: must be a whole number",
    ]


UNKNOWN: list[dict[str, Any]] = [
    {"model": "Qwen/Qwen3-7B"},
    {"pool": "a100"},
    {"model": "Qwen/Qwen3-7B", "pool": "a100"},
]


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("fp9", "vLLM has no KV cache dtype 'fp9'; did you mean 'fp8'?"),
        ("FP8", "vLLM has no KV cache dtype 'FP8'; did you mean 'fp8'?"),
    ],
)
def test_an_unknown_cache_dtype_is_refused(dtype, said):
    """VLLM's parser would take it, and its engine fail."""
    assert refusals(serving(kvCacheDtype=dtype)) == [f"models.m.kvCacheDtype: {said}"]


@pytest.mark.parametrize(
    ("characters", "replicas", "over", "most"), [(38, 1, 0, 0), (37, 10, 0, 0), (40, 1, 2, 38), (38, 10, 1, 37)]
)
def test_the_name_of_a_model_that_spans_nodes_leaves_room_for_its_groups(characters, replicas, over, most):
    """The StatefulSet of a group's workers adds a number and a hash, and its pods have no label above 63 characters."""
    name = "m" * characters
    canary = {"weight": 10, "maxNumSeqs": 8, "replicas": replicas}
    model = {"model": "deepseek-ai/DeepSeek-R1", "pool": "h100", "canary": canary}
    why = f"the workers of vllm-{name}-canary would have a label {over} characters too long"
    assert refusals(stack(gpuPools={"h100": {**H100, "nodes": 40}}, models={name: model})) == (
        [f"models.{name}: spans nodes, and {why}; use a name of at most {most}"] if over else []
    )


def test_a_template_of_ones_own_is_an_argument():
    """The text itself, so that nothing is mounted; said twice it is refused, as is what Kubernetes would change."""
    text = "{{ messages }}\n"
    assert f"--chat-template={text}" in server(serving(chatTemplate=text)).args
    assert refusals(serving(chatTemplate=text, args=["--chat-template={{ a }}"])) == [
        "models.m.args: --chat-template is decided by chatTemplate; leave one of them out"
    ]
    assert refusals(serving(chatTemplate="{{ a }} $(HOME)")) == [
        "models.m.chatTemplate: holds $$ or $(, which Kubernetes changes in arguments; write {{ '$' }}"
    ]
