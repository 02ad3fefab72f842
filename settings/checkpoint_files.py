"""The files of a checkpoint that an entry of the catalogue is made of: `config.json`, and what lies beside it."""

import json
from pathlib import Path
from typing import Any

# The file, and the name that `catalog.importing` has for its content.
CONFIG = "config.json"
BESIDE = {"index": "model.safetensors.index.json", "quantization": "hf_quant_config.json"}
# The index of a checkpoint with a thousand billion parameters has a tenth of it.
MOST_BYTES = 100 * 2**20


class Unreadable(Exception):
    """A file of a checkpoint that is no JSON object; the message says which, and why."""


def read_checkpoint(file: Path) -> dict[str, dict[str, Any]]:
    """Content of a `config.json` and of what lies beside it, by the words of `catalog.importing`.

    Raises Unreadable.
    """
    beside = {key: file.with_name(name) for key, name in BESIDE.items()}
    return {"config": _json(file), **{key: _json(path) for key, path in beside.items() if path.is_file()}}


def repository_of(file: Path) -> str | None:
    """The repository whose file this is, by the folders it lies in: ORG/NAME, or models--ORG--NAME of a hub's cache."""
    for folder in file.parts:
        kind, *names = folder.split("--")
        if kind == "models" and len(names) == 2 and all(names):
            return "/".join(names)
    folders = (file.parent.parent.name, file.parent.name)
    return "/".join(folders) if all(folders) and ".." not in folders else None


def _json(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file():
            raise Unreadable(f"{file.name}: there is no such file in {file.parent.resolve()}")
        if file.stat().st_size > MOST_BYTES:
            raise Unreadable(f"{file.name}: has more than {MOST_BYTES:,} bytes")
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise Unreadable(f"{file.name}: cannot be read: {(error.strerror or 'unknown error').lower()}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{file.name}: is not readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise Unreadable(f"{file.name}: must be a mapping of keys")
    return content
