"""Questions about one replica, and the workload that follows: vLLM's own defaults wherever nothing is asked."""

from dataclasses import dataclass, replace

from catalog.devices import Devices
from catalog.engine import Engine
from catalog.schema import Gpu, KvProfile, Model
from planning.capacity.cards import default_utilization
from planning.capacity.memory import Workload
from planning.capacity.mig import known_memory_mib
from planning.capacity.tuning import USUAL, Tuning
from planning.tasks import task_of

NO_DEVICES = Devices(built_for=())


@dataclass(frozen=True)
class Asked:
    """One replica as vLLM would be started. None: vLLM's default for the GPU; no `context_tokens`: the checkpoint's.

    `context_tokens` 0: as long as fits, which whoever asks has to find. `concurrency`: sequences of the whole context.
    """

    context_tokens: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    utilization: float | None = None
    kv_cache_dtype: str | None = None
    concurrency: int = 1
    eager: bool = False
    language_model_only: bool = False
    max_loras: int = 0
    max_lora_rank: int = 16
    dtype: str = "auto"
    quantization: str = ""
    tuning: Tuning = USUAL


def workload(asked: Asked, model: Model, gpu: Gpu, engine: Engine) -> Workload:
    """The workload of a replica on this GPU. Raises LookupError where the engine file has no batch rule for it."""
    sequences, tokens = default_batch(engine, gpu, asked.max_num_batched_tokens)
    if asked.tuning.performance == "throughput":
        # it doubles what was not asked for (vllm/engine/arg_utils.py)
        tokens *= 1 if asked.max_num_batched_tokens else 2
        sequences = min(2 * sequences, tokens)
    return Workload(
        context_tokens=asked.context_tokens or model.context.config_tokens,
        max_num_seqs=asked.max_num_seqs or sequences,
        max_num_batched_tokens=tokens,
        kv_cache_dtype=asked.kv_cache_dtype or model.serving.kv_cache_dtype or "auto",
        utilization=asked.utilization or default_utilization(gpu),
        eager=asked.eager,
        language_model_only=asked.language_model_only or model.serving.language_model_only,
        max_loras=asked.max_loras,
        max_lora_rank=asked.max_lora_rank,
        concurrency=asked.concurrency,
        dtype=asked.dtype,
        quantization=asked.quantization,
        samples=task_of(model).writes,
        tuning=tuning_of(model, asked.tuning),
        tokens_given=asked.max_num_batched_tokens is not None,
        slices=engine.slices,
        no_loras=engine.no_loras,
        devices=engine.devices.get(gpu.vendor, NO_DEVICES),
    )


def tuning_of(model: Model, asked: Tuning) -> Tuning:
    """The options of memory as the model has them: encoders, also those beside a decoder, are not fed in pieces."""
    encoder = model.kv_profile is KvProfile.NONE or (
        model.architecture is not None and model.architecture.encoder_tokens
    )
    return replace(asked, whole_prompts=True) if encoder else asked


def default_batch(engine: Engine, gpu: Gpu, batched_tokens: int | None = None) -> tuple[int, int]:
    """VLLM's own (max_num_seqs, max_num_batched_tokens) on this GPU, by the rules of the engine file.

    With `batched_tokens` that many are wanted in a step, which has a token for every sequence.
    """
    rules = engine.defaults["batch"]
    memory_gib = known_memory_mib(gpu) / 1024
    for rule in rules if isinstance(rules, list) else []:
        excluded = rule.get("except", {})
        named = any(word in label.lower() for word in excluded.get("device_name_contains", [])
                    for label in gpu.product_labels)  # fmt: skip
        if memory_gib >= rule["min_gpu_memory_gib"] and not named:
            if gpu.compute_capability in excluded.get("compute_capability", []):
                continue
            tokens = batched_tokens or rule["max_num_batched_tokens"]
            return min(rule["max_num_seqs"], tokens), tokens
    raise LookupError("the engine file has no batch rule for this GPU")
