"""Accelerators that the pinned vLLM runs on: by target, dtype, format and attention; and how a pool names them."""

from dataclasses import replace
from typing import Any

import pytest

from catalog.schema import Gpu, VendorName, WeightFormat
from planning.capacity.asked import Asked, workload
from planning.capacity.budget import Parallelism
from planning.capacity.devices import device_problems
from planning.capacity.memory import SAMPLER_BYTES_PER_LOGIT, SORTING_SAMPLER_BYTES_PER_LOGIT, activation_bytes
from planning.capacity.parallelism import Hardware, try_fit
from planning.stack.overlap import shared_nodes
from tests.unit.small_stack import CATALOG, planned, refusals, server, serving, stack

SMALL, LATENT, SPARSE = "Qwen/Qwen3-0.6B", "deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3.2"
BUILT = "7.5, 8.0, 8.6, 8.7, 8.9, 9.0, 10.0, 11.0, 12.0"


def card(capability: str) -> Gpu:
    """A card of this compute capability."""
    return CATALOG.gpus["nvidia-h100"].model_copy(update={"name": "Card", "compute_capability": capability})


def problems(gpu: Gpu, model: str = SMALL, **asked: Any) -> list[str]:
    """Sentences about a model on this GPU."""
    entry = CATALOG.models[model]
    needed = workload(Asked(**asked), entry, gpu, CATALOG.vllm)
    return [reason.at("here") for reason in device_problems(entry, gpu, needed)]


def unbuilt(capability: str) -> list[str]:
    """The refusal of a card that the image has no kernels for."""
    return [
        (
            f"the image of vLLM is built for {BUILT}; Card is compute capability {capability}; use another GPU, "
            "or an image of your own"
        )
    ]


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        *(
            (capability, True)
            for capability in ("7.5", "8.0", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1")
        ),
        *((capability, False) for capability in ("6.1", "7.0", "7.2", "13.0")),
    ],
)
def test_kernels_run_on_later_minors_of_the_same_major(capability, runs):
    """A GB10 (12.1) runs what is built for 12.0; a V100 (7.0) nothing, and nothing runs on a major of tomorrow."""
    assert problems(card(capability)) == ([] if runs else unbuilt(capability))


def test_every_gpu_of_the_catalogue_runs_the_image_or_is_refused_by_name():
    """Of all cards only those older than Turing are not what the image is built for."""
    refused = [name for name, gpu in CATALOG.gpus.items() if problems(gpu)]
    assert refused == ["nvidia-v100-16gb", "nvidia-v100-32gb"]


def test_turing_computes_in_float16():
    """`auto` means float16 there; bfloat16 is refused with what to say, and so is a model that float16 breaks."""
    turing, family = CATALOG.gpus["nvidia-t4"], CATALOG.models[SMALL].model_copy(update={"family": "gemma3"})
    assert problems(turing) == problems(turing, dtype="half") == problems(turing, dtype="float32") == []
    assert problems(turing, dtype="bfloat16") == [
        "--dtype=bfloat16 needs compute capability 8, NVIDIA T4 16 GB has 7.5; use --dtype=half, or leave it out"
    ]
    needed = workload(Asked(), family, turing, CATALOG.vllm)
    assert [reason.at("") for reason in device_problems(family, turing, needed)] == [
        (
            "NVIDIA T4 16 GB has no bfloat16, and vLLM does not run gemma3 in float16, in which it is not stable; "
            "use --dtype=float32, in twice the memory"
        )
    ]
    ampere = CATALOG.gpus["nvidia-a10"]
    assert device_problems(family, ampere, workload(Asked(), family, ampere, CATALOG.vllm)) == []


@pytest.mark.parametrize(
    ("model", "gpu", "reasons"),
    [
        (LATENT, "nvidia-a100-80gb", []),
        (
            LATENT,
            "nvidia-t4",
            ["latent attention needs compute capability 8; NVIDIA T4 16 GB is compute capability 7.5"],
        ),
        (SPARSE, "nvidia-h200", []),
        (SPARSE, "nvidia-rtx-pro-6000", []),
        (
            SPARSE,
            "nvidia-a100-80gb",
            [
                (
                    "sparse-latent attention needs compute capability 9.x, 10.x, 12.x; NVIDIA A100 SXM 80 GB is "
                    "compute capability 8.0"
                )
            ],
        ),
        (
            SPARSE,
            "nvidia-thor",
            [
                (
                    "sparse-latent attention needs compute capability 9.x, 10.x, 12.x; NVIDIA Jetson AGX Thor 128 GB "
                    "shared with the CPU (arm64) is compute capability 11.0"
                )
            ],
        ),
        (SPARSE, "amd-mi355x", []),
        (LATENT, "nvidia-thor", []),
        ("Inferact/Qwen3.8-27B-NVFP4", "nvidia-l4", []),
        (
            "Inferact/Qwen3.8-27B-NVFP4",
            "amd-mi300x",
            ["vLLM does not load nvfp4 weights on amd GPUs: AMD Instinct MI300X 192 GB"],
        ),
        ("Qwen/Qwen3-8B-FP8", "amd-mi300x", []),
    ],
)
def test_attention_and_formats_have_floors(model, gpu, reasons):
    """Latent attention reads prompts by kernels of 8.0, its sparse kind by those of 9, 10 and 12; NVFP4 is NVIDIA's."""
    assert problems(CATALOG.gpus[gpu], model) == reasons


