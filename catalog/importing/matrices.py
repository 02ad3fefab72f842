"""Names of the matrices of each part of a model, and the format that a quantisation gives them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from catalog.architecture import Architecture, ModelPart
from catalog.schema import WeightFormat

# Matrices of each part as checkpoints name them, below a layer; the first of those that a pattern may mean is one.
MATRICES: Mapping[ModelPart, tuple[tuple[str, ...], ...]] = {
    ModelPart.ATTENTION: (
        ("self_attn.q_proj", "self_attn.q_b_proj", "mixer.q_proj", "self_attn.qkv_proj"),
        ("self_attn.o_proj", "mixer.o_proj"),
    ),
    ModelPart.STATE: (
        ("linear_attn.in_proj_qkvz", "linear_attn.in_proj_qkv", "mamba.in_proj", "mixer.in_proj", "linear_attn.q_proj"),
        ("linear_attn.out_proj", "mamba.out_proj", "mixer.out_proj", "linear_attn.o_proj"),
    ),
    ModelPart.DENSE: (
        ("mlp.gate_proj", "feed_forward.gate_proj", "mixer.up_proj", "mlp.gate_up_proj"),
        ("mlp.down_proj", "feed_forward.down_proj", "mixer.down_proj"),
    ),
    ModelPart.SHARED_EXPERTS: (
        (
            "mlp.shared_experts.gate_proj",
            "mlp.shared_expert.gate_proj",
            "feed_forward.shared_expert.gate_proj",
            "mixer.shared_experts.up_proj",
            "mlp.gate_proj",
        ),
    ),
    ModelPart.EXPERTS: (
        (
            "mlp.experts.0.gate_proj",
            "mlp.experts",
            "block_sparse_moe.experts.0.w1",
            "block_sparse_moe.experts",
            "feed_forward.experts",
            "mixer.experts.0.up_proj",
            "mixer.experts",
            "experts.0.gate_proj",
            "experts",
        ),
    ),
}
PREFIXES = ("model.layers", "model.language_model.layers", "language_model.model.layers", "backbone.layers", "layers")
# Format of the matrix of this name below `model.layers`; None: nothing is said of it.
Rule = Callable[[str], WeightFormat | None]


@dataclass(frozen=True)
class Target:
    """The model whose matrices are stored, and names of its experts where they are its own."""

    shape: Architecture
    experts: tuple[str, ...] = ()

    def matrices(self, part: ModelPart) -> tuple[tuple[str, ...], ...]:
        """Names of the matrices of a part."""
        return (self.experts,) if part is ModelPart.EXPERTS and self.experts else MATRICES[part]


def parts_of(shape: Architecture) -> dict[ModelPart, int]:
    """Parts that a model has, and the layers that have them."""
    forward = shape.layers if shape.feed_forward_layers is None else shape.feed_forward_layers
    routed = forward - shape.moe.dense_layers if shape.moe else 0
    states = (shape.linear_attention or shape.mamba) if shape.keeps_state else None
    attending = sum(group.layers for group in shape.attention) or shape.layers - (states.layers if states else 0)
    counts = {
        ModelPart.ATTENTION: attending,
        ModelPart.STATE: states.layers if states else 0,
        ModelPart.DENSE: forward - routed,
        ModelPart.SHARED_EXPERTS: routed if shape.moe and shape.moe.shared_intermediate_size else 0,
        ModelPart.EXPERTS: routed,
    }
    return {part: count for part, count in counts.items() if count}


def formats_by_rule(target: Target, rule: Rule, ignored: list[str]) -> dict[ModelPart, WeightFormat]:
    """The format of most matrices of each part; those that are ignored stay bf16."""
    formats: dict[ModelPart, WeightFormat] = {}
    skip = _Ignored(ignored)
    for part, count in parts_of(target.shape).items():
        votes: dict[WeightFormat, int] = {}
        for names in target.matrices(part):
            left = 0
            for layer in range(target.shape.layers):
                if any(skip(f"{layer}.{name}") for name in names):
                    left += 1
                    continue
                kinds = [kind for name in names if (kind := rule(f"{layer}.{name}")) not in (None, WeightFormat.BF16)]
                if kinds:
                    votes[kinds[0]] = votes.get(kinds[0], 0) + 1
            votes[WeightFormat.BF16] = votes.get(WeightFormat.BF16, 0) + min(left, count)
        matrices = len(target.matrices(part)) * count
        bf16 = max(votes.pop(WeightFormat.BF16), matrices - sum(votes.values()))
        quantised = max(votes, key=lambda kind: votes[kind], default=WeightFormat.BF16)
        formats[part] = WeightFormat.BF16 if 2 * bf16 > matrices else quantised
    return formats


class _Ignored:
    """Whether a matrix, named from its layer on, is among those that are left alone."""

    def __init__(self, patterns: list[str]) -> None:
        self.exact = {
            below_layers(pattern) for pattern in patterns if not _is_pattern(pattern) and "layers." in pattern
        }
        self.parts = [pattern for pattern in patterns if not _is_pattern(pattern) and "layers." not in pattern]
        self.patterns = [pattern for pattern in patterns if _is_pattern(pattern)]

    def __call__(self, name: str) -> bool:
        words = name.split(".")
        if any(".".join(words[:end]) in self.exact for end in range(1, len(words) + 1)):
            return True
        if any(f".{part}." in f".{name}." for part in self.parts):
            return True
        return is_meant(self.patterns, name)


def _is_pattern(text: str) -> bool:
    return text.startswith("re:") or "*" in text


def below_layers(name: str) -> str:
    """A name from the number of its layer on."""
    return name.rpartition("layers.")[2]


def is_meant(patterns: list[str], name: str, *, classes: bool = False) -> bool:
    """Whether one of these means the matrix; `classes`: `Linear` means all of them."""
    return any(_means(pattern, name, classes) for pattern in patterns)


def _means(pattern: str, name: str, classes: bool) -> bool:
    if pattern.startswith("re:"):
        return any(re.match(pattern[3:], full) for full in _full(name))
    if "*" in pattern:
        below = below_layers(pattern) if "layers." in pattern else None
        if below is not None:
            return fnmatchcase(name, below)
        return any(fnmatchcase(full, pattern) for full in _full(name))
    return (classes and pattern == "Linear") or below_layers(pattern) == name


def _full(name: str) -> Iterator[str]:
    return (f"{prefix}.{name}" for prefix in PREFIXES)
