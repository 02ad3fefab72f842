"""Puts a stack on a cluster as the engine would, by server-side apply of the rendered objects.

Each object is applied when all it depends on is done; what a former run left and this one does not declare goes, last
first. An inventory on the cluster says what belongs to the stack: a run that was cut off is finished by the next.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preview.rendering.prerequisites import find_prerequisites
from workshop.kubernetes import Object, named
from workshop.problems import Impossible
from workshop.simcluster.api import INVALID, NOT_FOUND, POLL_S, Api, ApiError, wait_until
from workshop.simcluster.progress import verdict
from workshop.simcluster.references import unstarted
from workshop.simcluster.rendered import Stack, Target, is_secret
from workshop.simcluster.surroundings import random_value, surroundings

HOME = "simcluster"
# kinds with fields that never change: the engine deletes such an object first, and makes it anew
REPLACED = ("ConfigMap", "Job")
# the annotation in which an object names its field manager
MANAGER = "pulumi.com/patchFieldManager"
# how long an API server may be away; it is back within seconds when somebody starts it again
OUTAGE_S = 120
Say = Callable[[str], None]


@dataclass
class Deployment:
    """One run of `deploy`: what was applied, and what is done of it."""

    api: Api
    stack: Stack
    say: Say
    applied: dict[str, Object] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # every request of a deployment may be repeated
        self.api = self.api.patient(OUTAGE_S)

    def run(self, timeout_s: float) -> None:
        """Applies everything and waits until all of it is done. Raises `Impossible` with every reason why not."""
        self._prepare()
        deadline = time.monotonic() + timeout_s
        waiting = list(self.stack.targets)
        while True:
            for target in [candidate for candidate in waiting if candidate.after <= self.done]:
                self.applied[target.urn] = self._apply(target)
                waiting.remove(target)
                self._judge([target])
            begun = [target for target in self.stack.targets if target.urn in self.applied]
            pending = [target for target in begun if target.urn not in self.done]
            if not waiting and not pending:
                break
            if time.monotonic() > deadline:
                raise Impossible(f"not done within {timeout_s:.0f} s:\n{self._reasons(pending)}")
            if not any(target.after <= self.done for target in waiting):
                time.sleep(POLL_S)
            self._judge(pending, refresh=True)
        self._prune()

    def _prepare(self) -> None:
        prepare(self.api, self.stack)
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
        # written down before the first object exists: what was begun can then always be found again
        known = {**self._inventory(), **{entry_key(target.body): entry(target) for target in self.stack.targets}}
        self._write_inventory(known)

    def _apply(self, target: Target) -> Object:
        body: Object = json.loads(json.dumps(target.body))
        existing = self.api.current(body)
        if target.patch and existing is None:
            raise ApiError(NOT_FOUND, "NotFound", f"{target} does not exist, and a patch makes nothing")
        if body["kind"] == "Secret" and is_secret(body):
            if existing is not None:
                return existing  # its values were drawn when it was made
            body["stringData"] = {key: random_value(key) for key in body.get("stringData", {})}
        if existing is not None:
            for path in target.frozen_fields:
                keep_field(body, existing, path.split("."))
        if existing is not None and self._runs_again(target, existing):
            self._remove(existing)
        try:
            answer = self._write(body)
        except ApiError as error:
            if body["kind"] not in REPLACED or error.status != INVALID or existing is None:
                raise ApiError(error.status, error.reason, f"{target}: {error}") from None
            self._remove(existing)
            self.replaced.add(target.urn)
            answer = self._write(body)
        self.say(f"{'created' if existing is None else 'applied'} {target}")
        return answer

    def _write(self, body: Object) -> Object:
        # as the engine would, so that either can go on where the other has stopped
        annotations = body["metadata"].get("annotations", {})
        return self.api.apply(body, manager=annotations.get(MANAGER, f"stack-{self.stack.name}"))

    def _runs_again(self, target: Target, existing: Object) -> bool:
        """Whether a Job has failed, which is final, or mounts a script that has changed, unless that is ignored."""
        changed = target.after & self.replaced and "spec" not in target.frozen_fields
        return existing["kind"] == "Job" and (verdict(existing).failed or bool(changed))

    def _remove(self, body: Object) -> None:
        """Deletes an object with all that is its own, and waits until it is gone."""
        self.api.delete(body, "Foreground")
        wait_until(lambda: self.api.current(body) is None, OUTAGE_S, f"{named(body)} was not deleted")

    def _judge(self, some: Iterable[Target], *, refresh: bool = False) -> None:
        failures = []
        for target in some:
            if refresh:
                self.applied[target.urn] = self._fresh(self.applied[target.urn])
            judged = verdict(self.applied[target.urn])
            if judged.failed:
                failures.append(f"{target}: {judged.why}")
            elif judged.done:
                self.done.add(target.urn)
                if refresh:
                    self.say(f"done    {target}")
        if failures:
            raise Impossible("\n".join(failures))

    def _fresh(self, body: Object) -> Object:
        current = self.api.current(body)
        if current is None:
            raise Impossible(f"{named(body)}: was deleted while it was waited for")
        return current

    def _reasons(self, pending: Sequence[Target]) -> str:
        lines = [f"{target}: {verdict(self.applied[target.urn]).why}" for target in pending]
        return "\n".join([*lines, *pods_in_trouble(self.api, self.stack.plan.namespace)])

    def _prune(self) -> None:
        """Deletes what the inventory knows and the stack no longer declares, last first."""
        declared = {entry_key(target.body) for target in self.stack.targets}
        known = self._inventory()
        for key, entry in reversed(known.items()):
            if key not in declared and not entry["keeps"]:
                self.api.delete(entry["body"])
                self.say(f"deleted {entry['body']['kind']} {entry['body']['metadata']['name']}")
        self._write_inventory({key: entry for key, entry in known.items() if key in declared or entry["keeps"]})

    def _inventory(self) -> dict[str, Any]:
        written = self.api.get("v1", "ConfigMap", f"stack-{self.stack.name}", HOME)
        return json.loads(written["data"]["objects"]) if written else {}

    def _write_inventory(self, content: Mapping[str, Any]) -> None:
        metadata = {"name": f"stack-{self.stack.name}", "namespace": HOME}
        data = {"objects": json.dumps(content, indent=0)}
        self.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def prepare(api: Api, stack: Stack) -> None:
    """Makes what a stack expects to find."""
    for body in surroundings(find_prerequisites(stack.manifests)):
        api.create(body)


def entry_key(body: Mapping[str, Any]) -> str:
    """The key of an object in the inventory."""
    metadata = body["metadata"]
    return f"{body['apiVersion']} {body['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def entry(target: Target) -> Object:
    """The entry of an object in the inventory: enough to delete it."""
    metadata = {key: target.body["metadata"][key] for key in ("name", "namespace") if key in target.body["metadata"]}
    body = {"apiVersion": target.body["apiVersion"], "kind": target.body["kind"], "metadata": metadata}
    # a patch gives up fields of an object that is somebody else's: that object is never deleted
    return {"body": body, "keeps": target.keeps or target.patch}


def keep_field(body: Object, existing: Mapping[str, Any], path: Sequence[str]) -> None:
    """Gives a field the value it has on the cluster, where both have it."""
    *parents, last = path
    for part in parents:
        if part not in body or part not in existing:
            return
        body, existing = body[part], existing[part]
    if last in body and last in existing:
        body[last] = existing[last]


def pods_in_trouble(api: Api, namespace: str) -> list[str]:
    """A line for every pod that fits nowhere, or ends and starts again: why."""
    pods = api.items("v1", "Pod", namespace)
    return [
        f"Pod {pod['metadata']['name']}: {why}"
        for pod in pods
        if (why := unscheduled(pod) or unstarted(pod) or restarted(pod))
    ]


def restarted(pod: Mapping[str, Any]) -> str:
    """Sentence on restarts of a container that is not ready; empty for any other pod."""
    containers = pod.get("status", {}).get("containerStatuses") or []
    most = max((container["restartCount"] for container in containers if not container["ready"]), default=0)
    return f"killed or crashed {most} times; does its startup probe outlast the load?" if most else ""


def unscheduled(pod: Mapping[str, Any]) -> str:
    """The scheduler's reason for a pod that fits nowhere; empty otherwise."""
    conditions = pod.get("status", {}).get("conditions") or []
    return next((condition["message"] for condition in conditions if condition.get("reason") == "Unschedulable"), "")
