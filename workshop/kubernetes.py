"""Objects as an API server has them: their names, what their conditions say, and the texts in them."""

from collections.abc import Callable, Mapping
from typing import Any

Object = dict[str, Any]


def named(body: Mapping[str, Any]) -> str:
    """An object for a reader: `Kind name in namespace`."""
    metadata = body["metadata"]
    where = f" in {metadata['namespace']}" if metadata.get("namespace") else ""
    return f"{body['kind']} {metadata['name']}{where}"


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of this type; empty when nobody has said yet."""
    conditions = body.get("status", {}).get("conditions") or []
    return next((status for status in conditions if status["type"] == kind), {})


def is_ready(body: Mapping[str, Any], kind: str = "Ready") -> bool:
    """Whether this condition is true: of a pod or node, that it is ready."""
    return condition(body, kind).get("status") == "True"


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The object with every text in it changed, but for the names of fields."""
    if isinstance(value, Mapping):
        return {name: with_texts(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
