"""Versions of images and charts, as numbers that can be compared."""

import re
from math import inf

Version = tuple[tuple[int, ...], float]
# The numbers a tag begins with, and what puts it before them: 1.107.0-rc.1, 0.22.0rc1, 2.0.0.dev3.
NUMBERS = re.compile(r"v?(?P<release>\d{1,9}(\.\d{1,9})*)(?P<before>[-.]?(rc|alpha|beta|dev|pre)(?![a-z])|[ab]\d)?")


def parse_version(version: str) -> Version:
    """(numbers without zeros at their end, whether released): a pre-release sorts before its version."""
    match = NUMBERS.match(version)
    if match is None:
        return (), inf
    numbers = [int(part) for part in match["release"].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), 0 if match["before"] else inf


def line(version: Version) -> tuple[int, ...]:
    """The first two numbers, within which a fault is mended without anything else."""
    return (*version[0], 0, 0)[:2]


def is_older(version: str, needed: str) -> bool:
    """Whether it is of an earlier line; a version without numbers, such as a digest alone, is not known to be."""
    return NUMBERS.match(version) is not None and line(parse_version(version)) < line(parse_version(needed))
