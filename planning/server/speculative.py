"""Guesses of the next tokens as a field: its argument, and the draft that is loaded beside the weights."""

import json
from dataclasses import replace

from catalog.schema import Model
from planning.capacity import flags
from planning.capacity.memory import Workload
from planning.plan.pools import PoolPlan
from planning.plan.weights import CheckpointPlan
from planning.server import measured
from planning.server.beside import origin_of, pin_problems, place_problems
from planning.server.fit import Site
from planning.stack.weights import beside, plan_checkpoint
from settings.problems import Problem, nearest
from settings.schema import ModelSettings, ObjectStoreWeights, SpeculativeSettings

FOLDER = "/drafts"


def speculative_args(settings: SpeculativeSettings | None, draft: CheckpointPlan | None) -> list[str]:
    """The argument for it; none without it."""
    if settings is None:
        return []
    guesses: dict[str, object] = {"method": settings.method, "num_speculative_tokens": settings.tokens}
    if draft:
        guesses["model"] = draft.source.argument
    return [f"{flags.SPECULATIVE_CONFIG}={json.dumps(guesses)}"]


def plan_draft(
    site: Site, path: str, settings: ModelSettings, pool: PoolPlan, *, canary: bool
) -> tuple[CheckpointPlan | None, list[Problem]]:
    """The checkpoint of the draft of a server, or of a canary with the settings of that; None where it has none."""
    asked, where = settings.speculative, path.removesuffix(".canary")
    if asked is None or asked.model is None:
        return None, []
    origin, field = origin_of(site, settings), f"{where}.speculative"
    model = site.catalog.models.get(asked.model)
    problems = [] if canary else [*place_problems(origin, where, "speculative", pool)]
    if model is None and not site.catalog.own.is_awaited("models", asked.model):
        hint = nearest(asked.model, site.catalog.models)
        problems += [] if canary else [Problem(f"{field}.model", f"'{asked.model}' is not in the catalogue{hint}")]
    if model is None or problems or isinstance(origin, ObjectStoreWeights):
        return None, problems
    files = plan_checkpoint(asked.model, model, asked.revision, origin, replace(site.keeping, on=pool))
    problems = [] if canary else [*pin_problems(site, field, pinned=files.pinned)]
    if model.architecture is None and settings.measured is None and not canary:
        text = f"nothing is known of the shape of {asked.model}, so its KV cache cannot be computed"
        problems.append(Problem(f"{field}.model", f"{text}; {measured.hint(where)}"))
    return beside(files, FOLDER, "draft"), problems


def guess_reasons(settings: ModelSettings) -> dict[str, str]:
    """The reason of the guesses: who makes them."""
    asked = settings.speculative
    if asked is None:
        return {}
    guesses = f"{asked.tokens} {'guess' if asked.tokens == 1 else 'guesses'} for each step"
    who = f"{asked.method}, {asked.model}, which is loaded beside it" if asked.model else asked.method
    return {"speculative": f"{guesses} by {who}; its memory is counted, its speed is not"}


def with_draft(site: Site, settings: ModelSettings, workload: Workload) -> Workload:
    """The workload with the draft, where one is said."""
    return replace(workload, tuning=replace(workload.tuning, draft=_model(site, settings)))


def _model(site: Site, settings: ModelSettings) -> Model | None:
    asked = settings.speculative
    return site.catalog.models.get(asked.model) if asked and asked.model else None
