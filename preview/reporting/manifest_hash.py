"""`python -m preview manifest`: the hash that stands for all files of a checkpoint, for `models.NAME.manifestSha256`.

Of a folder every file is hashed that a Job would publish; of a `manifest.json` the hashes are taken as it has them, so
that has to be from somebody who is trusted. The value is what `components/pod_scripts/prove_weights.py` computes.
"""

import hashlib
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from preview.reporting.bundle import FETCHED, LEFT
from preview.reporting.bundle_listing import read
from settings.commandline import UsageError


def show(path: Path) -> int:
    """Prints the hash of a folder or of a manifest; returns the exit code.

    Raises `UsageError` for what is neither.
    """
    files = _of_folder(path) if path.is_dir() else _of_listing(path)
    if not any(name.endswith(".safetensors") for name in files):
        raise UsageError(f"{path} has no safetensors, so it is no checkpoint")
    sys.stdout.write(f"{manifest_sha256(files)}\n")
    return 0


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
