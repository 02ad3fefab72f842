"""The plan of a run here, made before anything is set up, or every reason against it. Pure but for random keys."""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from planning.capacity.flags import value_of
from planning.tasks import Task, task_by_mode
from preview.rendering.records import SECRET
from preview.rendering.secret_commands import FOREIGN
from settings.problems import Problem
from workshop.local.images import STANDS, stand_for, tag_of
from workshop.local.objects import Container, Object, Rendered, SecretRef, Service, Workload, read
from workshop.local.translate import asks_database, undirected_ports
from workshop.problems import refuse

SERVER, GATEWAY = "vllm-openai-cpu", "litellm-non_root"
GATEWAY_FILE = "config.yaml"
_TABLE = yaml.safe_load(Path(__file__).with_name("not_here.yaml").read_text(encoding="utf-8"))
NOT_HERE, ALWAYS_NOT_HERE = _TABLE["kinds"], tuple(_TABLE["always"].items())


@dataclass(frozen=True)
class Checkpoint:
    """Weights a pod expects on a claim that somebody else fills."""

    claim: str
    directory: str
    repository: str
    revision: str


@dataclass(frozen=True)
class Entrance:
    """The point at which a client enters: a Service, its port, and the key it asks for.

    Of a server also its `model`'s public name, the one `inside` and the `mode` that the gateway knows it by.
    """

    service: str
    port: int
    key: SecretRef
    model: str = ""
    mode: str | None = None
    inside: str = ""

    @property
    def task(self) -> Task:
        """The task of its model."""
        return task_by_mode(self.mode)


@dataclass(frozen=True)
class Blueprint:
    """A stack that can run here. `secrets`: name → entry → value; never shown."""

    rendered: Rendered
    secrets: Mapping[str, Mapping[str, str]] = field(repr=False)
    checkpoints: tuple[Checkpoint, ...]
    gateway: Entrance | None
    servers: tuple[Entrance, ...]
    memory_gib: float
    asks_database: bool
    not_here: tuple[tuple[str, str], ...]
    other_versions: tuple[str, ...]


def blueprint(
    objects: Sequence[Object], lock: Mapping[str, str], earlier_keys: Mapping[str, Mapping[str, str]] | None = None
) -> Blueprint:
    """Reads rendered objects. `lock`: distribution → version; `earlier_keys`: of a former run. Raises `Refused`."""
    problems: list[Problem] = []
    rendered = read(objects, problems)
    for workload, container in rendered.containers:
        problems += [Problem(str(workload), text) for text in _container_problems(rendered, workload, container)]
    for service in rendered.services:
        problems += _service_problems(rendered, service)
    keys = _keys(rendered, earlier_keys or {}, problems)
    refuse(problems)
    return Blueprint(
        rendered=rendered,
        secrets=keys,
        checkpoints=tuple(dict.fromkeys(_checkpoints(rendered))),
        gateway=next(_entrances(rendered, GATEWAY, "LITELLM_MASTER_KEY"), None),
        servers=tuple(_entrances(rendered, SERVER, "VLLM_API_KEY")),
        memory_gib=sum(workload.replicas * _resident_gib(workload) for workload in rendered.workloads),
        asks_database=any(asks_database(container) for _, container in rendered.containers),
        not_here=tuple(_not_here(rendered)),
        other_versions=tuple(dict.fromkeys(_other_versions(rendered, lock))),
    )


def _container_problems(rendered: Rendered, workload: Workload, container: Container) -> Iterator[str]:
    where = f"container {container.name}"
    if stand_for(container.image) is None:
        fix = "leave out what asks for it; known are " + ", ".join(stand.image for stand in STANDS)
        yield f"{where}: nothing on this machine stands for the image {container.image}; {fix}"
    else:
        yield from (
            f"{where} opens port {container.ports[name]} ({name}), and nothing tells it another one"
            for name in undirected_ports(container)
        )
    for path, volume in container.mounts.items():
        source = workload.volumes.get(volume)
        if source is not None and source.kind == "configMap" and source.source not in rendered.config_maps:
            yield f"{where}: {path} mounts ConfigMap {source.source}, which the stack does not declare"


def _service_problems(rendered: Rendered, service: Service) -> Iterator[Problem]:
    """Ports of pods that are asked for and not declared: they have no port of this machine."""
    for workload in rendered.workloads:
        if not service.selects(workload.labels):
            continue
        known = {port for pair in workload.ports.items() for port in pair}
        for port, target in service.ports.items():
            if target not in known:
                yield Problem(f"Service {service.name}", f"port {port} leads to port {target} of {workload}, "
                              "which no container of it declares")  # fmt: skip


