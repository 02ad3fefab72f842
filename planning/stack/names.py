"""Names of models and adapters: what objects are called by, and what clients ask for.

A stack file calls a model by its key or by its public name, so no word may be two things.
"""

from collections.abc import Iterator, Mapping

from settings.problems import Problem
from settings.schema import ModelSettings, public_names


def name_problems(models: Mapping[str, ModelSettings]) -> Iterator[Problem]:
    """Words that two models or adapters have, as their key or as their public name."""
    names, paths = public_names(models), name_paths(models)
    holders: dict[str, str] = {}
    for key, path in paths:
        if key in holders:
            yield Problem(path, f"is the public name of {holders[key]} already; give it another")
        holders.setdefault(key, path)
    for key, path in dict(paths).items():
        if (public := names[key]) == key:
            continue
        if public in holders:
            yield Problem(f"{path}.publicName", f"'{public}' is {holders[public]} already; give it another")
        holders.setdefault(public, f"the public name of {path}")


def name_paths(models: Mapping[str, ModelSettings]) -> list[tuple[str, str]]:
    """(key, path) of all models, then of all adapters."""
    adapters = [(name, f"models.{key}.adapters.{name}") for key, model in models.items() for name in model.adapters]
    return [*((key, f"models.{key}") for key in models), *adapters]
