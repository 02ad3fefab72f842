"""Names that are not in the catalogue: what is offered is of the same kind, generation and size, or the way to add it.

Does not prove that what is offered serves anybody.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import load_catalog
from planning.near import ADD_GPU, ADD_MODEL, near_gpu, near_model
from tests.unit.small_stack import properties

MODELS = [
    "BAAI/bge-m3",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-14B-AWQ",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-8B-FP8",
    "Qwen/Qwen3-Embedding-0.6B",
    "deepseek-ai/DeepSeek-R1-0528",
    "meta-llama/Llama-3.1-8B-Instruct",
]
GPUS = [
    "amd-mi300x",
    "nvidia-a10",
    "nvidia-a100-40gb",
    "nvidia-a100-80gb",
    "nvidia-h100",
    "nvidia-h100-nvl",
    "nvidia-l4",
    "nvidia-rtx-5090",
]
BASE = "Qwen/Qwen3-8B"
FINE_TUNE = f"; if it is a fine-tune of {BASE}, an entry with like: {BASE} is all it needs (docs/adding-a-model.md)"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Qwen/Qwen3-14b", "; did you mean 'Qwen/Qwen3-14B'?"),
        ("qwen3-8b", "; did you mean 'Qwen/Qwen3-8B'?"),
        ("Qwen/Qwen3-14B-AWX", "; did you mean 'Qwen/Qwen3-14B-AWQ'?"),
        ("Qwen/Qwen3-8B-FP4", "; did you mean 'Qwen/Qwen3-8B-FP8'?"),
        ("deepseek-ai/DeepSeek-R1-0529", "; did you mean 'deepseek-ai/DeepSeek-R1-0528'?"),
        ("Qwen/Qwen3-Embeding-0.6B", "; did you mean 'Qwen/Qwen3-Embedding-0.6B'?"),
        # another size, generation, kind or family
        ("Qwen/Qwen3-7B", ADD_MODEL),
        ("Qwen/Qwen2-8B", ADD_MODEL),
        ("meta-llama/Llama-3.2-8B-Instruct", ADD_MODEL),
        ("Qwen/Qwen3-Embedding-8B", ADD_MODEL),
        ("Qwen/Qwen3-Reranker-0.6B", ADD_MODEL),
        ("BAAI/bge-m4", ADD_MODEL),
        ("mistralai/Mistral-8B-v3", ADD_MODEL),
        ("x" * 5000, ADD_MODEL),
        ("acme/Qwen3-8B-Support", FINE_TUNE),
    ],
)
def test_a_model_is_offered_only_in_place_of_itself(name, hint):
    """Letters may be misspelt; numbers and kinds are meant."""
    assert near_model(name, MODELS) == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Nvidia-A10", "; did you mean 'nvidia-a10'?"),
        ("nvida-l4", "; did you mean 'nvidia-l4'?"),
        ("h100", "; did you mean 'nvidia-h100'?"),
        ("a100", "; did you mean 'nvidia-a100-40gb' or 'nvidia-a100-80gb'?"),
        ("A100 80GB", "; did you mean 'nvidia-a100-80gb'?"),
        ("rtx5090", "; did you mean 'nvidia-rtx-5090'?"),
        ("non", "; did you mean 'none'?"),
        # another generation or vendor
        ("4090", ADD_GPU),
        ("nvidia-rtx-4090", ADD_GPU),
        ("v100", ADD_GPU),
        ("t4", ADD_GPU),
        ("nvidia-a1", ADD_GPU),
        ("nvidia-h1000", ADD_GPU),
        ("mi325x", ADD_GPU),
        ("gpu", ADD_GPU),
        ("1" * 5000, ADD_GPU),
    ],
)
def test_a_card_is_offered_only_in_place_of_itself(name, hint):
    """Its letter and number are its generation and size."""
    assert near_gpu(name, [*GPUS, "none"]) == hint


@pytest.mark.parametrize("name", load_catalog().models)
def test_every_model_is_found_by_its_name_in_small_letters(name):
    """Whatever is in the catalogue."""
    assert f"'{name}'" in near_model(name.lower(), load_catalog().models)


@given(st.text(max_size=40))
@properties(100)
def test_anything_may_be_asked_for(name):
    """No word is too strange."""
    assert near_model(name, MODELS).startswith("; ")
    assert near_gpu(name, GPUS).startswith("; ")
