"""`python -m preview diff`: the working tree against a commit, each rendered by its own code.

Owns the second checkout and what is read back from it. The base runs in a process of its own, because both sides have
modules of the same names.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from preview.compare import Thing, compare
from preview.manifests import manifests, read
from preview.markdown import comparison, refusal
from preview.render import render
from preview.show import report_refusals
from preview.stackfile import Project, find_project, read_project
from preview.summary import document
from settings.commandline import FINE, REFUSED, UsageError

BASE_TIMEOUT_S = 300


@dataclass(frozen=True)
class Side:
    """One rendered stack: its document, and its objects with their bodies."""

    document: dict[str, Any]
    things: tuple[Thing, ...]


class _NotComparable(Exception):
    """The base cannot be previewed at all, e.g. because it is older than the preview."""


def diff(directory: Path | None, stack: str | None, base: str) -> int:
    """Prints Markdown for one stack, or for all of either side; returns the exit code.

    Raises `UsageError` for an unknown stack or commit, `Refused` for a project that cannot be read.
    """
    project = read_project(find_project(directory).resolve())
    stacks = project.chosen(stack)
    texts, renderings = [], []
    with _checkout(project, base) as there, ThreadPoolExecutor(max_workers=1) as beside:
        for name in stacks:
            before = beside.submit(_base, there, name)
            rendering = render(project, name)
            renderings.append(rendering)
            found = manifests(rendering.records)
            bodies = {manifest.file: manifest.body for manifest in found}
            texts.append(_stack(before, document(rendering, found), bodies, base))
        gone = set() if stack else {file.name for file in there.project.glob("Pulumi.*.yaml")}
    gone -= {f"Pulumi.{name}.yaml" for name in stacks}
    texts += [
        f"### {file} is removed\n\nIts resources stay until somebody runs `pulumi destroy`.\n" for file in sorted(gone)
    ]
    sys.stdout.write("\n".join(texts))
    return report_refusals(renderings)


@dataclass(frozen=True)
class _Checkout:
    """The base: where its project and its program lie, and where its previews may write."""

    project: Path
    program: Path
    scratch: Path


@contextmanager
def _checkout(project: Project, base: str) -> Iterator[_Checkout]:
    """A detached worktree of `base` outside the repository; gone when the block ends."""
    if shutil.which("git") is None:
        raise UsageError("git is not on PATH")
    root = _git(project.directory, "rev-parse", "--show-toplevel")
    if root is None:
        raise UsageError("the project is not in a git repository")
    commit = _git(project.directory, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if commit is None:
        raise UsageError(f"there is no commit '{base}' here; fetch it first")
    top = Path(root).resolve()
    with TemporaryDirectory(prefix="preview-") as scratch:
        tree = Path(scratch).resolve() / "tree"
        # a hook of the repository is none of ours to run
        hooks = ("-c", "core.hooksPath=/dev/null")
        if _git(top, *hooks, "worktree", "add", "--detach", "--quiet", str(tree), commit) is None:
            raise UsageError(f"git cannot check out '{base}'")
        try:
            yield _Checkout(
                tree / project.directory.resolve().relative_to(top),
                tree / project.program.parent.relative_to(top),
                Path(scratch).resolve() / "out",
            )
        finally:
            _git(top, "worktree", "remove", "--force", str(tree))


def _git(directory: Path, *arguments: str) -> str | None:
    """Output of a git command, None when it fails."""
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, own arguments
    return done.stdout.strip() if done.returncode == 0 else None


def _base(there: _Checkout, stack: str) -> Side | None:
    """The base's own preview of one stack; None when the base has no such stack. Raises `_NotComparable`."""
    if not (there.project / f"Pulumi.{stack}.yaml").is_file():
        return None
    out = there.scratch / stack
    command = [sys.executable, "-m", "preview", "--project", there.project, "--stack", stack, "--json", "--out", out]
    # the base's own modules, whatever the caller has on its path
    environment = os.environ | {"PYTHONPATH": str(there.program), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, own arguments
            command,
            cwd=there.program,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=BASE_TIMEOUT_S,
        )
        content = json.loads(done.stdout) if done.returncode in (FINE, REFUSED) else None
    except (subprocess.TimeoutExpired, ValueError, OSError):
        raise _NotComparable("it gives no answer") from None
    if content is None:
        raise _NotComparable((done.stderr.strip().splitlines() or ["it fails"])[-1])
    return Side(content, _things(content, read(out)))


def _stack(before: Future[Side | None], after: dict[str, Any], bodies: dict[str, Any], base: str) -> str:
    try:
        older = before.result()
    except _NotComparable as error:
        return f"### {after['stack']}: no comparison\n\n`{base}` cannot be previewed: {error}\n"
    if after["refused"]:
        return refusal(after, "this change")
    if older is not None and older.document["refused"]:
        return refusal(older.document, f"`{base}`; nothing to compare with")
    changes = compare(older.things if older else (), _things(after, bodies))
    return comparison(older.document if older else None, after, changes)


def _things(content: dict[str, Any], bodies: dict[str, Any]) -> tuple[Thing, ...]:
    entries = [entry for part in ("releases", "patches", "objects") for entry in content.get(part, [])]
    return tuple(Thing(entry, bodies[entry["file"]]) for entry in entries)
