"""A part of a card (NVIDIA's Multi-Instance GPU) as the smaller card that its servers have.

Its memory is what the driver lists of it. Bandwidth follows its memory slices and compute its compute slices. It has no
link: neither NVLink nor PCIe reaches another part (NVIDIA/nccl#1716), and CUDA shows a process one part and no more
(NVIDIA MIG user guide, MIG Device Names). Pure functions.
"""

from collections.abc import Iterator
from fractions import Fraction

from catalog.mig import Mig, MigProfile
from catalog.schema import Gpu


class Slice(Gpu):
    """One part of a card, with the card it is cut from and the profile it is cut by."""

    card: Gpu
    profile: str


def slice_id(card: str, profile: str) -> str:
    """The id of such a part beside those of cards."""
    return f"{card}-mig-{profile}"


def slice_label(product: str, profile: str) -> str:
    """The name of a part after that of its card's product, as GPU feature discovery writes it."""
    return f"{product}-MIG-{profile}"


def slice_of(card: Gpu, name: str, *, named: bool) -> Slice | None:
    """The part of this profile; `named`: nodes carry its name in place of the card's. None: the card has no such."""
    profile = card.mig.profiles.get(name) if card.mig else None
    if card.mig is None or profile is None:
        return None
    return Slice(
        name=f"{card.name}, MIG {name}",
        vendor=card.vendor,
        product_labels=[slice_label(label, name) if named else label for label in card.product_labels],
        memory_mib=profile.memory_mib,
        cuda_gib=profile.memory_mib / 1024,
        compute_capability=card.compute_capability,
        memory_gb_per_s=_part(card.memory_gb_per_s, Fraction(profile.memory_slices, card.mig.memory_slices)),
        bf16_tflops=None if card.bf16_tflops is None else card.bf16_tflops * profile.slices / card.mig.slices,
        sources=card.mig.sources,
        card=card,
        profile=name,
    )


def larger_parts(part: Slice) -> Iterator[tuple[str, Slice]]:
    """The profiles of its card with more memory, the smaller before the larger."""
    profiles = part.card.mig.profiles if part.card.mig else {}
    for name in sorted(profiles, key=lambda name: (profiles[name].memory_mib, profiles[name].slices)):
        larger = slice_of(part.card, name, named=True)
        if larger and larger.memory_mib > part.memory_mib:
            yield name, larger


def _part(whole: int | None, share: Fraction) -> int | None:
    return None if whole is None else max(1, int(whole * share))


def unused(mig: Mig, profile: MigProfile) -> str:
    """The slices of a card that this profile leaves over, in words; empty: none."""
    left = (
        (mig.slices - profile.instances * profile.slices, mig.slices, "compute"),
        (mig.memory_slices - profile.instances * profile.memory_slices, mig.memory_slices, "memory"),
    )
    return " and ".join(f"{over} of {whole} {kind} slices" for over, whole, kind in left if over)


def known_memory_mib(gpu: Gpu) -> int:
    """Memory by which vLLM sizes its steps: NVML's, which in a pod with a part of a card may be that of the card.

    vLLM 0.33.0, platforms/cuda.py, get_device_total_memory, asks for the device of index 0 (vllm-project/vllm#41776);
    where NVML refuses that, it takes CUDA's. The larger steps need more memory, so with them both hold.
    """
    return max(gpu.memory_mib, gpu.card.memory_mib) if isinstance(gpu, Slice) else gpu.memory_mib
