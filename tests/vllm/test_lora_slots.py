"""Slots of LoRA adapters as the real vLLM, CPU build, allocates them, against the planner's: to the byte.

Does not prove what tensor parallelism leaves of them on a GPU, which is read from its source.
"""

import pytest

from planning.capacity.budget import Parallelism
from planning.capacity.lora import lora_bytes
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
