"""Options that are counted: what they make of weights, KV cache and the memory of the pod, through a stack file.

Figures of real starts are published ones; no server starts here.
"""

from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.capacity.asked import Asked
from planning.capacity.flags import size_bytes, tuning
from planning.capacity.memory import GRAPH_BYTES_PER_LAYER
from planning.capacity.tuning import Tuning
from planning.questions.calculator import Answer, FitQuestion, answer
from tests.unit.small_stack import CATALOG, CPU, H100, properties, refusals, server, serving

GIB = 2**30
L4 = {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1}
B200 = {"gpu": "nvidia-b200", "nodes": 1, "gpusPerNode": 8}
L40S = {"gpu": "nvidia-l40s", "nodes": 1, "gpusPerNode": 4}
MTP = '--speculative-config={"method":"mtp","num_speculative_tokens":1}'
NGRAM = '--speculative-config={"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":4}'


def asked(model: str, gpu: str, context_tokens: int, **options: object) -> Answer:
    """The calculator's answer for one GPU."""
    question = Asked(context_tokens=context_tokens, max_num_seqs=256, tuning=Tuning(**options))  # pyright: ignore[reportArgumentType]
    return answer(FitQuestion(model, gpu, 1, question), CATALOG)


# --- the KV cache of a given size -------------------------------------------------------------------------------------


def test_a_cache_of_a_given_size_is_held_against_the_card():
    """Ten GiB beside Qwen3-8B do not fit an L4 (vllm-project/vllm#18121), whatever utilisation says."""
    raw = serving(L4, model="Qwen/Qwen3-8B", contextTokens=8192, args=["--kv-cache-memory-bytes=10737418240"])
    (refusal,) = refusals(raw)
    assert refusal.startswith(
        "models.m: --kv-cache-memory-bytes asks for 10.0 GiB of KV cache per GPU, pool 'a10' has room for 4.6 beside "
    )


@pytest.mark.parametrize("size", ["3G", "3221225472", "3072M"])
def test_a_cache_of_a_given_size_takes_the_place_of_what_is_free(size):
    """As many blocks of 16 tokens as it has: 3 GiB of 147,456 bytes per token."""
    raw = serving(L4, model="Qwen/Qwen3-8B", contextTokens=8192, args=[f"--kv-cache-memory-bytes={size}"])
    memory = server(raw).memory
    assert (memory.kv_cache_gib, memory.kv_cache_tokens) == (3.0, 3 * GIB // (16 * 147_456) * 16)


def test_blocks_that_are_given_go_before_bytes():
    """And are as large as vLLM cuts them."""
    args = ["--num-gpu-blocks-override=1000", "--kv-cache-memory-bytes=1G"]
    memory = server(serving(L4, model="Qwen/Qwen3-8B", contextTokens=8192, args=args)).memory
    assert (memory.kv_cache_blocks, memory.kv_cache_tokens) == (1000, 16_000)


def test_too_small_a_cache_is_refused_like_any_other():
    """One sequence has to fit."""
    raw = serving(L4, model="Qwen/Qwen3-8B", contextTokens=8192, args=["--num-gpu-blocks-override=512"])
    assert "needs 1.1 GiB of KV cache per GPU for 8192 tokens, pool 'a10' leaves 1.1 GiB" in refusals(raw)[0]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * GIB),
        ("4g", 4 * 10**9),
        ("1k", 1000),
        ("1K", 1024),
        ("1.5k", 1500),
        ("1.5K", 0),
        ("1.5", 0),
        ("7", 7),
        ("x", 0),
        ("", 0),
    ],
)
def test_sizes_are_read_as_vllm_reads_them(text: str, size: int):
    """Small letters are decimal, capitals binary."""
    assert size_bytes(text) == size


# --- states of prefixes, and guesses ----------------------------------------------------------------------------------


def test_prefixes_of_a_hybrid_take_further_pages_of_state():
    """Two pages per sequence on an L40S, three where FlashInfer writes one more; other models have no states."""
    on: dict[str, Any] = {"model": "Qwen/Qwen3.8-27B-FP8", "contextTokens": 8192, "tensorParallel": 2, "maxNumSeqs": 64}
    plain, cached = (server(serving(L40S, **on, args=args)).memory for args in ([], ["--enable-prefix-caching"]))
    # 11 blocks of 784 tokens and 3 groups of states
    assert cached.max_concurrency / plain.max_concurrency == pytest.approx((11 + 3) / (11 + 2 * 3))
    states = {gpu: asked("Qwen/Qwen3.8-27B-FP8", gpu, 8192, prefix_caching=True) for gpu in ("nvidia-h100",)}
    usual = asked("Qwen/Qwen3.8-27B-FP8", "nvidia-h100", 8192)
    memory = states["nvidia-h100"].fit.memory
    assert memory is not None
    assert usual.fit.memory is not None
    assert memory.max_concurrency / usual.fit.memory.max_concurrency == pytest.approx((10 + 3) / (10 + 3 * 3))
    dense = asked("Qwen/Qwen3-8B", "nvidia-l4", 8192, prefix_caching=True)
    assert dense.fit == asked("Qwen/Qwen3-8B", "nvidia-l4", 8192).fit


