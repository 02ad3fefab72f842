"""Attention of each layer: all of the context, a window, a chunk; and layers that differ in heads.

A reader takes the configuration and gives one row per layer, or None for a layer that does not attend. The rules are
those of the model definitions in vLLM 0.33.0 (vllm/model_executor/models), named beside each.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from catalog.architecture import AttentionLayers
from catalog.importing.config import Config

SLIDING_WORDS = ("sliding_attention", "sliding_window_attention")


@dataclass(frozen=True)
class LayerAttention:
    """Attention of one layer: the fields of `AttentionLayers` but their number."""

    kind: str = "full"
    window_tokens: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_head_dim: int | None = None
    keeps_cache: bool = True


FULL = LayerAttention()
Windows = Callable[[Config, int], list[LayerAttention | None]]


def grouped(rows: list[LayerAttention | None], layers: int) -> tuple[AttentionLayers, ...]:
    """Like layers together, in the order of the first of each; empty: all of so many attend to everything."""
    counts: dict[LayerAttention, int] = {}
    for row in rows:
        if row is not None:
            counts[row] = counts.get(row, 0) + 1
    if set(counts) == {FULL} and counts[FULL] == layers:
        return ()
    return tuple(AttentionLayers.model_validate({"layers": count, **asdict(row)}) for row, count in counts.items())


def _sliding(config: Config) -> LayerAttention:
    return LayerAttention("sliding", config.need("sliding_window", "sliding_window_size"))


def full(_: Config, layers: int) -> list[LayerAttention | None]:
    """Every layer attends to the whole context, whatever the file says of windows."""
    return [FULL] * layers


def uniform(config: Config, layers: int) -> list[LayerAttention | None]:
    """A window in the file is that of every layer (attention.py: `cache_config.sliding_window`), unless it is off."""
    if words := config.words("layer_types"):
        return by_words(config, words)
    window = config.get("sliding_window")
    if not window or not config.flag("use_sliding_window", default=True):
        return full(config, layers)
    return [_sliding(config)] * layers


def by_words(config: Config, words: list[str]) -> list[LayerAttention | None]:
    """`layer_types`, a word per layer; what is no attention keeps a state."""
    rows: list[LayerAttention | None] = []
    for word in words:
        if word in SLIDING_WORDS:
            rows.append(_sliding(config) if config.get("sliding_window") else FULL)
        elif word == "chunked_attention":
            rows.append(LayerAttention("chunked", config.need("attention_chunk_size")))
        elif word in ("full_attention", "attention"):
            rows.append(FULL)
        elif word in ("linear_attention", "mamba"):
            rows.append(None)
        else:
            config.miss("layer_types", f"has '{word}', of which nothing is known")
            rows.append(FULL)
    return rows


def after_layers(config: Config, layers: int) -> list[LayerAttention | None]:
    """Qwen2 and Qwen3: off unless it is on, and then from `max_window_layers` on."""
    if not config.flag("use_sliding_window") or not config.get("sliding_window"):
        return full(config, layers)
    if words := config.words("layer_types"):
        return by_words(config, words)
    first = config.whole("max_window_layers", least=0) or 0
    return [_sliding(config) if layer >= first else FULL for layer in range(layers)]


def every(period: int, *names: str) -> Windows:
    """All but each last of `period` layers slide; the period is in the file under one of `names`, if anywhere."""

    def rows(config: Config, layers: int) -> list[LayerAttention | None]:
        if words := config.words("layer_types"):
            return by_words(config, words)
        pattern = config.get(*names) if names else None
        step = pattern if isinstance(pattern, int) else len(pattern) if isinstance(pattern, str) else period
        if not config.get("sliding_window"):
            return full(config, layers)
        return [FULL if (layer + 1) % step == 0 else _sliding(config) for layer in range(layers)]

    return rows


def without_rope(config: Config, layers: int) -> list[LayerAttention | None]:
    """Llama 4: layers with RoPE see their chunk, each fourth has none and sees everything."""
    chunk = config.whole("attention_chunk_size")
    marks = config.get("no_rope_layers")
    roped = marks if isinstance(marks, list) and marks else [(layer + 1) % 4 for layer in range(layers)]
    return [LayerAttention("chunked", chunk) if mark and chunk else FULL for mark in roped[:layers]]


def mimo(config: Config, layers: int) -> list[LayerAttention | None]:
    """MiMo V2: a pattern of ones for layers that slide, which have heads of their own (mimo_v2.py)."""
    pattern = config.get("hybrid_layer_pattern")
    if not isinstance(pattern, list) or len(pattern) != layers:
        config.miss("hybrid_layer_pattern", f"must have a number for each of {layers} layers")
        return full(config, layers)
    whole = LayerAttention(value_head_dim=config.whole("v_head_dim"))
    slides = LayerAttention(
        "sliding",
        config.need("sliding_window_size", "sliding_window"),
        config.need("swa_num_attention_heads"),
        config.need("swa_num_key_value_heads"),
        config.need("swa_head_dim"),
        config.whole("swa_v_head_dim"),
    )
    return [slides if mark == 1 else whole for mark in pattern]


def gemma4(config: Config, layers: int) -> list[LayerAttention | None]:
    """Gemma 4: layers that see everything have wider heads; the last ones read the cache of others (gemma4.py)."""
    words, shared = config.words("layer_types"), config.whole("num_kv_shared_layers", least=0) or 0
    if len(words) != layers:
        config.miss("layer_types", f"must have a word for each of {layers} layers")
        return full(config, layers)
    same = config.flag("attention_k_eq_v")
    wide, heads = config.whole("global_head_dim"), config.whole("num_global_key_value_heads") if same else None
    rows: list[LayerAttention | None] = []
    for layer, word in enumerate(words):
        keeps = layer < layers - shared
        if word in SLIDING_WORDS:
            rows.append(LayerAttention("sliding", config.need("sliding_window"), keeps_cache=keeps))
        else:
            rows.append(LayerAttention(kv_heads=heads, head_dim=wide, keeps_cache=keeps))
    return rows


def each_period(config: Config, layers: int) -> list[LayerAttention | None]:
    """Gated DeltaNet hybrids: each fourth layer attends, unless the file has words."""
    if words := config.words("layer_types"):
        return by_words(config, words)
    step = config.whole("full_attention_interval") or 4
    return [FULL if (layer + 1) % step == 0 else None for layer in range(layers)]


def kimi_linear(config: Config, layers: int) -> list[LayerAttention | None]:
    """Kimi Linear: the layers that attend are listed, from one."""
    listed = config.section("linear_attn_config").get("full_attn_layers")
    if not isinstance(listed, list):
        config.miss("linear_attn_config.full_attn_layers", "is not there")
        return full(config, layers)
    return [FULL if layer + 1 in listed else None for layer in range(layers)]


def nemotron_h(config: Config, layers: int) -> list[LayerAttention | None]:
    """Nemotron-H: a letter per layer, `*` for attention."""
    pattern = pattern_of(config)
    if len(pattern) != layers:
        config.miss("hybrid_override_pattern", f"must have a letter for each of {layers} layers")
    return [FULL if letter == "*" else None for letter in pattern]


def whisper(config: Config, layers: int) -> list[LayerAttention | None]:
    """Whisper: every layer of the decoder attends to what is written, and to all that the encoder made of the audio."""
    cross = LayerAttention("cross", config.need("max_source_positions"))
    return [row for row in (FULL, cross) for _ in range(layers)]


LETTERS = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}


def pattern_of(config: Config) -> str:
    """The layers of a Nemotron-H, a letter each: M mixer, * attention, - feed-forward, E experts."""
    words = config.words("layers_block_type")
    return "".join(LETTERS.get(word, "?") for word in words) or str(config.get("hybrid_override_pattern") or "")
