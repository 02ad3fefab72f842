"""Asks the real vLLM whether slices of matrices may be loaded. Runs under the interpreter that has vLLM.

One JSON object per line on stdin, `{"part", "size", "hidden", "ranks", "group"}`; per line on stdout `true` or `false`:
whether vLLM's own checks, the very functions that layers call while they are made, let a rank's slice pass.
"""

import json
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any

BLOCK = [128, 128]
QUANTIZATION = "vllm.model_executor.layers.quantization"


def fp8_linear(case: dict[str, Any]) -> None:
    """A row-parallel matrix in blocks."""
    check = import_module(f"{QUANTIZATION}.utils.fp8_utils").validate_fp8_block_shape
    size, ranks, hidden = case["size"], case["ranks"], case["hidden"]
    check(SimpleNamespace(tp_size=ranks), size, hidden, size // ranks, [hidden], BLOCK)


def fp8_experts(case: dict[str, Any]) -> None:
    """Routed experts in blocks, made smaller if they can be."""
    refine = import_module("vllm.model_executor.layers.fused_moe.oracle.fp8").refine_fp8_moe_block_shape
    check = import_module(f"{QUANTIZATION}.utils.fp8_utils").validate_fp8_block_shape_moe
    width = case["size"] // case["ranks"]
    config = SimpleNamespace(intermediate_size_per_partition=width, tp_size=case["ranks"], hidden_dim=case["hidden"])
    if refine(config, BLOCK) is None:
        check(width, BLOCK)


def int4_linear(case: dict[str, Any]) -> None:
    """A row-parallel matrix in groups."""
    check = import_module("vllm.distributed.utils").verify_group_size_divides_partition
    if case["group"] < case["size"] and case["ranks"] > 1:
        check(case["size"] // case["ranks"], case["group"])


def vocabulary(case: dict[str, Any]) -> None:
    """Rows of embedding and head."""
    module = import_module("vllm.model_executor.layers.vocab_parallel_embedding")
    module.divide(module.pad_vocab_size(case["size"], module.DEFAULT_VOCAB_PADDING_SIZE), case["ranks"])


PARTS = {check.__name__: check for check in (fp8_linear, fp8_experts, int4_linear, vocabulary)}


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        case = json.loads(line)
        # there are no ranks here, and both ask for their number
        vars(import_module("vllm.distributed"))["get_tensor_model_parallel_world_size"] = lambda ranks=case["ranks"]: (
            ranks
        )
        try:
            PARTS[case["part"]](case)
        except (ValueError, AssertionError):
            answer = False
        else:
            answer = True
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
