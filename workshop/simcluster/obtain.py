"""The control plane of this machine: the one in the cache, else the official binaries, else a build from source."""

import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from rich.console import Console

from workshop.problems import Impossible
from workshop.progress import progress
from workshop.simcluster import build, official
from workshop.simcluster.crds import definitions

STILL_WORKS = "what works without it: make preview, make test, make plan"


def control_plane() -> Path:
    """The folder of its programs, with a progress display where it has to be made. Raises `Impossible`."""
    return _with_definitions(lambda: existing() or _fetched() or _built())


def from_source() -> Path:
    """The folder of a build, which is used from then on. Raises `Impossible`."""
    return _with_definitions(_built)


def _with_definitions(get: Callable[[], Path]) -> Path:
    try:
        folder = get()
        # whatever else a cluster needs that must be fetched once
        definitions()
    except Impossible as error:
        raise Impossible(f"{error}\nthe simulated cluster cannot be built here; {STILL_WORKS}") from None
    return folder


def existing() -> Path | None:
    """The result of an earlier call; a build first, because who has both has asked for it."""
    return next((folder for folder in (build.folder(), official.folder()) if folder.is_dir()), None)


def _fetched() -> Path | None:
    """The official binaries; None, and said why, where they are not available."""
    if not official.downloads():
        return None
    try:
        return _visibly(official.fetch, "fetching the official binaries of the control plane, once", "MB", 1_000_000)
    except Impossible as error:
        sys.stderr.write(f"the official binaries are not available ({error}); building from source\n")
        return None


def _built() -> Path:
    if build.folder().is_dir():
        return build.folder()
    return _visibly(build.build, "building the control plane, once: 5 to 10 min on two cores", "packages", 1)


def _visibly(make: Callable[[Callable[[int, int], None]], Path], title: str, unit: str, per_unit: int) -> Path:
    """The result of `make`, with progress in units of `per_unit` steps."""
    console, began = Console(stderr=True, markup=False, emoji=False, highlight=False), monotonic()
    console.print(f"{title} ...")
    with progress(console) as say:
        return make(
            lambda done, of: say(f"  {done // per_unit} of {of // per_unit} {unit}, {monotonic() - began:.0f} s")
        )
