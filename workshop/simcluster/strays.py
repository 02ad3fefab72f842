"""Processes of a cluster that are not written down: whoever started them was killed before it could.

They are known by their command line, which nobody else's has: one of our programs, from a folder of ours, with a file
of this cluster; or our own stand-ins, for this cluster.
"""

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from workshop.simcluster.paths import ClusterPaths, programs_folders
from workshop.simcluster.processes import Process, start_of
from workshop.simcluster.programs import PROGRAMS

STAND_INS_MODULE = "workshop.simcluster.stand_ins"
PROC = Path("/proc")


def stand_ins_command(paths: ClusterPaths) -> Sequence[str]:
    """How the stand-ins are started; they do not read the folder, by which they are found here."""
    return [sys.executable, "-m", STAND_INS_MODULE, paths.root.name, str(paths.root)]


def find(paths: ClusterPaths, programs: str | None, known: Collection[Process]) -> list[Process]:
    """Those of a cluster beside the known ones, each before what it talks to. `programs`: of `State`."""
    numbers = {process.pid for process in known if process.alive()}
    folders = rf"{re.escape(str(programs_folders()))}/[^/]+"
    if programs is not None:
        folders += f"|{re.escape(programs)}"
    found = []
    for pid, end, line in _command_lines():
        order = _place(line, end, folders, str(paths.root))
        if order is not None and pid not in numbers:
            found.append((-order, Process(pid, start_of(pid))))
    return [process for _, process in sorted(found, key=lambda item: item[0])]


def _place(line: str, end: str, folders: str, root: str) -> int | None:
    """Where in the order of starts a command line belongs; None when it is not this cluster's. `end`: of a word."""
    escaped = re.escape(root)
    program = re.match(rf"(?:{folders})/({'|'.join(PROGRAMS)}){end}(?:.*{end})?--[a-z-]+={escaped}/", line, re.DOTALL)
    if program:
        return list(PROGRAMS).index(program[1])
    words = ("-m", re.escape(STAND_INS_MODULE), re.escape(Path(root).name), escaped)
    stand_ins = re.fullmatch(rf"[^{end}]*[Pp]ython[0-9.]*{end}{end.join(words)}{end}?", line)
    return len(PROGRAMS) if stand_ins else None


def _command_lines() -> Iterator[tuple[int, str, str]]:
    """(number, what ends a word, command line) of every process of this user."""
    if not (PROC / "self").exists():
        yield from _by_ps()
        return
    for place in PROC.iterdir():
        try:
            if place.name.isdigit() and place.stat().st_uid == os.getuid():
                yield int(place.name), "\0", os.fsdecode((place / "cmdline").read_bytes())
        except OSError:
            continue  # it has ended meanwhile


def _by_ps() -> Iterator[tuple[int, str, str]]:
    command = ["ps", "-ww", "-U", str(os.getuid()), "-o", "pid=,args="]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False)
    for row in done.stdout.splitlines():
        pid, _, line = row.strip().partition(" ")
        yield int(pid), " ", line.strip()
