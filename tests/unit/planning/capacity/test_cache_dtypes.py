"""Dtypes of a KV cache by vendor, card and kind of attention, as vLLM's own backends take or refuse them.

That a card's kernels then give right answers is not proven here.
"""

from dataclasses import replace

import pytest

from catalog.schema import WeightFormat
from planning.capacity.asked import Asked, workload
from planning.capacity.budget import Parallelism
from planning.capacity.cache_dtypes import cache_dtype_problems
from planning.capacity.devices import device_problems
from tests.unit.small_stack import A10, CATALOG, refusals, serving, stack

DENSE, SINKS, PICTURES, WHISPER = (
    "Qwen/Qwen3-14B",
    "openai/gpt-oss-120b",
    "google/gemma-3-27b-it",
    "openai/whisper-large-v3",
)
LATENT, SPARSE, HYBRID, BLOCKS = (
    "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-V3.2",
    "Qwen/Qwen3.6-35B-A3B-FP8",
    "Qwen/Qwen3-8B-FP8",
)
ONE = Parallelism()
DTYPES = [dtype for dtype in CATALOG.vllm.kv_cache_dtypes if dtype not in ("auto", "float16", "bfloat16")]
FP8 = {"fp8", "fp8_e4m3"}
TRITON = {"fp8_e5m2", "fp8_per_token_head", "int4_per_token_head", "int8_per_token_head"}
SCALED = {"int4_per_token_head", "int8_per_token_head"}
TURBO = {"turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"}
OCTAVE = {"octave_k3v4", "octave_k3v3", "octave_k3v3_compact"}


def accepted(model: str, gpu: str, parallelism: Parallelism = ONE, *, text_only: bool = False) -> set[str]:
    """Dtypes that this model may keep its cache in on this GPU."""
    entry, card = CATALOG.models[model], CATALOG.gpus[gpu]
    asked = replace(workload(Asked(), entry, card, CATALOG.vllm), language_model_only=text_only)
    return {
        dtype
        for dtype in DTYPES
        if not cache_dtype_problems(entry, card, parallelism, replace(asked, kv_cache_dtype=dtype))
    }


@pytest.mark.parametrize(
    ("model", "gpu", "dtypes"),
    [
        # NVIDIA, attention with heads: Turing, Ampere, Ada, Hopper, Blackwell of servers, Thor, Blackwell of desks
        (DENSE, "nvidia-t4", SCALED),
        (DENSE, "nvidia-a10", FP8 | {"fp8_e5m2", "nvfp4"} | SCALED | TURBO),
        (DENSE, "nvidia-a100-80gb", FP8 | {"fp8_e5m2", "nvfp4"} | SCALED | TURBO),
        (DENSE, "nvidia-l4", FP8 | TRITON | TURBO | {"nvfp4"}),
        (DENSE, "nvidia-h100", FP8 | TRITON | TURBO | {"nvfp4"}),
        (DENSE, "nvidia-b200", FP8 | TRITON | TURBO | {"nvfp4", "nvfp4_4over6"}),
        (DENSE, "nvidia-b300", FP8 | TRITON | TURBO | {"nvfp4", "nvfp4_4over6"}),
        (DENSE, "nvidia-thor", FP8 | TRITON | TURBO),
        (DENSE, "nvidia-gb10", FP8 | TRITON | TURBO | {"nvfp4"}),
        (DENSE, "nvidia-rtx-pro-6000", FP8 | TRITON | TURBO | {"nvfp4"}),
        # sinks, pictures and what an encoder wrote: FlashInfer does not read them on Ampere, Triton has no fp8 there
        (SINKS, "nvidia-a100-80gb", SCALED),
        (SINKS, "nvidia-h100", FP8 | TRITON),
        (SINKS, "nvidia-b200", FP8 | TRITON | {"nvfp4", "nvfp4_4over6"}),
        (PICTURES, "nvidia-a100-80gb", SCALED),
        (PICTURES, "nvidia-l4", FP8 | TRITON),
        (WHISPER, "nvidia-a10", SCALED),
        (WHISPER, "nvidia-h100", FP8 | TRITON),
        # latent
        (LATENT, "nvidia-a100-80gb", set()),
        (LATENT, "nvidia-l40s", FP8),
        (LATENT, "nvidia-h200", FP8),
        (LATENT, "nvidia-b200", FP8),
        (SPARSE, "nvidia-h200", FP8 | {"fp8_ds_mla"}),
        (SPARSE, "nvidia-b200", FP8 | {"fp8_ds_mla", "nvfp4_ds_mla"}),
        (SPARSE, "nvidia-rtx-pro-6000", FP8 | {"fp8_ds_mla"}),
        (SPARSE, "nvidia-thor", set()),
        # AMD, of which MI300X and MI325X are CDNA3 and MI355X is CDNA4
        (DENSE, "amd-mi300x", FP8 | TRITON | TURBO | {"ultraquant_4bit"}),
        (DENSE, "amd-mi355x", FP8 | TRITON | TURBO | {"ultraquant_4bit"}),
        (HYBRID, "amd-mi325x", FP8 | TRITON - {"fp8_e5m2"} | TURBO | OCTAVE | {"ultraquant_4bit"}),
        (HYBRID, "amd-mi355x", FP8 | TRITON - {"fp8_e5m2"} | TURBO | {"ultraquant_4bit"}),
        (SINKS, "amd-mi300x", FP8 | TRITON | TURBO | {"ultraquant_4bit"}),
        (LATENT, "amd-mi300x", FP8),
        (SPARSE, "amd-mi355x", FP8),
    ],
)
def test_each_vendor_has_kernels_of_its_own(model, gpu, dtypes):
    """No nvfp4 cache on AMD or on a Thor, no fp8 one before Ada but where FlashInfer reads it, none of Intel's."""
    assert accepted(model, gpu) == dtypes


