"""Single changes that let a model fit, each tried before it is suggested; who suggests them has words for them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from catalog.schema import Model
from planning.capacity.memory import Workload
from planning.capacity.parallelism import Fit, Hardware, try_fit, whole_tokens


def shorter_context(model: Model, hardware: Hardware, workload: Workload, failed: Fit) -> int | None:
    """The longest context below the one asked for that fits with the same parallelism, tried; None: none does."""
    longest = whole_tokens(failed.memory.max_context_tokens) if failed.memory else 0
    if not 0 < longest < workload.context_tokens:
        return None
    shorter = replace(workload, context_tokens=longest)
    return longest if try_fit(model, hardware, failed.parallelism, shorter).fits else None


def siblings(models: Mapping[str, Model], repository: str, fits: Callable[[Model], bool]) -> Iterator[str]:
    """Repositories of the same model in other formats that fit."""
    known = models[repository]
    for name, model in models.items():
        same = (model.family, model.parameters, model.context) == (known.family, known.parameters, known.context)
        if same and name.startswith(f"{repository}-") and fits(model):
            yield name