def _keys(
    rendered: Rendered, earlier_keys: Mapping[str, Mapping[str, str]], problems: list[Problem]
) -> dict[str, dict[str, str]]:
    """A value for every entry of a Secret that a pod reads: a former run's, the rendered one, or a random one."""
    keys: dict[str, dict[str, str]] = {}
    for workload, container in rendered.containers:
        for ref in (value for _, value in container.env if isinstance(value, SecretRef)):
            declared = rendered.secrets.get(ref.secret)
            declared_value = SECRET if declared is None else declared.get(ref.entry, SECRET)
            reads = f"container {container.name} reads {ref.entry} of Secret {ref.secret}"
            if declared is not None and ref.entry not in declared:
                text = f"{reads}, which the stack declares without it; add it to stringData"
                problems.append(Problem(str(workload), text))
            elif declared_value == SECRET and ref.entry in FOREIGN:
                text = f"{reads}, which only you know; leave it out of a stack that runs here"
                problems.append(Problem(str(workload), text))
            value = earlier_keys.get(ref.secret, {}).get(ref.entry) or f"sk-{secrets.token_hex(24)}"
            keys.setdefault(ref.secret, {}).setdefault(ref.entry, value if declared_value == SECRET else declared_value)
    return keys


def _checkpoints(rendered: Rendered) -> Iterator[Checkpoint]:
    """Checkpoints that init containers look for on claims that the stack does not declare."""
    for workload in rendered.workloads:
        for container in workload.init_containers:
            env = {name: value for name, value in container.env if isinstance(value, str)}
            directory = env.get("MODEL_DIR", "")
            for path, volume in container.mounts.items():
                source = workload.volumes[volume]
                outside = source.kind == "persistentVolumeClaim" and source.source not in rendered.claims
                if outside and directory.startswith(f"{path}/"):
                    relative = directory.removeprefix(f"{path}/")
                    yield Checkpoint(source.source, relative, env["MODEL_REPO"], env["MODEL_REVISION"])


def _modes(rendered: Rendered) -> dict[str, tuple[str, str | None]]:
    """Name of a model inside of its server → its public name and mode, from the gateway's configuration."""
    files = [yaml.safe_load(files[GATEWAY_FILE]) for files in rendered.config_maps.values() if GATEWAY_FILE in files]
    entries = [(each["litellm_params"]["model"], each) for file in files for each in file["model_list"]]
    return {model.partition("/")[2]: (each["model_name"], each["model_info"].get("mode")) for model, each in entries}


def _entrances(rendered: Rendered, image: str, variable: str) -> Iterator[Entrance]:
    """The Services of pods of this image, with the key that stands in this variable of theirs."""
    at = _modes(rendered)
    for workload in rendered.workloads:
        for container in workload.containers:
            stand, key = stand_for(container.image), dict(container.env).get(variable)
            if stand is None or stand.image != image or not isinstance(key, SecretRef):
                continue
            model = value_of(container.args, "--served-model-name") or ""
            for service in rendered.services:
                if service.selects(workload.labels):
                    yield Entrance(service.name, next(iter(service.ports)), key, *at.get(model, (model, None)), model)


def _resident_gib(workload: Workload) -> float:
    """Memory that a pod is expected to take: as measured for its image, else as requested."""
    measured = [stand.resident_gib for container in workload.containers if (stand := stand_for(container.image))]
    return sum(gib for gib in measured if gib) if all(measured) else workload.memory_gib


def _not_here(rendered: Rendered) -> Iterator[tuple[str, str]]:
    for kind, count in rendered.others.items():
        yield f"{count} {kind}", NOT_HERE.get(kind, "nothing here reads it")
    yield from ALWAYS_NOT_HERE


def _other_versions(rendered: Rendered, lock: Mapping[str, str]) -> Iterator[str]:
    """Images whose tag is not the version that stands for them."""
    for _, container in rendered.containers:
        stand, tag = stand_for(container.image), tag_of(container.image)
        if stand and stand.package and (version := lock[stand.package]) != re.sub(r"-.*", "", tag):
            yield f"{container.image} is run as {stand.package} {version}, another version"


def locked(text: str) -> dict[str, str]:
    """Distribution → version of a requirements file with exact pins."""
    lines = (line.partition(" ")[0].strip() for line in text.splitlines())
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines) if version}
