"""The shape of an engine's rules about slices of quantised matrices, which tensor parallelism makes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from catalog.schema import Checkpoint

# Of checkpoints that do not say: what AutoAWQ and GPTQModel take unless told otherwise.
USUAL_GROUP = 128
# Numbers of four bits in a word: all that cuts where a scale is for all of an input (auto_gptq.py, marlin_utils.py).
PACKED = 8


class Slices(BaseModel):
    """Multiples, in elements, that slices of one format of weights must be; 1: any whole number will do.

    `linear`: of matrices whose input is cut; `outputs`: of those whose output is, unless several are merged into one;
    `experts`: of routed experts. `refined`: the least to which blocks of experts are made smaller when they do not
    divide a slice, by kernels of a card of `refined_from` (compute capability) on; 0: they are not, and never of a
    checkpoint of a method in `unrefined`. `group`: that of the checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    linear: int | Literal["group"] = 1
    outputs: int = 1
    experts: int | Literal["group"] = 1
    refined: int = Field(default=0, ge=0)
    refined_from: str = Field(default="0.0", pattern=r"^\d+\.\d$")
    unrefined: tuple[str, ...] = ()

    def linear_block(self, checkpoint: Checkpoint) -> int:
        """Elements of a block of a dense matrix."""
        return _block(self.linear, checkpoint)

    def expert_block(self, checkpoint: Checkpoint) -> int:
        """Elements of a block of a routed expert, as it is stored."""
        return _block(self.experts, checkpoint)

    def least_block(self, checkpoint: Checkpoint) -> int:
        """Elements of the smallest block that those of a routed expert are made; 0: they stay as they are stored."""
        return 0 if checkpoint.method in self.unrefined else self.refined


def _block(elements: int | str, checkpoint: Checkpoint) -> int:
    if isinstance(elements, int):
        return elements
    return USUAL_GROUP if checkpoint.group_size is None else checkpoint.group_size or PACKED
