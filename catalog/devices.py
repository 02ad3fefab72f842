"""The shape of what an engine's file says of accelerators: what its images run on, and what it computes there."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from catalog.schema import Gpu, WeightFormat


class AttentionKind(StrEnum):
    """Kinds of attention that have kernels of their own; families of models with `sinks` or `pictures` are listed.

    `pictures`: tokens of one picture see each other both ways. `cross`: over what an encoder wrote.
    """

    HEADS = "heads"
    SINKS = "sinks"
    PICTURES = "pictures"
    CROSS = "cross"
    LATENT = "latent"
    SPARSE_LATENT = "sparse-latent"


class Kernel(BaseModel):
    """Cards and models that one implementation is for; what is left out is no condition.

    `least`: the least compute capability; `majors`: of compute capabilities; `targets`: AMD's. `head_dims`: sizes of
    heads. `split`: it reads a cache that decode context parallelism splits. `unless`: formats of weights that it is
    refused with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: float = 0
    majors: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    head_dims: tuple[int, ...] = ()
    split: bool = True
    unless: tuple[WeightFormat, ...] = ()

    def runs_on(self, gpu: Gpu) -> bool:
        """Whether this card has what it needs."""
        if self.targets and gpu.gfx_target not in self.targets:
            return False
        return not gpu.is_below(self.least) and (not self.majors or gpu.capability[0] in self.majors)

    @property
    def cards(self) -> str:
        """The cards in words; empty: all of the vendor."""
        if self.targets:
            return ", ".join(self.targets)
        majors = ", ".join(f"{major}.x" for major in self.majors)
        return f"compute capability {majors or f'{self.least:g}'}" if majors or self.least else ""


class Drivers(BaseModel):
    """Drivers that images run on, by the first number of their version: from `oldest` on all.

    `older` ones do with libraries that the images have for data centre cards, once the variable `switch` is 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    oldest: int
    older: tuple[int, ...] = ()
    switch: str = ""


class Devices(BaseModel):
    """Accelerators of one vendor that the program's image runs on.

    `built_for`: targets its kernels are built for; None: nobody knows, as of an image of one's own. NVIDIA's also run
    on a later minor of the same major; AMD's on none else. `dtypes`: dtype → the least compute capability that has it;
    `auto` means float16 below. `no_float16`: families of models that it does not run in float16. `formats` of stored
    weights, `attention`, `caches` (by kind of attention, then dtype): any of the kernels will do, none is never; what
    is not listed runs everywhere, but for dtypes of a cache, which are all listed. `no_methods`: of quantisation, that
    it refuses. `rounded`: format of experts → multiples that a GPU's share of their inner size and their hidden size
    become. `families`: of models, by the kind of their attention. `sorts_logits`: majors of compute capabilities on
    which it samples by sorting all logits. `drivers`: None: any, as far as anybody knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    built_for: tuple[str, ...] | None
    drivers: Drivers | None = None
    dtypes: Mapping[str, float] = {}
    formats: Mapping[WeightFormat, tuple[Kernel, ...]] = {}
    no_methods: frozenset[str] = frozenset()
    no_float16: frozenset[str] = frozenset()
    families: Mapping[AttentionKind, frozenset[str]] = {}
    attention: Mapping[AttentionKind, tuple[Kernel, ...]] = {}
    caches: Mapping[AttentionKind, Mapping[str, tuple[Kernel, ...]]] = {}
    rounded: Mapping[WeightFormat, tuple[int, int]] = {}
    sorts_logits: frozenset[int] = frozenset()
