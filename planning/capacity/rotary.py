"""Bytes of the tables of rotary positions, which vLLM keeps whole on every GPU. Pure functions."""

from catalog.architecture import RotaryTable
from catalog.schema import Model

FLOAT32_BYTES = 4
USUAL = (RotaryTable(),)


def rotary_bytes(model: Model, model_bytes: int = 2) -> int:
    """Positions × the part of a head that turns × bytes, of every table (rotary_embedding/base.py, `cos_sin_cache`).

    Each rank builds its own, whatever cuts the weights, and layers that turn alike share one (`get_rope`).
    """
    shape = model.architecture
    if shape is None:
        return 0
    head = shape.mla.rope_head_dim if shape.mla else shape.head_dim
    return sum(
        (table.positions or model.context.config_tokens)
        * (table.width or head)
        * (FLOAT32_BYTES if table.float32 else model_bytes)
        for table in (USUAL if shape.rotary is None else shape.rotary)
    )
