"""The servers of all models before they know of each other: of each model one, and its canary's."""

from collections.abc import Iterator
from dataclasses import replace

from planning.plan.pools import PoolPlan
from planning.server.adapters import rank_problems
from planning.server.additions import server_addition_problems, with_additions
from planning.server.between_nodes import fabric_problems
from planning.server.fit import Site
from planning.server.indifferent import INDIFFERENT
from planning.server.servers import Draft, draft_server
from planning.server.unplanned import unplanned_problems
from planning.stack.names import name_problems
from planning.stack.weights import tell_apart
from planning.tasks import task_of, unanswered
from settings.doubt import Judging, doubts, in_doubt, judge
from settings.problems import Problem, nearest
from settings.schema import CanarySettings, ModelSettings


def draft_servers(site: Site) -> tuple[list[Draft], list[Problem]]:
    """The server of every model, and its canary twin; one with which something is wrong is left out."""
    drafts: list[Draft | None] = []
    problems = judge(name_problems, site.settings.models) + rank_problems(site.settings)
    for name, model in site.settings.models.items():
        path, pool, canary = f"models.{name}", site.pools.get(model.pool), model.canary
        problems += judge(_unknown_pool, site, path, model)
        primary, faults = _drafted(site, path, name, model, pool, canary=False)
        drafts.append(primary)
        problems += judge(_replaced_problems, site, path, name, model) + faults
        if canary is not None:
            twin, faults = _drafted(site, f"{path}.canary", name, _twin(model, canary), pool, canary=True)
            drafts.append(twin)
            problems += judge(_canary_problems, site, path, model, canary)
            # what a canary did not write itself is said of its model already
            known, own = {problem.message for problem in problems}, canary.model_fields_set
            problems += [p for p in faults if p.message not in known or _key(p, f"{path}.canary.") in own]
            problems += judge(_name_problems, site, name)
    planned = [draft for draft in drafts if draft]
    named = iter(tell_apart([checkpoint for draft in planned for checkpoint in draft.checkpoints]))
    return [replace(draft, checkpoints=tuple(next(named) for _ in draft.checkpoints)) for draft in planned], problems


def _drafted(
    site: Site, path: str, name: str, settings: ModelSettings, pool: PoolPlan | None, *, canary: bool
) -> tuple[Draft | None, list[Problem]]:
    """A server; without a pool that is known, what can be said of it all the same."""
    with Judging() as judging:
        if pool is None:
            draft, problems = None, unplanned_problems(site, path, settings, canary=canary, on_cpu=False)
        else:
            draft, problems = draft_server(site, path, name, settings, pool, canary=canary)
    # one of which too little is known is counted nowhere
    known = draft if judging.is_sure(*INDIFFERENT) else None
    problems = judging.kept(problems) + server_addition_problems(site, path, known, settings)
    problems += judge(fabric_problems, site, path, known) if known else []
    return with_additions(site, known, settings) if known else None, problems


def _unknown_pool(site: Site, path: str, model: ModelSettings) -> Iterator[Problem]:
    if model.pool not in site.settings.gpu_pools:
        yield Problem(f"{path}.pool", f"no pool '{model.pool}'{nearest(model.pool, site.settings.gpu_pools)}")


def _name_problems(site: Site, name: str) -> Iterator[Problem]:
    if f"{name}-canary" in site.settings.models:
        message = f"its server would have the name of models.{name}-canary; rename that model"
        yield Problem(f"models.{name}.canary", message)


def _replaced_problems(site: Site, path: str, name: str, settings: ModelSettings) -> list[Problem]:
    """Problems of `replaces`: the model must be gone, and replaced once: two cannot start in one place."""
    if settings.replaces is None:
        return []
    where, problems = f"{path}.replaces", []
    if settings.replaces in site.settings.models:
        message = f"'{settings.replaces}' is served still; take it out of models, or this line"
        problems.append(Problem(where, message))
    successors = [successor for successor, model in site.settings.models.items() if model.replaces == settings.replaces]
    if successors.index(name):
        problems.append(Problem(where, f"'{settings.replaces}' is replaced by models.{successors[0]} already"))
    return problems


def _twin(settings: ModelSettings, canary: CanarySettings) -> ModelSettings:
    """The settings of a model's second server: the same but for what its canary says."""
    changes = {
        field: value
        for field in ("model", "revision", "image", "context_tokens", "max_num_seqs")
        if (value := getattr(canary, field)) is not None
    }
    if canary.image is not None or canary.engine_version is not None:
        changes["engine_version"] = canary.engine_version
    if canary.model is not None and canary.revision is None:
        changes["revision"] = None
    if canary.model is not None or canary.revision is not None:
        changes["signature"] = None
    if canary.model is not None or canary.measured is not None:
        # figures of one checkpoint say nothing about another
        changes["measured"] = canary.measured
    twin = settings.model_copy(update={**changes, "args": [*settings.args, *canary.args]})
    shared = doubts(canary).keys() & type(settings).model_fields.keys()
    return in_doubt(twin, {name: doubts(canary)[name] for name in shared})


def _canary_problems(site: Site, path: str, settings: ModelSettings, canary: CanarySettings) -> list[Problem]:
    """Problems of a canary that answers what its model does not: nobody may be answered differently by chance."""
    model, canary_model = (site.catalog.models.get(name or "") for name in (settings.model, canary.model))
    if model is None or canary_model is None or not (missing := unanswered(task_of(model), task_of(canary_model))):
        return []
    return [Problem(f"{path}.canary.model", f"{canary.model} does not answer {missing}, as {settings.model} does")]


def _key(problem: Problem, prefix: str) -> str:
    """The key below `prefix` a problem is about; what a canary did not write itself is said of its model already."""
    return problem.path.removeprefix(prefix).partition("[")[0]
