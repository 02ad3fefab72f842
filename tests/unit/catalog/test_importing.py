"""Entries from configurations: the shipped ones again, formats, windows, lengths, and what is not known.

That the numbers are vLLM's is for tests/vllm/test_architectures.py.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog import load_catalog
from catalog.architecture import AttentionLayers, LinearAttention, ModelPart
from catalog.importing import Files, imported
from catalog.importing.families import FAMILIES
from catalog.importing.serving import PARSERS
from catalog.importing.text import as_yaml
from catalog.schema import Model, WeightFormat
from planning.capacity.budget import Parallelism
from planning.capacity.weights import parameter_count, weight_bytes
from tests.unit.small_stack import properties
from tests.vllm.architectures import CONFIGS, ENCODERS, HEARING, NOT_ON_CPU, SAME_CLASS, SAMPLE, SPEECH

CATALOG = load_catalog()
PUBLISHED: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("published_configs.yaml").read_text(encoding="utf-8")
)
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
NO_LICENSE = "license is not in these files: it is on the model card"
NO_BYTES = "the bytes of its weights cannot be counted from these files: give --index, which has their sum"


def model(config: dict[str, Any], **files: Any) -> Model:
    """The model of a configuration that says enough."""
    answer = imported(Files(config, license="mit", **files))
    assert answer.model is not None, answer.unknown
    return answer.model


def unknown(config: dict[str, Any], **files: Any) -> list[str]:
    """What such files do not say."""
    return list(imported(Files(config, license="mit", **files)).unknown)


def quantised(**config: Any) -> dict[str, Any]:
    """A Llama in some format."""
    return LLAMA | {"quantization_config": config}


# --- the shipped entries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_the_shipped_entry(name):
    """Shape, profile, format and length; a tower within a part in five hundred, whose norms nobody counts."""
    made, shipped = model(PUBLISHED[name]), CATALOG.models[name]
    assert made.architecture is not None
    assert shipped.architecture is not None
    tower = {"vision_tower_bytes": made.architecture.vision_tower_bytes}
    assert made.architecture == shipped.architecture.model_copy(update=tower)
    assert made.architecture.vision_tower_bytes == pytest.approx(shipped.architecture.vision_tower_bytes, rel=0.002)
    assert (made.kv_profile, made.checkpoint.format) == (shipped.kv_profile, shipped.checkpoint.format)
    assert (made.checkpoint.parts, made.checkpoint.method) == (shipped.checkpoint.parts, shipped.checkpoint.method)
    assert made.context.config_tokens == shipped.context.config_tokens


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shape_counts_the_published_parameters(name):
    """Within one per cent, where they are published."""
    shipped = CATALOG.models[name]
    assert shipped.architecture is not None
    if shipped.parameters:
        assert parameter_count(shipped.architecture) == pytest.approx(shipped.parameters, rel=0.01)


@pytest.mark.parametrize(
    ("name", "said", "stored"),
    [
        # what its own rule of vLLM takes from the file, else the model's dtype
        ("qwen3.5", {"mamba_ssm_dtype": "float32"}, 4),
        ("qwen3.5", {"mamba_ssm_dtype": "bfloat16"}, 2),
        ("qwen3.5", {}, 2),
        # no rule: the model's dtype
        ("qwen3-next", {"mamba_ssm_dtype": "float32"}, 2),
        ("qwen3-next", {}, 2),
        # fp32 unless the file says another
        ("nemotron-h", {}, 4),
        ("nemotron-h", {"mamba_ssm_cache_dtype": "bfloat16"}, 2),
    ],
)
def test_the_dtype_of_a_state_is_the_one_that_vllm_takes(name, said, stored):
    """models/config.py: who is in its list."""
    silent = {key: value for key, value in CONFIGS[name].items() if not key.startswith("mamba_ssm")}
    shape = model(silent | said).architecture
    assert shape is not None
    state = shape.linear_attention or shape.mamba
    assert state is not None
    assert state.state_bytes_per_element == stored


def test_every_claimed_architecture_is_asked_of_vllm():
    """Rows are measured, refused by the CPU build, have the definition of one that is measured, or keep no cache."""
    others = [*ENCODERS.values(), SPEECH, HEARING]
    asked = {name for config in [*CONFIGS.values(), *others] for name in config["architectures"]}
    refused = {name for config, _ in NOT_ON_CPU.values() for name in config["architectures"]}
    assert set(FAMILIES) == asked | refused | set(SAME_CLASS)
    assert set(SAME_CLASS.values()) <= asked | refused


def test_what_every_change_asks_of_vllm_is_there():
    """A row that has another name is not left out in silence."""
    assert set(CONFIGS) >= SAMPLE


def test_a_model_that_hears_transcribes_and_does_not_load_the_head_of_its_files():
    """Qwen3-ASR's is tied to the embedding, and is in the files all the same."""
    shipped = CATALOG.models["Qwen/Qwen3-ASR-1.7B"]
    files = {"metadata": {"total_size": shipped.checkpoint.disk_bytes}}
    made = model(PUBLISHED["Qwen/Qwen3-ASR-1.7B"] | {"dtype": "bfloat16"}, index=files)
    assert (made.task, made.checkpoint) == (shipped.task, shipped.checkpoint)
    assert weight_bytes(made, Parallelism())[0] == pytest.approx(4_076_102_144, rel=0.001)


