"""Accelerators that the pinned program runs on at all: what its image is built for, and what it computes there.

Facts are those of the engine's file (`devices`). Pure functions.
"""

from functools import lru_cache

from catalog.devices import Devices, Kernel
from catalog.schema import Gpu, Model, VendorName
from planning.capacity import flags
from planning.capacity.cache_dtypes import attention_kind
from planning.capacity.memory import FLOAT32, Workload
from planning.capacity.reason import Reason

AUTO, HALF = "auto", "half"


def device_problems(model: Model, gpu: Gpu | None, workload: Workload) -> list[Reason]:
    """Reasons why no server of this model starts on this GPU, however much memory there is; none without a GPU."""
    devices, dtype = workload.devices, workload.dtype
    if gpu is None or devices is None:
        return []
    if devices.built_for == ():
        return [Reason(f"this version of vLLM has no image for the GPUs of {gpu.vendor}, as {gpu.name} is")]
    if not built_for(gpu, devices):
        text = f"the image of vLLM is built for {', '.join(devices.built_for or ())}; {gpu.name} is {gpu.target}"
        return [Reason(text, fix="another GPU, or an image of your own")]
    return [
        *_dtype_problems(model, gpu, dtype, devices),
        *_method_problems(gpu, workload.quantization, devices),
        *_format_problems(model, gpu, devices),
        *_attention_problems(model, gpu, devices),
    ]


def built_for(gpu: Gpu, devices: Devices) -> bool:
    """Whether kernels for one of the targets run on this GPU: code for a target also runs on later minors of NVIDIA."""
    if devices.built_for is None:
        return True
    if gpu.vendor is not VendorName.NVIDIA:
        return gpu.gfx_target in devices.built_for
    return _runs(devices.built_for, gpu.capability)


@lru_cache(maxsize=1024)
def _runs(targets: tuple[str, ...], capability: tuple[int, int]) -> bool:
    versions = (tuple(map(int, target.split("."))) for target in targets)
    return any(capability[0] == major and capability[1] >= minor for major, minor in versions)


def _dtype_problems(model: Model, gpu: Gpu, dtype: str, devices: Devices) -> list[Reason]:
    """A dtype that the GPU does not compute in, and models that do not stand the one that takes its place."""
    floor = devices.dtypes.get("bfloat16", 0)
    if not gpu.is_below(floor):
        return []
    if dtype not in (AUTO, HALF, "float16", *FLOAT32):
        text = f"{flags.DTYPE}={dtype} needs compute capability {floor:g}, {gpu.name} has {gpu.compute_capability}"
        return [Reason(text, fix=f"{flags.DTYPE}={HALF}, or leave it out")]
    if dtype not in FLOAT32 and model.family in devices.no_float16:
        text = f"{gpu.name} has no bfloat16, and vLLM does not run {model.family} in float16, in which it is not stable"
        return [Reason(text, fix=f"{flags.DTYPE}={FLOAT32[0]}, in twice the memory")]
    return []


def _method_problems(gpu: Gpu, method: str, devices: Devices) -> list[Reason]:
    if method not in devices.no_methods:
        return []
    text = f"vLLM does not take {flags.QUANTIZATION}={method} on {gpu.vendor} GPUs, as {gpu.name} is"
    return [Reason(text, fix="another method, or leave it out")]


def _format_problems(model: Model, gpu: Gpu, devices: Devices) -> list[Reason]:
    stored = model.checkpoint.format
    kernels = devices.formats.get(stored)
    if kernels is None or any(kernel.runs_on(gpu) for kernel in kernels):
        return []
    if not kernels:
        return [Reason(f"vLLM does not load {stored} weights on {gpu.vendor} GPUs: {gpu.name}")]
    return [Reason(f"{stored} weights need {_cards(kernels)}; {gpu.name} is {gpu.target}")]


def _attention_problems(model: Model, gpu: Gpu, devices: Devices) -> list[Reason]:
    kind = attention_kind(model, devices)
    kernels = devices.attention.get(kind)
    if kernels is None or any(kernel.runs_on(gpu) for kernel in kernels):
        return []
    return [Reason(f"{kind} attention needs {_cards(kernels)}; {gpu.name} is {gpu.target}")]


def _cards(kernels: tuple[Kernel, ...]) -> str:
    return " or ".join(kernel.cards for kernel in kernels)
