"""Pods that a claim lets in by its access mode, and what follows: refusals of a stack that has more, and updates.

Of ReadWriteOnce all pods are of one node. Of ReadWriteOncePod the scheduler lets a second pod wait until the first is
gone (Kubernetes documentation, "Access Modes"), so there may be one in all: one server, one replica, one node. The Job
that fills it is done before, and never runs again.
"""

from collections.abc import Iterable, Iterator, Sequence

from planning.plan.servers import Rollout, Server
from planning.plan.weights import OwnClaim
from planning.server.fit import Site
from planning.server.room import ceiling
from planning.server.servers import Draft
from planning.stack.places import ONE_NODE, ONE_POD
from settings.problems import Problem
from settings.schema import ClaimedCompileCache, NodeCacheWeights

MANY_READERS = "ReadOnlyMany where the class can clone volumes"
MANY = "a class that offers ReadWriteMany"
INSTEAD = f"accessMode {MANY_READERS}, or {MANY}"


def is_sole(server: Server) -> bool:
    """Whether a second pod of this server could not mount its weights."""
    return any(mode == ONE_POD for mode in _modes(server))


def replaced_in_place(load_s: int) -> Rollout:
    """The update of such a server, whatever its pool has to spare; `load_s`: seconds until the next pod serves."""
    return Rollout(0, 1, load_s, "its claim lets one pod in at a time: the old pod goes first")


def mode_problems(site: Site, drafts: Sequence[Draft]) -> list[Problem]:
    """More nodes or pods than the claims of a stack let in."""
    problems = [*_of_one_pod(drafts), *_of_one_node(site, drafts), *_of_compile_cache(site, drafts)]
    # one sentence for all servers of one place
    return list(dict.fromkeys(problems))


def reader_warnings(site: Site, drafts: Sequence[Draft]) -> list[str]:
    """Claims that more nodes read than a disk of the platform's own driver lets; another driver may let them."""
    readers = site.catalog.disk_readers.get(site.settings.cluster.platform)
    classes: dict[str, list[Draft]] = {}
    for draft in drafts:
        if isinstance(place := draft.checkpoint.place, OwnClaim) and place.cloned:
            classes.setdefault(place.storage_class, []).append(draft)
    if readers is None:
        return []
    better = f" ({readers.better})" if readers.better else ""
    limit = f"have at most {readers.nodes} readers{better}" if readers.nodes else "are never ReadOnlyMany"
    return [
        f"weights on {name} are read from up to {_nodes(sharing)} nodes, and disks of {readers.driver} {limit}; make "
        "sure that the class can do it"
        for name, sharing in classes.items()
        if _nodes(sharing) > readers.nodes
    ]


def _modes(server: Server) -> list[str]:
    """The modes of those of our claims that the server itself mounts as they are filled."""
    places = [checkpoint.place for checkpoint in server.checkpoints]
    return [place.access_mode for place in places if isinstance(place, OwnClaim) and not place.cloned]


def _of_one_pod(drafts: Sequence[Draft]) -> Iterator[Problem]:
    holders: dict[tuple[str, ...], Draft] = {}
    for draft in filter(is_sole, drafts):
        path, reason = _path(draft), "its weights are on a claim for one pod"
        if draft.nodes_per_replica > 1:
            yield Problem(path, f"{reason}, and a replica is {draft.nodes_per_replica} pods; use {INSTEAD}")
        elif ceiling(draft) > 1:
            where = "replicas" if draft.canary else "replicas.max"
            replicas = f"{ceiling(draft)} replicas are {ceiling(draft)}"
            yield Problem(f"{path}.{where}", f"{reason}, and {replicas}; use 1, or {INSTEAD}")
        firsts = [holders.setdefault(checkpoint.key, draft) for checkpoint in draft.checkpoints]
        if first := next((holder for holder in firsts if holder is not draft), None):
            yield Problem(path, f"{reason}, which is that of {first.name}; use {INSTEAD}")


def _of_one_node(site: Site, drafts: Sequence[Draft]) -> Iterator[Problem]:
    for draft in drafts:
        keys = {checkpoint.key for checkpoint in draft.checkpoints}
        sharing = [other for other in drafts if not keys.isdisjoint(checkpoint.key for checkpoint in other.checkpoints)]
        if ONE_NODE in _modes(draft) and (nodes := _nodes(sharing)) > 1:
            path = f"models.{draft.model_name}.weights" if draft.settings.weights else "weights"
            weights = draft.settings.weights or site.settings.weights
            origin = ".from" if isinstance(weights, NodeCacheWeights) else ""
            yield Problem(
                f"{path}{origin}.accessMode",
                f"{ONE_NODE} lets pods of one node in, and the pools of its servers have {nodes}; use {MANY_READERS}, "
                f"{ONE_POD} for servers of one pod, or {MANY}",
            )


def _of_compile_cache(site: Site, drafts: Sequence[Draft]) -> Iterator[Problem]:
    match site.settings.compile_cache:
        case ClaimedCompileCache(access_mode=mode) if mode == ONE_NODE and (nodes := _nodes(drafts)) > 1:
            message = f"{mode} lets pods of one node in, and the pools of the servers have {nodes}"
            yield Problem("compileCache.accessMode", f"{message}; use {MANY}, or kind: none")


def _nodes(drafts: Iterable[Draft]) -> int:
    """Nodes that pods of these servers may be on."""
    return sum({draft.pool: draft.on.nodes for draft in drafts}.values())


def _path(draft: Draft) -> str:
    return f"models.{draft.model_name}{'.canary' if draft.canary else ''}"
