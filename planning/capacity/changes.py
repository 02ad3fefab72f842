"""Single changes that let a model fit, each tried before it is suggested; who suggests them has words for them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from catalog.schema import Model
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.capacity.parallelism import Fit, Hardware, choose, rule_problems, try_fit, whole_tokens


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


def respreads(
    model: Model,
    hardware: Hardware,
    workload: Workload,
    failed: Parallelism,
    fits: Callable[[Parallelism], bool],
    *,
    auto_context: bool = False,
) -> Iterator[Parallelism]:
    """Other spreads that fit: the cheapest.

    Where a rule is broken and not memory short, those that are near: the same with whole experts, and the widest below.
    """
    near = []
    if rule_problems(model, hardware.gpu, failed, workload):
        moe = model.architecture is not None and model.architecture.moe is not None
        whole = [replace(failed, expert=True)] if moe and not failed.expert else []
        narrower = (replace(failed, tensor=tensor) for tensor in range(failed.tensor - 1, 0, -1))
        near = [*filter(fits, whole), *[spread for spread in [next(filter(fits, narrower), None)] if spread]]
    if near:
        yield from near
        return
    fit = choose(model, hardware, workload, auto_context=auto_context, expert=failed.expert)
    if fit.fits and fit.parallelism != failed:
        yield fit.parallelism