@pytest.mark.parametrize(("name", "layers"), [("openai/whisper-large-v3", 32), ("openai/whisper-large-v3-turbo", 4)])
def test_speech_is_read_by_its_own_names(name, layers):
    """The decoder's figures, not the encoder's that the usual names have, and what the model is for."""
    made, shipped = model(SPEECH | {"decoder_layers": layers}), CATALOG.models[name]
    assert (made.architecture, made.task, made.kv_profile) == (shipped.architecture, shipped.task, shipped.kv_profile)
    assert made.context == shipped.context
    assert made.architecture is not None
    assert parameter_count(made.architecture) == pytest.approx(shipped.parameters, rel=0.001)


LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
XLM_ROBERTA = {"architectures": ["XLMRobertaModel"], "vocab_size": 250002, "type_vocab_size": 1, "pad_token_id": 1}
BERT = {"architectures": ["BertModel"], "vocab_size": 30522, "type_vocab_size": 2, "pad_token_id": 0}
LABEL = {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("BAAI/bge-m3", XLM_ROBERTA | LARGE | {"max_position_embeddings": 8194}),
        ("BAAI/bge-reranker-v2-m3", XLM_ROBERTA | LARGE | LABEL | {"max_position_embeddings": 8194}),
        ("intfloat/multilingual-e5-large", XLM_ROBERTA | LARGE | {"max_position_embeddings": 514}),
        ("BAAI/bge-large-en-v1.5", BERT | LARGE | {"max_position_embeddings": 512}),
        ("BAAI/bge-base-en-v1.5", BERT | BASE | {"max_position_embeddings": 512}),
    ],
)
def test_an_encoder_is_the_shipped_one(name, config):
    """What it is for, its shape with positions and the head of its score, its bytes, and the texts that fit."""
    made, shipped = model(config), CATALOG.models[name]
    assert (made.architecture, made.task, made.kv_profile) == (shipped.architecture, shipped.task, shipped.kv_profile)
    assert made.context == shipped.context
    assert made.architecture is not None
    assert parameter_count(made.architecture) == pytest.approx(shipped.parameters, rel=0.004)
    assert weight_bytes(made, Parallelism())[0] == pytest.approx(weight_bytes(shipped, Parallelism())[0], rel=0.001)


def test_a_classifier_is_no_reranker():
    """Several labels, or two by default where the file has none, are not one score."""
    reranker = XLM_ROBERTA | LARGE | LABEL | {"max_position_embeddings": 514}
    rule = "a model with one is a reranker, and others are not served"
    assert unknown(reranker) == []
    assert f"id2label has 2 labels: {rule}" in unknown(reranker | {"id2label": {"0": "NO", "1": "YES"}})
    assert f"id2label has no labels: {rule}" in unknown(reranker | {"id2label": None})


def test_parsers_are_those_of_the_engine():
    """Every name of the table is one that this vLLM knows."""
    reasoning, tools = ({name for name in names if name} for names in zip(*PARSERS.values(), strict=True))
    assert (reasoning - set(CATALOG.vllm.reasoning_parsers), tools - set(CATALOG.vllm.tool_call_parsers)) == (
        set(),
        set(),
    )


# --- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "groups"),
    [
        ({"sliding_window": 4096}, [(32, "sliding", 4096)]),
        ({"sliding_window": 4096, "use_sliding_window": False}, []),
        ({"layer_types": ["sliding_attention", "full_attention"] * 16, "sliding_window": 512},
         [(16, "sliding", 512), (16, "full", None)]),
        ({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 4096}, []),
        ({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 4096, "use_sliding_window": True,
          "max_window_layers": 28}, [(28, "full", None), (4, "sliding", 4096)]),
        ({"architectures": ["Gemma3ForCausalLM"], "sliding_window": 1024}, [(27, "sliding", 1024), (5, "full", None)]),
        ({"architectures": ["Glm4ForCausalLM"], "sliding_window": 1024}, []),
    ],
)  # fmt: skip
def test_windows_are_those_of_the_model_definition(change, groups):
    """The same key means something else in another family."""
    shape = model(LLAMA | change).architecture
    assert shape is not None
    made = [(each.layers, each.kind, each.window_tokens) for each in shape.attention]
    assert made == groups


