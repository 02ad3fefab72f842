"""A model as its server loads it: in the checkpoint's own format, or quantised on the way. Pure functions."""

from collections.abc import Sequence

from catalog.engine import Engine
from catalog.schema import Checkpoint, Model, WeightFormat
from planning.capacity import flags
from planning.capacity.budget import Parallelism
from planning.capacity.flags import value_of
from planning.capacity.weights import counted_bytes, part_bytes


def as_loaded(model: Model, args: Sequence[str], engine: Engine) -> Model:
    """The model with the weights that it has on GPUs; `args` have one spelling of each option."""
    method, shape = value_of(args, flags.QUANTIZATION), model.architecture
    target = engine.quantizations.online.get(method or "")
    if target is None or model.checkpoint.format is not WeightFormat.BF16:
        return model
    changes: dict[str, object] = {"format": target}
    if shape is not None and (loaded := model.checkpoint.loaded_bytes):
        tower = min(shape.vision_tower_bytes, loaded)
        whole, small = (
            counted_bytes(shape, part_bytes(Checkpoint(format=kind)), Parallelism())[0]
            for kind in (WeightFormat.BF16, target)
        )
        changes["loaded_bytes"] = tower + round((loaded - tower) * small / whole)
    return model.model_copy(update={"checkpoint": model.checkpoint.model_copy(update=changes)})


def quantization_problem(model: Model, args: Sequence[str], engine: Engine) -> str:
    """The reason why vLLM would not load this checkpoint by the method among `args`; empty: it does."""
    method, kind = value_of(args, flags.QUANTIZATION), model.checkpoint.format
    known = engine.quantizations.online if kind is WeightFormat.BF16 else engine.quantizations.own.get(kind, ())
    if model.checkpoint.method:
        # blocks of experts are another matter there, and no other method reads its files
        known = (model.checkpoint.method,)
    if method is None or kind is WeightFormat.MIXED or method in known:
        return ""
    fix = f"use one of {', '.join(sorted(known))}, or leave it out"
    return f"{flags.QUANTIZATION}={method} is not for {kind} weights; {fix}"