def test_an_mtp_layer_is_counted():
    """A public run of Qwen3.8-27B with one guess (August 2026, 80 GiB): 51.89 and 18.53 GiB, 278,230 tokens, 1.06 ×."""
    memory = asked("Qwen/Qwen3.8-27B", "nvidia-h100", 262_144, draft_tokens=1, draft_head=True).fit.memory
    assert memory is not None
    assert memory.weights_gib == pytest.approx(51.89, rel=0.01)
    assert memory.kv_cache_gib == pytest.approx(18.53, rel=0.03)
    assert memory.kv_cache_tokens == pytest.approx(278_230, rel=0.03)
    assert memory.kv_cache_tokens <= 278_230 * 1.03
    given_cache = asked(
        "Qwen/Qwen3.8-27B", "nvidia-h100", 262_144, draft_tokens=1, draft_head=True, kv_cache_bytes=int(18.53 * GIB)
    )
    assert given_cache.fit.memory is not None
    assert given_cache.fit.memory.kv_cache_tokens == pytest.approx(278_230, rel=0.005)


def test_guesses_by_prompts_take_states_only():
    """No weights; a page of state for each guess, and a longer row of the convolution."""
    plain, guessed = (
        server(serving(H100, model="Qwen/Qwen3.8-27B", contextTokens=8192, maxNumSeqs=64, args=args)).memory
        for args in ([], [NGRAM])
    )
    assert guessed.weights_gib == plain.weights_gib
    assert guessed.max_concurrency < plain.max_concurrency * (10 + 3) / (10 + 4 * 3) * 1.01


def test_an_mtp_layer_that_is_not_there_is_refused():
    """Qwen3-14B has none."""
    assert refusals(serving(tensorParallel=2, args=[MTP]))[0].startswith(
        "models.m: --speculative-config: of an MTP layer in this checkpoint nothing is known"
    )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ('{"method":"ngram","num_speculative_tokens":2}', ""),
        ('{"method":"ngram"}', "changes the memory by what is not counted"),
        ('{"method":"suffix","num_speculative_tokens":2}', "changes the memory by what is not counted"),
        ('{"method":"ngram_gpu","num_speculative_tokens":2}', "changes the memory by what is not counted"),
        ('{"method":"eagle3","model":"org/draft","num_speculative_tokens":2}', "needs files that no server has"),
        ('{"model":"org/draft","num_speculative_tokens":2}', "needs files that no server has"),
        ("{}", ""),
    ],
)
def test_a_draft_that_is_not_counted_is_refused(config, problem):
    """Whole, in parts, and by its short name."""
    for args in ([f"--speculative-config={config}"], ["-sc", config]):
        assert [problem in text for text in refusals(serving(tensorParallel=2, args=args))] == (
            [True] if problem else []
        )


# --- the memory of the pod --------------------------------------------------------------------------------------------


def test_weights_outside_of_the_gpu_are_in_the_pods_memory():
    """They leave the sum of the GPU, and are requested on top of what a pod takes otherwise."""
    plain, moved = (server(serving(tensorParallel=2, args=args)) for args in ([], ["--cpu-offload-gb=4"]))
    assert moved.memory.weights_gib == pytest.approx(plain.memory.weights_gib - 4)
    assert moved.memory.kv_cache_gib == pytest.approx(plain.memory.kv_cache_gib + 4)
    assert moved.resources.memory_gib == plain.resources.memory_gib + 2 * 4
    assert moved.resources.shm_gib == plain.resources.shm_gib
    assert "+ 8 of weights that stay outside of the GPU" in moved.reasons["memoryGib"]


def test_no_more_leaves_the_gpu_than_there_is_in_layers():
    """Embedding and head stay."""
    moved = server(serving(tensorParallel=2, args=["--cpu-offload-gb=400"]))
    assert 0 < moved.memory.weights_gib < 2
    assert moved.resources.memory_gib < 60


