"""Images that nodes pull before a pod needs them: for which pools that is of use, and what is pulled there.

A node that exists has an image when the next pod comes: a replica that is added, a pod that moves, a canary that is
promoted. A node that is bought gets its first pod and the DaemonSet's at once; one after the other, images
of other servers would only be in the way.
"""

from collections.abc import Mapping, Sequence

from planning.plan.pools import PoolPlan, PrePull
from planning.plan.servers import ServerPlan
from planning.plan.weights import ImageVolume
from settings.problems import Problem
from settings.schema import ImagesSettings

ELSEWHERE = "nodes that are bought need disks with the images on them (docs/operations.md, A faster start)"


def pulls_ahead(settings: ImagesSettings, pool: PoolPlan) -> bool:
    """Whether a pod of this pool finds its images there; nodes without GPUs are others' too, and many."""
    return settings.pre_pull and pool.gpus_per_node > 0 and not pool.awaited


def plan_pre_pulls(
    settings: ImagesSettings, pools: Mapping[str, PoolPlan], servers: Sequence[ServerPlan]
) -> tuple[tuple[PrePull, ...], list[Problem]]:
    """The images to pull on the nodes of each pool with servers; that there are none is a problem."""
    pulls = [
        _pull(pool, [server for server in servers if server.pool == pool.name])
        for pool in pools.values()
        if pulls_ahead(settings, pool)
    ]
    unknown = [pool.name for pool in pools.values() if pulls_ahead(settings, pool) and not _finds_nodes(pool)]
    if unknown:
        text = f"no label says which nodes pool '{unknown[0]}' has, only what its pods claim"
        fix = f"give gpuPools.{unknown[0]}.provisioning.labels, or leave it out"
        return (), [Problem("images.prePull", f"{text}; {fix}")]
    needed = tuple(pull for pull in pulls if pull.containers)
    if needed or not settings.pre_pull or not servers:
        return needed, []
    text = f"no server is on nodes with GPUs that exist, and {ELSEWHERE}; leave it out"
    return (), [Problem("images.prePull", text)]


def _finds_nodes(pool: PoolPlan) -> bool:
    """Whether pods without GPUs find its nodes."""
    return bool(pool.node_selector or pool.node_affinity)


def _pull(pool: PoolPlan, servers: Sequence[ServerPlan]) -> PrePull:
    images = [server.image for server in servers]
    images += [server.kept_cache.image for server in servers if server.kept_cache]
    volumes = [checkpoint.source.volume for server in servers for checkpoint in server.checkpoints]
    return PrePull(
        pool,
        tuple({image.reference: image for image in images}.values()),
        tuple(dict.fromkeys(volume.reference for volume in volumes if isinstance(volume, ImageVolume))),
    )
