"""Images of a stack, pulled by a node of each kind that will need them: the one look that makes something.

A pod that asks for next to nothing stands for all pods with the same place: it has their node selector, tolerations,
users and Secrets for registries, and a container per image, whose command is one that no image has. The kubelet pulls
before it starts anything, so a container that could not be started is of an image that is there
(https://kubernetes.io/docs/concepts/containers/images/). The pod is deleted whatever happens.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from planning.plan import Plan
from preview.preflight.cluster import Cluster, Forbidden, Refusal, condition, has_namespace
from preview.preflight.findings import Finding, fine, not_known, wrong
from preview.rendering.manifests import Manifest
from preview.rendering.prerequisites import mappings_in
from preview.reporting.wording import count

# Words of a kubelet that could not pull (kubernetes/kubernetes pkg/kubelet/images/types.go).
NOT_PULLED = {
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull"),
    *("RegistryUnavailable", "SignatureValidationFailed"),
}
EVERY_S = 2.0
PLACE = ("nodeSelector", "tolerations", "affinity", "imagePullSecrets")
# Fields of a pod's security context that a container may have of its own.
OF_CONTAINERS = ("runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "seLinuxOptions", "windowsOptions")
AMOUNTS = {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "16Mi"}
SUBJECT = "images"


class PodCluster(Cluster, Protocol):
    """A cluster on which pods may be made."""

    def create(self, body: Mapping[str, Any]) -> None:
        """Makes an object. Raises `Refusal` and `Forbidden`."""
        ...

    def pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A pod as it is now."""
        ...

    def delete_pod(self, namespace: str, name: str) -> None:
        """Deletes a pod, and waits for nothing."""
        ...


@dataclass(frozen=True)
class Clock:
    """The time, and a way to let it pass; both in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def pull_images(
    manifests: Sequence[Manifest], plan: Plan, cluster: PodCluster, timeout_s: float, clock: Clock
) -> Iterator[Finding]:
    """A finding for each image that a node cannot get, and one for each place whose node has all of them.

    `timeout_s`: for all images of a place together. Raises `Unreachable`.
    """
    if not has_namespace(cluster, plan.namespace):
        yield not_known(SUBJECT, f"namespace {plan.namespace} is not there, and a pod that pulls needs one")
        return
    bought = {_key(pool.node_selector): pool.name for pool in plan.pools.values() if pool.awaited}
    for body in probes(manifests, plan.namespace):
        body["spec"]["activeDeadlineSeconds"] = int(timeout_s) + 60
        selector = body["spec"].get("nodeSelector") or {}
        pool = bought.get(_key(selector))
        subject = f"{SUBJECT} on {_place(body['spec'])}"
        if pool is not None:
            yield not_known(subject, f"nodes of pool {pool} may only come when a pod waits, and none waits for this")
            continue
        yield from _pulled(subject, body, cluster, timeout_s, clock)


def _place(spec: Mapping[str, Any]) -> str:
    if labels := [f"{key}={value}" for key, value in sorted((spec.get("nodeSelector") or {}).items())]:
        return f"nodes with {', '.join(labels)}"
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    return "nodes of their affinity" if required in (spec.get("affinity") or {}).get("nodeAffinity", {}) else "any node"


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def probes(manifests: Sequence[Manifest], namespace: str) -> list[dict[str, Any]]:
    """A pod for each place that pods of the stack's namespace have, with all of their images."""
    places: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {}
    for manifest in manifests:
        for spec in mappings_in(manifest.body) if manifest.namespace == namespace else ():
            containers = spec.get("containers")
            if not isinstance(containers, list) or not containers or "image" not in containers[0]:
                continue
            place = {key: spec[key] for key in PLACE if spec.get(key)}
            _, images = places.setdefault(json.dumps(place, sort_keys=True), (place, {}))
            for container in [*spec.get("initContainers", []), *containers]:
                images.setdefault(container["image"], _as_it_runs(container, spec.get("securityContext") or {}))
    return [_probe(*places[key], namespace) for key in sorted(places)]


def _as_it_runs(container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> dict[str, Any]:
    """The policy about pulls and the users of a container, so that whoever admits it admits the one that pulls."""
    users = {key: of_pod[key] for key in OF_CONTAINERS if key in of_pod} | (container.get("securityContext") or {})
    policy = {"imagePullPolicy": container["imagePullPolicy"]} if "imagePullPolicy" in container else {}
    return {**policy, **({"securityContext": users} if users else {})}


def _probe(place: Mapping[str, Any], images: Mapping[str, Mapping[str, Any]], namespace: str) -> dict[str, Any]:
    containers = [
        {
            "name": f"image-{number}",
            "image": image,
            # never there, so nothing of an image runs
            "command": ["/llm-stack-preflight-starts-nothing"],
            "resources": {"requests": AMOUNTS, "limits": AMOUNTS},
            **kept,
        }
        for number, (image, kept) in enumerate(sorted(images.items()))
    ]
    fixed = {"restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False}
    labels = {"app.kubernetes.io/name": "preflight-images", "app.kubernetes.io/part-of": "llm-stack"}
    # one that a killed preflight has left is in nobody's way
    metadata = {"name": f"preflight-images-{secrets.token_hex(4)}", "namespace": namespace, "labels": labels}
    spec = {**place, **fixed, "terminationGracePeriodSeconds": 1, "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _pulled(
    subject: str, body: Mapping[str, Any], cluster: PodCluster, timeout_s: float, clock: Clock
) -> Iterator[Finding]:
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    images = {container["name"]: container["image"] for container in body["spec"]["containers"]}
    try:
        cluster.create(body)
    except Forbidden:
        yield not_known(subject, "a pod may not be made by the user of this kubeconfig")
        return
    except Refusal as refusal:
        yield wrong(subject, f"a pod that pulls them is refused: {refusal}")
        return
    ends = clock.now() + timeout_s
    try:
        while True:
            pod = cluster.pod(namespace, name) or {}
            states = {container: _state(pod, container) for container in images}
            if None not in states.values() or clock.now() >= ends:
                break
            clock.sleep(EVERY_S)
    finally:
        cluster.delete_pod(namespace, name)
    node = pod.get("spec", {}).get("nodeName")
    if node is None:
        yield wrong(subject, f"no node took a pod that pulls them within {timeout_s:g} s{_unscheduled(pod)}")
        return
    faulty = {images[container]: state for container, state in states.items() if state}
    for image, state in faulty.items():
        yield wrong(f"image {image}", f"node {node} could not pull it: {state}")
    if open_ := [images[container] for container, state in states.items() if state is None]:
        yield not_known(subject, f"node {node} is still pulling after {timeout_s:g} s: {', '.join(open_)}")
    if here := len(images) - len(faulty) - len(open_):
        yield fine(subject, f"node {node} has {count(here, 'image')} of {len(images)}")


def _state(pod: Mapping[str, Any], container: str) -> str | None:
    """The reason why an image could not be pulled, empty where it was; None while nobody knows."""
    statuses = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses") or ()}
    state = statuses.get(container, {}).get("state") or {}
    waiting = state.get("waiting") or {}
    if waiting.get("reason") in NOT_PULLED:
        return waiting.get("message") or waiting["reason"]
    started = "running" in state or "terminated" in state
    failed = waiting.get("reason") in ("RunContainerError", "CreateContainerError", "CrashLoopBackOff")
    return "" if started or failed or statuses.get(container, {}).get("imageID") else None


def _unscheduled(pod: Mapping[str, Any]) -> str:
    message = condition(pod, "PodScheduled").get("message")
    return f": {message}" if message else ""
