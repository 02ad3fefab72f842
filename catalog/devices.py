"""The shape of what an engine's file says of accelerators: what its images run on, and what it computes there."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from catalog.schema import WeightFormat


class AttentionKind(StrEnum):
    """Kinds of attention that have kernels of their own."""

    LATENT = "latent"
    SPARSE_LATENT = "sparse-latent"


class Devices(BaseModel):
    """Accelerators of one vendor that the program's image runs on.

    `built_for`: targets its kernels are built for; None: nobody knows, as of an image of one's own. NVIDIA's also run
    on a later minor of the same major; AMD's on none else. `dtypes`: dtype → the least compute capability that has it;
    `auto` means float16 below. `formats`: the same of stored weights; `never`: formats that it does not load there at
    all. `no_float16`: families of models that it does not run in float16. `attention`: kinds of attention → the least
    compute capability with kernels for them. `sorts_logits`: majors of compute capabilities on which it samples by
    sorting all logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    built_for: tuple[str, ...] | None
    dtypes: Mapping[str, float] = {}
    formats: Mapping[WeightFormat, float] = {}
    never: frozenset[WeightFormat] = frozenset()
    no_float16: frozenset[str] = frozenset()
    attention: Mapping[AttentionKind, float] = {}
    sorts_logits: frozenset[int] = frozenset()
