"""Entries held against themselves: nothing of the project's catalogue contradicts itself, and contradictions are seen.

Does not prove that figures are true, only that they are of one and the same thing.
"""

from typing import Any

import pytest

from catalog import load_catalog
from catalog.schema import KvProfile
from planning.capacity.plausible import catalog_faults, gpu_faults, instance_faults, model_faults

CATALOG = load_catalog()


def test_no_entry_of_the_project_contradicts_itself():
    """Models, GPUs and machine types, all of them."""
    assert list(catalog_faults(CATALOG)) == []
    assert len(CATALOG.models) > 50


def changed(name: str, part: str = "", **changes: Any):
    """A model of the catalogue with other values, in one of its parts."""
    model = CATALOG.models[name]
    if part:
        changes = {part: getattr(model, part).model_copy(update=changes)}
    return model.model_copy(update=changes)


@pytest.mark.parametrize(
    ("model", "keys", "words"),
    [
        (
            changed("Qwen/Qwen3-8B", "serving", reasoning_parser="qwen"),
            "serving.reasoningParser",
            "'qwen' is none that vLLM 0.33.0 has; did you mean 'qwen3'?",
        ),
        (changed("Qwen/Qwen3-8B", "serving", kv_cache_dtype="fp9"), "serving.kvCacheDtype", "'fp9' is none"),
        (changed("Qwen/Qwen3-8B", "context", native_tokens=50000), "context.nativeTokens", "more than configTokens"),
        (changed("Qwen/Qwen3-8B", "context", yarn_tokens=4), "context.yarnTokens", "4 is not more"),
        (changed("Qwen/Qwen3-8B", architecture=None), "architecture", "is missing: kvProfile gqa"),
        (changed("Qwen/Qwen3-8B", "architecture", layers=72), "checkpoint.loadedBytes", "16.38 GB, but the arch"),
        (changed("Qwen/Qwen3-8B-AWQ", parameters=4 * 10**9), "parameters", "4e+09, but the architecture has 8."),
        (changed("Qwen/Qwen3-8B", "architecture", kv_heads=5), "architecture.kvHeads", "5 does not divide"),
        (changed("Qwen/Qwen3-8B", kv_profile=KvProfile.MLA), "architecture.mla", "is missing"),
        (changed("Qwen/Qwen3-8B", "checkpoint", disk_bytes=1), "checkpoint.diskBytes", "1 is less than loadedBytes"),
        (
            changed("deepseek-ai/DeepSeek-V4-Flash", "checkpoint", loaded_bytes=None),
            "checkpoint.loadedBytes",
            "is missing: without an architecture",
        ),
    ],
)
def test_a_contradiction_is_named(model, keys: str, words: str):
    """By its key, with both figures."""
    said = {".".join(path): message for path, message in model_faults(model, CATALOG.vllm)}
    assert words in said[keys]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("RTX 4090", {}, "the id is the value of a label: letters, digits, - . _, at most 63"),
        (
            "x",
            {"product_labels": ["NVIDIA GeForce RTX 4090"]},
            "'NVIDIA GeForce RTX 4090' is no value of a label; did you mean 'NVIDIA-GeForce-RTX-4090'?",
        ),
        ("x", {"cuda_gib": 24.0}, "24 of the 22.49 GiB of memoryMib: CUDA shows a little less than all"),
        ("x", {"priced_like": "y"}, "'y' is no GPU of the catalogue"),
    ],
)
def test_a_card_that_cannot_be_is_named(name: str, changes: dict[str, Any], message: str):
    """Labels that no node has, memory that CUDA never shows, a kin that is not there."""
    gpu = CATALOG.gpus["nvidia-l4"].model_copy(update=changes)
    assert [said for _, said in gpu_faults(name, gpu, CATALOG.gpus)] == [message]


def test_a_machine_has_a_known_gpu():
    """One that the catalogue has."""
    machine = CATALOG.instances["g5.xlarge"].model_copy(update={"gpu": "x"})
    assert list(instance_faults(machine, CATALOG.gpus)) == [(("gpu",), "'x' is no GPU of the catalogue")]
