"""Rendered objects as what is to run, as far as can be read; unsupported.py refuses what cannot be obeyed. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preview.rendering.quantity import quantity_bytes
from settings.problems import Problem
from workshop.local.unsupported import Object, refusals

# Kinds whose pods run here. Others with pods are refused; kinds without pods are listed as not enforced.
RUNNABLE = ("Deployment", "StatefulSet", "Job")
INSTEAD = {"Cluster": "; use gateway.database: {kind: bundled}"}
WITH_PODS = (*INSTEAD, "CronJob", "DaemonSet", "LeaderWorkerSet", "Pod", "ReplicaSet")
READ = (*RUNNABLE, "Service", "ConfigMap", "Secret", "PersistentVolumeClaim")
# What a probe asks by, and what a hook is (workshop/local/fields.yaml refuses the others).
HANDLERS, HOOKS = ("httpGet", "tcpSocket"), ("httpGet", "sleep")
# Kubernetes' own defaults (k8s.io/api core/v1, 1.36); those of a probe in the order of `Probe`.
GRACE_S, BACKOFF_LIMIT = 30, 6
PROBE = {"initialDelaySeconds": 0, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3,
         "successThreshold": 1, "terminationGracePeriodSeconds": None}  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """A `handler` asked again and again; `detail` are its fields, `grace_s` of who fails it; None: the pod's own."""

    handler: str
    detail: Object
    initial_delay_s: float
    period_s: float
    timeout_s: float
    failures: int
    successes: int
    grace_s: float | None = None


@dataclass(frozen=True)
class SecretRef:
    """One entry of a Secret as the value of a variable."""

    secret: str
    entry: str


@dataclass(frozen=True)
class Container:
    """One container as rendered. `env` in order; `mounts`: path → volume; `pre_stop`: a handler and its fields."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str | SecretRef], ...]
    ports: Mapping[str, int]
    mounts: Mapping[str, str]
    probes: Mapping[str, Probe]
    pre_stop: tuple[str, Object] | None


@dataclass(frozen=True)
class Volume:
    """`kind` is configMap, emptyDir or persistentVolumeClaim; `source` the object behind it, empty for an emptyDir."""

    kind: str
    source: str


@dataclass(frozen=True)
class Workload:
    """A Deployment, a StatefulSet or a Job. `fail_on`: exit codes after which a Job is not tried again."""

    kind: str
    name: str
    namespace: str
    labels: Mapping[str, str]
    replicas: int
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    volumes: Mapping[str, Volume]
    grace_s: float
    memory_gib: float
    backoff_limit: int = 0
    deadline_s: float | None = None
    fail_on: tuple[int, ...] = ()

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """In the order in which they start."""
        return (*self.init_containers, *self.containers)

    @property
    def ports(self) -> Mapping[str, int]:
        """Ports of all its containers by name, of a port without one its number."""
        return {name: number for container in self.containers for name, number in container.ports.items()}

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Service:
    """A name for pods. `ports`: port → port of the pods, by name or number."""

    name: str
    namespace: str
    ports: Mapping[int, str | int]
    selector: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a pod of the same namespace may call it by, longest first."""
        full = f"{self.name}.{self.namespace}.svc.cluster.local"
        return full, full.removesuffix(".cluster.local"), f"{self.name}.{self.namespace}", self.name

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels are behind it; without a selector none are."""
        return bool(self.selector) and self.selector.items() <= labels.items()


@dataclass(frozen=True)
class Rendered:
    """A whole stack. `secrets`: name → entries, values that a rendering hides are `<secret>`."""

    workloads: tuple[Workload, ...]
    services: tuple[Service, ...]
    config_maps: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]
    claims: frozenset[str]
    others: Mapping[str, int]
    objects: tuple[Object, ...] = field(repr=False, default=())

    @property
    def jobs(self) -> list[str]:
        """Names of all Jobs."""
        return [workload.name for workload in self.workloads if workload.kind == "Job"]

    @property
    def containers(self) -> Iterator[tuple[Workload, Container]]:
        """The containers of all workloads, in the order in which they start."""
        return ((workload, container) for workload in self.workloads for container in workload.all_containers)


def read(objects: Sequence[Object], problems: list[Problem]) -> Rendered:
    """Everything that matters here; what cannot be obeyed goes to `problems`, path first."""
    by_kind: dict[str, list[Object]] = {}
    for body in objects:
        by_kind.setdefault(body["kind"], []).append(_without_nulls(body))
    problems += [
        Problem(
            f"{kind} {body['metadata']['name']}",
            f"a {kind} is not run here; only Deployments, StatefulSets and Jobs are{INSTEAD.get(kind, '')}",
        )
        for kind in WITH_PODS
        for body in by_kind.get(kind, [])
    ]
    problems += [problem for kind in READ for body in by_kind.get(kind, []) for problem in refusals(body)]
    used = (*READ, *WITH_PODS)
    return Rendered(
        workloads=tuple(_workload(body) for kind in RUNNABLE for body in by_kind.get(kind, [])),
        services=tuple(_service(body) for body in by_kind.get("Service", [])),
        config_maps={_name(body): dict(body.get("data", {})) for body in by_kind.get("ConfigMap", [])},
        secrets={_name(body): dict(body.get("stringData", {})) for body in by_kind.get("Secret", [])},
        claims=frozenset(_name(body) for body in by_kind.get("PersistentVolumeClaim", [])),
        others={kind: len(items) for kind, items in sorted(by_kind.items()) if kind not in used},
        objects=tuple(objects),
    )


def _without_nulls(value: Any) -> Any:
    """The object without fields that are null: to Kubernetes they are absent."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _name(body: Object) -> str:
    return body["metadata"]["name"]


