"""Who may reach what at every moment of an update, while pods of the former and of the new configuration live.

A replay of `tests.steps` on a cluster of plain data: objects that are there, pods that live. It knows network rules,
Services, and what a pod mounts or takes from a Secret; it does not know time, and no packet is sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from planning.plan import Plan
from planning.plan.stores import ExistingDatabase, ExistingRedis, SentinelRedis
from preview.rendering.manifests import FastLoader
from tests import kubernetes_rules
from tests.harness import Pod, environment
from tests.steps import Op, Resource, Step, Update

Key = tuple[str, str, str]
WORKLOADS = ("Deployment", "LeaderWorkerSet", "StatefulSet", "Job")


@dataclass
class Life:
    """Pods of one workload.

    `asks`: Services and ports they ask; `ports`: others they need outside of the namespace; `ending`: they only finish
    what they began.
    """

    owner: Resource
    pods: list[Pod]
    asks: frozenset[tuple[str, int]]
    ports: frozenset[int]
    ending: bool = False


@dataclass
class World:
    """The cluster in one moment."""

    known: Mapping[Key, Mapping[str, Any]]
    """Every object either stack declares: what is in none of them is somebody else's, and there."""
    objects: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    gaps: dict[str, str] = field(default_factory=dict)
    """What was out of reach → during which step it was so first."""
    paths: dict[Any, bool] = field(default_factory=dict)
    """Which pods may reach which, as long as no network rule changes."""

    def add(self, one: Resource) -> None:
        """An object is there, or is another."""
        if one.custom:
            self._rules(one)
            self.objects[one.key] = one.body

    def remove(self, one: Resource) -> None:
        """An object is gone."""
        self._rules(one)
        self.objects.pop(one.key, None)

    def _rules(self, one: Resource) -> None:
        if one.kind == "NetworkPolicy":
            self.paths.clear()

    def policies(self, namespace: str) -> list[Any]:
        """The network rules of a namespace."""
        return [
            body for (kind, place, _), body in self.objects.items() if (kind, place) == ("NetworkPolicy", namespace)
        ]

    def _reaches(self, source: Pod, target: Pod, port: int) -> bool:
        key = (source.namespace, *source.labels.items(), *target.labels.items(), port)
        if key not in self.paths:
            self.paths[key] = kubernetes_rules.reaches(self.policies(source.namespace), source, target, port)
        return self.paths[key]

    def look(self, moment: str) -> None:
        """Writes down what is out of reach now."""
        for life in self.lives:
            for pod in life.pods:
                for gap in self._lacks(life, pod):
                    self.gaps.setdefault(gap, moment)

    def _lacks(self, life: Life, pod: Pod) -> Iterable[str]:
        who = f"{'ending ' if life.ending else ''}{pod.owner}"
        if not life.ending:
            # it may have to start again at any moment
            yield from (
                f"{who} lacks {' '.join(key)}" for key in mounts(pod) if key in self.known.keys() - self.objects
            )
        for service, port in life.asks:
            if ("Service", pod.namespace, service) not in self.known:
                continue
            targets = [
                other
                for one in self.lives
                for other in one.pods
                if other.namespace == pod.namespace and other.labels.get("app.kubernetes.io/instance") == service
            ]
            if targets and ("Service", pod.namespace, service) not in self.objects:
                yield f"{who} lacks Service {service}"
            for target in targets:
                # workers of a group answer nobody
                if port in target.ports.values() and not self._reaches(pod, target, port):
                    yield f"{who} may not reach {target.owner}"
        if life.ports and not life.ending:
            open_ports = {ports for _, ports in kubernetes_rules.leaves(self.policies(pod.namespace), pod)}
            yield from (f"{who} may not reach port {port}" for port in life.ports if f"TCP/{port}" not in open_ports)


def asked(pods: Iterable[Pod], known: Mapping[Key, Mapping[str, Any]]) -> frozenset[tuple[str, int]]:
    """(Service, port) of all these pods ask: a Redis, a Postgres, and the servers of the configuration they mount."""
    found = set()
    for pod in pods:
        for container in pod.containers:
            values = environment(container)
            host, database = values.get("REDIS_HOST"), urlsplit(values.get("DATABASE_URL", ""))
            found |= {(host.split(".")[0], 6379)} if host else set()
            # of a Postgres of ours; that of another one is in a Secret
            found |= {(str(database.hostname).split(".")[0], 5432)} if database.hostname else set()
        for volume in pod.spec.get("volumes", []):
            body = known.get(("ConfigMap", pod.namespace, volume.get("configMap", {}).get("name", "")), {})
            config = yaml.load(body.get("data", {}).get("config.yaml", "{}"), FastLoader)
            for entry in config.get("model_list", []):
                url = urlsplit(entry["litellm_params"]["api_base"])
                found.add((str(url.hostname).split(".")[0], url.port or 0))
    return frozenset(found)