def test_a_cache_outside_of_the_gpu_is_in_shared_memory():
    """VLLM keeps it in a file of /dev/shm, whose size is part of the pod's memory."""
    plain, more = (server(serving(tensorParallel=2, args=args)) for args in ([], ["--kv-offloading-size=20"]))
    grown = (more.resources.shm_gib - plain.resources.shm_gib, more.resources.memory_gib - plain.resources.memory_gib)
    assert grown == (20, 20)
    assert more.memory == plain.memory


@given(weights=st.floats(0, 100), cache=st.floats(0.01, 500), memory_gib=st.none() | st.integers(1, 900))
@properties(60)
def test_a_limit_holds_whatever_is_kept_outside_of_the_gpu(weights, cache, memory_gib):
    """Of any offload: the pod's limit has room for all of it, or the stack is refused."""
    args = [f"--cpu-offload-gb={weights:.2f}", f"--kv-offloading-size={cache:.2f}"]
    raw = serving(tensorParallel=2, args=args, memoryGib=memory_gib or "leave out")
    pool = dict(raw["gpuPools"]["a10"])
    raw["gpuPools"]["a10"] = pool
    if refused := refusals(raw):
        assert all("memoryGib" in text or "node of pool" in text for text in refused), refused
        return
    resources = server(raw).resources
    kept = 2 * min(round(weights, 2), 13)
    assert resources.memory_limit_gib >= resources.memory_gib >= ceil(round(cache, 2)) + kept
    assert resources.shm_gib >= round(cache, 2)


@pytest.mark.parametrize("option", ["--cpu-offload-gb", "--kv-offloading-size", "--num-gpu-blocks-override"])
def test_less_than_nothing_is_refused(option):
    """The parser takes it, and the server ends."""
    assert refusals(serving(tensorParallel=2, args=[f"{option}=-1"])) == [
        f"models.m.args[0]: {option} must be left out: it must not be negative"
    ]


def test_servers_without_gpus_have_nothing_to_leave():
    """What divides the memory of a GPU means nothing there."""
    raw = serving(CPU, model="Qwen/Qwen3-0.6B", contextTokens=2048, args=["--cpu-offload-gb=4", "--seed=1"])
    assert refusals(raw) == ["models.m.args: pool 'a10' has no GPUs, and --cpu-offload-gb is for those; leave it out"]


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "without"),
    [
        (["--limit-mm-per-prompt", '{"image":0,"video":0}'], True),
        (["--limit-mm-per-prompt.image=0", "--limit-mm-per-prompt.video", "0"], True),
        (["--limit-mm-per-prompt", '{"image":0}'], False),
        (["--limit-mm-per-prompt", '{"image":4,"video":0}'], False),
    ],
)
def test_no_pictures_and_no_films_mean_no_tower(args, without):
    """As with --language-model-only; one of the two leaves it where it is."""
    on: dict[str, Any] = {"model": "Qwen/Qwen3.8-27B", "contextTokens": 8192, "maxNumSeqs": 64}
    memory = server(serving(H100, **on, args=args)).memory
    like = server(serving(H100, **on, args=["--language-model-only"] if without else [])).memory
    assert memory == like


def test_options_that_say_nothing_change_nothing():
    """Of all these, none is on by itself."""
    assert tuning(["--seed=1", "--cpu-offload-gb=0", "--speculative-config={}"]) == Tuning()


# --- quantised while it is loaded -------------------------------------------------------------------------------------


def test_weights_that_are_quantised_while_they_are_loaded_are_small():
    """A byte per linear weight, embedding and head as they were; the checkpoint on disk is what it was."""
    plain, small = (server(serving(tensorParallel=2, args=args)) for args in ([], ["-q", "fp8"]))
    # 14.77 billion parameters, 1.56 of them in embedding and head
    saved = (14_768_307_200 - 2 * 151_936 * 5120) / 2 / GIB
    assert plain.memory.weights_gib - small.memory.weights_gib == pytest.approx(saved, rel=0.01)
    assert small.resources == plain.resources
    assert small.args[-2:] == ("-q", "fp8")


@pytest.mark.parametrize(
    ("model", "method"),
    [("Qwen/Qwen3-14B-AWQ", "awq_marlin"), ("Qwen/Qwen3-14B-AWQ", "awq"), ("Qwen/Qwen3-14B-FP8", "fp8")],
)
def test_the_method_of_the_checkpoint_itself_changes_nothing(model, method):
    """It is what vLLM takes without being told."""
    plain, told = (
        server(serving(H100, model=model, contextTokens=8192, args=args)).memory
        for args in ([], [f"--quantization={method}"])
    )
    assert plain == told


