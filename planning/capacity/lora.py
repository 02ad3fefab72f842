"""Bytes of LoRA adapters: of the slots that a GPU has for them, and of one adapter in memory or on disk.

A slot has a pair of matrices, rank × in and out × rank, for every linear layer of the language model, its routed
experts among them, and for its embedding and head, whatever an adapter changes (vllm/lora/model_manager.py, 0.33.0).
Pure functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from catalog.architecture import Architecture
from catalog.schema import Model
from planning.capacity.budget import Parallelism
from planning.capacity.layers import attention_groups, attention_layers
from planning.capacity.reason import Reason


@dataclass(frozen=True)
class Pair:
    """The two matrices of one kind of layer: `count` of them, `inputs` wide before and `outputs` after.

    Tensor parallelism divides `inputs` by `cut_in` and `outputs` by `cut_out`: by default it cuts the second matrix of
    a layer that is cut by columns, and the first of one that is cut by rows (vllm/lora/layers).
    """

    count: float
    inputs: float
    outputs: float
    cut_in: int = 1
    cut_out: int = 1

    @property
    def width(self) -> float:
        """Numbers on one GPU per rank."""
        return self.count * (self.inputs / self.cut_in + self.outputs / self.cut_out)


def lora_bytes(shape: Architecture, parallelism: Parallelism, *, slots: int, rank: int, model_bytes: int = 2) -> float:
    """Bytes of the slots of the fullest GPU."""
    share = ceil(shape.layers / parallelism.pipeline) / shape.layers
    layers = share * sum(pair.width for pair in _layers(shape, parallelism))
    # embedding and head are whole on every GPU
    ends = 2 * (shape.hidden_size + shape.vocab_size)
    return slots * rank * (layers + ends) * model_bytes


def adapter_bytes(shape: Architecture, rank: int, *, number_bytes: int = 2) -> float:
    """Bytes of one adapter of this rank that changes all it can, each number once."""
    return lora_bytes(shape, Parallelism(), slots=1, rank=rank, model_bytes=number_bytes)


def lora_problems(model: Model, slots: int, no_loras: frozenset[str]) -> list[Reason]:
    """Models for which the engine loads no adapters, by their family or by a kind of layers that only those have."""
    shape = model.architecture
    delta = shape is not None and shape.linear_attention is not None and shape.linear_attention.kind == "kda"
    if not slots or not (model.family in no_loras or delta):
        return []
    return [Reason(f"vLLM loads no LoRA adapters for models of the family {model.family}: leave them out")]


def _layers(shape: Architecture, parallelism: Parallelism) -> Iterator[Pair]:
    """Pairs of all layers."""
    tensor, hidden = parallelism.tensor, shape.hidden_size
    yield from _attention(shape, tensor)
    if gdn := shape.linear_attention:
        keys, values = gdn.key_heads * gdn.key_head_dim, gdn.value_heads * gdn.value_head_dim
        # q, k, v and the gate; b and a; the convolution, a layer like any other; out
        yield Pair(4 * gdn.layers, hidden, (2 * keys + 2 * values) / 4, cut_out=tensor)
        yield Pair(2 * gdn.layers, hidden, gdn.value_heads, cut_out=tensor)
        yield Pair(gdn.layers, gdn.conv_kernel, 2 * keys + values, cut_out=tensor)
        yield Pair(gdn.layers, values, hidden, cut_in=tensor)
    if mamba := shape.mamba:
        # gate, values, B, C and dt; values, B and C in the convolution: merged, with a first matrix each, unless one
        # group is copied to all ranks (layers/mamba/mamba_mixer2.py)
        even = mamba.groups % tensor == 0
        ins, convs = (5, 3) if even else (1, 1)
        inner, shared = mamba.heads * mamba.head_dim, 2 * (mamba.groups if even else tensor) * mamba.state_size
        yield Pair(ins * mamba.layers, hidden, (2 * inner + shared + mamba.heads) / ins, cut_out=tensor)
        yield Pair(convs * mamba.layers, mamba.conv_kernel, (inner + shared) / convs, cut_out=tensor)
        yield Pair(mamba.layers, inner, hidden, cut_in=tensor)
    moe, all_layers = shape.moe, shape.layers if shape.feed_forward_layers is None else shape.feed_forward_layers
    dense, ups = moe.dense_layers if moe else all_layers, 2 if shape.gated_mlp else 1
    yield from _feed_forward(dense, ups, hidden, shape.intermediate_size, tensor)
    if moe:
        layers = all_layers - dense
        yield Pair(layers, hidden, moe.experts)
        shared = layers if moe.shared_intermediate_size else 0
        yield from _feed_forward(shared, ups, hidden, moe.shared_intermediate_size, tensor)
        if moe.hidden_size:
            # into the narrower space of the experts and out of it
            yield Pair(2 * layers, hidden, moe.hidden_size)
        ranks = tensor * parallelism.data
        held, cut = (moe.experts / ranks, 1) if parallelism.expert else (moe.experts, tensor)
        yield from _feed_forward(layers * held, ups, moe.hidden_size or hidden, moe.intermediate_size, cut)


def _feed_forward(count: float, ups: int, hidden: int, inner: int, cut: int) -> Iterator[Pair]:
    """Gate, if it has one, and up, then down."""
    yield Pair(ups * count, hidden, inner, cut_out=cut)
    yield Pair(count, inner, hidden, cut_in=cut)


def _attention(shape: Architecture, tensor: int) -> Iterator[Pair]:
    hidden, heads = shape.hidden_size, shape.attention_heads
    if mla := shape.mla:
        layers = attention_layers(shape)
        down = mla.kv_lora_rank + mla.rope_head_dim
        if mla.q_lora_rank:
            yield Pair(layers, hidden, mla.q_lora_rank)
            yield Pair(layers, hidden, down)
        else:
            yield Pair(layers, hidden, down)
        query = heads * (mla.nope_head_dim + mla.rope_head_dim)
        yield Pair(layers, mla.q_lora_rank or hidden, query, cut_out=tensor)
        yield Pair(layers, mla.kv_lora_rank, heads * (mla.nope_head_dim + mla.value_head_dim), cut_out=tensor)
        yield Pair(layers, heads * mla.value_head_dim, hidden, cut_in=tensor)
        if mla.indexer_heads:
            yield Pair(layers, mla.q_lora_rank or hidden, mla.indexer_heads * mla.indexer_head_dim)
            yield Pair(layers, hidden, mla.indexer_head_dim + mla.indexer_heads)
        return
    for group in attention_groups(shape):
        query = group.heads * group.head_dim * (2 if shape.gated_attention else 1)
        yield Pair(group.layers, hidden, query, cut_out=tensor)
        if group.keeps_cache:
            # every GPU has a head of keys and of values at least
            shared = group.kv_heads * (group.head_dim + group.value_head_dim) / 2
            yield Pair(2 * group.layers, hidden, shared, cut_out=min(tensor, group.kv_heads))
        yield Pair(group.layers, group.heads * group.value_head_dim, hidden, cut_in=tensor)
