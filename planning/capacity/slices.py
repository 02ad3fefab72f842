"""Slices of matrices that tensor parallelism makes: whole, and of quantised ones whole blocks, by the engine's rules.

Sizes are in elements of one layer. Pure functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from catalog.architecture import Architecture
from catalog.schema import Gpu, Model
from catalog.slices import Slices
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.capacity.reason import Reason

# Rows of embedding and head are filled up to a multiple of this, and then cut (layers/vocab_parallel_embedding.py).
VOCABULARY_STEP = 64
NO_RULES = Slices()


@dataclass(frozen=True)
class Cut:
    """A dimension of a matrix and the number of ranks it is cut over; `over`: the settings that make those."""

    name: str
    size: int
    ranks: int
    over: str

    @property
    def whole(self) -> bool:
        """Whether every rank has the same number of elements."""
        return self.size % self.ranks == 0

    def __str__(self) -> str:
        return f"{self.name} {self.size}" + (f" / {self.over} = {self.size / self.ranks:g}" if self.ranks > 1 else "")


def slice_problems(model: Model, gpu: Gpu | None, parallelism: Parallelism, workload: Workload) -> list[Reason]:
    """Refusals of vLLM while it makes the layers: slices that are not whole, or cut through blocks of quantisation."""
    shape, tensor = model.architecture, parallelism.tensor
    if shape is None:
        return []
    rules = workload.slices.get(model.checkpoint.format, NO_RULES)
    problems = []
    for cut in _inputs(shape, tensor):
        if not cut.whole:
            problems.append(_uneven(cut))
        elif problem := _broken(cut, rules.linear_block(model.checkpoint)):
            problems.append(problem)
    # heads that cannot be divided are said by themselves
    broken = (_broken(cut, rules.outputs) for cut in _outputs(shape, tensor) if cut.whole)
    problems += [problem for problem in broken if problem]
    if shape.moe:
        problems += _expert_problems(model, gpu, _routed(shape.moe.intermediate_size, parallelism), rules)
    rows = -(-shape.vocab_size // VOCABULARY_STEP) * VOCABULARY_STEP
    if rows % tensor:
        text = f"{rows} rows of the vocabulary, in steps of {VOCABULARY_STEP}, cannot be divided by tensorParallel"
        problems.append(Reason(f"{text} {tensor}"))
    return problems


def _inputs(shape: Architecture, tensor: int) -> Iterator[Cut]:
    """Inputs of dense matrices that are cut: down- and output projections. Experts that all tokens pass are dense."""
    over = f"tensorParallel {tensor}"
    if shape.intermediate_size and (shape.moe is None or shape.moe.dense_layers):
        yield Cut("intermediate size", shape.intermediate_size, tensor, over)
    if shape.moe and shape.moe.shared_intermediate_size:
        yield Cut("shared expert intermediate size", shape.moe.shared_intermediate_size, tensor, over)
    if shape.attention_heads % tensor == 0:
        width = shape.mla.value_head_dim if shape.mla else shape.head_dim
        yield Cut("attention output", shape.attention_heads * width, tensor, over)
    linear = shape.linear_attention
    if linear and linear.key_heads % tensor == 0:
        yield Cut("linear-attention output", linear.value_heads * linear.value_head_dim, tensor, over)


def _outputs(shape: Architecture, tensor: int) -> Iterator[Cut]:
    """Outputs of dense matrices that are cut one by one; merged ones (QKV, gate and up) may end within a block."""
    if shape.mla is None:
        return
    over, heads = f"tensorParallel {tensor}", shape.attention_heads
    yield Cut("MLA query projection", heads * (shape.mla.nope_head_dim + shape.mla.rope_head_dim), tensor, over)
    yield Cut(
        "MLA key and value projection", heads * (shape.mla.nope_head_dim + shape.mla.value_head_dim), tensor, over
    )


def _routed(size: int, parallelism: Parallelism) -> Cut:
    """Routed experts: whole with expert parallelism, else cut over all ranks of all data-parallel groups.

    FusedMoEParallelConfig.make in vllm/model_executor/layers/fused_moe/config.py.
    """
    data, name = parallelism.data, "expert intermediate size"
    if parallelism.expert:
        return Cut(name, size, 1, "expertParallel")
    over = f"tensorParallel {parallelism.tensor}" + (f" / dataParallel {data}" if data > 1 else "")
    return Cut(name, size, parallelism.tensor * data, over)


def _expert_problems(model: Model, gpu: Gpu | None, cut: Cut, rules: Slices) -> list[Reason]:
    """Blocks that do not divide a slice are made smaller, as far as there is a kernel for them."""
    if not cut.whole:
        return [_uneven(cut)]
    block, width = rules.expert_block(model.checkpoint), cut.size // cut.ranks
    if width % block == 0 or model.architecture is None:
        return []
    finer = gcd(block, width, model.architecture.hidden_size)
    text = f"{cut} is not a multiple of the quantisation block {block}"
    if not rules.refined:
        return [Reason(text)]
    if finer < rules.refined:
        return [Reason(f"{text}, nor of {rules.refined}, the smallest that blocks of experts are made")]
    if gpu is not None and gpu.compute_capability and float(gpu.compute_capability) < float(rules.refined_from):
        needs = f"smaller blocks need compute capability {rules.refined_from}, {gpu.name} has {gpu.compute_capability}"
        return [Reason(f"{text}, and {needs}")]
    return []


def _uneven(cut: Cut) -> Reason:
    return Reason(f"{cut.name} {cut.size} cannot be divided by {cut.over}")


def _broken(cut: Cut, block: int) -> Reason | None:
    """A dense matrix that is not cut may end within a block (fp8_utils.py, validate_fp8_block_shape)."""
    if cut.ranks == 1 or cut.size // cut.ranks % block == 0:
        return None
    return Reason(f"{cut} is not a multiple of the quantisation block {block}")
