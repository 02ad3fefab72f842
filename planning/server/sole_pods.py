"""Servers with weights on a claim that lets one pod in (ReadWriteOncePod): when that can work, and how they update.

The scheduler lets a second pod wait until the first is gone (Kubernetes documentation, "Access Modes"), so there may be
one pod in all: one server, one replica, one node. The Job that fills the claim is done before, and never runs again.
"""

from collections.abc import Sequence

from planning.plan.servers import Rollout, Server
from planning.plan.weights import OwnClaim
from planning.server.room import ceiling
from planning.server.servers import Draft
from planning.stack.places import ONE_POD
from settings.problems import Problem

INSTEAD = "use accessMode ReadOnlyMany where the class can clone volumes, or a class that offers ReadWriteMany"


def sole(server: Server) -> bool:
    """Whether a second pod of this server could not mount its weights."""
    return any(isinstance(one.place, OwnClaim) and one.place.access_mode == ONE_POD for one in server.checkpoints)


def in_place(load_s: int) -> Rollout:
    """How such a server is updated, whatever its pool has to spare; `load_s`: seconds until the next pod serves."""
    return Rollout(0, 1, load_s, "its claim lets one pod in at a time: the old pod goes first")


def sole_problems(drafts: Sequence[Draft]) -> list[Problem]:
    """More than one pod for one such claim."""
    problems: list[Problem] = []
    holders: dict[tuple[str, ...], Draft] = {}
    for draft in drafts:
        if not sole(draft):
            continue
        path = f"models.{draft.model_name}{'.canary' if draft.canary else ''}"
        if draft.nodes_per_replica > 1:
            said = f"its weights are on a claim for one pod, and a replica is {draft.nodes_per_replica} pods"
            problems.append(Problem(path, f"{said}; {INSTEAD}"))
        elif ceiling(draft) > 1:
            where = "replicas" if draft.canary else "replicas.max"
            said = f"its weights are on a claim for one pod, and {ceiling(draft)} replicas are {ceiling(draft)}"
            problems.append(Problem(f"{path}.{where}", f"{said}; use 1, or {INSTEAD.removeprefix('use ')}"))
        first = holders.setdefault(draft.checkpoint.key, draft)
        if first is not draft:
            said = f"its weights are on a claim for one pod, which is that of {first.name}"
            problems.append(Problem(path, f"{said}; {INSTEAD}"))
    return problems
