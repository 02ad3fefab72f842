"""Spread of one replica over GPUs: what vLLM would refuse, what fits, and the cheapest that does.

TP stays inside a node and, over NVLink, fills it before a second node is asked. Between GPUs without NVLink, TP stops
at 2 (one exchange per layer over PCIe is bearable, more is not) and pipeline stages go on from there; between nodes
only pipeline stages.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from catalog.schema import Gpu, KvProfile, Model, WeightFormat
from planning.capacity import flags
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.cache_dtypes import cache_dtype_problems
from planning.capacity.devices import device_problems
from planning.capacity.drafts import draft_rules, uncounted_draft
from planning.capacity.heads import head_problems
from planning.capacity.lora import lora_problems
from planning.capacity.memory import Workload, budget
from planning.capacity.reason import PLACE, Reason
from planning.capacity.slices import slice_problems
from planning.capacity.start import start_problems
from planning.capacity.weights import draft_head_bytes

MAX_PCIE_TENSOR_PARALLEL = 2
# A context chosen for the user is not cut below this, nor below what the checkpoint has.
SMALLEST_AUTO_CONTEXT = 8192

# Contexts are told in steps of so many tokens.
CONTEXT_STEP = 1024


@dataclass(frozen=True)
class Hardware:
    """The GPUs one replica may use. `nvlink`: the link between the GPUs of a node."""

    gpu: Gpu
    gpus_per_node: int
    nodes: int
    nvlink: bool

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.gpus_per_node * self.nodes


@dataclass(frozen=True)
class Fit:
    """One way to run the model here: `reasons` is empty when it fits."""

    parallelism: Parallelism
    memory: MemoryBudget | None
    reasons: tuple[Reason, ...]

    @property
    def fits(self) -> bool:
        """Whether vLLM would start and serve the wanted context."""
        return not self.reasons


def rule_problems(model: Model, gpu: Gpu | None, parallelism: Parallelism, workload: Workload) -> list[Reason]:
    """Refusals of vLLM whatever the memory: divisibility, quantisation blocks, compute capability, lengths."""
    shape, tp = model.architecture, parallelism.tensor
    problems: list[Reason] = []
    if shape is not None:
        problems += head_problems(shape, tp)
        if parallelism.pipeline > shape.layers:
            problems.append(Reason(f"pipelineParallel {parallelism.pipeline} exceeds the {shape.layers} layers"))
        problems += [
            *slice_problems(model, gpu, parallelism, workload),
            *draft_rules(model, parallelism, workload.tuning),
        ]
        if parallelism.expert and shape.moe is None:
            problems.append(Reason("expertParallel needs a mixture-of-experts model"))
    if workload.context_tokens > model.context.config_tokens:
        problems.append(Reason(_context_problem(model, workload.context_tokens)))
    problems += _batch_problems(workload, model.architecture.encoder_tokens if model.architecture else 0)
    if workload.model_bytes != 2 and model.checkpoint.format is not WeightFormat.BF16:
        # get_supported_act_dtypes in auto_awq.py, cpu_wna16.py, fp8.py, modelopt.py …; compressed-tensors lists fp32,
        # but its fp8 kernels write bf16 or fp16 only
        text = f"{flags.DTYPE}={workload.dtype} is not for {model.checkpoint.format} weights"
        problems.append(
            Reason(
                f"{text}, whose kernels compute in bfloat16 or float16",
                fix=f"{flags.DTYPE}=bfloat16, or a bf16 checkpoint",
            )
        )
    problems += cache_dtype_problems(model, gpu, parallelism, workload)
    problems += device_problems(model, gpu, workload)
    problems += lora_problems(model, workload.max_loras, workload.no_loras)
    problems += _offload_problems(model, workload)
    if parallelism.decode_context > 1:
        problems += _decode_context_problems(model, parallelism)
    return problems


def _offload_problems(model: Model, workload: Workload) -> list[Reason]:
    """A hybrid's blocks are aligned for a cache outside of the GPU only with its cache of prefixes.

    vllm/distributed/kv_transfer/kv_connector/v1/offloading/config.py ends the server otherwise.
    """
    hybrid = model.architecture is not None and model.architecture.keeps_state
    if not hybrid or not workload.tuning.kv_offload_gib or workload.tuning.prefix_caching:
        return []
    text = f"{flags.KV_OFFLOADING_SIZE} of a hybrid model needs its cache of prefixes, which is off unless asked for"
    return [Reason(text, fix=f"{flags.ENABLE_PREFIX_CACHING} with it")]


def _batch_problems(workload: Workload, encoder_tokens: int) -> list[Reason]:
    """A step of the engine has a token for every sequence (vllm/config/scheduler.py, verify_max_model_len).

    And for a whole context where prompts are not cut, and for all that an encoder makes of one input
    (vllm/v1/core/encoder_cache_manager.py).
    """
    sequences, tokens = workload.max_num_seqs, workload.max_num_batched_tokens
    if workload.tuning.whole_prompts and workload.tokens_given and tokens < workload.context_tokens:
        text = f"prompts are not cut, so a step must have a whole context; maxNumBatchedTokens is {tokens}"
        return [Reason(text, fix=f"maxNumBatchedTokens: {workload.context_tokens}, or leave it out")]
    if workload.tokens_given and tokens < encoder_tokens:
        text = f"an encoder hands over up to {encoder_tokens} tokens in one step; maxNumBatchedTokens is {tokens}"
        return [
            Reason(text, fix=f"maxNumBatchedTokens: {max(encoder_tokens, workload.context_tokens)}, or leave it out")
        ]
    if sequences <= tokens:
        return []
    return [
        Reason(f"maxNumSeqs {sequences} must be at most maxNumBatchedTokens, {tokens}: a step has a token for each")
    ]


def _decode_context_problems(model: Model, parallelism: Parallelism) -> list[Reason]:
    """Decode context parallelism splits the KV cache of ranks that hold the same heads (vllm/config/model.py)."""
    shape, dcp, tp = model.architecture, parallelism.decode_context, parallelism.tensor
    if tp % dcp:
        return [Reason(f"decode context parallel {dcp} must divide tensorParallel {tp}")]
    if shape is not None and shape.mla is None and dcp > max(1, tp // shape.kv_heads):
        text = f"decode context parallel {dcp} needs as many TP ranks per KV head; {shape.kv_heads} KV heads over {tp}"
        return [Reason(text)]
    return []


def _context_problem(model: Model, context_tokens: int) -> str:
    limit, native, yarn = model.context.config_tokens, model.context.native_tokens, model.context.yarn_tokens
    text = f"contextTokens {context_tokens} exceeds the {limit} of the checkpoint"
    if yarn is None or context_tokens > yarn:
        return text
    factor = -(-context_tokens // native)
    override = (
        f'{{"max_position_embeddings":{context_tokens},"rope_parameters":{{"rope_type":"yarn",'
        f'"factor":{factor:.1f},"original_max_position_embeddings":{native}}}}}'
    )
    if model.architecture is not None and model.architecture.vision_tower_bytes:
        override = f'{{"text_config":{override}}}'
    return f"{text}, unless args: ['{flags.HF_OVERRIDES}', '{override}'] stretches it"


def try_fit(model: Model, hardware: Hardware, parallelism: Parallelism, workload: Workload) -> Fit:
    """Checks one parallelism; every reason against it is given, memory included."""
    reasons = rule_problems(model, hardware.gpu, parallelism, workload)
    if parallelism.gpus > hardware.gpus:
        reasons.append(Reason(f"{parallelism} needs {parallelism.gpus} GPUs, there are {hardware.gpus}"))
    if model.kv_profile is KvProfile.UNKNOWN or model.architecture is None:
        text = "its KV cache cannot be computed (kvProfile: unknown); nothing is sized automatically for it"
        reasons.append(Reason(text, computable=False))
        return Fit(parallelism, None, tuple(reasons))
    if workload.tuning.draft_head and not draft_head_bytes(model):
        reasons.append(Reason(f"{flags.SPECULATIVE_CONFIG}: of an MTP layer in this checkpoint nothing is known"))
    if uncounted := uncounted_draft(model, workload.tuning):
        return Fit(parallelism, None, (*reasons, uncounted))
    memory = budget(model, hardware.gpu, parallelism, workload)
    if memory.weights_gib > memory.budget_gib:
        reasons.append(Reason(f"needs {memory.weights_gib:.1f} GiB of weights per GPU, {_gives(memory)}"))
    elif memory.kv_cache_gib <= 0 and not memory.fits:
        used = memory.budget_gib - memory.kv_cache_gib
        reasons.append(Reason(f"needs {used:.1f} GiB per GPU before any KV cache, {_gives(memory)}"))
    elif not memory.fits:
        text = f"needs {memory.needed_gib:.1f} GiB of KV cache per GPU for {workload.context_tokens} tokens, {PLACE}"
        held = f"{memory.kv_cache_gib:.1f} GiB, enough for {memory.max_context_tokens} tokens"
        reasons.append(Reason(f"{text} leaves {held}"))
    elif memory.max_concurrency < workload.concurrency:
        text = f"{PLACE} holds {memory.max_concurrency:.2f} sequences of {workload.context_tokens} tokens at once"
        reasons.append(Reason(f"{text}, concurrency asks for {workload.concurrency}"))
    else:
        reasons += start_problems(model, memory, workload, alone=not reasons, unified=hardware.gpu.unified_memory)
    return Fit(parallelism, memory, tuple(reasons))


def _gives(memory: MemoryBudget) -> str:
    return f"{PLACE} gives {memory.budget_gib:.1f} GiB ({memory.visible_gib:.1f} × {memory.utilization:.2f})"


def candidates(model: Model, hardware: Hardware, *, expert: bool = False) -> tuple[Parallelism, ...]:
    """Ways to spread one replica, cheapest first: fewest GPUs, then fewest nodes, then the preferred split."""
    return spreads(heads_and_layers(model), (hardware.gpus_per_node, hardware.nodes), hardware.nvlink, expert)


def heads_and_layers(model: Model) -> tuple[int, int]:
    """All that the ways to spread a model depend on; of one without a shape nothing is known to divide."""
    return (shape.attention_heads, shape.layers) if (shape := model.architecture) else (1, 1)


@lru_cache(maxsize=4096)
def spreads(divided: tuple[int, int], places: tuple[int, int], nvlink: bool, expert: bool) -> tuple[Parallelism, ...]:
    """The same by numbers alone: of heads and layers, and of GPUs per node and nodes."""
    (heads, layers), (per_node, most_nodes) = divided, places
    widest = min(heads, per_node if nvlink else min(per_node, MAX_PCIE_TENSOR_PARALLEL))
    ways = []
    for tensor in (tp for tp in range(1, widest + 1) if per_node % tp == 0 and heads % tp == 0):
        for pipeline in range(1, min(layers, per_node * most_nodes // tensor) + 1):
            gpus = tensor * pipeline
            nodes = -(-gpus // per_node)
            # over NVLink a stage is a whole node; over PCIe a replica is part of a node, or whole nodes
            sound = pipeline == 1 or tensor == per_node if nvlink else nodes == 1 or gpus % per_node == 0
            if sound:
                ways.append(((gpus, nodes, pipeline), Parallelism(tensor, pipeline, expert=expert)))
    return tuple(parallelism for _, parallelism in sorted(ways, key=lambda pair: pair[0]))


def choose(
    model: Model,
    hardware: Hardware,
    workload: Workload,
    *,
    auto_context: bool = False,
    expert: bool = False,
    tried: dict[Parallelism, Fit] | None = None,
) -> Fit:
    """The cheapest candidate that fits; if none does, the one that came nearest, with its reasons.

    `auto_context`: the context is ours to choose, so a candidate is good when it holds a useful one. `tried` keeps what
    was found for other numbers of the same GPUs and the same question.
    """
    nearest: Fit | None = None
    tried = {} if tried is None else tried
    for parallelism in candidates(model, hardware, expert=expert):
        tried_workload = workload
        if auto_context:
            tried_workload = replace(workload, context_tokens=min(SMALLEST_AUTO_CONTEXT, model.context.config_tokens))
        fit = tried.get(parallelism) or try_fit(model, hardware, parallelism, tried_workload)
        tried[parallelism] = fit
        if fit.fits:
            return fit if not auto_context else with_longest_context(model, hardware, parallelism, workload)
        if nearest is None or (fit.memory and nearest.memory and fit.memory.kv_cache_gib > nearest.memory.kv_cache_gib):
            nearest = fit
    return nearest or try_fit(model, hardware, Parallelism(), workload)


def whole_tokens(tokens: int) -> int:
    """`tokens` rounded down to whole thousands (1,024): a context that a person would write."""
    return tokens // CONTEXT_STEP * CONTEXT_STEP


def with_longest_context(model: Model, hardware: Hardware, parallelism: Parallelism, workload: Workload) -> Fit:
    """The same parallelism with the longest context it can hold, in whole thousands (1,024) of tokens."""
    fit = try_fit(model, hardware, parallelism, replace(workload, context_tokens=model.context.config_tokens))
    if fit.fits or fit.memory is None:
        return fit
    # what one sequence may have, shared by as many as must fit at once
    held = min(fit.memory.max_context_tokens, int(fit.memory.kv_cache_tokens / parallelism.data / workload.concurrency))
    longest = max(whole_tokens(held if workload.concurrency > 1 else fit.memory.max_context_tokens), 1)
    return try_fit(model, hardware, parallelism, replace(workload, context_tokens=longest))
