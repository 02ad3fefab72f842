"""Folders of a run: its own below the project, and the user's cache, which outlives it."""

import contextlib
import hashlib
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from settings.problems import Problem
from workshop.cache import OWNER_ONLY, cache, free_gb, write_secret
from workshop.lock import held

RUN_GB = 0.1  # objects, keys and the first logs of a run
OF_PROJECT = "use a copy of the project in another directory"
# Of links in the system's folder for temporary files: programs make sockets in /tmp of their pod, whose paths may have
# 107 bytes, and vLLM names them by 36 characters (ipc:// of zmq).
PREFIX = "llm-"


class RunFolder:
    """`.local/<stack>` of a project: all that one run writes. Removed by `down`, but for the logs of a failed `up`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = str(path)  # what every process of this run carries in its environment
        self.objects = path / "objects"  # the rendered objects, a YAML file each
        self.pods = path / "pods"  # a folder per pod, with its emptyDirs and files
        self.logs = path / "logs"  # a log per container, `POD.CONTAINER.log`
        self.keys = path / "keys"  # a file per entry of a Secret, readable by you only: `keys/SECRET/ENTRY`
        self.prometheus = path / "prometheus"  # scrape configuration, rules and targets for a Prometheus
        self.control = path / "control"  # the socket of the supervisor, and what it has to say
        self.supervisor_log = path / "supervisor.log"

    def data(self, name: str) -> Path:
        """The directory of a claim of a StatefulSet: of this stack alone, and kept."""
        return claim(f"{name}-{hashlib.sha256(self.mark.encode()).hexdigest()[:8]}")

    @classmethod
    def of(cls, project: Path, stack: str) -> "RunFolder":
        """The folder of a stack; it need not exist."""
        return cls(project.resolve() / ".local" / stack)

    @classmethod
    def found(cls, project: Path) -> tuple[str, ...]:
        """Stacks that have such a folder, whether or not anything of them runs."""
        return tuple(sorted(path.name for path in (project.resolve() / ".local").glob("*") if path.is_dir()))

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else is in here for this project, until the end of the process. Raises OSError."""
        with held(self.path.parent, lambda: False, folder=True) as alone:
            try:
                yield alone
            finally:
                # another run's folder may be in it
                with contextlib.suppress(OSError):
                    if alone:
                        self.path.parent.rmdir()


def claim(name: str) -> Path:
    """The directory that stands for a PersistentVolumeClaim; weights in it are prepared once and kept."""
    return cache() / "claims" / name


def problems(key: str, folder: Path, takes_gb: float, fix: str) -> list[Problem]:
    """Reasons against writing so much into a folder that may have to be made; `fix`: what helps. Leaves nothing."""
    there = folder
    try:
        # what is there decides: a file, a link to nowhere or a directory
        while not (there.exists() or there.is_symlink()):
            there = there.parent
        with tempfile.TemporaryFile(dir=there):
            free = free_gb(there)
    except OSError as error:
        why = f"{there}: {(error.strerror or 'unknown error').lower()}"
        return [Problem(key, f"{folder} cannot be written ({why}); {fix}")]
    if free < takes_gb:
        return [Problem(key, f"takes about {takes_gb:g} GB in {folder}, {free:.1f} GB are free; {fix}")]
    return []


def read_keys(folder: Path) -> dict[str, dict[str, str]]:
    """The keys of a former run, Secret → entry → value."""
    keys: dict[str, dict[str, str]] = {}
    for file in sorted(folder.glob("*/*")):
        keys.setdefault(file.parent.name, {})[file.name] = file.read_text(encoding="utf-8")
    return keys


def write_keys(folder: Path, keys: Mapping[str, Mapping[str, str]]) -> None:
    """One file per entry, created for its owner's eyes only."""
    for secret, entries in keys.items():
        (folder / secret).mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        for entry, value in entries.items():
            write_secret(folder / secret / entry, value)


def short(place: Path) -> Path:
    """A new link to `place`, with a short name."""
    link = Path(tempfile.gettempdir()) / f"{PREFIX}{secrets.token_hex(4)}"
    link.symlink_to(place, target_is_directory=True)
    return link


def forget(below: Path) -> None:
    """Removes every link to something below this directory, whoever has made it."""
    for link in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if link.is_symlink() and link.readlink().is_relative_to(below):
                link.unlink()
