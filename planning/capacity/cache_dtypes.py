"""Dtypes of a KV cache that the pinned program has kernels for, by card and by the kind of the model's attention.

Facts are those of the engine's file (`devices.caches`). Pure functions.
"""

from collections.abc import Iterable

from catalog.devices import AttentionKind, Devices, Kernel
from catalog.schema import Gpu, Model
from planning.capacity.budget import Parallelism
from planning.capacity.layers import attention_groups
from planning.capacity.memory import FLOAT32, Workload
from planning.capacity.reason import Reason

AUTO, FLOAT16, BFLOAT16, FP8 = "auto", "float16", "bfloat16", "fp8"
# Other names of a dtype of the model (vllm/config/model.py).
NAMES = {"half": FLOAT16, **dict.fromkeys(FLOAT32, FLOAT32[0])}
WORDS = {
    AttentionKind.HEADS: "attention with heads",
    AttentionKind.SINKS: "attention with sinks",
    AttentionKind.PICTURES: "attention that sees whole pictures",
    AttentionKind.CROSS: "cross attention",
    AttentionKind.LATENT: "latent attention (MLA)",
    AttentionKind.SPARSE_LATENT: "sparse latent attention",
}


def attention_kind(model: Model, devices: Devices, *, language_model_only: bool = False) -> AttentionKind:
    """The kind of this model's attention, which decides on its kernels."""
    shape = model.architecture
    if shape is not None and shape.mla is not None:
        return AttentionKind.SPARSE_LATENT if shape.mla.indexer_heads else AttentionKind.LATENT
    if shape is not None and shape.encoder_tokens:
        return AttentionKind.CROSS
    kinds = [kind for kind, families in devices.families.items() if model.family in families]
    if AttentionKind.PICTURES in kinds and language_model_only:
        return AttentionKind.HEADS
    return kinds[0] if kinds else AttentionKind.HEADS


def cache_dtype_problems(model: Model, gpu: Gpu | None, parallelism: Parallelism, workload: Workload) -> list[Reason]:
    """Reasons why no server of this model keeps its cache in this dtype on this GPU; none without a GPU."""
    dtype, devices = workload.kv_cache_dtype, workload.devices
    if gpu is None or devices is None or dtype == AUTO or model.architecture is None:
        return []
    if dtype in (FLOAT16, BFLOAT16) and (own := _own_dtype(gpu, devices, workload.dtype)) not in (None, dtype):
        return [Reason(f"kvCacheDtype {dtype} is not the dtype of the model here, {own}")]
    kind = attention_kind(model, devices, language_model_only=workload.language_model_only)
    # a kind that the vendor's table does not tell from others is one with heads
    by_dtype = devices.caches.get(kind, devices.caches.get(AttentionKind.HEADS, {}))
    if dtype in (FLOAT16, BFLOAT16) and dtype not in by_dtype:
        return []
    kernels = by_dtype.get(dtype, ())
    if any(_reads(kernel, model, gpu, parallelism) for kernel in kernels):
        return []
    if not kernels:
        return [Reason(f"vLLM has no kernel of {gpu.vendor} GPUs for kvCacheDtype {dtype} and {WORDS[kind]}")]
    needs = " or ".join(dict.fromkeys(_needs(kernel) for kernel in kernels))
    return [Reason(f"kvCacheDtype {dtype} needs {needs}; {gpu.name} is {gpu.target}, {_has(model)}")]


def _own_dtype(gpu: Gpu, devices: Devices, dtype: str) -> str | None:
    """The model's dtype where arguments or the card decide it; None: its checkpoint does."""
    if dtype != AUTO:
        return NAMES.get(dtype, dtype)
    return FLOAT16 if gpu.is_below(devices.dtypes.get(BFLOAT16, 0)) else None


def _head_dims(model: Model) -> list[int]:
    """Sizes of the heads whose keys and values are kept."""
    groups = attention_groups(model.architecture) if model.architecture else ()
    return sorted({group.head_dim for group in groups if group.keeps_cache})


def _reads(kernel: Kernel, model: Model, gpu: Gpu, parallelism: Parallelism) -> bool:
    sizes = not kernel.head_dims or set(_head_dims(model)) <= set(kernel.head_dims)
    whole = kernel.split or parallelism.decode_context == 1
    return kernel.runs_on(gpu) and sizes and whole and model.checkpoint.format not in kernel.unless


def _needs(kernel: Kernel) -> str:
    """The conditions of a kernel in words."""
    conditions = [
        f"heads of {_numbers(kernel.head_dims)}" if kernel.head_dims else "",
        "" if kernel.split else "no decode context parallelism",
        f"no {_numbers(kernel.unless)} weights" if kernel.unless else "",
    ]
    together = " and ".join(condition for condition in conditions if condition)
    return f"{kernel.cards or 'any card'} with {together}" if together else kernel.cards


def _numbers(values: Iterable[object]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last


def _has(model: Model) -> str:
    return f"the model has heads of {_numbers(_head_dims(model))} and {model.checkpoint.format} weights"
