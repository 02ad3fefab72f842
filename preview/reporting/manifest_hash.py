"""`python -m preview manifest`: the hash that stands for all files of a checkpoint, for `models.NAME.manifestSha256`.

Of a folder every file is hashed that a Job would publish; of a `manifest.json` the hashes are taken as it has them, so
that has to be from somebody who is trusted. The value is what `components/pod_scripts/prove_weights.py` computes.
Of files that no Job publishes it writes the manifest.
"""

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from preview.reporting.bundle import FETCHED, LEFT
from preview.reporting.bundle_listing import read
from settings.commandline import UsageError

COMMIT = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", re.ASCII)


def show(path: Path, write: str | None = None) -> int:
    """Prints the hash of a folder or of a manifest; returns the exit code.

    `write`: ORG/NAME@COMMIT, as which the folder gets a `manifest.json`. Raises `UsageError` for what is neither.
    """
    files = _of_folder(path) if path.is_dir() else _of_listing(path)
    if not any(name.endswith(".safetensors") for name in files):
        raise UsageError(f"{path} has no safetensors, so it is no checkpoint")
    if write is not None:
        _write(path, write, files)
    sys.stdout.write(f"{manifest_sha256(files)}\n")
    return 0


def _write(folder: Path, held: str, files: Mapping[str, str]) -> None:
    """The manifest, as a Job would publish it last."""
    known = COMMIT.fullmatch(held)
    if known is None:
        raise UsageError(f"--write is ORG/NAME@COMMIT with 40 hex digits, not '{held}'")
    if not folder.is_dir():
        raise UsageError(f"--write needs a folder, and {folder} is none")
    repo, revision = known.groups()
    entries = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256} for name, sha256 in files.items()}
    text = json.dumps({"repo": repo, "revision": revision, "files": entries}, indent=1)
    try:
        with (folder / "manifest.json").open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{folder}/manifest.json is there already; take it away if it is of other files") from None
    except OSError as error:
        raise UsageError(f"{folder}/manifest.json: {(error.strerror or 'cannot be written').lower()}") from None


def manifest_sha256(files: Mapping[str, str]) -> str:
    """The SHA-256 of what `sha256sum` prints of all files, sorted by the bytes of their names."""
    lines = [f"{files[name]}  {name}\n".encode() for name in sorted(files, key=str.encode)]
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _of_folder(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of its bytes; a hub's client keeps what begins with a dot for itself."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    names = [
        name
        for name in sorted(paths)
        if not name.startswith(".")
        and any(fnmatchcase(name, pattern) for pattern in FETCHED)
        and not any(fnmatchcase(name, pattern) for pattern in LEFT)
    ]
    try:
        with ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(lambda name: _hash(paths[name]), names), strict=True))
    except OSError as error:
        raise UsageError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from None


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _of_listing(path: Path) -> dict[str, str]:
    listing = read(path, ("*",), ())
    if bare := [file.name for file in listing.files if file.sha256 is None]:
        raise UsageError(f"{path} has no SHA-256 of {', '.join(bare[:5])}; download the files, and give their folder")
    return {file.name: file.sha256 for file in listing.files if file.sha256}
