"""Heads that tensor parallelism divides, or copies, by the engine's rules. Pure functions."""

from catalog.architecture import Architecture
from planning.capacity.layers import attention_groups
from planning.capacity.reason import Reason
from planning.capacity.remembered import remembered


@remembered
def head_problems(shape: Architecture, tensor: int) -> tuple[Reason, ...]:
    """Refusals of vLLM for heads of attention and of states, each kind of layers once."""
    problems = dict.fromkeys(
        problem
        for group in attention_groups(shape)
        if (problem := _attending(group.heads, None if shape.mla else group.kv_heads, tensor))
    )
    states = [
        ("linear-attention key heads", shape.linear_attention.key_heads if shape.linear_attention else 0),
        ("Mamba heads", shape.mamba.heads if shape.mamba else 0),
        # one group is copied to all ranks (layers/mamba/mamba_mixer2.py: assert in __init__)
        ("Mamba groups", shape.mamba.groups if shape.mamba and shape.mamba.groups > 1 else 0),
    ]
    uneven = [
        f"{count} {name} cannot be divided by tensorParallel {tensor}" for name, count in states if count % tensor
    ]
    return tuple(Reason(problem) for problem in (*problems, *uneven))


def _attending(heads: int, kv_heads: int | None, tensor: int) -> str:
    """KV heads are cut evenly, or each is copied equally often (models/qwen2.py, llama.py: assert in __init__)."""
    if heads % tensor:
        return f"{heads} attention heads cannot be divided by tensorParallel {tensor}"
    if kv_heads and kv_heads % tensor and tensor % kv_heads:
        return f"{kv_heads} KV heads cannot be divided by, or copied to, tensorParallel {tensor}"
    return ""
