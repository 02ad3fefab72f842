"""Objects as an API server shows them: their names, and what their conditions say."""

from collections.abc import Mapping
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
    return next((item for item in conditions if item["type"] == kind), {})


def is_ready(body: Mapping[str, Any], kind: str = "Ready") -> bool:
    """Whether this condition is true: of a pod or node, that it is ready."""
    return condition(body, kind).get("status") == "True"
