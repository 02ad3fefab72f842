"""Slices of matrices that tensor parallelism makes: whole, and of quantised ones whole blocks, by the engine's rules.

Sizes are in elements of one layer. Pure functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from catalog.architecture import Architecture, ModelPart
from catalog.schema import Gpu, Model
from catalog.slices import Slices
from planning.capacity.budget import Parallelism
from planning.capacity.layers import attention_groups
from planning.capacity.memory import Workload
from planning.capacity.reason import Reason
from planning.capacity.remembered import remembered

# Rows of embedding and head are filled up to a multiple of this, and then cut (layers/vocab_parallel_embedding.py).
VOCABULARY_STEP = 64
NO_RULES = Slices()


@dataclass(frozen=True)
class Cut:
    """A dimension of a matrix and the number of ranks it is cut over; `over`: the settings that make those.

    `part`: of the model, which checkpoints quantise or leave alone together.
    """

    part: ModelPart
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
    stored = model.checkpoint

    def rules(cut: Cut) -> Slices:
        return workload.slices.get(stored.parts.get(cut.part, stored.format), NO_RULES)

    problems = []
    # what is not cut has no slices
    for cut in _inputs(shape, tensor) if tensor > 1 else ():
        if not cut.whole:
            problems.append(_uneven(cut))
        elif problem := _broken(cut, rules(cut).linear_block(stored)):
            problems.append(problem)
    # heads that cannot be divided are said by themselves
    broken = (_broken(cut, rules(cut).outputs) for cut in _outputs(shape, tensor) if tensor > 1 and cut.whole)
    problems += [problem for problem in broken if problem]
    if shape.moe:
        routed = _routed(shape.moe.intermediate_size, parallelism)
        problems += _expert_problems(model, gpu, routed, rules(routed))
    rows = -(-shape.vocab_size // VOCABULARY_STEP) * VOCABULARY_STEP
    if rows % tensor:
        text = f"{rows} rows of the vocabulary, in steps of {VOCABULARY_STEP}, cannot be divided by tensorParallel"
        problems.append(Reason(f"{text} {tensor}"))
    return problems


@remembered
def _inputs(shape: Architecture, tensor: int) -> tuple[Cut, ...]:
    """Inputs of dense matrices that are cut, like ones once."""
    return tuple(dict.fromkeys(_each_input(shape, tensor)))


def _each_input(shape: Architecture, tensor: int) -> Iterator[Cut]:
    """Down- and output projections. Experts that all tokens pass are dense."""
    over = f"tensorParallel {tensor}"
    if shape.intermediate_size and (shape.moe is None or shape.moe.dense_layers):
        yield Cut(ModelPart.DENSE, "intermediate size", shape.intermediate_size, tensor, over)
    if shape.moe and (shared := shape.moe.shared_intermediate_size):
        yield Cut(ModelPart.SHARED_EXPERTS, "shared expert intermediate size", shared, tensor, over)
    for group in attention_groups(shape):
        if group.heads % tensor == 0:
            width = group.heads * (shape.mla.value_head_dim if shape.mla else group.value_head_dim)
            yield Cut(ModelPart.ATTENTION, "attention output", width, tensor, over)
    linear, mamba = shape.linear_attention, shape.mamba
    if linear and linear.key_heads % tensor == 0:
        yield Cut(ModelPart.STATE, "linear-attention output", linear.value_heads * linear.value_head_dim, tensor, over)
    if mamba and mamba.heads % tensor == 0:
        yield Cut(ModelPart.STATE, "Mamba output", mamba.heads * mamba.head_dim, tensor, over)


def _outputs(shape: Architecture, tensor: int) -> Iterator[Cut]:
    """Outputs of dense matrices that are cut one by one; merged ones (QKV, gate and up) may end within a block."""
    if shape.mla is None:
        return
    mla, heads, over = shape.mla, shape.attention_heads, f"tensorParallel {tensor}"
    query, both = (heads * (mla.nope_head_dim + more) for more in (mla.rope_head_dim, mla.value_head_dim))
    yield Cut(ModelPart.ATTENTION, "MLA query projection", query, tensor, over)
    yield Cut(ModelPart.ATTENTION, "MLA key and value projection", both, tensor, over)


def _routed(size: int, parallelism: Parallelism) -> Cut:
    """Routed experts: whole with expert parallelism, else cut over all ranks of all data-parallel groups.

    FusedMoEParallelConfig.make in vllm/model_executor/layers/fused_moe/config.py.
    """
    data, name = parallelism.data, "expert intermediate size"
    if parallelism.expert:
        return Cut(ModelPart.EXPERTS, name, size, 1, "expertParallel")
    over = f"tensorParallel {parallelism.tensor}" + (f" / dataParallel {data}" if data > 1 else "")
    return Cut(ModelPart.EXPERTS, name, size, parallelism.tensor * data, over)


def _expert_problems(model: Model, gpu: Gpu | None, cut: Cut, rules: Slices) -> list[Reason]:
    """Blocks that do not divide a slice are made smaller, as far as there is a kernel for them."""
    if not cut.whole:
        return [_uneven(cut)]
    block, width = rules.expert_block(model.checkpoint), cut.size // cut.ranks
    if width % block == 0 or model.architecture is None:
        return []
    finer = gcd(block, width, model.architecture.hidden_size)
    text = f"{cut} is not a multiple of the quantisation block {block}"
    least = rules.least_block(model.checkpoint)
    if not least:
        return [Reason(text)]
    if finer < least:
        return [Reason(f"{text}, nor of {least}, the smallest that blocks of experts are made")]
    if gpu is not None and gpu.is_below(float(rules.refined_from)):
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