def test_an_nvfp4_cache_on_amd_is_refused_with_what_works():
    """It has no compute capability that could be below a floor, and no kernel either."""
    pool = {"gpu": "amd-mi300x", "nodes": 1, "gpusPerNode": 1}
    assert refusals(serving(pool, model=DENSE, contextTokens=4096, kvCacheDtype="nvfp4")) == [
        (
            "models.m: vLLM has no kernel of amd GPUs for kvCacheDtype nvfp4 and attention with heads; use "
            "kvCacheDtype: fp8, or kvCacheDtype: auto"
        )
    ]


def test_another_pool_is_tried_with_its_own_vendors_kernels():
    """An nvfp4 cache that does not fit an A10 is not sent to a larger card of AMD's."""
    pools = {
        "here": {**A10, "nodes": 1, "gpusPerNode": 1},
        "amd": {"gpu": "amd-mi300x", "nodes": 1, "gpusPerNode": 1},
        "hopper": {"gpu": "nvidia-h100", "nodes": 1, "gpusPerNode": 1},
    }
    model = {"model": DENSE, "pool": "here", "kvCacheDtype": "nvfp4", "contextTokens": 8192}
    (reason,) = refusals(stack(gpuPools=pools, models={"m": model}))
    assert ("pool 'amd'" in reason, "pool 'hopper'" in reason) == (False, True)


def sentences(model: str, gpu: str, dtype: str, parallelism: Parallelism = ONE, model_dtype: str = "auto") -> list[str]:
    """Refusals of this dtype."""
    entry, card = CATALOG.models[model], CATALOG.gpus[gpu]
    needed = workload(Asked(kv_cache_dtype=dtype, dtype=model_dtype), entry, card, CATALOG.vllm)
    return [reason.text for reason in cache_dtype_problems(entry, card, parallelism, needed)]


def test_heads_of_64_are_not_read_in_nvfp4_by_fa2():
    """SmolLM2 has such heads: 10.x reads them, an H100 does not, and says with which it would."""
    small = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert sentences(small, "nvidia-b200", "nvfp4") == []
    assert sentences(small, "nvidia-h100", "nvfp4") == [
        (
            "kvCacheDtype nvfp4 needs compute capability 10.x with heads of 64, 128, 256 or 512 or compute capability "
            "8.x, 9.x, 12.x with heads of 128, 256 or 512 and no decode context parallelism; NVIDIA H100 SXM 80 GB is "
            "compute capability 9.0, the model has heads of 64 and bf16 weights"
        )
    ]


def test_fa2_reads_no_nvfp4_cache_that_ranks_split():
    """Decode context parallelism with an nvfp4 cache is for 10.x."""
    split = Parallelism(16, decode_context=2)
    assert [bool(sentences(DENSE, gpu, "nvfp4", split)) for gpu in ("nvidia-h100", "nvidia-b200")] == [True, False]


def test_the_other_fp8_is_not_for_fp8_checkpoints():
    """Their files may have scales of the usual kind; a bf16 checkpoint takes either."""
    assert sentences(DENSE, "nvidia-h100", "fp8_e5m2") == []
    assert sentences(BLOCKS, "nvidia-h100", "fp8") == []
    assert sentences(BLOCKS, "nvidia-h100", "fp8_e5m2") == [
        (
            "kvCacheDtype fp8_e5m2 needs compute capability 8.9 with no fp8-block128 weights or compute capability 8 "
            "with heads of 64, 128, 256 or 512 and no fp8-block128 weights; NVIDIA H100 SXM 80 GB is compute "
            "capability 9.0, the model has heads of 128 and fp8-block128 weights"
        )
    ]


