"""An edge of our own in front of the gateway: which requests the rendered HTTPRoute or Ingress lets through.

Matching as their specifications have it: Gateway API v1 HTTPPathMatch (Exact; PathPrefix element by element), and
pathType of Ingress v1 (Exact; Prefix element by element). What implementations do to a path before they match it
differs, so a test tries all of `READINGS`.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote


def paths(manifest: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """(path, whether with everything below it) of every match of the object's rules."""
    found = []
    for rule in manifest["spec"]["rules"]:
        matches = [match["path"] for match in rule.get("matches", [])]
        found += [(match["value"], match["type"] == "PathPrefix") for match in matches]
        listed = rule.get("http", {}).get("paths", [])
        found += [(path["path"], path["pathType"] == "Prefix") for path in listed]
    return found


def lets_through(manifest: Mapping[str, Any], path: str) -> bool:
    """Whether a request for this path, without its query, reaches the gateway."""
    return any(
        path == wanted or (below and _elements(path)[: len(_elements(wanted))] == _elements(wanted))
        for wanted, below in paths(manifest)
    )


def _elements(path: str) -> list[str]:
    return path.rstrip("/").split("/")


def _normalised(path: str) -> str:
    """Decoded, with `.` and `..` resolved and slashes merged: nginx, and Envoy with all of its normalisations."""
    return re.sub("^/+", "/", posixpath.normpath(unquote(path)))


# How an edge may read a path: as it was sent, decoded, or normalised as well.
READINGS: Mapping[str, Callable[[str], str]] = {"as sent": lambda path: path, "decoded": unquote, "normal": _normalised}
