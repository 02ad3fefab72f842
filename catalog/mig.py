"""The shape of what is known about the parts that a card can be cut into (NVIDIA's Multi-Instance GPU)."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from catalog.entry import Count, Entry

# As NVIDIA names a profile: compute slices, and memory in whole GB; those for media engines alone are not here.
PROFILE_NAME = r"^[1-9]g\.[1-9][0-9]{0,2}gb$"


class MigProfile(Entry):
    """One size of part: how many a card gives, what each has of its compute and memory slices, and of its memory.

    `memory_mib` is what the driver lists (`nvidia-smi mig -lgip`) and CUDA shows; the least that anybody has published.
    """

    instances: Count
    slices: Count
    memory_slices: Count
    memory_mib: Count


class Mig(Entry):
    """Slices of a whole card, and the profiles it can be cut into, each with its name."""

    slices: Count
    memory_slices: Count
    profiles: Annotated[
        Mapping[Annotated[str, Field(pattern=PROFILE_NAME)], MigProfile],
        Field(min_length=1),
    ]
    sources: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def has_no_more_than_all(self) -> Self:
        """All parts of a card together are at most the card."""
        for name, profile in self.profiles.items():
            parts = (profile.slices, self.slices, "slices"), (profile.memory_slices, self.memory_slices, "memorySlices")
            for part, whole, key in parts:
                if profile.instances * part > whole:
                    raise ValueError(f"{name}: {profile.instances} × {part} {key} are more than the card's {whole}")
        return self