def test_text_alone_has_no_pictures_to_see():
    """Gemma 3 without its tower is like any model with heads."""
    assert accepted(PICTURES, "nvidia-a100-80gb", text_only=True) == accepted(DENSE, "nvidia-a100-80gb")


@pytest.mark.parametrize(
    ("gpu", "dtype", "model_dtype", "own"),
    [
        ("nvidia-h100", "float16", "auto", None),
        ("nvidia-h100", "bfloat16", "auto", None),
        ("nvidia-h100", "float16", "half", None),
        ("nvidia-h100", "float16", "bfloat16", "bfloat16"),
        ("nvidia-h100", "bfloat16", "float", "float32"),
        ("nvidia-t4", "float16", "auto", None),
        ("nvidia-t4", "bfloat16", "auto", "float16"),
        ("amd-mi300x", "bfloat16", "half", "float16"),
    ],
)
def test_a_cache_that_is_not_quantised_has_the_models_dtype(gpu, dtype, model_dtype, own):
    """Another is refused where arguments or the card decide on it; else the checkpoint does, as nobody here knows."""
    reason = f"kvCacheDtype {dtype} is not the dtype of the model here, {own}"
    assert sentences(DENSE, gpu, dtype, model_dtype=model_dtype) == ([] if own is None else [reason])


def test_a_sparse_cache_in_bfloat16_is_not_for_consumer_blackwell():
    """Its one backend there keeps a packed fp8 record."""
    assert sentences(SPARSE, "nvidia-h200", "bfloat16") == []
    assert sentences(SPARSE, "nvidia-rtx-pro-6000", "bfloat16") == [
        (
            "kvCacheDtype bfloat16 needs compute capability 9.x, 10.x; NVIDIA RTX PRO 6000 Blackwell Server Edition "
            "96 GB is compute capability 12.0, the model has heads of 192 and fp8-block128 weights"
        )
    ]


@pytest.mark.parametrize(
    ("gpu", "method", "refused"),
    [
        ("nvidia-a10", "int8_per_channel_weight_only", False),
        ("nvidia-a10", "fp8", False),
        ("amd-mi300x", "fp8_per_channel", False),
        ("amd-mi355x", "fp8_per_block", False),
        ("amd-mi300x", "int8_per_channel_weight_only", True),
    ],
)
def test_methods_of_quantisation_differ_by_vendor(gpu, method, refused):
    """ROCm's platform names the methods it takes, and int8 while loading is not among them."""
    pool, args = {"gpu": gpu, "nodes": 1, "gpusPerNode": 1}, [f"--quantization={method}"]
    name = CATALOG.gpus[gpu].name
    sentence = (
        f"models.m: vLLM does not take --quantization={method} on amd GPUs, as {name} is; use another method, or leave "
        "it out"
    )
    assert refusals(serving(pool, model="Qwen/Qwen3-8B", contextTokens=4096, args=args)) == (
        [sentence] if refused else []
    )


@pytest.mark.parametrize(
    ("target", "formats"),
    [
        ("gfx942", set(WeightFormat) - {WeightFormat.NVFP4}),
        ("gfx950", set(WeightFormat) - {WeightFormat.NVFP4}),
        ("gfx1201", set(WeightFormat) - {WeightFormat.NVFP4}),
        ("gfx90a", set(WeightFormat) - {WeightFormat.NVFP4, WeightFormat.FP8_CHANNEL}),
        ("gfx1100", set(WeightFormat) - {WeightFormat.NVFP4, WeightFormat.FP8_CHANNEL}),
    ],
)
def test_formats_of_weights_have_targets_on_amd(target, formats):
    """Fp8 of MI300X and of MI355X is not the same and both load; CDNA2 and RDNA3 have no kernel for fp8 per channel."""
    gpu, entry = CATALOG.gpus["amd-mi300x"].model_copy(update={"gfx_target": target}), CATALOG.models[DENSE]

    def loads(stored: WeightFormat) -> bool:
        model = entry.model_copy(update={"checkpoint": entry.checkpoint.model_copy(update={"format": stored})})
        return not device_problems(model, gpu, workload(Asked(), model, gpu, CATALOG.vllm))

    assert {stored for stored in WeightFormat if loads(stored)} == formats
