"""Objects that simcluster makes on a cluster, from the tables of this folder. Pure functions."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workshop.kubernetes import Object, with_texts

STAND_IN = "simcluster.llm-stack.io/stand-in-for"
WORD = re.compile(r"<<(\w+)>>")


def filled(value: Any, words: Mapping[str, object]) -> Any:
    """The template with every `<<name>>` replaced by that word, which may hold such words itself."""
    return with_texts(value, lambda text: WORD.sub(lambda word: filled(str(words[word[1]]), words), text))


def body(kind: str, stands_in_for: str, **words: object) -> Object:
    """An object of bodies.yaml, which says for whom it stands in."""
    made = filled(_table()[kind], words)
    made["metadata"]["annotations"] = {STAND_IN: stands_in_for}
    return made


@cache
def _table() -> Mapping[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("bodies.yaml").read_text(encoding="utf-8"))
