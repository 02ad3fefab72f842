"""The other side of `preview diff`: the project as it was at a commit, laid out in a folder of its own.

Owns git and the search for the program. Only reads the repository: the files of the commit are written through an index
of their own, so nothing is registered, and nothing stays behind when the process is killed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

from preview.rendering.stackfile import PROJECT_FILE, Project
from settings.commandline import UsageError
from settings.engine_yaml import read_mapping
from settings.problems import Refused

# Set inside a hook of git; they would have every command look at the repository of the hook.
PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
SUBMODULE = "160000"


class NotComparable(Exception):
    """The base cannot be rendered: its program is missing, is older than the preview, or fails."""


@dataclass(frozen=True)
class Base:
    """The project at a commit. `directory` has no `Pulumi.yaml` where the commit has no such project.

    `scratch` is an empty folder its previews may write to; `borrowed` says why its program is the present one, or is
    empty when it is that of the commit.
    """

    directory: Path
    program: Path | None
    scratch: Path
    borrowed: str = ""

    def stacks(self) -> tuple[str, ...]:
        """Names of the stacks that had a file; none where there was no project."""
        if self.program is None:
            return ()
        files = sorted(self.directory.glob("Pulumi.*.yaml"))
        return tuple(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)


@contextmanager
def checkout(project: Project, ref: str) -> Iterator[Base]:
    """The project at `ref`; its files are gone when the block ends.

    Raises `UsageError` where there is no repository or no such commit, `NotComparable` where the commit's project or
    program cannot be laid out.
    """
    if shutil.which("git") is None:
        raise UsageError("git is not on PATH")
    top = _top(project.directory)
    commit = _commit(top, ref)
    with TemporaryDirectory(prefix="preview-") as folder:
        scratch = Path(folder).resolve()
        tree, out = scratch / "tree", scratch / "out"
        _lay_out(top, commit, tree, scratch / "index")
        directory = tree / project.directory.relative_to(top)
        if not (directory / PROJECT_FILE).is_file():
            yield Base(directory, None, out)
            return
        program, borrowed = _program(project, top, tree, directory)
        yield Base(directory, program, out, borrowed)


def _top(directory: Path) -> Path:
    done = _git(directory, "rev-parse", "--show-toplevel")
    if done.returncode:
        reason = "" if "not a git repository" in done.stderr else f" that can be read: {_last_line(done.stderr)}"
        raise UsageError(
            f"the project is not in a git repository{reason}; there is nothing to compare {directory} with"
        )
    return Path(done.stdout.removesuffix("\n")).resolve()


def _commit(top: Path, ref: str) -> str:
    done = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if ref and not done.returncode:
        return done.stdout.strip()
    known = _git(top, "for-each-ref", "--format=%(refname:short)").stdout.split()
    remote = next((name for name in known if name.partition("/")[2] == ref), None)
    near = [remote] if remote else get_close_matches(ref, known, 1)
    shallow = _git(top, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
    advice = "fetch it first"
    if near and ref:
        advice = f"did you mean '{near[0]}'?"
    elif shallow:
        advice = "this clone is shallow: git fetch --unshallow, or fetch that one commit"
    raise UsageError(f"there is no commit '{ref}' here; {advice}")


def _lay_out(repository: Path, commit: str, tree: Path, index: Path) -> None:
    """The files of `commit` in `tree`, with those submodules of it whose commits are here."""
    environment = {"GIT_INDEX_FILE": str(index)}
    tree.mkdir(parents=True, exist_ok=True)
    # without refreshing anything: the index is new, and sparse patterns of the work tree do not count here
    for command in (
        ("read-tree", "--no-sparse-checkout", commit),
        ("checkout-index", "--all", "--force", "--quiet", f"--prefix={tree}/"),
    ):
        done = _git(repository, *command, environment=environment)
        if done.returncode:
            raise NotComparable(f"git cannot lay it out: {_last_line(done.stderr)}")
    for path, held in _submodules(repository, commit):
        inner = repository / path
        if (inner / ".git").exists() and not _git(inner, "cat-file", "-e", f"{held}^{{tree}}").returncode:
            _lay_out(inner, held, tree / path, index.with_name(f"{index.name}-{held}"))


def _submodules(repository: Path, commit: str) -> Iterator[tuple[str, str]]:
    """(path, commit) of every submodule that `commit` names."""
    listing = _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit).stdout
    for entry in filter(None, listing.split("\0")):
        kind, path = entry.split("\t", 1)
        mode, _, held = kind.split()
        if mode == SUBMODULE:
            yield path, held


def _program(project: Project, top: Path, tree: Path, directory: Path) -> tuple[Path, str]:
    """The folder of the base's program, and why it is the present one, if it is.

    A program outside of the repository, or one that git does not track (an installed package), has no past to ask: both
    sides are rendered by the present one, and what is compared is the project.
    """
    try:
        content = read_mapping(directory / PROJECT_FILE)
    except Refused as refused:
        raise NotComparable(str(refused.problems[0])) from None
    main = str(content.get("main") or ".")
    # as text: what is a link at present may not have been one
    place = Path(os.path.normpath(project.directory / main))
    if place.is_relative_to(top):
        past = (tree / place.relative_to(top)).resolve()
        if past.is_relative_to(tree) and (program := _folder(past)):
            return program, ""
        _say_if_submodule(top, place, tree)
    program = _folder(place.resolve())
    if program is None:
        raise NotComparable(f"its {PROJECT_FILE} names the program {main}, which is neither in that commit nor here")
    # the relative path would lead out of the folder
    described = json.dumps({**content, "main": str(program)}, default=str)
    (directory / PROJECT_FILE).write_text(described, encoding="utf-8")
    where = "is not tracked by git" if place.is_relative_to(top) else "lies outside of this repository"
    return program, f"the program {main} {where}: both sides are rendered by it as it is now"


def _folder(place: Path) -> Path | None:
    """The folder of a program that is given as folder or file; None where there is none."""
    file = place / "__main__.py" if place.is_dir() else place
    return file.parent if file.is_file() else None


def _say_if_submodule(top: Path, place: Path, tree: Path) -> None:
    """A submodule whose commit is not here must not be mistaken for a program without a past."""
    for folder in (place, *place.parents):
        if folder == top or not folder.is_relative_to(top):
            return
        inside = folder.relative_to(top)
        # git leaves an empty folder for a submodule
        if (folder / ".git").exists() and (tree / inside).is_dir() and not any((tree / inside).iterdir()):
            raise NotComparable(f"the commit of its submodule {inside} is not here; git -C {inside} fetch")


def _git(
    directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in PLACES}
    # in English, because two messages are looked at
    return subprocess.run(  # noqa: S603 - no shell, own arguments
        ["git", "-C", str(directory), *arguments],  # noqa: S607 - whichever git the user has
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**inherited, "LC_ALL": "C", **(environment or {})},
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1].removeprefix("fatal: ")
