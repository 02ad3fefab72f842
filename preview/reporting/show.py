"""The plain preview: renders the chosen stacks, prints the report or JSON, writes the YAML files."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from preview.rendering.beside import beside
from preview.rendering.manifests import Manifest, collect_manifests, foreign_files, write
from preview.rendering.render import Rendering, render
from preview.rendering.stackfile import find_project, read_project
from preview.reporting.summary import document
from preview.reporting.wording import count
from settings.commandline import FINE, REFUSED, UsageError


def show(directory: Path | None, stack: str | None, *, as_json: bool, out: Path | None) -> int:
    """Previews one stack, or all of the project when `stack` is None; returns the exit code.

    Raises `UsageError` for an unknown stack or an `out` that holds other people's files, `Refused` for a project that
    cannot be read.
    """
    project = read_project(find_project(directory))
    stacks = project.chosen(stack)
    places = {name: out if stack is not None else out / name for name in stacks} if out is not None else {}
    for place in places.values():
        with _refusing(place):
            foreign = foreign_files(place)
        if foreign:
            raise UsageError(f"--out {place} holds {foreign[0]}, which no preview wrote; choose an empty directory")
    rendered = beside(project, [render(project, name) for name in stacks])
    done = [(rendering, collect_manifests(rendering.records)) for rendering in rendered]
    for rendering, declared in done:
        if not rendering.refused and rendering.stack in places:
            with _refusing(places[rendering.stack]):
                write(declared, places[rendering.stack], rendering.stack)
    if as_json:
        documents = [document(rendering, declared) for rendering, declared in done]
        shown = documents[0] if stack is not None else {"stacks": documents}
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
    else:
        _report(done, places)
    return report_refusals([rendering for rendering, _ in done])


@contextmanager
def _refusing(place: Path) -> Iterator[None]:
    """A folder that cannot be read or written is wrong usage."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"--out {place}: {(error.strerror or 'cannot be written').lower()}") from None


def report_refusals(renderings: Sequence[Rendering]) -> int:
    """Every reason on a line of its own on stderr, path first; with several stacks, the file goes before the path."""
    for rendering in renderings:
        prefix = f"Pulumi.{rendering.stack}.yaml: " if len(renderings) > 1 else ""
        sys.stderr.write("".join(f"{prefix}{problem}\n" for problem in rendering.refused))
    return REFUSED if any(rendering.refused for rendering in renderings) else FINE


def _report(done: Sequence[tuple[Rendering, Sequence[Manifest]]], places: dict[str, Path]) -> None:
    from preview.reporting.report import print_report  # noqa: PLC0415 - rich is not needed for --json

    for rendering, declared in done:
        if rendering.refused:
            continue
        print_report(rendering, declared)
        if rendering.stack in places:
            sys.stdout.write(f"{count(len(declared), 'YAML file')} in {places[rendering.stack]}\n")
