"""Tables of rotary positions, in bytes, by hand. Those of the real vLLM: tests/vllm/test_rotary.py."""

import pytest

from catalog.schema import Model
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload, budget
from planning.capacity.rotary import rotary_bytes
from planning.capacity.weights import mla_absorbed_bytes, weight_bytes
from tests.unit.small_stack import CATALOG, GIB

MIB = 2**20
WORKLOAD = Workload(4096, 16, 2048)


# Positions × elements × bytes of each table: vllm/model_executor/layers/rotary_embedding (0.33.0) and config.json.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 10_485_760 * 128 * 2),
        ("Qwen/Qwen3-8B", 40_960 * 128 * 2),
        # 64 of 256 elements of a head
        ("Qwen/Qwen3.5-27B", 262_144 * 64 * 2),
        # the part of a head that MLA turns; stretched ones are in fp32, and the sparse indexer has its own
        ("zai-org/GLM-5-FP8", 202_752 * 64 * 2),
        ("deepseek-ai/DeepSeek-R1", 163_840 * 64 * 4),
        ("deepseek-ai/DeepSeek-V3.2", 2 * 163_840 * 64 * 4),
        ("openai/gpt-oss-20b", 131_072 * 64 * 4),
        # eight times the positions where all of the context is seen, beside those of windows
        ("google/gemma-3-12b-it", (8 + 1) * 131_072 * 256 * 2),
        ("google/gemma-4-31B-it", 262_144 * (256 + 512) * 2),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 4 * 128_000 * 128 * 2),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 0),
        ("BAAI/bge-m3", 0),
    ],
)
def test_a_table_has_every_position(name, expected):
    """Positions × the part of a head that turns × bytes, of each kind of layers."""
    assert rotary_bytes(CATALOG.models[name]) == expected


def test_a_table_follows_the_models_dtype_unless_it_has_its_own():
    """float32 doubles what is stored in the model's dtype."""
    sizes = [rotary_bytes(CATALOG.models[name], 4) for name in ("Qwen/Qwen3-8B", "openai/gpt-oss-20b")]
    assert sizes == [40_960 * 128 * 4, 131_072 * 64 * 4]


def test_without_a_shape_nothing_is_counted():
    """The table is not guessed from the context alone."""
    model: Model = CATALOG.models["deepseek-ai/DeepSeek-V4-Flash"]
    assert (model.architecture, rotary_bytes(model)) == (None, 0)


@pytest.mark.parametrize("parallelism", [Parallelism(), Parallelism(tensor=8), Parallelism(tensor=4, pipeline=2)])
@pytest.mark.parametrize("name", ["meta-llama/Llama-4-Scout-17B-16E-Instruct", "deepseek-ai/DeepSeek-R1"])
def test_every_gpu_has_the_whole_table(name, parallelism):
    """Beside its part of the weights, whatever cuts those."""
    model = CATALOG.models[name]
    assert model.architecture is not None
    _, share = weight_bytes(model, parallelism)
    share += mla_absorbed_bytes(model.architecture, parallelism)
    weights = budget(model, CATALOG.gpus["nvidia-b300"], parallelism, WORKLOAD).weights_gib
    assert weights * GIB - share == pytest.approx(rotary_bytes(model), abs=MIB / 2**10)
