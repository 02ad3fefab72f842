"""Checks of an entry of the catalogue against itself, against its kin and against the engine, whoever wrote it.

Each fault is (keys from the entry on, what is wrong and the nearest fix). Pure functions.
"""

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from catalog.engine import Engine
from catalog.load import Catalog
from catalog.schema import Gpu, Instance, KvProfile, Model, WeightFormat
from planning.capacity.budget import Parallelism
from planning.capacity.weights import LINEAR_BYTES, weight_bytes

EntryFault = tuple[tuple[str, ...], str]
# Bytes that are loaded, as a share of those that the shape counts: norms and biases are not counted one by one, and
# quantised checkpoints leave some layers in bf16.
LEAST_SHARE, MOST_SHARE, MOST_QUANTISED_SHARE = 0.95, 1.1, 2.0
# Parameters that are published, as a share of those that are counted; both ends are rounded in names.
PARAMETER_SHARE = (0.9, 1.1)
# CUDA shows so much of what NVML has, at least.
LEAST_VISIBLE_SHARE = 0.9
# Values of labels (Kubernetes, validation.go), where the id of a GPU and the label of its product end up.
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def model_faults(model: Model, engine: Engine) -> Iterator[EntryFault]:
    """A model: names of the engine, a shape that belongs to its profile, numbers of one and the same checkpoint."""
    serving = model.serving
    for key, name, known in (
        ("reasoningParser", serving.reasoning_parser, engine.reasoning_parsers),
        ("toolCallParser", serving.tool_call_parser, engine.tool_call_parsers),
        ("tokenizerMode", serving.tokenizer_mode, engine.tokenizer_modes),
        ("kvCacheDtype", serving.kv_cache_dtype, engine.kv_cache_dtypes),
    ):
        if name is not None and name not in known:
            near = get_close_matches(name, known, n=1)
            guess = f"; did you mean '{near[0]}'?" if near else ""
            yield ("serving", key), f"'{name}' is none that vLLM {engine.version} has{guess}"
    context = model.context
    if context.native_tokens > context.config_tokens:
        yield (
            ("context", "nativeTokens"),
            f"{context.native_tokens} is more than configTokens, {context.config_tokens}",
        )
    if context.yarn_tokens is not None and context.yarn_tokens <= context.config_tokens:
        yield ("context", "yarnTokens"), f"{context.yarn_tokens} is not more than configTokens, {context.config_tokens}"
    yield from _shape_faults(model)
    yield from _byte_faults(model)


def _shape_faults(model: Model) -> Iterator[EntryFault]:
    shape, profile = model.architecture, model.kv_profile
    if shape is None:
        if profile is not KvProfile.UNKNOWN:
            yield ("architecture",), f"is missing: kvProfile {profile.value} is computed from it"
        elif not model.checkpoint.loaded_bytes:
            yield ("checkpoint", "loadedBytes"), "is missing: without an architecture nothing else says what it weighs"
        return
    if shape.attention_heads % shape.kv_heads:
        yield ("architecture", "kvHeads"), f"{shape.kv_heads} does not divide attentionHeads, {shape.attention_heads}"
    if (shape.mla is not None) != (profile is KvProfile.MLA) and profile is not KvProfile.UNKNOWN:
        wrong = "belongs to kvProfile mla" if shape.mla else "is missing: kvProfile mla is computed from it"
        yield ("architecture", "mla"), wrong


def _byte_faults(model: Model) -> Iterator[EntryFault]:
    """Bytes and parameters that those of the shape contradict: an entry has one of them from another checkpoint."""
    shape, checkpoint = model.architecture, model.checkpoint
    disk, loaded, kind = checkpoint.disk_bytes, checkpoint.loaded_bytes, checkpoint.format
    if disk is not None and loaded is not None and disk < loaded * 0.999:
        yield ("checkpoint", "diskBytes"), f"{disk} is less than loadedBytes, {loaded}, which are read from there"
    if shape is None:
        return
    counted = weight_bytes(_uncounted(model, kind), Parallelism())[0]
    most = MOST_SHARE if kind is WeightFormat.BF16 else MOST_QUANTISED_SHARE
    if loaded and kind in LINEAR_BYTES and not LEAST_SHARE * counted <= loaded <= most * counted:
        why = f"{loaded / 1e9:.2f} GB, but the architecture in {kind.value} has {counted / 1e9:.2f} GB"
        fix = f"give bytes of this checkpoint, or none: checkpoint: {{format: {kind.value}}}"
        yield ("checkpoint", "loadedBytes"), f"{why}; {fix}"
    language = weight_bytes(_uncounted(model, WeightFormat.BF16), Parallelism(), language_model_only=True)[0]
    parameters = language / 2
    least, most = PARAMETER_SHARE
    if model.parameters and not least * parameters <= model.parameters <= most * parameters:
        why = f"{model.parameters:.4g}, but the architecture has {parameters:.4g}"
        yield ("parameters",), f"{why}; mend one of them, or leave parameters out with null"


def _uncounted(model: Model, weight_format: WeightFormat) -> Model:
    """The model with a checkpoint of which only the format is known."""
    checkpoint = model.checkpoint.model_copy(
        update={"format": weight_format, "loaded_bytes": None, "disk_bytes": None, "parts": {}}
    )
    return model.model_copy(update={"checkpoint": checkpoint})


def gpu_faults(name: str, gpu: Gpu, gpus: Collection[str]) -> Iterator[EntryFault]:
    """A GPU: labels that nodes can have, memory that CUDA can show, a kin that is there."""
    if not LABEL_VALUE.fullmatch(name):
        yield (), "the id is the value of a label: letters, digits, - . _, at most 63"
    for label in gpu.product_labels:
        if not LABEL_VALUE.fullmatch(label):
            fixed = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-")
            yield ("productLabels",), f"'{label}' is no value of a label; did you mean '{fixed}'?"
    total = gpu.memory_mib / 1024
    if gpu.cuda_gib is not None and not LEAST_VISIBLE_SHARE * total <= gpu.cuda_gib <= total:
        yield ("cudaGib",), f"{gpu.cuda_gib:g} of the {total:.2f} GiB of memoryMib: CUDA shows a little less than all"
    for profile, part in gpu.mig.profiles.items() if gpu.mig else ():
        if part.instances * part.memory_mib > gpu.memory_mib:
            why = f"{part.instances} × {part.memory_mib} are more than memoryMib, {gpu.memory_mib}"
            yield ("mig", "profiles", profile, "memoryMib"), why
    if gpu.priced_like is not None and gpu.priced_like not in gpus:
        yield ("pricedLike",), f"'{gpu.priced_like}' is no GPU of the catalogue"


def instance_faults(instance: Instance, gpus: Collection[str]) -> Iterator[EntryFault]:
    """A machine type: a GPU that is there."""
    if instance.gpu not in gpus:
        yield ("gpu",), f"'{instance.gpu}' is no GPU of the catalogue"


def catalog_faults(catalog: Catalog) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every fault of every model, GPU and machine type: (section, name, keys …) and what is wrong."""
    for name, model in catalog.models.items():
        yield from ((("models", name, *keys), message) for keys, message in model_faults(model, catalog.vllm))
    for name, gpu in catalog.gpus.items():
        yield from ((("gpus", name, *keys), message) for keys, message in gpu_faults(name, gpu, catalog.gpus))
    for name, instance in catalog.instances.items():
        yield from ((("instances", name, *keys), message) for keys, message in instance_faults(instance, catalog.gpus))
