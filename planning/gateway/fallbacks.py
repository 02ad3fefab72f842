"""Models that answer for others: a fallback's own fallbacks are asked after it."""

from collections.abc import Iterable, Mapping, Sequence

from settings.schema import ModelSettings, public_names


def reached(models: Iterable[str], chains: Mapping[str, Sequence[str]]) -> list[str]:
    """The models with all that they, and those in turn, fall back to, in the order of asking, each once."""
    known = list(dict.fromkeys(models))
    for model in known:
        known += dict.fromkeys(fallback for fallback in chains.get(model, ()) if fallback not in known)
    return known


def fallbacks_of(models: Mapping[str, ModelSettings]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Public name of each model that has fallbacks → theirs, as they are written."""
    names = public_names(models)
    written = ((names[key], model.fallbacks) for key, model in models.items())
    return tuple((name, tuple(names.get(word, word) for word in words)) for name, words in written if words)


def chains_of(models: Mapping[str, ModelSettings]) -> Mapping[str, Sequence[str]]:
    """Public name of each model → those of all that may answer for it, in the order of asking."""
    own = dict(fallbacks_of(models))
    return {name: reached([name], own)[1:] for name in (public_names(models)[key] for key in models)}
