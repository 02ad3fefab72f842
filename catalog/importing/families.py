"""Architectures whose cache and weights are proved against the real vLLM, and what differs in each.

A row is the name in `architectures`; a test asks vLLM about every one of them (tests/vllm/test_architectures.py), or
says why its CPU build cannot be asked. What is not here is unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from catalog.architecture import LinearAttention, Mamba2
from catalog.importing import experts as forward
from catalog.importing import rotary as turning
from catalog.importing import states
from catalog.importing import windows as attention
from catalog.importing.config import Config

Bias = Literal["never", "always", "config"]


@dataclass(frozen=True)
class Experts:
    """The key of the inner size of experts, who has them, and their names in files where those are their own."""

    inner: str = "moe_intermediate_size"
    dense: forward.Dense = forward.none_dense
    shared: forward.Shared = forward.no_shared
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """One kind of model definition.

    `bias`: of query, key and value; `config`: as `attention_bias` says. `defaults`: of the configuration class, which
    files leave out. `dense_inner`: the key of the inner size of dense layers. `parallel`: every layer has attention and
    a state; `letters`: each is one thing. `tower`: a row of `towers.TOWERS`. `tied`: head and embedding, where the file
    says nothing. `unused`: positions that no token has. `rewritten`: what is on GPUs has other bytes than the files.
    `task`: what the model is for, where only one thing is possible. `names`: usual key → the file's own.
    """

    profile: Literal["gqa", "mla", "hybrid", "none"] = "gqa"
    windows: attention.Windows = attention.full
    rotary: turning.Rotary = turning.plain
    bias: Bias = "config"
    gated_mlp: bool = True
    gated_attention: bool = False
    tied: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)
    dense_inner: str = "intermediate_size"
    experts: Experts | None = None
    state: Callable[[Config, int], LinearAttention | Mamba2] | None = None
    parallel: bool = False
    letters: bool = False
    more: Callable[[Config], int] | None = None
    unused: Callable[[Config], int] | None = None
    tower: str | None = None
    rewritten: bool = False
    task: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def positions(config: Config) -> int:
    """Learned positions and kinds of tokens of BERT and its kin."""
    rows = config.need("max_position_embeddings") + (config.whole("type_vocab_size", least=0) or 0)
    return rows * config.need("hidden_size")


def up_to_padding(config: Config) -> int:
    """Positions of RoBERTa begin behind the number of the padding token (roberta.py), which is 1 in its class."""
    padding = config.whole("pad_token_id", least=0)
    return 2 if padding is None else padding + 1


def score(config: Config) -> int:
    """The head of a pair's one score, which is loaded in float32: two parameters of bf16 for each."""
    labels = config.get("id2label")
    count = len(labels) if isinstance(labels, Mapping) else config.whole("num_labels")
    if count != 1:
        config.miss(
            "id2label", f"has {count or 'no'} labels: a model with one is a reranker, and others are not served"
        )
    return 2 * config.need("hidden_size") ** 2


def audio_encoder(config: Config) -> int:
    """Whisper's encoder: convolutions of three frames, layers, and positions on both sides (whisper.py)."""
    hidden, inner = config.need("hidden_size"), config.need("encoder_ffn_dim")
    rows = config.need("max_source_positions") + config.need("max_position_embeddings")
    convolutions = 3 * hidden * (config.need("num_mel_bins") + hidden)
    return config.need("encoder_layers") * (4 * hidden**2 + 2 * hidden * inner) + convolutions + rows * hidden


def per_layer_inputs(config: Config) -> int:
    """Gemma 4's embeddings per layer, and the wider feed-forward of layers that read another's cache."""
    layers, hidden = config.need("num_hidden_layers"), config.need("hidden_size")
    width = config.whole("hidden_size_per_layer_input", least=0) or 0
    words = config.whole("vocab_size_per_layer_input") or config.need("vocab_size")
    wide = (config.whole("num_kv_shared_layers", least=0) or 0) if config.flag("use_double_wide_mlp") else 0
    return layers * width * (words + 3 * hidden) + wide * 3 * hidden * config.need("intermediate_size")


