"""Spot nodes, which the platform takes back at short notice: the time that answers have, and what a reader is told."""

from collections.abc import Iterator, Mapping, Sequence

from catalog.load import Catalog
from catalog.platforms import Platform
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.stack.timing import PRE_STOP_S, SHUTDOWN_MARGIN_S
from settings.schema import ModelSettings, StackSettings

# What passes of a notice beside the drain.
AROUND_S = PRE_STOP_S + SHUTDOWN_MARGIN_S
DRAIN = "drainTimeoutS"


def spot_drain_s(pool: PoolPlan, platform: Platform, longest_s: int) -> int | None:
    """Seconds that running requests get by default on spot nodes, so that a server ends them itself; None: no matter.

    One that is cut off with its node leaves the gateway waiting for an answer, one that ends says so. Where the notice
    is over before a server could, nothing is gained by shorter ones.
    """
    if not pool.spot or platform.spot is None or (left := platform.spot.pods_s - AROUND_S) <= 0:
        return None
    return min(longest_s, left)


def spot_reason(pool: PoolPlan, platform: Platform, longest_s: int, settings: ModelSettings) -> dict[str, str]:
    """The reason of a drain that is shorter than the longest answer because nodes are spot."""
    drain_s = spot_drain_s(pool, platform, longest_s)
    if drain_s is None or drain_s == longest_s or settings.drain_timeout_s or platform.spot is None:
        return {}
    why = f"a spot node is gone {platform.spot.pods_s} s after its notice, of which {AROUND_S} are for its end"
    return {DRAIN: f"{drain_s}: {why}"}


def spot_warnings(
    settings: StackSettings, catalog: Catalog, pools: Mapping[str, PoolPlan], servers: Sequence[ServerPlan]
) -> Iterator[str]:
    """Sentences about pools of spot nodes, and about servers that stand on them."""
    name = settings.cluster.platform
    platform = catalog.platform(name)
    for pool in pools.values():
        if not pool.spot:
            continue
        if platform.spot is None:
            yield f"pool {pool.name}: how long pods of a spot node have is not known of platform {name}"
        elif platform.spot.pods_s <= AROUND_S:
            yield (
                f"pool {pool.name}: a spot node gives its pods {platform.spot.pods_s} s, in which no server ends: "
                "answers that run then are cut, and the gateway asks another replica"
            )
    for server in servers:
        pool, model = pools[server.pool], settings.models[server.model_name]
        if pool.spot:
            yield from _server_warnings(server, model, platform)


def _server_warnings(server: ServerPlan, model: ModelSettings, platform: Platform) -> Iterator[str]:
    if server.fewest_replicas == 1 and not server.canary:
        yield (
            f"{server.name}: its one replica may be on a spot node; when that is taken back nothing answers until the "
            "next is loaded: use replicas.min: 2, or a pool of capacity type on-demand"
        )
    if platform.spot is None or model.drain_timeout_s is None:
        return
    left = platform.spot.pods_s - AROUND_S
    if model.drain_timeout_s > left > 0:
        yield (
            f"{server.name}: {DRAIN} {model.drain_timeout_s} is for updates alone: a spot node is gone "
            f"{platform.spot.pods_s} s after its notice, of which answers have {left}"
        )
