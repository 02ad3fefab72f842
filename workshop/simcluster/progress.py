"""When an object that was applied is done, failed, or still on its way: the conditions the engine waits for.

Pure functions of an object as the API server shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Kinds that are awaited; everything else is done as soon as it exists.
AWAITED = frozenset({"Deployment", "Job", "LeaderWorkerSet", "StatefulSet"})
SKIP_AWAIT = "pulumi.com/skipAwait"


@dataclass(frozen=True)
class Verdict:
    """`done`, or why not; `failed` when waiting longer is of no use."""

    done: bool
    failed: bool = False
    why: str = ""


DONE = Verdict(done=True)


def verdict(body: Mapping[str, Any]) -> Verdict:
    """Where an object stands."""
    if body["kind"] not in AWAITED or body["metadata"].get("annotations", {}).get(SKIP_AWAIT) == "true":
        return DONE
    status = body.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    match body["kind"]:
        case "Job":
            return _job(conditions)
        case "Deployment":
            return _deployment(body, status, conditions)
        case "LeaderWorkerSet":
            return _group(body, status, conditions)
        case _:
            return _counted(body, status)


def _true(conditions: Mapping[str, Any], kind: str) -> bool:
    return conditions.get(kind, {}).get("status") == "True"


def _job(conditions: Mapping[str, Any]) -> Verdict:
    if _true(conditions, "Complete"):
        return DONE
    if _true(conditions, "Failed"):
        return Verdict(done=False, failed=True, why=conditions["Failed"].get("message") or "failed")
    return Verdict(done=False, why="has not completed")


def _observed(body: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    return status.get("observedGeneration", 0) >= body["metadata"].get("generation", 1)


def _deployment(body: Mapping[str, Any], status: Mapping[str, Any], conditions: Mapping[str, Any]) -> Verdict:
    progress = conditions.get("Progressing", {})
    if not _observed(body, status):
        return Verdict(done=False, why="has not been seen by its controller")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(done=False, failed=True, why=progress.get("message", "makes no progress"))
    wanted = body["spec"].get("replicas", 1)
    counts = (status.get("updatedReplicas", 0), status.get("replicas", 0), status.get("availableReplicas", 0))
    if counts == (wanted, wanted, wanted):
        return DONE
    updated, present, available = counts
    return Verdict(done=False, why=f"{updated} of {wanted} pods are updated, {available} available, {present} in all")


def _group(body: Mapping[str, Any], status: Mapping[str, Any], conditions: Mapping[str, Any]) -> Verdict:
    if _observed(body, status) and _true(conditions, "Available"):
        return DONE
    ready = status.get("readyReplicas", 0)
    return Verdict(done=False, why=f"{ready} of {body['spec'].get('replicas', 1)} groups are ready")


def _counted(body: Mapping[str, Any], status: Mapping[str, Any]) -> Verdict:
    wanted = body["spec"].get("replicas", 1)
    ready = status.get("readyReplicas", 0)
    done = _observed(body, status) and status.get("updatedReplicas", 0) == wanted == ready
    return DONE if done else Verdict(done=False, why=f"{ready} of {wanted} pods are ready")