@pytest.mark.parametrize(("gpu", "runs"), [("nvidia-t4", False), ("nvidia-a10", True), ("amd-mi300x", True)])
def test_mxfp4_needs_ampere(gpu, runs):
    """Turing has no Marlin kernels for it (docs/features/quantization of vLLM)."""
    entry = CATALOG.models[SMALL]
    stored = entry.checkpoint.model_copy(update={"format": WeightFormat.MXFP4})
    model, card = entry.model_copy(update={"checkpoint": stored}), CATALOG.gpus[gpu]
    needed = workload(Asked(), model, card, CATALOG.vllm)
    reasons = [reason.text for reason in device_problems(model, card, needed)]
    assert reasons == (
        [] if runs else ["mxfp4 weights need compute capability 8; NVIDIA T4 16 GB is compute capability 7.5"]
    )


def test_a_vendor_without_an_image_is_refused():
    """A version whose file says nothing of a vendor has no image for its GPUs."""
    amd = CATALOG.gpus["amd-mi300x"]
    engine = CATALOG.vllm.model_copy(update={"devices": {}})
    needed = workload(Asked(), CATALOG.models[SMALL], amd, engine)
    assert [reason.text for reason in device_problems(CATALOG.models[SMALL], amd, needed)] == [
        "this version of vLLM has no image for the GPUs of amd, as AMD Instinct MI300X 192 GB is"
    ]


def test_an_image_of_ones_own_may_be_built_for_anything():
    """A V100 is refused, unless the model names its image; what no GPU of that kind computes is still refused."""
    pool = {"gpu": "nvidia-v100-32gb", "nodes": 1, "gpusPerNode": 1}
    model = {"model": SMALL, "contextTokens": 4096}
    assert refusals(serving(pool, **model)) == [
        (
            f"models.m: the image of vLLM is built for {BUILT}; NVIDIA V100 SXM2 32 GB is compute capability 7.0; use "
            "another GPU, or an image of your own"
        )
    ]
    assert refusals(serving(pool, **model, image="registry.corp.example/vllm:v0.33.0")) == []


def test_sorting_samplers_cost_more_where_a_version_sorts():
    """36 bytes per logit in place of 14 on the majors that the engine's file names."""
    blackwell, entry = CATALOG.gpus["nvidia-rtx-5090"], CATALOG.models[SMALL]
    needed = workload(Asked(context_tokens=4096), entry, blackwell, CATALOG.vllm)
    devices = CATALOG.vllm.devices[VendorName.NVIDIA].model_copy(update={"sorts_logits": frozenset({12})})
    assert entry.architecture is not None
    sizes = [
        activation_bytes(entry.architecture, blackwell, each, Parallelism())
        for each in (needed, replace(needed, devices=devices))
    ]
    logits = needed.max_num_seqs * entry.architecture.vocab_size
    assert sizes[1] - sizes[0] == (SORTING_SAMPLER_BYTES_PER_LOGIT - SAMPLER_BYTES_PER_LOGIT) * logits


def test_memory_that_is_the_cpus_too_keeps_room_for_the_system():
    """Of a GB10's 119.7 GiB the share chosen leaves 16; a larger one is refused."""
    gpu, entry = CATALOG.gpus["nvidia-gb10"], CATALOG.models[SMALL]
    chosen = workload(Asked(context_tokens=4096), entry, gpu, CATALOG.vllm)
    assert chosen.utilization == 0.86
    large = workload(Asked(context_tokens=4096, utilization=0.95), entry, gpu, CATALOG.vllm)
    assert [
        reason.at("here") for reason in try_fit(entry, Hardware(gpu, 1, 1, False), Parallelism(), large).reasons
    ] == ["gpuMemoryUtilization 0.95 leaves 5.99 GiB of here, the system and the server itself need 16.0"]


