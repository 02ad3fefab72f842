"""Models that answer for others: a fallback's own fallbacks are asked after it."""

from collections.abc import Iterable, Mapping, Sequence

from settings.schema import ModelSettings


def reached(models: Iterable[str], chains: Mapping[str, Sequence[str]]) -> list[str]:
    """The models with all that they, and those in turn, fall back to, in the order of asking, each once."""
    known = list(dict.fromkeys(models))
    for model in known:
        known += dict.fromkeys(fallback for fallback in chains.get(model, ()) if fallback not in known)
    return known


def chains_of(models: Mapping[str, ModelSettings]) -> Mapping[str, Sequence[str]]:
    """Name of each model → everything that may answer for it, in the order of asking."""
    own = {name: model.fallbacks for name, model in models.items()}
    return {name: reached([name], own)[1:] for name in models}
