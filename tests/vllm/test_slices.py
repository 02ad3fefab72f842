"""The rules of slices are those of the real vLLM: its own checks pass what we pass and refuse what we refuse.

Does not prove that a kernel of a GPU takes a slice that passes; the CPU build has none of them.
"""

import json
from pathlib import Path
from random import Random

import pytest

from catalog.schema import WeightFormat
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.capacity.slices import slice_problems
from tests.unit.planning.capacity.test_slices import CATALOG, H100_GPU, dense, shaped
from tests.vllm.conftest import Vllm

pytestmark = [pytest.mark.vllm, pytest.mark.sample]

CASES = 400
RULES = Workload(8192, 256, 2048, slices=CATALOG.vllm.slices)


def cases() -> list[dict[str, object]]:
    """Sizes around what models have, of every part."""
    random = Random(33)
    ranks = {"vocabulary": [1, 2, 3, 6, 8]}
    return [
        {
            "part": part,
            "size": random.randrange(8, 300)
            * random.choice([16, 32, 64, 128])
            * (1 if part == "vocabulary" else number),
            "hidden": random.randrange(1, 64) * random.choice([16, 32, 64, 128]),
            "ranks": number,
            "group": random.choice([32, 64, 128]),
        }
        for part in ("fp8_linear", "fp8_experts", "int4_linear", "vocabulary")
        for number in random.choices(ranks.get(part, [1, 2, 4, 8]), k=CASES)
    ]


def passes(part: str, size: int, hidden: int, ranks: int, group: int) -> bool:
    """Whether our rules let the same slice pass; all else about the model is whole."""
    whole = {"attention_heads": 8, "head_dim": 128, "kv_heads": 8, "vocab_size": 1024, "hidden_size": hidden}
    match part:
        case "fp8_linear":
            model = dense(WeightFormat.FP8_BLOCK128, **(whole | {"intermediate_size": size}))
        case "fp8_experts":
            model = shaped(WeightFormat.FP8_BLOCK128, experts=size, **whole)
        case "int4_linear":
            model = dense(WeightFormat.GPTQ_INT4, group=group, **(whole | {"intermediate_size": size}))
        case _:
            model = dense(WeightFormat.BF16, **(whole | {"vocab_size": size, "intermediate_size": 6144}))
    return not slice_problems(model, H100_GPU, Parallelism(ranks), RULES)


def test_slices_pass_as_in_the_real_vllm(vllm: Vllm):
    """Hundreds of sizes, hidden sizes and numbers of ranks."""
    asked = cases()
    lines = "".join(json.dumps(case) + "\n" for case in asked)
    printed = vllm.run(Path(__file__).with_name("slices.py"), text=lines)
    theirs = [json.loads(line) for line in printed if line in ("true", "false")]
    mine = [passes(**case) for case in asked]  # pyright: ignore[reportArgumentType]
    assert [case for case, real, ours in zip(asked, theirs, mine, strict=True) if real != ours] == []
    assert {case["part"]: set() for case in asked} == {
        case["part"]: set() for case, real in zip(asked, theirs, strict=True) if not real
    }, "every part has slices that are refused"
