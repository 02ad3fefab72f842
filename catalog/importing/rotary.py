"""Tables of rotary positions, one for each way in which layers turn their heads.

A reader takes the configuration and the width of a head. The rules are those of `get_rope` in vLLM 0.33.0
(model_executor/layers/rotary_embedding), and of the model definitions that call it, named beside each.
"""

from collections.abc import Callable, Mapping
from math import ceil

from catalog.architecture import RotaryTable
from catalog.importing.config import Config
from catalog.importing.context import context

Rope = Mapping[str, object]
Rotary = Callable[[Config, int], list[RotaryTable]]
# YaRN and its kin stretch the length from before; linear scaling that of the file.
STRETCHED, LONG = ("yarn", "deepseek_yarn", "deepseek_llama_scaling"), ("longrope", "su")
# Positions that vLLM keeps for each of the file where they are in time and space (mrope.py); Qwen3-VL and 3.5 need one.
MROPE_TIMES = 4


def tables(reader: Rotary, config: Config, head: int) -> tuple[RotaryTable, ...] | None:
    """The tables that a reader names; None: the usual one, as long as the context and as wide as a head."""
    chosen = tuple(reader(config, head))
    return None if chosen == (RotaryTable(),) else chosen


def none(_: Config, __: int) -> list[RotaryTable]:
    """Positions are learned, or there are none."""
    return []


def plain(config: Config, head: int) -> list[RotaryTable]:
    """All layers alike, or as the file says of each kind of them; more positions where they are in time and space."""
    return [_table(config, rope, head, head, MROPE_TIMES if "mrope_section" in rope else 1) for rope in _kinds(config)]


def within(times: int) -> Rotary:
    """Positions in time and space, so many for each of the file (mrope.py, `positions_factor`)."""

    def reader(config: Config, head: int) -> list[RotaryTable]:
        return [_table(config, rope, head, head, times) for rope in _kinds(config)]

    return reader


def windowed(config: Config, head: int) -> list[RotaryTable]:
    """Gemma 3 and ModernBERT: layers that slide have a base of their own, and are never stretched (gemma3.py)."""
    kinds = _kinds(config)
    pair = kinds if len(kinds) > 1 else [*kinds, {}]
    return [_table(config, rope, head, head) for rope in pair]


def gemma4(config: Config, head: int) -> list[RotaryTable]:
    """Gemma 4: layers that see everything have wider heads and tables of all of it (gemma4_rope.py)."""
    wide = config.whole("global_head_dim") or head
    return [RotaryTable(width=None if width == head else width) for width in (head, wide)]


def mimo(config: Config, head: int) -> list[RotaryTable]:
    """MiMo V2: both kinds of layers have a base and heads of their own (mimo_v2.py)."""
    widths = head, config.whole("swa_head_dim") or head
    return [_table(config, {}, width, head) for width in widths]


def numbered(config: Config, head: int) -> list[RotaryTable]:
    """MiniMax M2: the file may say how much of a head turns (minimax_m2.py)."""
    turned = config.whole("rotary_dim")
    return [_table(config, {"partial_rotary_factor": turned / head} if turned else {}, head, head)]


def gpt_oss(config: Config, head: int) -> list[RotaryTable]:
    """GPT-OSS: in fp32, whatever the model's dtype (gpt_oss.py)."""
    return [table.model_copy(update={"float32": True}) for table in plain(config, head)]


def latent(config: Config, head: int) -> list[RotaryTable]:
    """DeepSeek: fp32 for FlashInfer where it is stretched (deepseek_scaling_rope.py); an indexer may turn otherwise."""
    stretched = any(_kind(rope) in STRETCHED for rope in _kinds(config))
    table = plain(config, head)[0].model_copy(update={"float32": stretched})
    indexer = bool(config.whole("index_head_dim", least=0)) and not config.flag("indexer_rope_interleave")
    return [table] * (2 if indexer else 1)


def granite(config: Config, head: int) -> list[RotaryTable]:
    """Granite's hybrids: only where the file says so (granitemoehybrid.py)."""
    return plain(config, head) if config.get("position_embedding_type") == "rope" else []


def _kinds(config: Config) -> list[Rope]:
    """Parameters of each kind of layers, of the file or else of its class; of those that say nothing, none."""
    for values in (config.values, config.defaults):
        rope = values.get("rope_scaling") or values.get("rope_parameters")
        if isinstance(rope, Mapping):
            nested = [each for each in rope.values() if isinstance(each, Mapping)]
            return [each for place, each in enumerate(nested) if each not in nested[:place]] or [rope]
    return [{}]


def _kind(rope: Rope) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _table(config: Config, rope: Rope, width: int, head: int, times: int = 1) -> RotaryTable:
    """The table of one kind of layers, whose heads are this wide; `head`: those of the model."""
    length = config.whole("max_position_embeddings") or 1
    positions, factor = length, rope.get("factor")
    original = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    if not isinstance(original, int):
        original = length
    if _kind(rope) in STRETCHED and isinstance(factor, int | float):
        positions = ceil(original * factor)
    elif _kind(rope) == "linear" and isinstance(factor, int | float):
        positions = ceil(length * factor)
    elif _kind(rope) in LONG:
        positions = original + length
    part = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor", "rotary_pct", "rotary_emb_fraction")
    turned = int(width * part) if isinstance(part, int | float) else width
    positions *= times
    usual = context(config).config_tokens
    return RotaryTable(width=None if turned == head else turned, positions=None if positions == usual else positions)
