"""The shape of a model: what its `config.json` says of layers, attention, states and experts.

Owns the types only, in elements, layers and tokens; counting bytes of them is `planning.capacity`.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from catalog.entry import Count, Entry


class ModelPart(StrEnum):
    """Linear weights of a model that checkpoints quantise, or leave alone, together."""

    ATTENTION = "attention"
    STATE = "state"
    DENSE = "dense"
    SHARED_EXPERTS = "shared-experts"
    EXPERTS = "experts"


class MixtureOfExperts(Entry):
    """Routed experts of all layers with a feed-forward but `dense_layers`, which have a dense one.

    `hidden_size`: of the experts, where they compute in a narrower space; None: that of the model.
    """

    experts: Count
    experts_per_token: Count
    intermediate_size: Count
    shared_intermediate_size: Annotated[int, Field(ge=0)] = 0
    dense_layers: Annotated[int, Field(ge=0)] = 0
    hidden_size: Count | None = None


class LatentAttention(Entry):
    """DeepSeek's multi-head latent attention (MLA); ranks and head dimensions in elements.

    `indexer_layers`: those that choose tokens of their own; None: all of them.
    """

    q_lora_rank: Annotated[int, Field(ge=0)]
    kv_lora_rank: Count
    rope_head_dim: Annotated[int, Field(ge=0)]
    nope_head_dim: Count
    value_head_dim: Count
    indexer_head_dim: Annotated[int, Field(ge=0)] = 0
    indexer_heads: Annotated[int, Field(ge=0)] = 0
    indexer_layers: Count | None = None


class LinearAttention(Entry):
    """Layers of linear attention in a hybrid model: a fixed state per sequence instead of KV per token."""

    kind: Literal["gated-delta-net", "kda"] = "gated-delta-net"
    layers: Count
    key_heads: Count
    value_heads: Count
    key_head_dim: Count
    value_head_dim: Count
    conv_kernel: Count = 4
    state_bytes_per_element: Count = 4


class Mamba2(Entry):
    """Mamba2 mixers of a hybrid model: a fixed state per sequence; `groups` share their B and C."""

    layers: Count
    heads: Count
    head_dim: Count
    state_size: Count
    groups: Count = 1
    conv_kernel: Count = 4
    state_bytes_per_element: Count = 2


class AttentionLayers(Entry):
    """Layers of like attention; what is left out is as in the rest of the model.

    `window_tokens`: sliding layers see the last so many, chunked ones those of their chunk, cross ones what the encoder
    wrote. `keeps_cache` false: they read that of another layer, and have no keys and values.
    """

    layers: Count
    kind: Literal["full", "sliding", "chunked", "cross"] = "full"
    window_tokens: Count | None = None
    attention_heads: Count | None = None
    kv_heads: Count | None = None
    head_dim: Count | None = None
    value_head_dim: Count | None = None
    keeps_cache: bool = True

    @model_validator(mode="after")
    def has_a_window(self) -> Self:
        """All kinds but full attention end somewhere."""
        if (self.kind == "full") != (self.window_tokens is None):
            raise ValueError("windowTokens belongs to all kinds but full, and to each of them")
        return self


class RotaryTable(Entry):
    """Cosines and sines of every position, which each GPU holds whole.

    `positions`: None: as many as the context of the file. `width`: elements of a head that turn; None: all of them, or
    those that MLA turns. `float32`: whatever the dtype of the model.
    """

    width: Count | None = None
    positions: Count | None = None
    float32: bool = False


class Architecture(Entry):
    """Figures of the checkpoint's `config.json`, in elements; enough to count parameters and KV bytes.

    `attention`: groups of layers, where they are not all alike or not all layers without a state.
    `feed_forward_layers`: those that have one, where not all do. `gated_mlp` false: two matrices instead of three,
    experts included. `rotary`: tables of positions; None: a usual one. `extra_parameters`: of no other field, such as
    learned positions.
    """

    layers: Count
    hidden_size: Count
    attention_heads: Count
    kv_heads: Count
    head_dim: Count
    intermediate_size: Annotated[int, Field(ge=0)]
    vocab_size: Count
    tied_embeddings: bool = False
    qkv_bias: bool = False
    gated_attention: bool = False
    gated_mlp: bool = True
    attention: tuple[AttentionLayers, ...] = ()
    feed_forward_layers: Annotated[int, Field(ge=0)] | None = None
    moe: MixtureOfExperts | None = None
    mla: LatentAttention | None = None
    linear_attention: LinearAttention | None = None
    mamba: Mamba2 | None = None
    rotary: tuple[RotaryTable, ...] | None = None
    extra_parameters: Annotated[int, Field(ge=0)] = 0
    vision_tower_bytes: Annotated[int, Field(ge=0)] = 0

    @property
    def encoder_tokens(self) -> int:
        """Most tokens that an encoder hands to the layers of the decoder; 0: there is none."""
        return max((group.window_tokens or 0 for group in self.attention if group.kind == "cross"), default=0)

    @property
    def keeps_state(self) -> bool:
        """Whether some layers keep a state per sequence."""
        return self.linear_attention is not None or self.mamba is not None
