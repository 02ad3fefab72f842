"""The architecture of a model from its `config.json`."""

from catalog.architecture import Architecture, LatentAttention, LinearAttention, Mamba2
from catalog.importing import experts, rotary, towers
from catalog.importing.config import Config, text_config
from catalog.importing.families import Family
from catalog.importing.windows import grouped, pattern_of


def architecture(whole: Config, family: Family) -> Architecture:
    """The shape; what was needed and is missing is in `whole.unknown`, and then the shape is of no use."""
    text = text_config(whole)
    text.defaults = (
        {**family.defaults, "num_hidden_layers": len(pattern_of(text)) or None} if family.letters else family.defaults
    )
    layers, hidden, heads = (text.need(name) for name in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
    mla = _latent(text) if family.profile == "mla" else None
    rows = [] if mla and family.state is None else family.windows(text, layers)
    attending = sum(1 for row in rows if row is not None)
    state = family.state(text, layers if family.parallel else layers - attending) if family.state else None
    moe = None
    if family.experts:
        kind = family.experts
        moe = experts.experts(text, layers, kind.inner, kind.dense, kind.shared)
    key_heads = text.whole("num_key_value_heads", "multi_query_group_num") or heads
    head_dim = text.whole("head_dim") or hidden // heads
    # without groups, all layers that keep no state attend to everything
    groups = grouped(rows, layers - (state.layers if state else 0))
    return Architecture(
        layers=layers,
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=heads if mla else key_heads,
        head_dim=mla.nope_head_dim + mla.rope_head_dim if mla else head_dim,
        intermediate_size=_dense_inner(text, family, moe is not None and not moe.dense_layers),
        vocab_size=text.need("vocab_size"),
        tied_embeddings=_tied(whole, text, family),
        qkv_bias=family.bias == "always" or (family.bias == "config" and text.flag("attention_bias", "qkv_bias")),
        gated_attention=family.gated_attention and text.flag("attn_output_gate", default=True),
        gated_mlp=family.gated_mlp,
        attention=groups,
        feed_forward_layers=experts.feed_forward_layers(text) if family.letters else None,
        moe=moe,
        mla=mla,
        linear_attention=state if isinstance(state, LinearAttention) else None,
        mamba=state if isinstance(state, Mamba2) else None,
        rotary=rotary.tables(family.rotary, text, mla.rope_head_dim if mla else head_dim),
        extra_parameters=family.more(text) if family.more else 0,
        vision_tower_bytes=towers.TOWERS[family.tower](whole, hidden) * 2 if family.tower else 0,
    )


def _dense_inner(text: Config, family: Family, all_routed: bool) -> int:
    """The inner size of dense layers; where there are none it counts nothing, and may be missing."""
    name = family.dense_inner
    if all_routed:
        return text.whole(name, "intermediate_size", least=0) or 0
    return text.need(name) if text.get(name) is not None else text.need("intermediate_size")


def _tied(whole: Config, text: Config, family: Family) -> bool:
    tied = text.get("tie_word_embeddings")
    if tied is None:
        tied = whole.get("tie_word_embeddings")
    return family.tied if tied is None else bool(tied)


def _latent(text: Config) -> LatentAttention:
    """MLA, with the sparse indexer where there is one; layers may share its choice (`indexer_types`)."""
    layers = text.need("num_hidden_layers")
    full = text.words("indexer_types").count("full")
    return LatentAttention(
        q_lora_rank=_query_rank(text),
        kv_lora_rank=text.need("kv_lora_rank"),
        rope_head_dim=text.need("qk_rope_head_dim", least=0),
        nope_head_dim=text.need("qk_nope_head_dim"),
        value_head_dim=text.need("v_head_dim"),
        indexer_head_dim=text.whole("index_head_dim", least=0) or 0,
        indexer_heads=text.whole("index_n_heads", least=0) or 0,
        indexer_layers=full if full and full != layers else None,
    )


def _query_rank(text: Config) -> int:
    """0 where the file says null: queries are not compressed. A file without the key means a default of its class."""
    if "q_lora_rank" in text.values and text.get("q_lora_rank") is None:
        return 0
    return text.need("q_lora_rank", least=0)
