"""Files of a checkpoint: its `manifest.json`, or the hub's own listing, as JSON files.

Two shapes are read. What the weights Job publishes beside the files: `{"repo", "revision", "files": {NAME: {"bytes",
"sha256"}}}`. What Hugging Face answers to `/api/models/REPO/revision/COMMIT?blobs=true`: `{"id", "sha", "siblings":
[{"rfilename", "size", "lfs": {"sha256"}}]}` (huggingface_hub, `HfApi.model_info(files_metadata=True)`); of files that
are in git itself it has a git hash only, which is no hash of the bytes.
"""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from settings.commandline import UsageError

LARGEST_BYTES = 64 * 2**20
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One file of a checkpoint; `sha256` of its bytes, None where nobody has said it."""

    name: str
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """The files of one revision of one repository; `commit` is its other name where the revision is none."""

    repository: str
    revision: str
    commit: str
    files: tuple[File, ...]

    def is_of(self, repository: str, revision: str) -> bool:
        """Whether it lists this checkpoint."""
        return self.repository == repository and revision in (self.revision, self.commit)


def read(path: Path, fetched: tuple[str, ...], left: tuple[str, ...]) -> Listing:
    """A listing from a file, with the files that match a pattern of `fetched` and none of `left`.

    Raises `UsageError` for what cannot be read or has neither shape.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path}: larger than 64 MiB")
        listing = _parsed(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        answer = "the hub's answer to /api/models/REPO/revision/COMMIT?blobs=true"
        raise UsageError(f"{path}: is neither the manifest.json of a checkpoint nor {answer}") from None
    files = [
        file
        for file in listing.files
        if any(fnmatchcase(file.name, pattern) for pattern in fetched)
        and not any(fnmatchcase(file.name, pattern) for pattern in left)
    ]
    return Listing(
        listing.repository, listing.revision, listing.commit, tuple(sorted(files, key=lambda entry: entry.name))
    )


def _parsed(content: Any) -> Listing:
    if "siblings" in content:
        files = [
            _file(sibling["rfilename"], sibling["size"], (sibling.get("lfs") or {}).get("sha256"))
            for sibling in content["siblings"]
        ]
        commit = str(content["sha"])
        return Listing(str(content.get("id") or content["modelId"]), commit, commit, tuple(files))
    files = [_file(name, file["bytes"], file["sha256"]) for name, file in content["files"].items()]
    revision = str(content["revision"])
    return Listing(str(content["repo"]), revision, str(content.get("commit", revision)), tuple(files))


def _file(name: str, size_bytes: int, sha256: str | None) -> File:
    """Raises ValueError for what is no file of a checkpoint: such a name would lead elsewhere once written down."""
    if not name.isprintable() or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise ValueError(name)
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise ValueError(sha256)
    return File(name, int(size_bytes), sha256)