def test_layers_may_have_heads_of_their_own():
    """Gemma 4: five of thirty layers see everything, with fewer and wider heads."""
    shape = model(CONFIGS["gemma4"]).architecture
    assert shape is not None
    assert shape.attention == (
        AttentionLayers(layers=5, kind="sliding", window_tokens=512),
        AttentionLayers(layers=1, kv_heads=1, head_dim=512),
    )


def test_kimi_linear_keeps_latents_and_states():
    """Three layers of four keep a state in fp32, the fourth a latent."""
    shape = model(NOT_ON_CPU["kimi-linear"][0]).architecture
    assert shape is not None
    assert shape.linear_attention == LinearAttention(
        kind="kda", layers=3, key_heads=8, value_heads=8, key_head_dim=128, value_head_dim=128
    )
    assert (shape.mla is not None, shape.attention) == (True, ())


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "format_", "parts", "group"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block128", {}, None),
        ({"quant_method": "fp8"}, "fp8-channel", {}, None),
        ({"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head"]}, "fp8-channel", {}, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq-int4", {}, 128),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, "gptq-int4", {}, 64),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq-int4", {}, 0),
        ({"quant_method": "gptq", "bits": 4}, "gptq-int4", {}, None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["model.layers.*.self_attn*"]}, "nvfp4",
         {"attention": "bf16"}, None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["model.layers.0.self_attn.q_proj"]},
         "nvfp4", {}, None),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["re:.*self_attn.*"],
          "config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 32}}}},
         "gptq-int4", {"attention": "bf16"}, 32),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {
            "a": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "strategy": "channel"}}}},
         "gptq-int4", {}, 0),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel"}},
            "b": {"targets": ["re:.*mlp.*"], "weights": {"num_bits": 4, "type": "float", "group_size": 16}}}},
         "nvfp4", {"attention": "fp8-channel"}, None),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "block"}}}},
         "fp8-block128", {}, None),
    ],
)  # fmt: skip
def test_formats_by_quantization_config(config, format_, parts, group):
    """The format of most weights, of parts that have another, and the size of groups."""
    made = model(quantised(**config)).checkpoint
    expected = {ModelPart(part): WeightFormat(kind) for part, kind in parts.items()}
    assert (made.format, made.parts, made.group_size) == (WeightFormat(format_), expected, group)


@pytest.mark.parametrize(
    ("weights", "method"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "block"}, "compressed-tensors"),
        ({"num_bits": 4, "type": "int", "group_size": 32}, "compressed-tensors"),
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, None),
        ({"num_bits": 4, "type": "float", "group_size": 16}, None),
    ],
)
def test_compressed_tensors_is_said_where_it_has_rules_of_its_own(weights, method):
    """Blocks and groups of its experts are not made smaller; formats without either are loaded like any other's."""
    groups = {"config_groups": {"a": {"targets": ["Linear"], "weights": weights}}}
    assert model(quantised(quant_method="compressed-tensors", **groups)).checkpoint.method == method


def test_a_file_beside_the_config_names_the_format():
    """As modelopt writes it."""
    made = model(LLAMA, quantization={"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}})
    assert made.checkpoint.format is WeightFormat.FP8_CHANNEL


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"quant_method": "bitsandbytes"},
         "quantization_config.quant_method 'bitsandbytes' is none whose bytes are known here"),
        ({"quant_method": "gptq", "bits": 8}, "quantization_config.bits 8 is not 4"),
        ({"quant_method": "fp8", "weight_block_size": [1, 32]},
         "quantization_config.weight_block_size [1, 32] is not [128, 128]"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "int"}}}},
         "quantization_config.config_groups has weights of 8 bits (int), whose bytes are not known here"),
    ],
)  # fmt: skip
def test_a_format_that_is_not_known_is_named(config, sentence):
    """There is no entry without bytes, and one with them when the index has their sum."""
    assert unknown(quantised(**config)) == [sentence, NO_BYTES]
    made = model(quantised(**config), index={"metadata": {"total_size": 9 * 10**9}})
    assert (made.checkpoint.format, made.checkpoint.loaded_bytes) == (WeightFormat.MIXED, 9 * 10**9)


