"""Weights that are loaded beside a model's own, an adapter or a draft: where they are, and where they cannot be."""

from collections.abc import Iterator

from planning.plan.pools import PoolPlan
from planning.server.fit import Site
from settings.problems import Problem
from settings.schema import ModelSettings, NodeCacheWeights, ObjectStoreWeights, SharedClaimWeights, WeightsSettings

SHARED_MODE = "ReadWriteMany"


def origin_of(site: Site, settings: ModelSettings) -> WeightsSettings:
    """Weights of the model as they are before a pod copies them: what is beside them is not copied."""
    weights = settings.weights or site.settings.weights
    return weights.copied_from if isinstance(weights, NodeCacheWeights) else weights


def place_problems(origin: WeightsSettings, path: str, field: str, pool: PoolPlan) -> Iterator[Problem]:
    """Weights beside which nothing can be, each with what to do; `path`: of the model."""
    where = f"{path}.{field}"
    if isinstance(origin, ObjectStoreWeights):
        yield Problem(
            where,
            "needs files on a volume, and vLLM streams none but the model's own from a bucket; "
            f"give {path}.weights: {{kind: sharedClaim, storageClass: …}}, or an existingClaim with its files on it",
        )
    if isinstance(origin, SharedClaimWeights) and origin.access_mode != SHARED_MODE and pool.nodes > 1:
        yield Problem(
            where,
            f"has a claim of its own, and two of accessMode {origin.access_mode} may be disks of different nodes or "
            f"zones; use accessMode {SHARED_MODE}, or a pool of one node",
        )


def pin_problems(site: Site, path: str, *, pinned: bool) -> Iterator[Problem]:
    """Files of a moving revision where hashes are required."""
    if site.settings.images.require_digests and not pinned:
        yield Problem(f"{path}.revision", "images.requireDigests is true, and nothing pins it; give a commit")
