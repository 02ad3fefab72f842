"""Checkpoints in files of each rank, as vLLM's `save_sharded_state` writes them: what is read, and who can read it.

Every worker streams its own files and no others, where of whole files each reads a part that all need. What is in them
is the state of one model on one spread, so a folder is of one spread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from catalog.engine import Loading
from catalog.schema import Model, WeightFormat
from planning.capacity import flags
from planning.capacity.budget import Parallelism
from planning.plan.weights import CheckpointPlan, ObjectStore
from planning.stack.stores import BUFFER_GIB, for_workers
from settings.problems import Problem
from settings.schema import WeightsSettings, is_sharded

WHOLE = "leave layout out, with the whole files in the bucket"
# They decide what is in the files of a rank, or load files of another model with the same loader.
UNSHARDED = (flags.QUANTIZATION, flags.QUANTIZATION_CONFIG, flags.SPECULATIVE_CONFIG, flags.SPEC_METHOD)


def as_read(
    checkpoint: CheckpointPlan, settings: WeightsSettings, loading: Loading, spread: Parallelism
) -> CheckpointPlan:
    """The checkpoint as the workers of one replica read it."""
    if is_sharded(settings):
        return _of_ranks(checkpoint, loading, spread)
    return for_workers(checkpoint, loading, spread.tensor)


def _of_ranks(checkpoint: CheckpointPlan, loading: Loading, spread: Parallelism) -> CheckpointPlan:
    """That in the folder of this spread, which is another place than that of any other."""
    ending, source, place = _ending(spread), checkpoint.source, checkpoint.place
    assert isinstance(place, ObjectStore)
    url, (folder, *others) = f"{source.argument}{ending}", checkpoint.key
    return replace(
        checkpoint,
        key=(f"{folder}{ending}", *others),
        place=replace(place, name=url),
        source=replace(
            source,
            argument=url,
            directory=url,
            script="check_shards",
            load_format=loading.sharded,
            shards=tuple(_patterns(loading, spread)),
            # the loader of such files takes no options
            environment={**source.environment, loading.memory_variable: str(BUFFER_GIB * 2**30)},
        ),
    )


def _ending(spread: Parallelism) -> str:
    """End of a folder's name: it is beside that of whole files, because clients look into folders of folders."""
    return f"-tp{spread.tensor}" + (f"-pp{spread.pipeline}" if spread.pipeline > 1 else "")


def _patterns(loading: Loading, spread: Parallelism) -> Iterator[str]:
    """File names of each rank."""
    pattern = loading.stage_shards if spread.pipeline > 1 else loading.shards
    for stage in range(spread.pipeline):
        for rank in range(spread.tensor):
            yield pattern.format(stage=stage, rank=rank)


def shard_problems(
    settings: WeightsSettings, model: Model, spread: Parallelism | None, args: Sequence[str], path: str
) -> list[Problem]:
    """Problems of a server that reads files of each rank; `spread`: None where the server cannot be placed."""
    if not is_sharded(settings):
        return []
    problems = [
        Problem(
            f"{path}.args", f"{option} changes what each rank holds, which weights.layout sharded cannot say; {WHOLE}"
        )
        for option in UNSHARDED
        if flags.has(args, option)
    ]
    if why := _unreadable(model, spread):
        problems.append(Problem(f"{path}.weights", f"layout sharded {why}; {WHOLE}"))
    return problems


def _unreadable(model: Model, spread: Parallelism | None) -> str | None:
    """The reason that vLLM's loader would read something else than was saved."""
    # saved after loading has arranged them for the kernels of a GPU, which loading does once more
    # (vllm/model_executor/model_loader/base_loader.py, 0.33.0)
    if model.checkpoint.format is not WeightFormat.BF16:
        return f"is for weights in bf16: vLLM saves those in {model.checkpoint.format} as its kernels arranged them"
    if model.architecture is not None and model.architecture.moe is not None:
        return "is for models without experts: vLLM saves those as its kernels arranged them"
    if spread is None:
        return None
    if spread.data > 1 or spread.expert:
        return f"is by tensor and pipeline rank alone, and this server is {spread}"
    if spread.tensor * spread.pipeline == 1:
        return "is for several GPUs, and this server has one rank (tensorParallel × pipelineParallel is 1)"
    return None
