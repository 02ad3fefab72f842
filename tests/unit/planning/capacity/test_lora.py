"""Slots of LoRA adapters, against vLLM's own tensors.

That vLLM allocates what is computed here is proved by tests/vllm/test_lora_slots.py.
"""

import pytest

from catalog.architecture import Architecture, AttentionLayers, LinearAttention
from catalog.importing import Files, imported
from planning.capacity.budget import Parallelism
from planning.capacity.lora import adapter_bytes, lora_bytes, lora_problems
from tests.unit.small_stack import CATALOG
from tests.vllm.architectures import CONFIGS

ONE = Parallelism()


def shape(name: str) -> Architecture:
    """The architecture of a model of the catalogue."""
    known = CATALOG.models[name].architecture
    assert known is not None
    return known


def test_slots_are_the_tensors_that_a_real_start_allocated():
    """A Qwen3 of two layers with two slots of rank 16 on vLLM 0.32 (CPU), all of their bytes summed."""
    tiny = Architecture(
        layers=2, hidden_size=64, attention_heads=4, kv_heads=2, head_dim=32, intermediate_size=128, vocab_size=263
    )
    assert lora_bytes(tiny, ONE, slots=2, rank=16) == 197_504


def test_tensor_parallelism_cuts_one_of_two_matrices():
    """Qwen3-14B: B of what is cut by columns, A of what is cut by rows; embedding and head stay whole."""
    row_in, row_out = 5120 + 17_408, 2 * 5120
    columns = 5 * 5120, 5120 + 2 * 8 * 128 + 2 * 17_408
    ends = 2 * (5120 + 151_936)
    for tensor in (1, 2, 4):
        width = columns[0] + columns[1] / tensor + row_in / tensor + row_out
        expected = 4 * 16 * (40 * width + ends) * 2
        assert lora_bytes(shape("Qwen/Qwen3-14B"), Parallelism(tensor), slots=4, rank=16) == expected


def test_heads_of_keys_are_no_fewer_than_ranks():
    """Beyond one rank per head of keys and values, their matrices are not cut further."""
    four = shape("Qwen/Qwen3-30B-A3B")
    assert four.kv_heads == 4
    by_four, by_eight = (lora_bytes(four, Parallelism(tensor), slots=1, rank=1) for tensor in (4, 8))
    query = 32 * 128
    cut = (2 * query + 128 * 3 * 768) / 8
    assert by_four - by_eight == pytest.approx(2 * 48 * cut)


def test_routed_experts_have_slots_of_their_own():
    """Qwen3-30B-A3B: 128 experts of three layers each are nearly all; expert parallelism spreads them."""
    moe = shape("Qwen/Qwen3-30B-A3B")
    experts = 48 * 128 * 3 * (2048 + 768)
    attention = 48 * ((2048 + 4096) * 2 + 2 * (2048 + 512) + 2048 + 128)
    assert lora_bytes(moe, ONE, slots=1, rank=16) == 2 * 16 * (experts + attention + 2 * (2048 + 151_936))
    spread = lora_bytes(moe, Parallelism(2, 1, 4, expert=True), slots=1, rank=1)
    sliced = lora_bytes(moe, Parallelism(2, 1, 4), slots=1, rank=1)
    assert sliced - spread == 2 * 48 * 128 * (3 * 2048 + 3 * 768 / 2 - 3 * (2048 + 768) / 8)


def test_layers_have_slots_for_the_matrices_that_they_have():
    """Two without a gate, as in Nemotron; no keys and values where those of another layer are read; narrow experts."""
    plain = shape("Qwen/Qwen3-30B-A3B")
    slots = {"slots": 1, "rank": 1}
    gateless = lora_bytes(plain.model_copy(update={"gated_mlp": False}), ONE, **slots)
    assert lora_bytes(plain, ONE, **slots) - gateless == 2 * 48 * 128 * (2048 + 768)
    readers = (AttentionLayers(layers=40), AttentionLayers(layers=8, keeps_cache=False))
    reading = lora_bytes(plain.model_copy(update={"attention": readers}), ONE, **slots)
    assert lora_bytes(plain, ONE, **slots) - reading == 2 * 8 * 2 * (2048 + 4 * 128)
    assert plain.moe is not None
    narrow = plain.model_copy(update={"moe": plain.moe.model_copy(update={"hidden_size": 1024})})
    less, more = 48 * 128 * 3 * 1024, 48 * 2 * (2048 + 1024)
    assert lora_bytes(plain, ONE, **slots) - lora_bytes(narrow, ONE, **slots) == 2 * (less - more)


def test_merged_projections_of_mixers_have_a_first_matrix_each():
    """A tiny Falcon-H1 with two slots of rank 16 on vLLM 0.32 (CPU), all of their bytes summed."""
    tiny = imported(Files(CONFIGS["falcon-h1"], license="x")).model
    assert tiny is not None
    assert tiny.architecture is not None
    assert lora_bytes(tiny.architecture, ONE, slots=2, rank=16) == 3_134_720


@pytest.mark.parametrize(
    ("name", "slots", "reasons"),
    [
        ("moonshotai/Kimi-K2.5", 1, ["vLLM loads no LoRA adapters for models of the family kimi-k25: leave them out"]),
        ("moonshotai/Kimi-K2.5", 0, []),
        ("moonshotai/Kimi-K2-Instruct", 1, []),
        ("XiaomiMiMo/MiMo-V2-Flash", 4, [
            "vLLM loads no LoRA adapters for models of the family mimo-v2-flash: leave them out",
        ]),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 1, []),
    ],
)  # fmt: skip
def test_adapters_are_refused_where_the_engine_loads_none(name, slots, reasons):
    """By the family, of the models that have no such interface."""
    told = lora_problems(CATALOG.models[name], slots, CATALOG.vllm.no_loras)
    assert [reason.at("<place>") for reason in told] == reasons


def test_layers_of_kda_have_no_adapters_whatever_their_family():
    """The only model definitions with such layers take none."""
    delta = LinearAttention(kind="kda", layers=3, key_heads=8, value_heads=8, key_head_dim=128, value_head_dim=128)
    model = CATALOG.models["Qwen/Qwen3-14B"]
    changed = model.model_copy(
        update={"architecture": shape("Qwen/Qwen3-14B").model_copy(update={"linear_attention": delta})}
    )
    assert (len(lora_problems(changed, 1, frozenset())), lora_problems(model, 1, frozenset())) == (1, [])


def test_a_stage_has_the_slots_of_its_layers():
    """Three stages of 40 layers: 14 on the fullest."""
    whole, stage = (lora_bytes(shape("Qwen/Qwen3-14B"), Parallelism(1, stages), slots=1, rank=8) for stages in (1, 3))
    ends = 8 * 2 * (5120 + 151_936) * 2
    assert stage - ends == pytest.approx((whole - ends) * 14 / 40)


@pytest.mark.parametrize("name", [name for name, model in CATALOG.models.items() if model.architecture])
def test_an_adapter_of_every_known_shape_has_a_size(name: str):
    """Proportional to its rank, and never nothing."""
    assert adapter_bytes(shape(name), 32) == 2 * adapter_bytes(shape(name), 16) > 0
