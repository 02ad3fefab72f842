"""Wording of numbers in the preview: one way for money, memory and time, everywhere."""


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
