"""Patches of a user over objects of the stack: of which objects, what no patch may change, and what is said of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.objects import Shapes, load_objects
from planning.gateway.additions import FOLDERS as GATEWAY_FOLDERS
from planning.plan.gateway import GatewayPlan
from planning.plan.servers import ServerPlan
from planning.server.additions import FOLDERS as SERVER_FOLDERS
from planning.stack.additions import UNDISTURBED, mount_problem, pod_annotation_problems, pod_label_problems
from planning.stack.chart_values import secrets_by_value
from planning.stack.merging import leaves, merged
from planning.stack.patch_rules import NEVER, NEW_VOLUMES, OF_ALL, OF_SERVERS, OF_THE_GATEWAY, YOURS, Rules
from planning.stack.patch_shape import shape_problems
from planning.stack.places import MOUNT_PATH
from settings.problems import Problem, nearest
from settings.schema import StackSettings

SERVER_CONTAINER, GATEWAY_CONTAINER = "vllm", "litellm"


@dataclass(frozen=True)
class Patchable:
    """An object that may be changed: the section that decides it, its rules, its one container and folders of that."""

    kind: str
    section: str
    rules: Rules
    container: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)


def targets(servers: Sequence[ServerPlan], gateway: GatewayPlan) -> dict[str, Patchable]:
    """`Kind/name` → what may be changed: what serves, its Service, its budget and its autoscaler."""
    known = {}
    for server in servers:
        workload = "LeaderWorkerSet" if server.nodes_per_replica > 1 else "Deployment"
        section = f"models.{server.model_name}{'.canary' if server.canary else ''}"
        folders = {**SERVER_FOLDERS, MOUNT_PATH: "where its weights are"}
        known[f"{workload}/{server.name}"] = Patchable(
            workload, section, OF_SERVERS[workload], SERVER_CONTAINER, folders
        )
        scaler = {"hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}
        kinds = ["Service", "PodDisruptionBudget", *([scaler[server.scaling.driver]] if server.scaling else [])]
        known |= {f"{kind}/{server.name}": Patchable(kind, section, OF_ALL[kind]) for kind in kinds}
    kinds = ["Service", "PodDisruptionBudget", *(["HorizontalPodAutoscaler"] if gateway.size.scaling else [])]
    known[f"Deployment/{gateway.name}"] = Patchable(
        "Deployment", "gateway", OF_THE_GATEWAY["Deployment"], GATEWAY_CONTAINER, GATEWAY_FOLDERS
    )
    return known | {f"{kind}/{gateway.name}": Patchable(kind, "gateway", OF_ALL[kind]) for kind in kinds}


def patched(body: Mapping[str, Any], patch: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """An object with its patch."""
    return merged(body, patch, kind, load_objects())


def override_problems(
    settings: StackSettings, servers: Sequence[ServerPlan], gateway: GatewayPlan
) -> Iterator[Problem]:
    """Patches of nothing, of another shape, and of what the stack promises."""
    if not settings.overrides:
        return
    known, shapes = targets(servers, gateway), load_objects()
    for name, patch in settings.overrides.items():
        path, target = f"overrides.{name}", known.get(name)
        if target is None:
            never = NEVER.get(name.partition("/")[0])
            yield Problem(path, never or f"no such object can be changed{nearest(name, known)}")
            continue
        yield from _target_problems(target, patch, shapes, path)


def _target_problems(target: Patchable, patch: Mapping[str, Any], shapes: Shapes, path: str) -> Iterator[Problem]:
    shaped = list(shape_problems(patch, target.kind, shapes, path))
    yield from shaped
    for where in secrets_by_value(patch, path):
        yield Problem(where, "looks like a secret, which everybody would see; name a Secret that exists")
    if not shaped:
        yield from _rule_problems(target, patch, path)
        yield from _metadata_problems(patch.get("metadata") or {}, path)
        for place, template in _templates(patch):
            where = f"{path}.{place}"
            yield from _metadata_problems(template.get("metadata") or {}, where)
            yield from _pod_problems(target, template.get("spec") or {}, f"{where}.spec")


def _templates(patch: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, pod template) of all in a patch."""
    spec = patch.get("spec") or {}
    group = spec.get("leaderWorkerTemplate") or {}
    for place, template in (
        ("spec.template", spec.get("template")),
        ("spec.leaderWorkerTemplate.leaderTemplate", group.get("leaderTemplate")),
        ("spec.leaderWorkerTemplate.workerTemplate", group.get("workerTemplate")),
    ):
        if isinstance(template, Mapping):
            yield place, template


