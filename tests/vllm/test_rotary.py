"""Tables of rotary positions: from `config.json` to the bytes that the real vLLM holds, of every way of turning.

Those of all other architectures are in tests/vllm/test_architectures.py. Does not prove DeepSeek's on GPUs, whose
tables FlashInfer has in fp32, and what the CPU build refuses: sparse indexers.
"""

from typing import Any

import pytest

from catalog.importing import Files, imported
from planning.capacity.rotary import rotary_bytes
from tests.vllm.architectures import CONFIGS
from tests.vllm.conftest import Vllm
from tests.vllm.test_architectures import arguments

pytestmark = pytest.mark.vllm

YARN = {"rope_type": "yarn", "original_max_position_embeddings": 4096, "rope_theta": 1e4}
ROPES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "llama3": (
        "llama",
        131072,
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        | {"original_max_position_embeddings": 8192, "rope_theta": 5e5},
    ),
    "linear": ("llama", 8192, {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}),
    "dynamic": ("llama", 8192, {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}),
    "longrope": ("phi3", 131072, {"type": "longrope", "short_factor": [1.0] * 32, "long_factor": [1.0] * 32}),
    "yarn": ("qwen3", 131072, YARN | {"factor": 32.0}),
    "yarn-beyond": ("qwen3", 40960, YARN | {"factor": 32.0}),
    "yarn-latent": ("deepseek-v3", 163840, YARN | {"factor": 40.0, "mscale": 1.0, "mscale_all_dim": 1.0}),
    "yarn-fp32": ("gpt-oss", 131072, YARN | {"factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0}),
    "linear-windows": ("gemma3", 131072, {"rope_type": "linear", "factor": 8.0}),
    "time-and-space": ("qwen2", 32768, {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6}),
    "time-and-space-part": (
        "qwen3.5",
        262144,
        {"rope_type": "default", "mrope_section": [11, 11, 10], "mrope_interleaved": True, "rope_theta": 1e7}
        | {"partial_rotary_factor": 0.25},
    ),
}
SAMPLE = {"linear-windows"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.sample] if name in SAMPLE else []) for name in ROPES]
)
def test_tables_of_positions_are_those_of_vllm(vllm: Vllm, name: str):
    """To the byte; the CPU build has no FlashInfer, so that DeepSeek's are in the model's dtype there."""
    base, length, rope = ROPES[name]
    whole = CONFIGS[base] | {"max_position_embeddings": length, "rope_scaling": rope}
    if name == "longrope":
        whole["original_max_position_embeddings"] = 4096
    model = imported(Files(whole, license="x")).model
    assert model is not None
    assert model.architecture is not None
    seen = vllm.size(f"rotary-{name}", whole, **arguments(model.architecture))
    assert "error" not in seen, seen["error"]
    assert seen["rotary_bytes"] == rotary_bytes(model) // (2 if model.architecture.mla else 1)
