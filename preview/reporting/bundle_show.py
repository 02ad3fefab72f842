"""`python -m preview bundle`: renders one stack and prints its bundle."""

import sys
from collections.abc import Sequence
from pathlib import Path

from preview.rendering.manifests import manifests
from preview.rendering.render import render
from preview.rendering.stackfile import find_project, read_project
from preview.reporting.bundle import FETCHED, LEFT, decide
from preview.reporting.bundle_formats import FORMATS
from preview.reporting.bundle_listing import read
from preview.reporting.show import report_refusals


def show(directory: Path | None, stack: str, how: str, listings: Sequence[Path]) -> int:
    """Prints the bundle of `stack` in the format `how`, a key of `FORMATS`; returns the exit code.

    Raises `UsageError` for an unknown stack and for a listing that is none, `Refused` for a project without a program.
    """
    project = read_project(find_project(directory))
    (name,) = project.chosen(stack)
    known = [read(path, FETCHED, LEFT) for path in listings]
    rendering = render(project, name)
    if not rendering.refused:
        bundle = decide(rendering, manifests(rendering.records), known)
        sys.stdout.write(FORMATS[how](bundle))
    return report_refusals([rendering])