def mounts(pod: Pod) -> set[Key]:
    """Every object a pod needs to start."""
    found = {("ServiceAccount", pod.namespace, pod.spec["serviceAccountName"])}
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            found.add(("ConfigMap", pod.namespace, volume["configMap"]["name"]))
        if "persistentVolumeClaim" in volume:
            found.add(("PersistentVolumeClaim", pod.namespace, volume["persistentVolumeClaim"]["claimName"]))
    for container in pod.containers:
        for value in environment(container).values():
            if value.startswith("secret:"):
                found.add(("Secret", pod.namespace, value.removeprefix("secret:").partition("/")[0]))
    return found


def pods_of(one: Resource) -> list[Pod]:
    """The pods of a workload: one for each of its templates."""
    kind, namespace, name = one.key
    spec = one.body["spec"]
    group = spec.get("leaderWorkerTemplate")
    templates = [group["leaderTemplate"], group["workerTemplate"]] if group else [spec["template"]]
    extra = {"leaderworkerset.sigs.k8s.io/name": name} if group else {}
    return [
        Pod(f"{kind} {name}", kind, namespace, {**item["metadata"]["labels"], **extra}, item["spec"])
        for item in templates
    ]


def outside(plan: Plan) -> frozenset[int]:
    """Ports the gateway needs outside of the namespace: of a database, and of a Redis that is somebody else's."""
    redis, database = plan.gateway.redis, plan.gateway.database
    found = set(redis.egress) if isinstance(redis, ExistingRedis | SentinelRedis) else set[int]()
    source = database.source if database else None
    return frozenset(found | ({database.port} if database and isinstance(source, ExistingDatabase) else set()))


def replay(update: Update, order: Iterable[Step], former: Plan, present: Plan) -> dict[str, str]:
    """What was out of reach at any moment of this order of steps → at which step it was so first."""
    known = {one.key: one.body for side in (update.before, update.after) for one in side.values() if one.custom}
    world = World(known)
    for one in update.before.values():
        world.add(one)
    running = [one for one in update.before.values() if one.kind in WORKLOADS[:3]]
    world.lives = [_life(one, former, known) for one in running]
    world.look("before")
    for step in order:
        _do(world, step, present)
    return world.gaps


def _life(one: Resource, plan: Plan, known: Mapping[Key, Mapping[str, Any]]) -> Life:
    pods = pods_of(one)
    if pods[0].labels["app.kubernetes.io/name"] != "litellm":
        return Life(one, pods, frozenset(), frozenset())
    return Life(one, pods, asked(pods, known), outside(plan))


def _do(world: World, step: Step, present: Plan) -> None:
    old, new = step.old, step.new
    moment = f"{step.op} {step.title}"
    for one in [*step.first, *([old] if step.op is Op.DELETE and old else [])]:
        if not one.retained:
            # the engine waits until pods have ended with their workload
            world.lives = [life for life in world.lives if life.owner is not one]
            world.remove(one)
            world.look(moment)
    if new is None:
        return
    former = [life for life in world.lives if life.owner is old]
    if step.op is Op.SAME or not new.custom or (old and step.op is Op.UPDATE and not _rolls(old, new)):
        world.add(new)
        for life in former:
            life.owner = new
        if step.op is not Op.SAME:
            world.look(moment)
        return
    world.add(new)
    if new.kind in WORKLOADS:
        begun = _life(new, present, world.known)
        world.lives.append(begun)
        world.look(f"during {moment}")
        for life in former if step.op is Op.UPDATE else []:
            life.ending = True
        if new.kind == "Job":
            world.lives.remove(begun)
    world.look(moment)


def _rolls(old: Resource, new: Resource) -> bool:
    """Whether an update starts other pods."""
    template = "leaderWorkerTemplate" if new.kind == "LeaderWorkerSet" else "template"
    return new.kind in WORKLOADS and old.body["spec"][template] != new.body["spec"][template]
