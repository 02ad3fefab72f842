"""How the preview writes numbers, and reads quantities: one way for money, memory and time, everywhere."""

import re

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def count(number: int, word: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def gib(value: float) -> str:
    """GiB with one decimal, none from 100 on: `5.7`, `627`."""
    return f"{value:,.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def usd(value: float) -> str:
    """Dollars with two decimals; small prices keep two digits that mean something: `$63.30`, `$0.0041`, `$0`."""
    return f"${value:,.2f}" if abs(value) >= 0.1 else f"${value:.2g}"


def usd_range(fewest: float, most: float) -> str:
    """`$2.84`, or `$0–$11.36`."""
    return usd(most) if fewest == most else f"{usd(fewest)}–{usd(most)}"


def minutes(seconds: float) -> str:
    """`45 s`, `6 min`, `2.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def quantity_bytes(text: object) -> float | None:
    """Bytes of a Kubernetes quantity such as `720Gi`; None for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]|[KMGT]i)?", str(text))
    return float(match[1]) * UNITS[match[2] or ""] if match else None
