"""The parts of a server before it is put together: its place, its files, what is beside them, and all against them."""

from dataclasses import dataclass, replace

from catalog.schema import Gpu, Model
from planning.plan.pools import PoolPlan
from planning.plan.weights import CheckpointPlan
from planning.server.added import added_problems, in_words_of_the_engine
from planning.server.fields import Beside, plan_beside
from planning.server.fit import Site
from planning.server.indifferent import INDIFFERENT
from planning.server.placement import Placement, on_cpu, on_gpus
from planning.server.task_fit import pickle_problems
from planning.stack.shards import shard_problems
from planning.stack.signatures import sign_checkpoint
from planning.stack.weights import asked_spread, plan_checkpoint
from settings.doubt import Judging, judged
from settings.problems import Problem
from settings.schema import ModelSettings, WeightsSettings


@dataclass(frozen=True)
class Prepared:
    """`written`: the settings as the user has them; `settings`: with all arguments in words of the engine."""

    written: ModelSettings
    settings: ModelSettings
    beside: Beside
    placed: Placement
    files: CheckpointPlan


def prepare(
    site: Site, path: str, written: ModelSettings, model: Model, gpu: Gpu | None, pool: PoolPlan, *, canary: bool
) -> tuple[Prepared | None, list[Problem]]:
    """The parts of a server on the engine of the site; None where it finds no place."""
    beside, unloaded = judged(plan_beside, site, path, written, model, pool, canary=canary)
    settings = in_words_of_the_engine(written, site.catalog.vllm, beside.draft)
    placed, problems = judged(_placed, site, path, settings, model, gpu, pool)
    weights = settings.weights or site.settings.weights
    with Judging() as filing:
        files, unread = _files(site, path, settings, model, weights, pool, placed)
        unread = unread + _unpinned(site, path, written, model, files)
    problems += filing.kept(unread) + unloaded
    known = files if filing.is_sure(*INDIFFERENT) else None
    problems += added_problems(
        written, model, site.catalog, known, path, site.opened(path), canary=canary, on_cpu=gpu is None
    )
    return Prepared(written, settings, beside, placed, files) if placed else None, problems


def _placed(
    site: Site, path: str, settings: ModelSettings, model: Model, gpu: Gpu | None, pool: PoolPlan
) -> tuple[Placement | None, list[Problem]]:
    return on_gpus(site, path, settings, model, gpu, pool) if gpu else on_cpu(path, settings, model, pool)


def _files(
    site: Site,
    path: str,
    settings: ModelSettings,
    model: Model,
    weights: WeightsSettings,
    pool: PoolPlan,
    placed: Placement | None,
) -> tuple[CheckpointPlan, list[Problem]]:
    keeping, spread = replace(site.keeping, on=pool), asked_spread(settings, weights)
    files = plan_checkpoint(settings.model, model, settings.revision, weights, keeping, spread)
    like, images = site.images["python"], site.settings.images
    files, unsigned = sign_checkpoint(files, settings.signature, path, like, images, site.catalog)
    parallelism = placed.parallelism if placed else None
    unread = pickle_problems(settings, model, files, path) + shard_problems(
        weights, model, parallelism, settings.args, path
    )
    return files, unsigned + unread


def _unpinned(site: Site, path: str, settings: ModelSettings, model: Model, files: CheckpointPlan) -> list[Problem]:
    if files.pinned or not site.settings.images.require_digests:
        return pickle_problems(settings, model, files, path)
    return [Problem(f"{path}.revision", "images.requireDigests is true and the catalogue pins no commit; give one")]
