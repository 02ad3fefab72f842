"""Stand-ins for broken values of a configuration, so that all the rest of it is still checked."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, get_origin

from settings.gate import Path
from settings.shape import annotation, at, fields, section

# Mappings from names to things. The engine hands them over sorted, a stack file as written: both must plan the same.
NAMED = ("gpuPools", "models")
_CLUSTER = {"context": "unknown", "identifier": "unknown"}
_POOL = {"gpu": "none", "nodes": 1, "cpusPerNode": 1, "memoryGibPerNode": 1}
_MODEL = {"model": "unknown", "pool": "unknown"}
_OFFERED = {"model": "unknown", "contextTokens": 1}
# In place of a broken value that is needed, by section and key: well formed, and consistent with each other. Where
# there is none, the section that misses it goes.
STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "StackSettings": {
        "cluster": _CLUSTER,
        "gpuPools": {"unknown": _POOL},
        "models": {"unknown": _MODEL},
        "weights": {"kind": "existingClaim", "claimName": "unknown"},
    },
    "ClusterSettings": _CLUSTER,
    "PoolSettings": _POOL,
    "ModelSettings": _MODEL,
    "CanarySettings": {"weight": 1},
    "AdapterSettings": {"repo": "unknown/unknown"},
    "KvOffloadSettings": {"gib": 1},
    "SpeculativeSettings": {"method": "ngram", "tokens": 1},
    "SharedClaimWeights": {"storageClass": "unknown"},
    "ExistingClaimWeights": {"claimName": "unknown"},
    "ProviderSettings": {"kind": "openAi", "existingSecret": "unknown", "models": {"unknown": _OFFERED}},
    "ProviderModelSettings": _OFFERED,
    "TeamSettings": {"models": ["unknown"], "keys": ["unknown"]},
    "ChatUiSettings": {"host": "unknown.example.com", "team": "unknown", "key": "unknown", "existingSecret": "unknown"},
}
# In place of a broken argument of a program, which may have been any option or value; no user can write it.
NOT_KNOWN = "\0"
# In place of a broken element of a list, by the key of the list; of others, a word that is a name of most things.
ELEMENTS: Mapping[str, Any] = {
    "args": NOT_KNOWN,
    "capacityTypes": "on-demand",
    "cidrs": "192.0.2.0/24",
    "dnsAddresses": "192.0.2.1",
    "files": "unknown.yaml",
    "generations": 1,
    "ids": "cr-0",
    "ports": "1",
    "tolerations": {"key": "unknown"},
}
# Mappings whose entries are judged one by one: of one that is broken nothing follows for the others.
ONE_BY_ONE = ("annotations", "env", "prices")


def take_away(values: dict[str, Any], path: Path) -> Path | None:
    """Puts the default in place of what is at `path`, or what stands in for it; the path of what is then in doubt.

    Where the value is needed and nothing stands in for it, the nearest section that holds it goes.
    """
    for end in range(len(path), 0, -1):
        place, key = path[:end], path[end - 1]
        holder = at(place[:-1], values)
        if isinstance(holder, list) and _take_element(holder, place, values):
            return place
        if not isinstance(holder, dict):
            continue
        shape = section(place[:-1], values)
        if shape is None:
            return _take_entry(holder, place)
        field, stand_in = fields(shape).get(str(key)), STAND_INS.get(shape.__name__, {}).get(str(key))
        if stand_in is not None:
            holder[key] = deepcopy(stand_in)
        elif field is not None and field.is_required():
            continue
        else:
            holder.pop(key, None)
        return place
    return None


def take_key(values: dict[str, Any], path: Path) -> None:
    """Removes a key that its section does not have, wherever the section still is."""
    holder = at(path[:-1], values)
    if isinstance(holder, dict):
        holder.pop(path[-1], None)


def _take_entry(holder: dict[Any, Any], place: Path) -> Path | None:
    """Takes an entry out of a mapping from names; a pool or model stays, because others name it."""
    if len(place) == 2 and place[0] in NAMED:
        holder[place[1]] = {}
        return place
    holder.pop(place[-1], None)
    return None if place[-2] in ONE_BY_ONE else place


def _take_element(holder: list[Any], place: Path, values: Any) -> bool:
    """Whether an element of a list could be taken out of it, or had something put in its place."""
    position = place[-1]
    if not isinstance(position, int) or position >= len(holder):
        return False
    # names alone, where a mapping may be
    if get_origin(annotation(place[:-1], values)) is dict:
        holder.pop(position)
        return True
    known, stand_in = holder[position], ELEMENTS.get(str(place[-2]), f"unknown-{position}")
    holder[position] = deepcopy(stand_in)
    return known != stand_in
