"""Kubernetes quantities, as objects have them."""

import re

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity_bytes(text: object) -> float | None:
    """Bytes of a Kubernetes quantity such as `720Gi`; None for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]|[KMGT]i)?", str(text))
    return float(match[1]) * UNITS[match[2] or ""] if match else None