def _rule_problems(target: Patchable, patch: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Fields that no patch may change, and null above one of them."""
    for place, shown, value in _nodes(patch, "", ""):
        if why := target.rules.get(place):
            yield Problem(f"{path}.{shown}", why.replace("{path}", target.section))
        elif value is None and any(rule.startswith((f"{place}.", f"{place}[")) for rule in target.rules):
            yield Problem(f"{path}.{shown}", "would take away what the stack needs; leave it out")


def _nodes(value: Any, place: str, shown: str) -> Iterator[tuple[str, str, Any]]:
    """(path in a table, path as it is shown, value) of everything in a patch."""
    if place:
        yield place, shown, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _nodes(inner, f"{place}.{key}" if place else key, f"{shown}.{key}" if shown else key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            if isinstance(inner, Mapping):
                for key, deeper in inner.items():
                    yield from _nodes(deeper, f"{place}[].{key}", f"{shown}[{position}].{key}")


def _metadata_problems(metadata: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Labels and annotations by which somebody finds something, or that loosen what a pod may do."""
    yield from pod_label_problems(metadata.get("labels") or {}, f"{path}.metadata.labels", {})
    kept = dict.fromkeys(UNDISTURBED, "a pod that takes minutes to load is not moved to pack nodes better")
    yield from pod_annotation_problems(metadata.get("annotations") or {}, f"{path}.metadata.annotations", kept)


def _pod_problems(target: Patchable, spec: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for position, container in enumerate(spec.get("containers") or []):
        where = f"{path}.containers[{position}]"
        if container["name"] != target.container:
            why = f"no container is called '{container['name']}', and pods have those of the stack alone; its one is"
            yield Problem(f"{where}.name", f"{why} {target.container}")
        yield from _mount_problems(target, container.get("volumeMounts") or [], f"{where}.volumeMounts")
    for position, volume in enumerate(spec.get("volumes") or []):
        yield from _volume_problems(target, volume, f"{path}.volumes[{position}]")


def _mount_problems(target: Patchable, mounts: Sequence[Mapping[str, Any]], path: str) -> Iterator[Problem]:
    for index, mount in enumerate(mounts):
        if not str(mount.get("name", "")).startswith(YOURS):
            yield Problem(f"{path}[{index}].name", f"must be a volume of yours, whose name begins with {YOURS}")
        if why := mount_problem(str(mount["mountPath"]), target.folders):
            yield Problem(f"{path}[{index}].mountPath", why)


def _volume_problems(target: Patchable, volume: Mapping[str, Any], path: str) -> Iterator[Problem]:
    if not str(volume["name"]).startswith(YOURS):
        yield Problem(f"{path}.name", f"must begin with {YOURS}, so that none of the stack's is meant")
    for kind in sorted(volume.keys() - {"name", *NEW_VOLUMES}):
        use = f"use {target.section}.extraVolumes, or one of {', '.join(NEW_VOLUMES)}"
        yield Problem(f"{path}.{kind}", f"is refused by restricted, or its room is counted nowhere; {use}")
    for source in (volume.get("projected") or {}).get("sources") or []:
        token = source.get("serviceAccountToken")
        if token is not None and not token.get("audience"):
            yield Problem(f"{path}.projected", "pods have no token of Kubernetes; give the audience it is for")


def override_warnings(settings: StackSettings) -> Iterator[str]:
    """A sentence for each object that is not as planned."""
    for name, patch in settings.overrides.items():
        paths = ", ".join(path for path, _ in leaves(patch))
        yield f"overrides.{name}: {paths} {'are' if ', ' in paths else 'is'} yours, and nothing is planned with it"
