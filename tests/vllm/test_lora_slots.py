"""Slots of LoRA adapters as the real vLLM, CPU build, allocates them, against the planner's: to the byte.

Does not prove what tensor parallelism leaves of them on a GPU, which is read from its source.
"""

import pytest

from planning.capacity.budget import Parallelism
from planning.capacity.lora import lora_bytes
from tests.vllm.architectures import CONFIGS
from tests.vllm.test_architectures import arguments as arguments_for
from tests.vllm.test_architectures import entry
from tests.vllm.test_kv_cache_size import DENSE, MEASURED, arguments, config_json, folder

pytestmark = pytest.mark.vllm

LORA = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 16}


@pytest.mark.parametrize("name", [name for name in MEASURED if name == DENSE or MEASURED[name][1].moe is None])
def test_slots_are_as_large_as_planned(vllm, request, name):
    """Every layer that an adapter may change, whatever it changes; embedding and head at most."""
    family, shape = MEASURED[name]
    config = config_json(family, shape)
    seen = vllm.size(folder(request), config, **arguments(shape, **LORA))
    assert "error" not in seen, seen["error"]
    planned = lora_bytes(shape, Parallelism(), slots=2, rank=16)
    ends = 2 * 16 * 2 * 2 * (shape.hidden_size + shape.vocab_size)
    assert seen["slot_bytes"] in (planned, planned - ends)


@pytest.mark.parametrize("name", ["gemma4", "falcon-h1", "granite-hybrid", "nemotron-h", "deepseek-v2"])
def test_every_kind_of_layers_has_its_slots(vllm, name):
    """Layers with heads of their own, mixers beside and between attention, latents, gates that are not there."""
    shape = entry(name).architecture
    assert shape is not None
    seen = vllm.size(f"slots-{name}", CONFIGS[name], **arguments_for(shape), **LORA)
    assert "error" not in seen, seen["error"]
    planned = lora_bytes(shape, Parallelism(), slots=2, rank=16)
    assert seen["slot_bytes"] in (planned, planned - 2 * 16 * 2 * 2 * (shape.hidden_size + shape.vocab_size))


def test_a_family_without_adapters_is_refused_by_vllm(vllm):
    """As the engine file has it."""
    shape = entry("mimo-v2").architecture
    assert shape is not None
    seen = vllm.size("slots-mimo-v2", CONFIGS["mimo-v2"], **arguments_for(shape), **LORA)
    assert "does not support LoRA" in seen.get("error", "")
