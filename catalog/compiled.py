"""Reads YAML files, and keeps what is in them as JSON in `__pycache__` beside them: a thirtieth of the time.

A copy is taken for what it says only while it names the digest of the file's present bytes and of who read them. It
lies where Python keeps bytecode, is written when bytecode is (`PYTHONDONTWRITEBYTECODE`, `PYTHONPYCACHEPREFIX`), and is
data, so who could put a false one there could as well put false bytecode, and a broken one is only read again.
"""

import contextlib
import json
import os
import sys
import tempfile
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path

import yaml

try:
    from yaml import CSafeLoader as FastLoader
except ImportError:  # PyYAML built without libyaml: slower, same result
    from yaml import SafeLoader as FastLoader


class _Loader(FastLoader):  # pyright: ignore[reportGeneralTypeIssues] - one of two loaders with the same methods
    """The fast safe loader, except that a key given twice is an error and not a silent replacement."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: FBT002 - PyYAML's own signature
        seen = set()
        for key, _ in node.value:
            if (name := str(key.value)) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{name}' is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


# Another reader may make something else of the same bytes; the number goes up when `_Loader` changes.
READER = f"1 {yaml.__version__}\n".encode()


def read_yaml(path: Path) -> object:
    """The content of a YAML file. Raises OSError and yaml.YAMLError."""
    data = path.read_bytes()
    digest, copy = sha256(READER + data).hexdigest(), _copy_of(path)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        cached = json.loads(copy.read_bytes())
        if cached["sha256"] == digest:
            return cached["content"]
    content = yaml.load(data, Loader=_Loader)  # noqa: S506 - _Loader is a safe loader
    if not sys.dont_write_bytecode:
        _keep(copy, digest, content)
    return content


def _copy_of(path: Path) -> Path:
    """Path of the copy of a file."""
    return Path(cache_from_source(str(path))).with_name(f"{path.name}.json")


def _keep(copy: Path, digest: str, content: object) -> None:
    """Writes a copy in one step, for two processes may do so at once; not where the folder is read-only.

    Nor of what JSON cannot hold, such as dates and keys that are no text.
    """
    with contextlib.suppress(OSError, ValueError, TypeError):
        text = json.dumps({"sha256": digest, "content": content}, ensure_ascii=False)
        if repr(json.loads(text)["content"]) != repr(content):
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=copy.parent, prefix=copy.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(copy)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
