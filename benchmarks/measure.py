"""Two or more commands, measured in turns: processor and wall-clock seconds of each, with all its children.

Compared are commands of the same round, so that a slow machine, or one that is busy for a while, changes no ratio.
"""

import os
import resource
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

# Bytecode is kept as users keep it: a machine that does not would measure how fast Python compiles.
UNKEPT = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True)
class Command:
    """A command, its folder and its variables."""

    line: Sequence[str]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Taken:
    """Seconds of one run: of processors, user and system, and by the clock."""

    processor_s: float
    clock_s: float


def variables() -> dict[str, str]:
    """The variables of this process, but for the one that keeps no bytecode."""
    return {name: value for name, value in os.environ.items() if name != UNKEPT}


def in_turns(commands: Sequence[Command], rounds: int) -> list[list[Taken]]:
    """All rounds of each command, in the order of `commands`; one round before them fills the caches.

    Raises CalledProcessError when a command fails.
    """
    for command in commands:
        _run(command)
    taken = [[_run(command) for command in commands] for _ in range(rounds)]
    return [list(column) for column in zip(*taken, strict=True)]


def ratio(measured: Sequence[Taken], base: Sequence[Taken]) -> tuple[float, float]:
    """The median over all rounds of `measured` over `base`: of processor time, and by the clock."""
    pairs = list(zip(measured, base, strict=True))
    return (
        median(taken.processor_s / least.processor_s for taken, least in pairs),
        median(taken.clock_s / least.clock_s for taken, least in pairs),
    )


def _run(command: Command) -> Taken:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run(command.line, cwd=command.folder, env=command.environment, check=True, capture_output=True)  # noqa: S603 - our own
    clock_s, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock_s)
