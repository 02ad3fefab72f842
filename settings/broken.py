"""The rest of a configuration whose broken values are taken away, so that it is still checked."""

from collections.abc import Mapping
from typing import Any

from settings.gate import Path

# Mappings from names to things. The engine hands them over sorted, a stack file as written: both must plan the same.
NAMED = ("gpuPools", "models")
# In place of a required section that is broken: well formed, and nothing that planning would say something against.
STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "cluster": {"context": "unknown", "identifier": "unknown"},
    "weights": {"kind": "existingClaim", "claimName": "unknown"},
}


def take_away(values: dict[str, Any], path: Path, *, unknown: bool) -> None:
    """Removes an unknown key, a broken value, or, of models and pools, the whole entry that holds it.

    Where the value is required, the nearest section that holds it goes, so that as much as possible is left; a section
    that is required itself is stood in for, so that what planning finds elsewhere is told at once.
    """
    if unknown:
        _remove(values, path)
    elif path[0] in NAMED:
        if len(path) > 1:
            _remove(values, path[:2])
            _take_away_references(values, *path[:2])
    elif _is_there(values, path[:-1]) and not any(_remove(values, path[:end]) for end in range(len(path), 1, -1)):
        values.pop(str(path[0]), None)
        if path[0] in STAND_INS:
            values[str(path[0])] = dict(STAND_INS[str(path[0])])


def _is_there(values: Any, path: Path) -> bool:
    """Whether nothing has taken the section at `path` away, or the list that leads to it."""
    for key in path:
        if isinstance(values, list):
            return True
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _remove(values: dict[str, Any], path: Path) -> bool:
    """Takes the value at `path` out, or the list that holds it; whether it was there."""
    holder: Any = values
    for position, key in enumerate(path):
        if not isinstance(holder, dict) or key not in holder:
            return False
        if position == len(path) - 1 or isinstance(holder[key], list):
            del holder[key]
            return True
        holder = holder[key]
    return False


def _take_away_references(values: dict[str, Any], section: str | int, name: str | int) -> None:
    """Removes what points to a broken pool or model: that it is gone is our doing, not the user's mistake."""
    models = values.get("models")
    if not isinstance(models, dict):
        return
    for model_name, model in [(key, value) for key, value in models.items() if isinstance(value, dict)]:
        if section == "gpuPools" and model.get("pool") == name:
            models.pop(model_name)
            _take_away_references(values, "models", model_name)
        elif section == "models" and isinstance(model.get("fallbacks"), list):
            model["fallbacks"] = [fallback for fallback in model["fallbacks"] if fallback != name]
