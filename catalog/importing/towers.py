"""Parameters of vision and audio encoders from their sections of `config.json`.

Shapes as in vLLM 0.33.0's model definitions; norms and biases, below half a per cent of a tower, are left out.
"""

from collections.abc import Callable, Mapping

from catalog.importing.config import Config

# (configuration of the checkpoint, hidden size of the language model) → parameters of the tower and its projector.
Tower = Callable[[Config, int], int]


def _section(whole: Config, name: str) -> Config:
    """A section of the checkpoint's parts; unknown where it is not there."""
    for holder in (whole, whole.section("thinker_config")):
        if isinstance(holder.values.get(name), Mapping):
            return holder.section(name)
    whole.leave_out(name, "is not there, so the encoder is not counted")
    return Config({})


def _layers(layers: int, hidden: int, inner: int, matrices: int) -> int:
    return layers * (4 * hidden**2 + matrices * hidden * inner)


def qwen3_vl(whole: Config, _: int) -> int:
    """Qwen3-VL, Qwen3.5 and Omni: a merger, and one more for each layer whose output is taken early (qwen3_vl.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden, merge = vision.need("hidden_size"), (vision.whole("spatial_merge_size") or 2) ** 2
    early = vision.get("deepstack_visual_indexes")
    mergers = 1 + (len(early) if isinstance(early, list) else 0)
    merger = (hidden * merge) ** 2 + hidden * merge * vision.need("out_hidden_size")
    patch = (vision.whole("in_channels") or 3) * (vision.whole("temporal_patch_size") or 2)
    total = _layers(vision.need("depth"), hidden, vision.need("intermediate_size"), 2) + mergers * merger
    total += patch * vision.need("patch_size") ** 2 * hidden
    return total + (vision.whole("num_position_embeddings") or 2304) * hidden


def qwen2_5_vl(whole: Config, text: int) -> int:
    """Qwen2.5-VL: three matrices per feed-forward (qwen2_5_vl.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden = vision.need("hidden_size")
    merge = hidden * (vision.whole("spatial_merge_size") or 2) ** 2
    total = _layers(vision.whole("depth") or 32, hidden, vision.need("intermediate_size"), 3)
    total += merge**2 + merge * (vision.whole("out_hidden_size") or text)
    return total + 3 * (vision.whole("temporal_patch_size") or 2) * (vision.whole("patch_size") or 14) ** 2 * hidden


def gemma3(whole: Config, text: int) -> int:
    """SigLIP and a linear projector (gemma3_mm.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden, patch = vision.need("hidden_size"), vision.whole("patch_size") or 14
    places = ((vision.whole("image_size") or 896) // patch) ** 2
    total = _layers(vision.need("num_hidden_layers"), hidden, vision.need("intermediate_size"), 2)
    return total + (3 * patch**2 + places) * hidden + hidden * text


def gemma4(whole: Config, text: int) -> int:
    """Gemma 4's own encoder: gated feed-forward, positions of two axes (gemma4_mm.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden = vision.need("hidden_size")
    total = _layers(vision.need("num_hidden_layers"), hidden, vision.need("intermediate_size"), 3)
    places = 2 * (vision.whole("position_embedding_size") or 0)
    if isinstance(whole.get("audio_config"), Mapping):
        whole.leave_out("audio_config", "is of an encoder that is not counted")
    return total + (3 * (vision.whole("patch_size") or 16) ** 2 + places) * hidden + hidden * text


def pixtral(whole: Config, text: int) -> int:
    """Pixtral with the merger and projector of Mistral Small 3.1 (mistral3.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden = vision.need("hidden_size")
    merge = (whole.whole("spatial_merge_size") or 2) ** 2
    total = _layers(vision.need("num_hidden_layers"), hidden, vision.need("intermediate_size"), 3)
    total += 3 * (vision.whole("patch_size") or 14) ** 2 * hidden
    return total + merge * hidden**2 + hidden * text + text**2


def llama4(whole: Config, text: int) -> int:
    """Llama 4's encoder, its adapter by pixel shuffle and projector (mllama4.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden, inner, patch = (
        vision.need("hidden_size"),
        vision.need("intermediate_size"),
        vision.whole("patch_size") or 14,
    )
    places = (vision.need("image_size") // patch) ** 2 + 1
    narrow, wide = vision.need("projector_input_dim"), vision.need("projector_output_dim")
    total = _layers(vision.need("num_hidden_layers"), hidden, inner, 2) + (3 * patch**2 + places) * hidden
    return total + inner * narrow + narrow * wide + vision.need("vision_output_dim") * text


def kimi(whole: Config, text: int) -> int:
    """MoonViT and its patch merger (kimi_k25_vit.py)."""
    vision = _section(whole, "vision_config")
    if not vision.values:
        return 0
    hidden = vision.need("vt_hidden_size", "hidden_size")
    layers, inner = vision.need("vt_num_hidden_layers", "num_hidden_layers"), vision.need("vt_intermediate_size")
    places = (vision.whole("init_pos_emb_height") or 64) * (vision.whole("init_pos_emb_width") or 64)
    merge = hidden * 4
    total = _layers(layers, hidden, inner, 2) + (3 * (vision.whole("patch_size") or 14) ** 2 + places) * hidden
    return total + merge**2 + merge * text


def qwen3_audio(whole: Config, _: int) -> int:
    """The audio encoder of Qwen3-ASR, and of Omni's thinker (qwen3_omni_moe_thinker.py)."""
    audio = _section(whole, "audio_config")
    if not audio.values:
        return 0
    width, channels = audio.need("d_model"), audio.whole("downsample_hidden_size") or 480
    total = _layers(audio.need("encoder_layers", "num_hidden_layers"), width, audio.need("encoder_ffn_dim"), 2)
    # three convolutions of 3 × 3 with step 2 over the mel bins leave an eighth of them of each channel
    left = -(-(audio.whole("num_mel_bins") or 128) // 8)
    total += 9 * channels * (1 + 2 * channels) + channels * left * width
    return total + width**2 + width * audio.need("output_dim")


def qwen3_omni(whole: Config, text: int) -> int:
    """The thinker's vision and audio encoders; talker and vocoder are not loaded."""
    return qwen3_audio(whole, text) + qwen3_vl(whole, text)


TOWERS: Mapping[str, Tower] = {
    "gemma3": gemma3,
    "gemma4": gemma4,
    "kimi": kimi,
    "llama4": llama4,
    "pixtral": pixtral,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_audio": qwen3_audio,
    "qwen3_omni": qwen3_omni,
    "qwen3_vl": qwen3_vl,
}
