"""Storage of a stack: weights, clones and copies of them, what servers compile, keys and spend, chats."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from planning.capacity.memory import GIB
from planning.plan.gateway import GatewayPlan
from planning.plan.pools import PoolPlan
from planning.plan.servers import CompileCacheClaim, ServerPlan
from planning.plan.storage import Stored
from planning.plan.stores import BundledDatabase, CloudNativePgDatabase
from planning.plan.weights import CheckpointPlan, ExistingClaim, ObjectStore, OciImage, OwnClaim, WeightsPlan


def stored(
    weights: WeightsPlan,
    servers: Sequence[ServerPlan],
    pools: Mapping[str, PoolPlan],
    compile_cache: CompileCacheClaim | None,
    gateway: GatewayPlan,
) -> tuple[Stored, ...]:
    """Everything that is kept, each once."""
    # an image with several checkpoints is one; two revisions of a model are two
    held = {
        checkpoint.place.name
        if isinstance(checkpoint.place, OciImage) and checkpoint.place.whole
        else checkpoint.key: _kept(checkpoint, servers, pools)
        for checkpoint in weights.checkpoints
    }
    entries = list(held.values())
    entries += [copies for server in servers for copies in _copies(server)]
    if compile_cache:
        claim = compile_cache
        entries.append(
            Stored("what is compiled", "claim", claim.storage_class, claim.gib, 1, 1, claim.usd_per_gib_month)
        )
    if gateway.database and isinstance(source := gateway.database.source, BundledDatabase | CloudNativePgDatabase):
        place, copies = source.storage_class or "the default class", source.instances
        entries.append(Stored("keys and spend", "claim", place, source.gib, copies, copies, None))
    if page := gateway.chat_ui:
        place = page.storage_class or "the default class"
        entries.append(Stored("chats and uploaded files", "claim", place, page.gib, 1, 1, None))
    return tuple(entries)


def _kept(checkpoint: CheckpointPlan, servers: Sequence[ServerPlan], pools: Mapping[str, PoolPlan]) -> Stored:
    what, gib = f"weights of {checkpoint.model}", round(checkpoint.disk_bytes / GIB, 1)
    match place := checkpoint.place:
        case OwnClaim():
            claims = 2 if place.cloned else 1
            return Stored(what, "claim", place.storage_class, place.gib, claims, claims, place.usd_per_gib_month)
        case ExistingClaim(name=name):
            return Stored(what, "existing claim", name, gib, 1, 1, None)
        case ObjectStore(bucket=bucket):
            return Stored(what, "bucket", bucket, gib, 1, 1, place.usd_per_gib_month)
        case OciImage(name=name, gib=size, whole=whole):
            holding = name if whole else checkpoint.key
            holders = [server for server in servers if holding in _held(server)]
            # on as many nodes as have a pod; those of one replica are on different ones
            fewest = max((server.nodes_per_replica for server in holders if _pods(server)[0]), default=0)
            pods: Counter[str] = Counter()
            for server in holders:
                pods[server.pool] += _pods(server)[1]
            most = sum(min(many, pools[pool].nodes) for pool, many in pods.items())
            return Stored(f"image {name}" if whole else what, "node", name, size, fewest, most, None)


def _held(server: ServerPlan) -> list[object]:
    return [name for checkpoint in server.checkpoints for name in (checkpoint.key, checkpoint.place.name)]


def _copies(server: ServerPlan) -> Iterator[Stored]:
    for checkpoint in server.checkpoints:
        if copy := checkpoint.source.copy:
            what = f"copies of {checkpoint.model} for {server.name}"
            yield Stored(what, "node", copy.storage_class, copy.gib, *_pods(server), copy.usd_per_gib_month)


def _pods(server: ServerPlan) -> tuple[int, int]:
    """Fewest and most pods of a server."""
    return server.fewest_replicas * server.nodes_per_replica, server.max_replicas * server.nodes_per_replica
