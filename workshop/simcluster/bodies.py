"""Objects that simcluster makes on a cluster, from the tables of this folder. Pure functions."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workshop.kubernetes import Object

STAND_IN = "simcluster.llm-stack.io/stand-in-for"
WORD = re.compile(r"<<(\w+)>>")


def filled(value: Any, words: Mapping[str, object]) -> Any:
    """The same with every `<<name>>` replaced by that word, which may hold such words itself."""
    if isinstance(value, Mapping):
        return {key: filled(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, words) for inner in value]
    return WORD.sub(lambda found: filled(str(words[found[1]]), words), value) if isinstance(value, str) else value


def body(kind: str, stands_in_for: str, **words: object) -> Object:
    """An object of bodies.yaml, which says for whom it stands in."""
    found = filled(_table()[kind], words)
    found["metadata"]["annotations"] = {STAND_IN: stands_in_for}
    return found


@cache
def _table() -> Mapping[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("bodies.yaml").read_text(encoding="utf-8"))
