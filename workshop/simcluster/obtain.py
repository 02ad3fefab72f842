"""The control plane of this machine: the one in the cache, else the official binaries, else a build from source."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from workshop.problems import Impossible
from workshop.progress import NowAndThen
from workshop.simcluster import build, official
from workshop.simcluster.crds import definitions

PLAIN_EVERY_S = 30
STILL_WORKS = "what works without it: make preview, make test, make plan"


def control_plane() -> Path:
    """The folder of its programs, with a progress display where it has to be made. Raises `Impossible`."""
    return _with_definitions(lambda: existing() or _fetched() or _built())


def from_source() -> Path:
    """The same, built here whatever can be had; it is used from then on. Raises `Impossible`."""
    return _with_definitions(_built)


def _with_definitions(get: Callable[[], Path]) -> Path:
    try:
        found = get()
        # whatever else a cluster needs that must be fetched once
        definitions()
    except Impossible as error:
        raise Impossible(f"{error}\nthe simulated cluster cannot be built here; {STILL_WORKS}") from None
    return found


def existing() -> Path | None:
    """What an earlier call has made; a build first, because whoever has both has asked for it."""
    return next((folder for folder in (build.folder(), official.folder()) if folder.is_dir()), None)


def _fetched() -> Path | None:
    """The official binaries; None, and said why, where they cannot be had."""
    if not official.downloads():
        return None
    try:
        return _fetch_visibly()
    except Impossible as error:
        sys.stderr.write(f"the official binaries cannot be had, so they are built: {error}\n")
        return None


def _fetch_visibly() -> Path:
    lines = "fetching the official binaries of the control plane, once", "MB", 1_000_000
    bar = TextColumn("fetching the control plane (once)"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    return _visibly(official.fetch, lines, bar)


def _built() -> Path:
    if build.folder().is_dir():
        return build.folder()
    lines = "building the control plane, once: 5 to 10 min on two cores", "packages", 1
    counts = TextColumn("{task.completed}/{task.total}")
    return _visibly(build.build, lines, (TextColumn("building the control plane (once)"), BarColumn(), counts))


def _visibly(
    make: Callable[[Callable[[int, int], None]], Path], lines: tuple[str, str, int], bar: Sequence[ProgressColumn]
) -> Path:
    """What `make` makes: a bar of these columns on a terminal, otherwise lines (title, unit, steps in one of it)."""
    console = Console(stderr=True, markup=False, emoji=False)
    if not console.is_terminal:
        title, unit, per_unit = lines
        sys.stderr.write(f"{title} ...\n")
        began, say = time.monotonic(), NowAndThen(sys.stderr.write, PLAIN_EVERY_S, PLAIN_EVERY_S)

        def line(done: int, of: int) -> None:
            say(f"  {done // per_unit} of {of // per_unit} {unit} after {time.monotonic() - began:.0f} s\n")

        return make(line)
    with Progress(*bar, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=None)
        return make(lambda done, of: progress.update(task, completed=done, total=of or None))
