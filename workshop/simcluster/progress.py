"""Progress of an applied object, for which the engine waits: done, failed, or still on its way. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workshop.kubernetes import condition, is_ready

SKIP_AWAIT = "pulumi.com/skipAwait"


@dataclass(frozen=True)
class Verdict:
    """`done`, or why not; `failed` when waiting longer is of no use."""

    done: bool = False
    failed: bool = False
    why: str = ""


DONE = Verdict(done=True)


def verdict(body: Mapping[str, Any]) -> Verdict:
    """The state of an object; what is not awaited is done as soon as it exists."""
    judge = AWAITED.get(body["kind"])
    if judge is None or body["metadata"].get("annotations", {}).get(SKIP_AWAIT) == "true":
        return DONE
    return judge(body)


def _job(body: Mapping[str, Any]) -> Verdict:
    if is_ready(body, "Complete"):
        return DONE
    if is_ready(body, "Failed"):
        return Verdict(why=condition(body, "Failed").get("message") or "failed", failed=True)
    return Verdict(why="has not completed")


def _count(body: Mapping[str, Any], key: str) -> int:
    return body.get("status", {}).get(key, 0)


def _observed(body: Mapping[str, Any]) -> bool:
    return _count(body, "observedGeneration") >= body["metadata"].get("generation", 1)


def _deployment(body: Mapping[str, Any]) -> Verdict:
    progress = condition(body, "Progressing")
    if not _observed(body):
        return Verdict(why="has not been seen by its controller")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(why=progress.get("message", "makes no progress"), failed=True)
    replicas = body["spec"].get("replicas", 1)
    updated, present, available = (_count(body, part) for part in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated == present == available == replicas:
        return DONE
    return Verdict(why=f"{updated} of {replicas} pods are updated, {available} available, {present} in all")


def _counted(body: Mapping[str, Any]) -> Verdict:
    replicas, ready = body["spec"].get("replicas", 1), _count(body, "readyReplicas")
    group = body["kind"] == "LeaderWorkerSet"
    there = is_ready(body, "Available") if group else _count(body, "updatedReplicas") == replicas == ready
    return (
        DONE
        if _observed(body) and there
        else Verdict(why=f"{ready} of {replicas} {'groups' if group else 'pods'} are ready")
    )


AWAITED = {"Deployment": _deployment, "Job": _job, "LeaderWorkerSet": _counted, "StatefulSet": _counted}