# --- lengths, bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rope", "tokens"),
    [
        (None, 131072),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 131072),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "linear", "factor": 2.0}, 262144),
        ({"rope_type": "dynamic", "factor": 2.0}, 262144),
        ({"rope_type": "longrope", "short_factor": [1.0]}, 131072),
    ],
)
def test_the_length_is_what_vllm_derives(rope, tokens):
    """Factors of YaRN, Llama 3 and LongRoPE are in the length already."""
    assert model(LLAMA | {"rope_scaling": rope}).context.config_tokens == tokens


def test_bytes_come_from_the_index_where_they_are_those_on_the_gpu():
    """Not of a checkpoint in float32, which is loaded as bf16, nor of one with draft layers, nor of MXFP4."""
    index = {"metadata": {"total_size": 20 * 10**9}}
    assert model(LLAMA, index=index).checkpoint.loaded_bytes == 20 * 10**9
    for change in ({"torch_dtype": "float32"}, {"num_nextn_predict_layers": 1}):
        checkpoint = model(LLAMA | change, index=index).checkpoint
        assert (checkpoint.loaded_bytes, checkpoint.disk_bytes) == (None, 20 * 10**9)


def test_gpt_oss_takes_what_is_published():
    """MXFP4 is laid out anew: 64.4 to 66.0 GiB are published for the large one, 60.8 are on disk."""
    config = CONFIGS["gpt-oss"] | {
        "num_hidden_layers": 36, "hidden_size": 2880, "intermediate_size": 2880, "num_local_experts": 128,
        "num_experts_per_tok": 4, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 201088,
        "layer_types": ["sliding_attention", "full_attention"] * 18, "quantization_config": {"quant_method": "mxfp4"},
    }  # fmt: skip
    assert 64.4 < weight_bytes(model(config), Parallelism())[0] / 2**30 < 66.0


# --- what is not known ------------------------------------------------------------------------------------------------


def test_everything_that_is_missing_is_named_at_once():
    """One sentence each, with the path; numbers that are none are missing, too."""
    config = {key: value for key, value in LLAMA.items() if key not in ("hidden_size", "vocab_size")}
    answer = imported(Files(config | {"num_attention_heads": "32", "max_position_embeddings": None}))
    assert answer.entry is None
    assert answer.unknown == (
        "max_position_embeddings is not there",
        "hidden_size is not there",
        "num_attention_heads '32' is no number of at least 1",
        "vocab_size is not there",
        NO_BYTES,
        NO_LICENSE,
    )


def test_an_unknown_architecture_keeps_an_unknown_cache():
    """Its entry says so, and takes the bytes of the index."""
    config = LLAMA | {"architectures": ["NovelForCausalLM"]}
    why = "architectures: 'NovelForCausalLM' is none whose KV cache is proved here (kvProfile: unknown)"
    assert unknown(config) == [why, NO_BYTES]
    answer = imported(Files(config, {"metadata": {"total_size": 7}}, license="mit"))
    assert answer.unknown == (why,)
    assert answer.entry == {
        "family": "llama",
        "license": "mit",
        "kvProfile": "unknown",
        "context": {"nativeTokens": 131072, "configTokens": 131072},
        "checkpoint": {"format": "bf16", "loadedBytes": 7, "diskBytes": 7},
        "sources": ["config.json alone: there is no source but the file that was read"],
    }


def test_a_tower_that_is_not_described_needs_the_index():
    """Its bytes are in no sum."""
    config = CONFIGS["llama4"] | {"architectures": ["Llama4ForConditionalGeneration"]}
    why = "vision_config is not there, so the encoder is not counted"
    assert unknown(config) == [why, NO_BYTES]
    assert unknown(config, index={"metadata": {"total_size": 10**9}}) == [why]


SCALARS = st.none() | st.booleans() | st.integers(-2, 2**40) | st.text(max_size=8) | st.floats()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(ANYTHING,
       st.sampled_from(sorted({key for config in CONFIGS.values() for key in config} | {"quantization_config"})),
       st.sampled_from(sorted(CONFIGS)))  # fmt: skip
@properties(400)
def test_no_value_makes_it_fail(value, key, name):
    """Whatever a file holds, there is an entry that is well formed, or a sentence."""
    answer = imported(Files(CONFIGS[name] | {key: value}))
    assert answer.entry is not None or answer.unknown


@pytest.mark.parametrize("name", CONFIGS)
def test_an_entry_is_written_as_it_is(name):
    """The text is YAML of the same entry, below the name of its repository."""
    answer = imported(Files(CONFIGS[name], license="mit"))
    assert answer.entry is not None
    text = as_yaml("a/b", answer.entry, ["c: d", "e"])
    assert yaml.safe_load(text) == {"models": {"a/b": answer.entry}}
    assert text.endswith("    # unknown: c: d\n    # unknown: e\n")
    assert max(map(len, text.splitlines())) <= 120
