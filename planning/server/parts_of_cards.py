"""Servers on parts of cards (`gpuPools.NAME.mig`): each has one part, because no two of them can work together.

CUDA shows a process one part and no more, and NCCL reaches another only through the memory of the host, and only of
late (NVIDIA MIG user guide, MIG Device Names; NVIDIA/nccl#1716); vLLM does not know several (vllm-project/vllm#6551).
"""

from collections.abc import Iterator

from planning.plan.pools import PoolPlan
from settings.problems import Problem
from settings.schema import ModelSettings


def part_problems(settings: ModelSettings, pool: PoolPlan, path: str) -> Iterator[Problem]:
    """Parallelism over parts of cards, which do not reach each other."""
    if pool.mig is None:
        return
    asked = [
        ("tensorParallel", settings.tensor_parallel),
        ("pipelineParallel", settings.pipeline_parallel),
        ("dataParallel", settings.data_parallel),
        ("measured.gpus", settings.measured.gpus if settings.measured else None),
    ]
    why = (
        f"a server of pool '{pool.name}' has one part of a card ({pool.mig.profile}), and parts do not reach each other"
    )
    for key, value in asked:
        if value not in (None, 1):
            fix = (
                "use 1 and replicas"
                if key == "dataParallel"
                else f"use 1, a larger gpuPools.{pool.name}.mig.profile, or whole cards"
            )
            yield Problem(f"{path}.{key}", f"is {value}, but {why}; {fix}")
    if settings.expert_parallel:
        yield Problem(f"{path}.expertParallel", f"is of several GPUs, but {why}; leave it out")