# GptOssConfig, Ministral3Config
GPT_OSS_ROPE = {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096}
MINISTRAL_ROPE = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 16384}
# Glm4Config, Glm4MoeConfig, NemotronConfig
HALF_TURNED = {"partial_rotary_factor": 0.5}
LLAMA = Family(windows=attention.uniform)
QWEN2 = Family(windows=attention.after_layers, bias="always")
QWEN3 = Family(windows=attention.after_layers, defaults={"head_dim": 128})
QWEN3_MOE = replace(QWEN3, experts=Experts(dense=forward.each_step))
GEMMA3 = Family(
    rotary=turning.windowed,
    windows=attention.every(6, "sliding_window_pattern", "_sliding_window_pattern"),
    tied=True,
    # Gemma3TextConfig
    defaults={
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
        "sliding_window": 4096,
        "max_position_embeddings": 131072,
    },
)
GEMMA4 = Family(
    rotary=turning.gemma4,
    windows=attention.gemma4,
    tied=True,
    rewritten=True,
    experts=Experts(shared=forward.beside, names=("experts.0.gate_proj", "experts", "moe.experts")),
    more=per_layer_inputs,
)
DEEPSEEK = Family(
    "mla", rotary=turning.latent, bias="never", experts=Experts(dense=forward.first_dense, shared=forward.counted)
)
GDN = Family(
    "hybrid",
    attention.each_period,
    turning.within(1),
    defaults={"partial_rotary_factor": 0.25},
    gated_attention=True,
    state=states.delta_net,
    experts=Experts(dense=forward.each_step, shared=forward.sized),
)
LLAMA4 = Family(
    windows=attention.without_rope,
    defaults={"head_dim": 128, "attention_chunk_size": 8192},
    dense_inner="intermediate_size_mlp",
    experts=Experts("intermediate_size", forward.interleaved, forward.as_inner),
)
NEMOTRON_H = Family(
    "hybrid",
    attention.nemotron_h,
    turning.none,
    gated_mlp=False,
    state=states.nemotron_h,
    letters=True,
    experts=Experts(dense=forward.letters_dense, shared=forward.sized_times),
)
MIMO_V2 = Family(
    windows=attention.mimo, rotary=turning.mimo, experts=Experts(dense=forward.marked, shared=forward.counted)
)
BERT = Family("none", rotary=turning.none, bias="always", gated_mlp=False, tied=True, more=positions, task="embed")
ROBERTA = replace(BERT, unused=up_to_padding)
PAIRS = replace(BERT, more=lambda config: positions(config) + score(config), task="rerank")
ROBERTA_PAIRS = replace(PAIRS, unused=up_to_padding)
WHISPER = Family(
    rotary=turning.none,
    windows=attention.whisper,
    bias="always",
    gated_mlp=False,
    tied=True,
    more=audio_encoder,
    task="transcribe",
    names={
        "num_hidden_layers": "decoder_layers",
        "hidden_size": "d_model",
        "num_attention_heads": "decoder_attention_heads",
        "intermediate_size": "decoder_ffn_dim",
        "max_position_embeddings": "max_target_positions",
    },
)
MODERN_BERT = Family("none", rotary=turning.windowed, tied=True, bias="never", task="embed")

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Ministral3ForCausalLM": replace(LLAMA, defaults={"rope_parameters": MINISTRAL_ROPE}),
    "InternLM3ForCausalLM": LLAMA,
    "Phi3ForCausalLM": LLAMA,
    "GraniteForCausalLM": LLAMA,
    "Qwen2ForCausalLM": QWEN2,
    "MiMoForCausalLM": QWEN2,
    "Qwen2MoeForCausalLM": replace(QWEN2, experts=Experts(dense=forward.each_step, shared=forward.sized)),
    "Qwen3ForCausalLM": QWEN3,
    "Qwen3MoeForCausalLM": QWEN3_MOE,
    # run by the definition in transformers, which computes positions anew
    "SeedOssForCausalLM": replace(QWEN2, rotary=turning.none, bias="config"),
    "Glm4ForCausalLM": Family(defaults=HALF_TURNED),
    "Glm4MoeForCausalLM": Family(
        defaults=HALF_TURNED, experts=Experts(dense=forward.first_dense, shared=forward.counted)
    ),
    "Ernie4_5ForCausalLM": Family(bias="never"),
    "Ernie4_5_MoeForCausalLM": Family(bias="never", experts=Experts(dense=forward.between, shared=forward.counted)),
    "NemotronForCausalLM": Family(defaults=HALF_TURNED, gated_mlp=False),
    "MixtralForCausalLM": replace(LLAMA, experts=Experts("intermediate_size")),
    "MiniMaxM2ForCausalLM": Family(rotary=turning.numbered, experts=Experts("intermediate_size")),
    "GptOssForCausalLM": Family(
        rotary=turning.gpt_oss,
        windows=attention.every(2),
        bias="config",
        defaults={"head_dim": 64, "attention_bias": True, "rope_parameters": GPT_OSS_ROPE},
        experts=Experts("intermediate_size"),
    ),
    "GemmaForCausalLM": Family(tied=True, defaults={"head_dim": 256}),
    "Gemma2ForCausalLM": Family(windows=attention.every(2), tied=True, defaults={"head_dim": 256}),
    "Gemma3ForCausalLM": GEMMA3,
    "Gemma3ForConditionalGeneration": replace(GEMMA3, tower="gemma3"),
    "Gemma4ForCausalLM": GEMMA4,
    "Gemma4ForConditionalGeneration": replace(GEMMA4, tower="gemma4"),
    "Cohere2ForCausalLM": Family(windows=attention.every(4, "sliding_window_pattern"), tied=True),
    "Exaone4ForCausalLM": Family(windows=attention.every(4, "sliding_window_pattern")),
    "Llama4ForCausalLM": LLAMA4,
    "Llama4ForConditionalGeneration": replace(LLAMA4, tower="llama4"),
    "Mistral3ForConditionalGeneration": replace(LLAMA, tower="pixtral"),
    "Qwen2_5_VLForConditionalGeneration": replace(
        QWEN2, rotary=turning.within(turning.MROPE_TIMES), tower="qwen2_5_vl"
    ),
    "Qwen3VLForConditionalGeneration": replace(QWEN3, rotary=turning.within(1), tower="qwen3_vl"),
    "Qwen3VLMoeForConditionalGeneration": replace(QWEN3_MOE, rotary=turning.within(1), tower="qwen3_vl"),
    "Qwen3OmniMoeForConditionalGeneration": replace(
        QWEN3_MOE, rotary=turning.within(turning.MROPE_TIMES), tower="qwen3_omni", rewritten=True
    ),
    # its files have a head although it is tied to the embedding
    "Qwen3ASRForConditionalGeneration": replace(
        QWEN3, rotary=turning.within(turning.MROPE_TIMES), tower="qwen3_audio", rewritten=True, task="transcribe"
    ),
    "DeepseekV2ForCausalLM": DEEPSEEK,
    "DeepseekV3ForCausalLM": DEEPSEEK,
    "DeepseekV32ForCausalLM": DEEPSEEK,
    "GlmMoeDsaForCausalLM": DEEPSEEK,
    "Glm4MoeLiteForCausalLM": DEEPSEEK,
    "KimiK25ForConditionalGeneration": replace(DEEPSEEK, tower="kimi"),
    "KimiLinearForCausalLM": replace(DEEPSEEK, windows=attention.kimi_linear, rotary=turning.none, state=states.kda),
    "Qwen3NextForCausalLM": replace(GDN, state=states.qwen3_next),
    "Qwen3_5ForCausalLM": GDN,
    "Qwen3_5MoeForCausalLM": GDN,
    "Qwen3_5ForConditionalGeneration": replace(GDN, tower="qwen3_vl"),
    "Qwen3_5MoeForConditionalGeneration": replace(GDN, tower="qwen3_vl"),
    "NemotronHForCausalLM": NEMOTRON_H,
    "FalconH1ForCausalLM": Family("hybrid", attention.full, state=states.granite, parallel=True),
    "GraniteMoeHybridForCausalLM": Family(
        "hybrid",
        attention.uniform,
        turning.granite,
        state=states.granite,
        dense_inner="shared_intermediate_size",
        experts=Experts("intermediate_size", shared=forward.sized),
    ),
    "MiMoV2FlashForCausalLM": MIMO_V2,
    "MiMoV2ForCausalLM": MIMO_V2,
    "BertModel": BERT,
    "BertForSequenceClassification": PAIRS,
    "RobertaModel": ROBERTA,
    "XLMRobertaModel": ROBERTA,
    "RobertaForSequenceClassification": ROBERTA_PAIRS,
    "XLMRobertaForSequenceClassification": ROBERTA_PAIRS,
    "ModernBertModel": MODERN_BERT,
    "ModernBertForSequenceClassification": replace(MODERN_BERT, more=score, task="rerank"),
    "WhisperForConditionalGeneration": WHISPER,
}
