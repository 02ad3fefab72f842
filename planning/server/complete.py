"""A server once the others are known: how it is replaced, how many replicas it has, and when it scales."""

from collections.abc import Sequence
from dataclasses import fields

from planning.plan.servers import Rollout, Server, ServerPlan
from planning.server.claim_modes import is_sole, replaced_in_place
from planning.server.fit import Site
from planning.server.rollout import plan_rollout
from planning.server.room import ceiling, floor, sure_replicas
from planning.server.router import plan_router, router_problems, router_reasons
from planning.server.scaling import plan_scaling, scaling_problems
from planning.server.servers import Draft
from planning.stack.engines import running
from settings.doubt import judge
from settings.problems import Problem


def complete_servers(
    site: Site, drafts: Sequence[Draft], prometheus_url: str
) -> tuple[tuple[ServerPlan, ...], list[Problem]]:
    """The plan of every server; scaling that cannot work is a problem."""
    scaled = [draft for draft in drafts if not draft.canary]
    problems = [p for draft in scaled for p in judge(scaling_problems, draft.model_name, draft.settings, site.settings)]
    problems += [p for draft in drafts for p in judge(router_problems, draft)]
    return tuple(_completed(site, draft, drafts, prometheus_url) for draft in drafts), problems


def _completed(site: Site, draft: Draft, drafts: Sequence[Draft], prometheus_url: str) -> ServerPlan:
    """The plan of a server; `drafts`: all of the stack, which share its pool or do not."""
    neighbours = [neighbour for neighbour in drafts if neighbour.pool == draft.pool and neighbour is not draft]
    replaced = _rollout(draft, sure_replicas(draft, neighbours))
    scaled = None
    if not draft.canary:
        scaled = plan_scaling(
            draft.serves,
            draft.settings,
            site.settings,
            running(draft, site.catalog),
            draft.timing,
            draft.watched,
            prometheus_url,
        )
    known = {field.name: getattr(draft, field.name) for field in fields(Server)}
    known["reasons"] = {
        **draft.reasons,
        **({"scaling": scaled.reason} if scaled else {}),
        **router_reasons(draft),
        "rollout": replaced.reason,
    }
    return ServerPlan(
        **known,
        rollout=replaced,
        replicas=floor(draft),
        max_replicas=ceiling(draft),
        scaling=scaled,
        router=plan_router(draft, site.images),
    )


def _rollout(draft: Draft, room: int) -> Rollout:
    """`room`: replicas of this server that surely find a place."""
    load_s = draft.timing.prewarm_s + draft.timing.expected_start_s
    if is_sole(draft):
        return replaced_in_place(load_s)
    if not draft.gpus:
        return plan_rollout(gpus_per_replica=0, max_replicas=ceiling(draft), gpus_free=0, load_s=load_s, cpu_slots=room)
    free = room * draft.gpus
    plan = plan_rollout(gpus_per_replica=draft.gpus, max_replicas=ceiling(draft), gpus_free=free, load_s=load_s)
    # one more group would need a place of its own
    exclusive = draft.fabric is not None and draft.fabric.topology is not None
    if draft.nodes_per_replica == 1 or plan.max_surge == 0 or (plan.max_unavailable == 0 and not exclusive):
        return plan
    # a LeaderWorkerSet knows no rounding that would serve both a full and a roomy pool
    gap_s = load_s if floor(draft) == 1 else 0
    return Rollout(0, 1, gap_s, "a group of nodes is replaced in place, one at a time")
