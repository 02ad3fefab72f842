"""Entries from configurations that leave a key out, or say it in one way of several.

Defaults are those of the classes that read the file (transformers); that vLLM takes them is not asked here.
"""

from typing import Any

import pytest

from catalog.architecture import Architecture, ModelPart
from catalog.importing import Files, imported
from catalog.schema import WeightFormat
from tests.vllm.architectures import CONFIGS, NOT_ON_CPU

ROUTED = NOT_ON_CPU["nemotron-h-moe"][0]


def shape(config: dict[str, Any], *silent: str, **values: Any) -> Architecture:
    """The shape of a configuration without these keys, and with these values."""
    answer = imported(Files({key: value for key, value in config.items() if key not in silent} | values, license="mit"))
    assert answer.model is not None, answer.unknown
    assert answer.model.architecture is not None
    return answer.model.architecture


@pytest.mark.parametrize(
    ("config", "silent", "values", "expected"),
    [
        (CONFIGS["qwen3.5"], ["linear_conv_kernel_dim"], {}, {"linear_attention": {"conv_kernel": 4}}),
        (CONFIGS["nemotron-h"], ["conv_kernel", "n_groups"], {}, {"mamba": {"conv_kernel": 4, "groups": 8}}),
        (CONFIGS["nemotron-h"], [], {"n_groups": 2}, {"mamba": {"groups": 2}}),
        (
            CONFIGS["granite-hybrid"],
            ["mamba_d_conv"],
            {"mamba_n_groups": 2},
            {"mamba": {"conv_kernel": 4, "groups": 2}},
        ),
        # 2 × 512 over 16 heads
        (CONFIGS["granite-hybrid"], ["mamba_expand"], {"mamba_d_head": "auto"}, {"mamba": {"head_dim": 64}}),
        (CONFIGS["granite-hybrid"], [], {"mamba_expand": 3, "mamba_d_head": "auto"}, {"mamba": {"head_dim": 96}}),
        (CONFIGS["falcon-h1"], [], {"mamba_d_ssm": 2048, "mamba_d_head": None}, {"mamba": {"head_dim": 128}}),
        (ROUTED, [], {"moe_latent_size": 128}, {"moe": {"hidden_size": 128, "shared_intermediate_size": 512}}),
        (ROUTED, [], {"n_shared_experts": 2}, {"moe": {"hidden_size": None, "shared_intermediate_size": 1024}}),
        # from the second layer to the third of three
        (CONFIGS["ernie-moe"], [], {}, {"moe": {"dense_layers": 1, "shared_intermediate_size": 512}}),
        (CONFIGS["ernie-moe"], ["moe_layer_end_index"], {}, {"moe": {"dense_layers": 1}}),
        (CONFIGS["ernie-moe"], [], {"moe_layer_end_index": 1}, {"moe": {"dense_layers": 2}}),
    ],
)
def test_a_key_that_is_left_out_has_the_default_of_its_class(config, silent, values, expected):
    """And one that is there is read as it is."""
    made = shape(config, *silent, **values).model_dump()
    assert {part: {key: made[part][key] for key in fields} for part, fields in expected.items()} == expected


def test_the_last_layers_of_gemma_4_read_the_cache_of_others():
    """Two of six share: the fifth, which slides, and the sixth."""
    groups = shape(CONFIGS["gemma4"], num_kv_shared_layers=2).attention
    assert [(group.kind, group.layers, group.keeps_cache) for group in groups] == [
        ("sliding", 4, True),
        ("sliding", 1, False),
        ("full", 1, False),
    ]


def test_of_several_lengths_the_shortest_holds():
    """A tokenizer's limit beside that of the positions."""
    answer = imported(Files(CONFIGS["llama"] | {"model_max_length": 8192}, license="mit"))
    assert answer.model is not None
    assert answer.model.context.config_tokens == 8192


def test_the_gate_of_qwen_3_5_is_there_unless_the_file_takes_it_away():
    """A query is twice as wide with it."""
    gates = [shape(CONFIGS["qwen3.5"], **values).gated_attention for values in ({}, {"attn_output_gate": False})]
    assert gates == [True, False]


@pytest.mark.parametrize("key", ["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"])
def test_files_with_draft_layers_are_larger_than_what_is_loaded(key):
    """Whichever name the family has for them; without them the files are what is loaded."""
    files = {"license": "mit", "index": {"metadata": {"total_size": 2**30}}}
    answers = [imported(Files(CONFIGS["llama"] | {key: count}, **files)).model for count in (0, 1)]
    assert [answer.checkpoint.loaded_bytes for answer in answers if answer] == [2**30, None]


@pytest.mark.parametrize(("dtype", "loaded"), [("bfloat16", 2**30), ("float32", None), (None, None)])
def test_files_of_a_dtype_that_is_not_said_may_be_larger_than_what_is_loaded(dtype, loaded):
    """Of float32 half is loaded; of what is not said nobody knows."""
    answer = imported(Files(CONFIGS["llama"] | {"dtype": dtype}, index={"metadata": {"total_size": 2**30}}))
    assert answer.model is not None
    assert answer.model.checkpoint.loaded_bytes == loaded


@pytest.mark.parametrize(("layers", "parts"), [(1, {}), (2, {ModelPart.ATTENTION: WeightFormat.BF16})])
def test_a_part_has_the_format_of_most_of_its_matrices(layers, parts):
    """Attention of one or two of three layers is left alone."""
    ignored = [f"model.layers.{layer}.self_attn" for layer in range(layers)]
    stored = {"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ignored}
    answer = imported(Files(CONFIGS["llama"] | {"quantization_config": stored}))
    assert answer.model is not None
    assert answer.model.checkpoint.parts == parts