def test_a_checkpoint_of_its_own_method_takes_that_alone():
    """Int4 of compressed-tensors is no GPTQ, though its bytes are the same."""
    on = {"model": "moonshotai/Kimi-K2.5", "contextTokens": 8192, "tensorParallel": 8}
    assert refusals(serving(B200, **on, args=["--quantization=gptq_marlin"])) == [
        (
            "models.m.args: --quantization=gptq_marlin is not for gptq-int4 weights; use one of compressed-tensors, "
            "or leave it out"
        )
    ]
    plain, told = (
        server(serving(B200, **on, args=args)).memory for args in ([], ["--quantization=compressed-tensors"])
    )
    assert plain == told


def test_a_method_for_other_weights_is_refused():
    """VLLM ends where checkpoint and method differ; what nobody has counted is refused as such."""
    raw = serving(H100, model="Qwen/Qwen3-14B-AWQ", contextTokens=8192, args=["--quantization=fp8"])
    assert refusals(raw) == [
        (
            "models.m.args: --quantization=fp8 is not for awq-int4 weights; use one of auto_awq, awq, awq_marlin, "
            "or leave it out"
        )
    ]
    assert "is not counted" in refusals(serving(H100, contextTokens=8192, args=["--quantization=torchao"]))[0]


# --- steps and graphs -------------------------------------------------------------------------------------------------


def test_prompts_that_are_not_cut_take_steps_of_a_whole_context():
    """Unless a number was given, which then has to have room for one."""
    on: dict[str, Any] = {"tensorParallel": 2, "contextTokens": 16384, "maxNumSeqs": 16}
    plain, whole = (server(serving(**on, args=args)).memory for args in ([], ["--no-enable-chunked-prefill"]))
    given_so = server(serving(**on, maxNumBatchedTokens=16384)).memory
    assert (whole.activation_gib, whole.cuda_graphs_gib) == (given_so.activation_gib, given_so.cuda_graphs_gib)
    assert whole.activation_gib > plain.activation_gib
    assert (
        "use maxNumBatchedTokens: 16384, or leave it out"
        in refusals(serving(**on, maxNumBatchedTokens=8192, args=["--no-enable-chunked-prefill"]))[0]
    )


def test_throughput_doubles_the_tokens_that_nobody_asked_for():
    """2,048 on an A10; what was asked for stays."""
    on: dict[str, Any] = {"tensorParallel": 2, "contextTokens": 8192, "maxNumSeqs": 16}
    mode = "--performance-mode=throughput"
    doubled, asked_for = server(serving(**on, args=[mode])), server(serving(**on, maxNumBatchedTokens=4096))
    assert doubled.memory == asked_for.memory
    assert server(serving(**on, maxNumBatchedTokens=4096, args=[mode])).memory == asked_for.memory


@pytest.mark.parametrize(
    ("args", "batches"),
    [
        # 1, 2, 4, 8, 16, 24, 32 of 16 sequences
        ([], 7),
        (["--performance-mode=interactivity"], 32),
        (["--cudagraph-capture-sizes", "1", "2", "2", "4"], 3),
        (["--cudagraph-capture-sizes", "1", "999999"], 1),
        (["--max-cudagraph-capture-size=8"], 4),
        (["--max-cudagraph-capture-size=64"], 11),
        (["--max-cudagraph-capture-size=64", "--enforce-eager"], 0),
        (["-O0"], 0),
    ],
)
def test_graphs_are_counted_by_the_sizes_that_are_captured(args, batches):
    """Two kinds of 0.19 MiB each for every layer."""
    memory = server(serving(tensorParallel=2, contextTokens=8192, maxNumSeqs=16, args=args)).memory
    assert memory.cuda_graphs_gib == 2 * batches * 40 * GRAPH_BYTES_PER_LAYER / GIB


def test_a_hybrid_needs_its_cache_of_prefixes_for_one_outside_of_the_gpu():
    """VLLM ends without (kv_connector/v1/offloading/config.py), and the product leaves it off."""
    on: dict[str, Any] = {"model": "Qwen/Qwen3.8-27B", "contextTokens": 8192, "maxNumSeqs": 16}
    assert refusals(serving(H100, **on, args=["--kv-offloading-size=8"])) == [
        (
            "models.m: --kv-offloading-size of a hybrid model needs its cache of prefixes, which is off unless asked "
            "for; use --enable-prefix-caching with it"
        )
    ]
    assert (
        server(serving(H100, **on, args=["--kv-offloading-size=8", "--enable-prefix-caching"])).resources.shm_gib == 10
    )


def test_a_cache_of_no_size_outside_of_the_gpu_is_refused():
    """The connector asks for one above 0."""
    assert refusals(serving(tensorParallel=2, args=["--kv-offloading-size=0.0"])) == [
        "models.m.args[0]: --kv-offloading-size must be left out: a cache of no size ends the server"
    ]