def test_the_share_of_a_memory_that_is_the_cpus_too_is_explained():
    """The argument has the chosen share, and the report says why it is not vLLM's."""
    found = server(serving({"gpu": "nvidia-gb10", "nodes": 1, "gpusPerNode": 1}, model=SMALL, contextTokens=4096))
    assert "--gpu-memory-utilization=0.86" in found.args
    assert found.reasons["gpuMemoryUtilization"] == "0.86: the rest is the system's, whose memory is the same"


@pytest.mark.parametrize("written", ["nvidia-rtx-4090", "NVIDIA-GeForce-RTX-4090", "NVIDIA GeForce RTX 4090"])
def test_a_gpu_is_named_by_id_or_by_the_label_of_its_nodes(written):
    """The label of GPU feature discovery, or NVML's name of which it is made, is the id."""
    plan = planned(serving({"gpu": written, "nodes": 1, "gpusPerNode": 1}, model=SMALL, contextTokens=4096))
    pool = plan.pools["a10"]
    assert (pool.gpu, dict(pool.node_selector)) == (
        "nvidia-rtx-4090",
        {"nvidia.com/gpu.product": "NVIDIA-GeForce-RTX-4090"},
    )


def test_amd_gpus_have_their_own_resource_label_taint_and_image():
    """What a vendor calls its things is a row: nothing of NVIDIA's is asked of a node with MI300X."""
    model = {"model": SMALL, "pool": "mi", "contextTokens": 4096}
    pools = {"mi": {"gpu": "amd-mi300x", "nodes": 1, "gpusPerNode": 8}}
    plan = planned(stack(gpuPools=pools, models={"m": model}))
    pool, server = plan.pools["mi"], plan.servers[0]
    labels = ("AMD_Instinct_MI300X_OAM", "AMD_Instinct_MI300X", "AMD_Instinct_MI300X_VF", "AMD_Instinct_MI300X_HF")
    assert (pool.resource_name, pool.node_affinity) == ("amd.com/gpu", (("amd.com/gpu.product-name", "In", labels),))
    assert pool.tolerations == ({"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"},)
    assert pool.gpu_taint == {"key": "amd.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert server.image.reference == "docker.io/vllm/vllm-openai-rocm:v0.33.0"
    assert "gpu-operator" not in plan.releases
    assert not [rule for rule in plan.observability.alerts if rule.alert.startswith("LLMGpu")]
    assert [line for line in plan.warnings if line.startswith("pool mi")] == [
        (
            "pool mi: AMD Instinct MI300X 192 GB needs AMD's device plugin and node labeller (its GPU Operator brings "
            "both), and a driver for ROCm 7, which the stack does not install"
        )
    ]


def test_pools_of_two_vendors_are_told_apart():
    """No node is an A10 and an MI300X."""
    pools = {
        "mi": {"gpu": "amd-mi300x", "nodes": 1, "gpusPerNode": 8},
        "a10": {"gpu": "nvidia-a10", "nodes": 1, "gpusPerNode": 1},
    }
    models = {name: {"model": SMALL, "pool": name, "contextTokens": 4096} for name in pools}
    assert list(shared_nodes(planned(stack(gpuPools=pools, models=models)).pools, CATALOG)) == []


def test_every_floor_of_a_format_is_one_of_a_known_capability():
    """A floor between two capabilities would be a slip of the pen."""
    for devices in CATALOG.vllm.devices.values():
        caches = [kernels for by_dtype in devices.caches.values() for kernels in by_dtype.values()]
        every = [
            kernel
            for kernels in (*devices.formats.values(), *devices.attention.values(), *caches)
            for kernel in kernels
        ]
        assert {*devices.dtypes.values(), *(kernel.least for kernel in every)} <= {0, 8.0, 8.9}
        assert {major for kernel in every for major in kernel.majors} <= {8, 9, 10, 12}
        assert {target for kernel in every for target in kernel.targets} <= set(devices.built_for or ())


def test_every_dtype_of_a_cache_has_its_kernels_or_none():
    """A new dtype of vLLM is refused everywhere until somebody has read what its kernels run on."""
    natural = {"auto", "float16", "bfloat16"}
    listed = {
        dtype for devices in CATALOG.vllm.devices.values() for by_dtype in devices.caches.values() for dtype in by_dtype
    }
    assert set(CATALOG.vllm.kv_cache_dtypes) - natural - listed == {"fp8_inc"}
    assert listed <= set(CATALOG.vllm.kv_cache_dtypes)