def _service(body: Object) -> Service:
    spec = body["spec"]
    ports = {port["port"]: port.get("targetPort", port["port"]) for port in spec.get("ports", [])}
    return Service(_name(body), body["metadata"].get("namespace", "default"), ports, spec.get("selector", {}))


def _workload(body: Object) -> Workload:
    spec = body["spec"]
    template, pod = spec["template"], spec["template"]["spec"]
    rules = spec.get("podFailurePolicy", {}).get("rules", [])
    return Workload(
        kind=body["kind"],
        name=_name(body),
        namespace=body["metadata"].get("namespace", "default"),
        labels=template["metadata"].get("labels", {}),
        replicas=spec.get("replicas", 1),
        init_containers=tuple(_container(container) for container in pod.get("initContainers", [])),
        containers=tuple(_container(container) for container in pod["containers"]),
        volumes={volume["name"]: _volume(volume) for volume in pod.get("volumes", [])},
        grace_s=pod.get("terminationGracePeriodSeconds", GRACE_S),
        memory_gib=sum(_gib(container.get("resources", {}).get("requests", {}).get("memory", 0))
                       for container in pod["containers"]),
        backoff_limit=spec.get("backoffLimit", BACKOFF_LIMIT),
        deadline_s=spec.get("activeDeadlineSeconds"),
        fail_on=tuple(code for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])),
    )  # fmt: skip


def _volume(volume: Object) -> Volume:
    for kind, key in (("configMap", "name"), ("persistentVolumeClaim", "claimName")):
        if kind in volume:
            return Volume(kind, volume[kind][key])
    return Volume("emptyDir", "")


def _container(body: Object) -> Container:
    stop = body.get("lifecycle", {}).get("preStop", {})
    probes = {kind: body[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness") if f"{kind}Probe" in body}
    return Container(
        name=body["name"],
        image=body["image"],
        command=tuple(body.get("command", ())),
        args=tuple(body.get("args", ())),
        env=tuple((variable["name"], _value(variable)) for variable in body.get("env", [])),
        ports={port.get("name", str(port["containerPort"])): port["containerPort"] for port in body.get("ports", [])},
        mounts={mount["mountPath"]: mount["name"] for mount in body.get("volumeMounts", [])},
        probes={kind: _probe(probe) for kind, probe in probes.items()},
        pre_stop=next(((kind, stop[kind]) for kind in HOOKS if kind in stop), None),
    )


def _value(variable: Object) -> str | SecretRef:
    ref = variable.get("valueFrom", {}).get("secretKeyRef")
    return SecretRef(ref["name"], ref["key"]) if ref else str(variable.get("value", ""))


def _probe(probe: Object) -> Probe:
    handler = next((kind for kind in HANDLERS if kind in probe), "")
    return Probe(handler, probe.get(handler, {}), *(probe.get(name, default) for name, default in PROBE.items()))


def _gib(quantity: object) -> float:
    return (quantity_bytes(quantity) or 0) / 2**30
