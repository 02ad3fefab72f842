"""A stack on a simulated cluster, as the tests look at it: deploy, change, and read back whole values.

What stands here proves nothing by itself. Waits have deadlines and end as soon as their condition holds.
"""

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from preview.rendering.render import render
from preview.rendering.stackfile import read_project
from tests.cluster import faults
from tests.harness import ROOT
from workshop.kubernetes import Object, is_ready
from workshop.simcluster import nodes
from workshop.simcluster.api import Api, ApiError, wait_until
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.deploy import Deployment, unscheduled
from workshop.simcluster.furnish import furnish
from workshop.simcluster.obtain import control_plane
from workshop.simcluster.rendered import Stack, Target, stack_of
from workshop.simcluster.stages import FAULT

NAMESPACE = "llm-serving"
# Seconds of the plan in one second of a test: a download of two hours takes four.
SCALE = 2000
# Waits end with what they wait for: these are for what never comes, and far above what a busy machine takes.
DEPLOY_S = 180
SOON_S = 90
INSTANCE = "app.kubernetes.io/instance"


def gpus_of(pod: Mapping[str, Any]) -> int:
    """GPUs a pod requests; init containers run before the others, so they only count where they want more."""
    together, before = (sum(map(_gpus, pod["spec"]["containers"])), pod["spec"].get("initContainers", []))
    return max([together, *map(_gpus, before)])


def _gpus(container: Mapping[str, Any]) -> int:
    return int(container.get("resources", {}).get("requests", {}).get("nvidia.com/gpu", "0"))


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether a pod holds nothing any more."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def stack(name: str) -> Stack:
    """A stack of this project, rendered."""
    rendering = render(read_project(ROOT), name)
    assert rendering.refused == ()
    return stack_of(rendering)


