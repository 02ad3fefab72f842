"""`python -m preview diff`: the working tree against a commit, each rendered by its own code.

Owns the order of things and what is said of stacks that only one side has, or that cannot be compared. The base runs in
a process of its own, because both sides have modules of the same names.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preview.rendering.manifests import collect_manifests, read
from preview.rendering.render import Rendering, render
from preview.rendering.stackfile import Project, ciphers, find_project, read_project
from preview.reporting.base import Base, NotComparable, checkout
from preview.reporting.bounds import AROUND_BYTES, COMMENT_BYTES, fitting
from preview.reporting.compare import Thing, compare
from preview.reporting.markdown import comparison, refusal, removal
from preview.reporting.show import report_refusals
from preview.reporting.sides import Sides
from preview.reporting.summary import document
from settings.commandline import FINE, REFUSED, UNABLE, UsageError

BASE_TIMEOUT_S = 300
OURS = Path(__file__).resolve().parents[2]
# A program that brings these is a version of this project, and rendered by its own preview or not at all.
OUR_PACKAGES = ("catalog", "settings", "planning", "components")


@dataclass(frozen=True)
class Side:
    """One rendered stack: its document, and its objects with their bodies."""

    document: dict[str, Any]
    things: tuple[Thing, ...]


def diff(directory: Path | None, stack: str | None, ref: str, *, everything: bool) -> int:
    """Prints Markdown for one stack, or for all of either side; returns the exit code.

    As much as fits into a comment on GitHub, unless `everything` is asked for.
    0 where every stack was compared, 2 where this side refuses one, else 1 where one could not be compared: why is then
    on stderr as well. Raises `UsageError` for an unknown stack or commit, `Refused` for a project that cannot be read.
    """
    project = read_project(find_project(directory).resolve())
    try:
        with checkout(project, ref) as base:
            return _diff(project, base, stack, ref, None if everything else COMMENT_BYTES - AROUND_BYTES)
    except NotComparable as error:
        return _unable([f"no comparison with {ref}: {error}"])


def _diff(project: Project, base: Base, stack: str | None, ref: str, limit: int | None) -> int:
    present, past = project.stacks(), base.stacks()
    names = tuple(dict.fromkeys([*present, *past]))
    if stack is not None and stack not in names:
        raise UsageError(f"no stack '{stack}' on either side; stacks: {', '.join(names) or 'none'}")
    if not names:
        raise UsageError("no stack file Pulumi.<stack>.yaml on either side")
    chosen = names if stack is None else (stack,)
    pages: list[list[str]] = []
    renderings: list[Rendering] = []
    troubles: list[str] = []
    with ThreadPoolExecutor(max_workers=1) as beside:
        for name in chosen:
            if name not in present:
                pages.append([removal(name)])
                continue
            before = beside.submit(_past, base, name) if name in past else None
            rendering = render(project, name)
            renderings.append(rendering)
            rekeyed = _rekeyed(project, base, name) if before else ()
            pages.append(_page(before, rendering, rekeyed, ref, troubles))
    preface = f"Note: {base.borrowed}.\n" if base.borrowed else ""
    sys.stdout.write(fitting(pages, preface, f"make diff BASE={ref} ARGS=--all", limit))
    code = report_refusals(renderings)
    return code if code != FINE or not troubles else _unable(troubles)


def _unable(troubles: Sequence[str]) -> int:
    sys.stderr.write("".join(f"{trouble}\n" for trouble in troubles))
    return UNABLE


def _past(base: Base, stack: str) -> Side:
    """The base's own preview of one stack. Raises `NotComparable`."""
    assert base.program is not None, "a base without program has no stacks"
    place = _renderer(base.program)
    out = base.scratch / stack
    command = [sys.executable, "-m", "preview", "--project", base.directory, "--stack", stack, "--json", "--out", out]
    # the base's own modules, whatever the caller has on its path
    environment = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, own arguments
            command, cwd=place, env=environment, text=True, capture_output=True, check=False, timeout=BASE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise NotComparable(f"it gives no answer within {BASE_TIMEOUT_S} s") from None
    except OSError as error:
        raise NotComparable(f"it cannot be run: {error.strerror}") from None
    if done.returncode not in (FINE, REFUSED):
        raise NotComparable((done.stderr.strip().splitlines() or [f"it ends with code {done.returncode}"])[-1])
    try:
        content = json.loads(done.stdout)
        return Side(content, _things(content, read(out)))
    except (ValueError, KeyError, OSError):
        # refused before there was anything to say it in, or by another project's program
        raise NotComparable((done.stderr.strip().splitlines() or ["it gives no answer"])[0]) from None


def _renderer(program: Path) -> Path:
    """The folder whose preview renders a program: its own, or this project's where the program is somebody's own."""
    if (program / "preview" / "__main__.py").is_file():
        return program
    if any((program / package).is_dir() for package in OUR_PACKAGES):
        raise NotComparable("it is older than the preview")
    return OURS


def _rekeyed(project: Project, base: Base, stack: str) -> tuple[str, ...]:
    """Secret keys of a stack whose encrypted value is another: no rendering can show that."""
    past, present = ({key.rpartition(":")[2]: cipher for key, cipher in ciphers(directory, stack).items()}
                     for directory in (base.directory, project.directory))  # fmt: skip
    return tuple(key for key in past if key in present and past[key] != present[key])


def _page(
    before: Future[Side] | None, rendering: Rendering, rekeyed: Sequence[str], ref: str, troubles: list[str]
) -> list[str]:
    """The versions of one stack's page, longest first; what keeps it from being compared is added to `troubles`."""
    declared = collect_manifests(rendering.records)
    after = document(rendering, declared)
    older, trouble = None, ""
    try:
        older = before.result() if before else None
    except NotComparable as error:
        trouble = f"`{ref}` cannot be previewed: {error}"
    if after["refused"]:
        return [refusal(after, "this change")]
    if older is not None and older.document["refused"]:
        trouble = f"`{ref}` is refused, so there is nothing to compare with"
        troubles.append(f"Pulumi.{rendering.stack}.yaml: no comparison: {trouble}")
        return [refusal(older.document, f"`{ref}`; nothing to compare with")]
    if trouble:
        troubles.append(f"Pulumi.{rendering.stack}.yaml: no comparison: {trouble}")
        return [f"### {rendering.stack}: no comparison\n\n{trouble}\n"]
    bodies = {manifest.file: manifest.body for manifest in declared}
    changes = compare(older.things if older else (), _things(after, bodies))
    return comparison(Sides(older.document if older else None, after, changes, rekeyed))


def _things(content: Mapping[str, Any], bodies: Mapping[str, Any]) -> tuple[Thing, ...]:
    entries = [entry for part in ("releases", "patches", "objects") for entry in content.get(part, [])]
    return tuple(Thing(entry, bodies[entry["file"]]) for entry in entries)
