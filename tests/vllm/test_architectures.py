"""From `config.json` to what the real vLLM makes of it: every architecture that `catalog.importing` claims.

The entry comes from the importer, the numbers from the planner: blocks, tokens and concurrency to the last digit, bytes
of weights within one per cent.
"""

from typing import Any

import pytest

from catalog.architecture import Architecture
from catalog.importing import Files, imported
from catalog.schema import Model
from planning.capacity.budget import Parallelism
from planning.capacity.kv_cache import KvCacheSize, kv_cache_size, layout
from planning.capacity.rotary import rotary_bytes
from planning.capacity.weights import weight_bytes
from tests.vllm.architectures import CONFIGS, NOT_ON_CPU, SAMPLE
from tests.vllm.conftest import Vllm

pytestmark = pytest.mark.vllm

KV_BYTES, CONTEXT, BATCHED_TOKENS = 2**30, 5000, 2048
STATE_DTYPE = "float32"  # CPUs with AVX512-BF16 take it for most states, whatever was asked for


def entry(name: str) -> Model:
    """The model that the importer makes of a configuration; its states in the dtype that is asked for here."""
    answer = imported(Files(CONFIGS[name], license="x"))
    assert (answer.unknown, answer.model is None) == ((), False)
    model = answer.model
    assert model is not None
    shape = model.architecture
    assert shape is not None
    kept = {field: getattr(shape, field) for field in ("linear_attention", "mamba") if getattr(shape, field)}
    wide = {field: part.model_copy(update={"state_bytes_per_element": 4}) for field, part in kept.items()}
    return model.model_copy(update={"architecture": shape.model_copy(update=wide)})


def arguments(shape: Architecture) -> dict[str, Any]:
    """What the stack passes as well, as far as it decides the cache."""
    chosen: dict[str, Any] = {"max_model_len": CONTEXT, "max_num_batched_tokens": BATCHED_TOKENS}
    if shape.mla:  # on a CPU with AMX another backend would be chosen, with larger blocks
        chosen["attention_backend"] = "CPU_MLA"
    if shape.keeps_state:
        chosen |= {"enable_prefix_caching": False, "mamba_ssm_cache_dtype": STATE_DTYPE}
    return chosen


def planned(shape: Architecture) -> KvCacheSize:
    """The planner's numbers for the CPU build."""
    return kv_cache_size(layout(shape, Parallelism(), in_flight_tokens=BATCHED_TOKENS), KV_BYTES, CONTEXT)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.sample] if name in SAMPLE else []) for name in CONFIGS]
)
def test_an_entry_from_a_config_says_what_vllm_does(vllm: Vllm, name: str):
    """Blocks, tokens and tables of positions are vLLM's, and so are bytes of weights within one per cent."""
    model = entry(name)
    assert model.architecture is not None
    seen = vllm.size(f"architecture-{name}", CONFIGS[name], **arguments(model.architecture))
    assert "error" not in seen, seen["error"]
    size = planned(model.architecture)
    assert (seen["blocks"], seen["tokens"], seen["concurrency"]) == (size.blocks, size.tokens, size.concurrency)
    assert weight_bytes(model, Parallelism())[0] == pytest.approx(seen["weights_bytes"], rel=0.01)
    assert seen["rotary_bytes"] == rotary_bytes(model)


@pytest.mark.parametrize("name", NOT_ON_CPU)
def test_what_the_cpu_build_refuses_is_said(vllm: Vllm, name: str):
    """Says so as long as it is true."""
    config, reason = NOT_ON_CPU[name]
    answer = imported(Files(config, license="x"))
    assert answer.model is not None
    assert answer.model.architecture is not None
    seen = vllm.size(f"refused-{name}", config, **arguments(answer.model.architecture))
    assert reason in seen.get("error", ""), "it can: move it to the measured ones"
