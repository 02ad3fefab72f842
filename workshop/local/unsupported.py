"""Requests of rendered objects that processes of this machine cannot meet, in words of a refusal. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from settings.problems import Problem

# Fields of every object.
ENVELOPE = ("apiVersion", "kind", "metadata")
# Nearest fix where a row has no better one.
LEAVE_OUT = "leave it out, or use CLUSTER=sim"
NO_API_SERVER = (
    "talks to the API server (it mounts a service account token), and there is none here; "
    "gpuOperator.verifyNodes: false leaves node verification out"
)
LONGEST_VALUE = 60
Object = Mapping[str, Any]
# (path below the object, what is wrong there)
Found = tuple[str, str]


@dataclass(frozen=True)
class Shape:
    """The fields of one kind of mapping."""

    holds: Mapping[str, str] = field(default_factory=dict)
    obeyed: Sequence[str] = ()
    only: Mapping[str, Sequence[object]] = field(default_factory=dict)
    idle: Sequence[str] = ()
    one_of: Sequence[str] = ()
    why: Mapping[str, str] = field(default_factory=dict)


_TABLE = yaml.safe_load(Path(__file__).with_name("fields.yaml").read_text(encoding="utf-8"))
SHAPES: Mapping[str, Shape] = {name: Shape(**row) for name, row in _TABLE.items()}


def refusals(body: Object) -> Iterator[Problem]:
    """Everything in an object that would not be obeyed here, by its path."""
    kind, where = body["kind"], f"{body['kind']} {body['metadata']['name']}"
    shape = SHAPES.get(kind) or Shape(holds={"spec": f"{kind}.spec"})
    fields = {name: value for name, value in body.items() if name not in ENVELOPE}
    yield from (Problem(f"{where}: {path}", text) for path, text in _fields(fields, shape, ""))
    pod = body.get("spec", {}).get("template", {}).get("spec")
    if not pod:
        return
    yield from (Problem(where, text) for text in _pod_problems(pod))
    yield from (Problem(f"{where}: {path}", text) for path, text in _references(pod))
    yield from (Problem(f"{where}: {path}", text) for path, text in _exit_codes(body["spec"], pod))


def _fields(fields: Object, shape: Shape, path: str) -> Iterator[Found]:
    """Fields that the table does not have, and values it does not have for those it has."""
    refused = 0
    for name, value in fields.items():
        where = f"{path}.{name}" if path else name
        if name in shape.holds:
            yield from _inside(value, SHAPES[shape.holds[name]], where)
        elif name in shape.only and value not in shape.only[name]:
            obeyed = " or ".join(json.dumps(allowed) for allowed in shape.only[name])
            yield where, f"{_shown(value)} is not obeyed here, {obeyed} is; {shape.why.get(name, LEAVE_OUT)}"
        elif name not in (*shape.obeyed, *shape.only, *shape.idle):
            refused += 1
            yield where, f"{_shown(value)} is not obeyed here; {shape.why.get(name, LEAVE_OUT)}"
    # a handler or source that was refused is one already
    if shape.one_of and not refused and sum(name in fields for name in shape.one_of) != 1:
        yield path, f"{_shown(fields)} is not obeyed here; say exactly one of {', '.join(shape.one_of)}"


def _inside(value: Any, shape: Shape, path: str) -> Iterator[Found]:
    for where, inner in _items(value, path) if isinstance(value, list) else [(path, value)]:
        yield from _fields(inner, shape, where)


def _items(entries: Sequence[Object], path: str) -> Iterator[tuple[str, Object]]:
    """The items of a list with their paths, by what a reader knows them by."""
    for position, entry in enumerate(entries):
        yield f"{path}[{entry.get('mountPath') or entry.get('name') or position}]", entry


def _shown(value: Any) -> str:
    """A value for a reader: of a mapping its keys only, because what is below may be secret."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(value)}}}"
    text = f"a list of {len(value)}" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _containers(pod: Object) -> Iterator[tuple[str, Object]]:
    """All containers of a pod, with their paths below the object."""
    for name in ("initContainers", "containers"):
        yield from _items(pod.get(name, []), f"spec.template.spec.{name}")


def _pod_problems(pod: Object) -> Iterator[str]:
    """Requests that another stack file would not make; of the pod, because no field of it is the one to mend."""
    # Kubernetes mounts a token unless it is told not to; who asks for one wants to talk to the API server
    if pod.get("automountServiceAccountToken", True) and pod.get("serviceAccountName"):
        yield NO_API_SERVER
    for _, container in _containers(pod):
        limits = container.get("resources", {}).get("limits", {})
        yield from (
            f"container {container['name']} asks for {name}: {limits[name]}, and processes of this machine get no "
            "devices; use a pool with gpu: none, or CLUSTER=sim"
            for name in limits
            if "/" in name
        )


def _references(pod: Object) -> Iterator[Found]:
    """Names that nothing in the pod has: of volumes, and of ports that are asked."""
    volumes = [volume["name"] for volume in pod.get("volumes", [])]
    for path, container in _containers(pod):
        for where, mount in _items(container.get("volumeMounts", []), f"{path}.volumeMounts"):
            if mount["name"] not in volumes:
                yield f"{where}.name", f"{_shown(mount['name'])} is no volume of this pod; declare it in volumes"
        ports = {port.get(key) for port in container.get("ports", []) for key in ("containerPort", "name")} - {None}
        probes = {name: container.get(name, {}) for name in ("startupProbe", "readinessProbe", "livenessProbe")}
        probes["lifecycle.preStop"] = container.get("lifecycle", {}).get("preStop", {})
        for name, question in probes.items():
            for handler in ("httpGet", "tcpSocket"):
                port = question.get(handler, {}).get("port")
                if handler in question and port not in ports:
                    where = f"{path}.{name}.{handler}.port"
                    yield where, f"{_shown(port)} is no port of this container; declare it in ports"


def _exit_codes(spec: Object, pod: Object) -> Iterator[Found]:
    """A Job's pod has one exit status here, so a rule must be about its only container."""
    names = [container["name"] for _, container in _containers(pod)]
    for where, rule in _items(spec.get("podFailurePolicy", {}).get("rules", []), "spec.podFailurePolicy.rules"):
        named = rule.get("onExitCodes", {}).get("containerName", names[0])
        if names != [named]:
            text = f"of the containers {', '.join(names)} this is not the only one; use a pod of one container"
            yield f"{where}.onExitCodes.containerName", f"{_shown(named)} is not obeyed here: {text}"
