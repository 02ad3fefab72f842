"""`python -m preview bundle`: renders one stack and prints its bundle."""

import sys
from collections.abc import Sequence
from pathlib import Path

from preview.rendering.manifests import Category, collect_manifests
from preview.rendering.render import render
from preview.rendering.stackfile import find_project, read_project
from preview.reporting import bundle_helm
from preview.reporting.bundle import FETCHED, LEFT, decide
from preview.reporting.bundle_formats import FORMATS
from preview.reporting.bundle_listing import read
from preview.reporting.show import report_refusals

# What charts are rendered for where no plan says which Kubernetes it is: one that all of them take.
KUBERNETES = "1.36"


def show(directory: Path | None, stack: str, how: str, listings: Sequence[Path], *, ask_helm: bool) -> int:
    """Prints the bundle of `stack` in the format `how`, a key of `FORMATS`; returns the exit code.

    Raises `UsageError` for an unknown stack and for a listing that is none, `Refused` for a project without a program.
    """
    project = read_project(find_project(directory))
    (name,) = project.chosen(stack)
    known = [read(path, FETCHED, LEFT) for path in listings]
    helm = bundle_helm.program() if ask_helm else ""
    rendering = render(project, name)
    if not rendering.refused:
        declared = collect_manifests(rendering.records)
        kubernetes = rendering.plan.kubernetes if rendering.plan else KUBERNETES
        releases = [release for release in declared if helm and release.category is Category.RELEASE]
        rendered = {release.urn: bundle_helm.ask(helm, release, kubernetes) for release in releases}
        sys.stdout.write(FORMATS[how](decide(rendering, declared, known, rendered)))
    return report_refusals([rendering])