def variant(name: str, folder: Path, change: Callable[[dict[str, Any]], None]) -> Stack:
    """The same stack with its file changed: `change` gets the `config` of the stack file."""
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    project["main"] = os.path.relpath(ROOT, folder)
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
    content = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))
    change(content["config"])
    (folder / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    rendering = render(read_project(folder), name)
    assert rendering.refused == ()
    return stack_of(rendering)


def mutated(whole: Stack, kind: str, name: str, change: Callable[[Any], None]) -> Stack:
    """The same stack with one object's body changed, as a mistake in the program would change it."""
    found: list[Target] = []
    hits = 0
    for target in whole.targets:
        if (target.body["kind"], target.body["metadata"]["name"]) == (kind, name):
            body = copy.deepcopy(dict(target.body))
            change(body)
            found.append(replace(target, body=body))
            hits += 1
        else:
            found.append(target)
    assert hits == 1, f"{kind} {name} is declared once"
    return replace(whole, targets=tuple(found))


def evict(api: Api, pod: Object) -> None:
    """Asks for a pod to go, as a drain does. Raises `ApiError` with 429 while a disruption budget forbids it."""
    metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
    api.request(
        "POST", api.path_of(pod, "eviction"), {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    )


def scale(api: Api, body: Object, replicas: int) -> None:
    """Sets the number of replicas through the scale subresource, as an autoscaler does."""
    api.patch(body, {"spec": {"replicas": replicas}}, "scale")


@dataclass
class World:
    """One cluster with the nodes of one stack."""

    cluster: Cluster
    api: Api
    stack: Stack

    @classmethod
    def begin(cls, name: str, whole: Stack) -> "World":
        """A fresh cluster; nothing is deployed yet."""
        cluster = Cluster(f"test-{os.getpid()}-{name}")
        world = cls(cluster, cluster.up(control_plane(), [whole.plan.context]), whole)
        furnish(world.api, whole, SCALE)
        wait_until(lambda: all(is_ready(node) for node in world.nodes()), SOON_S, "nodes are ready")
        return world

    def deploy(self, whole: Stack | None = None, timeout_s: float = DEPLOY_S) -> list[str]:
        """Puts the stack there and returns what was said on the way."""
        lines: list[str] = []
        Deployment(self.api, whole or self.stack, lines.append).run(timeout_s)
        return lines

    # ---- looking ----

    def nodes(self) -> list[Object]:
        """All nodes."""
        return self.api.items("v1", "Node")

    def pods(self, instance: str | None = None) -> list[Object]:
        """Pods of the stack that have not ended, of one server or of all."""
        found = self.api.items("v1", "Pod", NAMESPACE, f"{INSTANCE}={instance}" if instance else "")
        return [pod for pod in found if not has_ended(pod)]

    def ready(self, instance: str) -> list[Object]:
        """Pods of a server that are ready and stay."""
        return [pod for pod in self.pods(instance) if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]

    def deployment(self, name: str) -> Object:
        """A Deployment as it is now."""
        found = self.api.get("apps/v1", "Deployment", name, NAMESPACE)
        assert found is not None
        return {"apiVersion": "apps/v1", "kind": "Deployment", **found}

    def endpoints(self, service: str) -> list[str]:
        """Names of the pods that answer behind a Service."""
        slices = self.api.items(
            "discovery.k8s.io/v1", "EndpointSlice", NAMESPACE, f"kubernetes.io/service-name={service}"
        )
        found = [item for part in slices for item in part.get("endpoints") or []]
        return sorted(item["targetRef"]["name"] for item in found if item["conditions"].get("ready"))

    def gpus_used(self) -> dict[str, int]:
        """GPUs requested on each node that has any."""
        used = {
            node["metadata"]["name"]: 0 for node in self.nodes() if "nvidia.com/gpu" in node["status"]["allocatable"]
        }
        for pod in self.pods():
            if pod["spec"].get("nodeName") in used:
                used[pod["spec"]["nodeName"]] += gpus_of(pod)
        return used

    def pool_of(self) -> dict[str, str]:
        """Node name → pool, as the plan has it."""
        found = {}
        for name, pool in self.stack.plan.pools.items():
            alone = replace(self.stack.plan, pools={name: pool})
            found |= {body["metadata"]["name"]: name for body in nodes.nodes_of(alone)[: pool.nodes]}
        return found

    def uids(self, api_version: str, kind: str) -> dict[str, str]:
        """Name → uid of all objects of a kind in the serving namespace."""
        found = self.api.items(api_version, kind, NAMESPACE)
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found}

    # ---- changing ----

    def change_template(self, name: str, value: str) -> Object:
        """Changes the pod template of a workload in one annotation, which rolls it."""
        body: Any = self.deployment(name)
        annotations = {"test.llm-stack.io/revision": value}
        return self.api.patch(body, {"spec": {"template": {"metadata": {"annotations": annotations}}}})

    def scale(self, name: str, replicas: int) -> None:
        """As an autoscaler would: through the scale subresource."""
        scale(self.api, self.deployment(name), replicas)

    def settled(self, name: str, replicas: int, timeout_s: float = SOON_S) -> list[Object]:
        """Waits until a server has exactly these many pods, all ready and of its present template; returns them."""

        def done() -> bool:
            body = self.deployment(name)
            status = body["status"]
            counts = [
                status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            ]
            seen = status.get("observedGeneration") == body["metadata"]["generation"]
            return seen and counts == [replicas] * 4 and len(self.pods(name)) == replicas

        wait_until(done, timeout_s, f"{name} has {replicas} ready pods, and no other")
        return self.pods(name)

    def wanted(self) -> dict[str, int]:
        """Deployment → replicas the stack declares."""
        return {
            target.body["metadata"]["name"]: target.body["spec"]["replicas"]
            for target in self.stack.targets
            if target.body["kind"] == "Deployment"
        }

    def restore(self) -> None:
        """Everything as the stack declares it: nodes at work, replicas, objects; and waits until it is so."""
        for node in self.nodes():
            faults.return_node(self.api, node["metadata"]["name"])
            if node["spec"].get("unschedulable"):
                self.api.patch(node, {"spec": {"unschedulable": None}})
        wait_until(lambda: all(is_ready(node) for node in self.nodes()), SOON_S, "nodes are ready")
        for pod in self.pods():
            if FAULT in pod["metadata"].get("annotations", {}):
                faults.set_pod_fault(self.api, NAMESPACE, pod["metadata"]["name"], None)
        for quota in self.api.items("v1", "ResourceQuota", NAMESPACE):
            self.api.delete(quota)
        wanted = self.wanted()
        for name, replicas in wanted.items():
            if self.deployment(name)["spec"]["replicas"] != replicas:
                self.scale(name, replicas)
        self.deploy()
        for name, replicas in wanted.items():
            self.settled(name, replicas)

    def refused(self, act: Callable[[], object]) -> ApiError:
        """The refusal of a request that must not pass."""
        try:
            act()
        except ApiError as error:
            return error
        raise AssertionError("the API server accepted it")


def stuck(world: World) -> dict[str, str]:
    """Pod of a server → why it cannot be scheduled; by instance, so that names do not matter."""
    return {pod["metadata"]["labels"][INSTANCE]: why for pod in world.pods() if (why := unscheduled(pod))}


def names(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Their names, sorted."""
    return sorted(item["metadata"]["name"] for item in objects)


def text(body: Any) -> str:
    """A value as comparable text."""
    return json.dumps(body, sort_keys=True)
