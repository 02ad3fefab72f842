"""From a rendered container to a process of this machine: pure, and each thing that is replaced is noted.

That is: the image's entrypoint, directories of mounts, the address and the ports to listen on, and names of Services.
Files stay as rendered to the byte; a program that reads names of Services in them gets a proxy that knows them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from workshop.local.images import PROGRAMS, Stand, stand_for
from workshop.local.objects import Container, Rendered, SecretRef, Service, Workload
from workshop.ports import LOOPBACK

# all addresses to listen on, but no part of a longer number and no network such as 0.0.0.0/0
ANYWHERE = re.compile(r"(?<![\w.])0\.0\.0\.0(?![\w.]|/\d)")
EXPANSION = re.compile(r"\$(?:\$|\(([^)]*)\))")
# URLs stay as they are; what stands before and behind a path that is a whole one or the beginning of one.
URL = r"[\w+.-]+://[^\s\"'`,;)<>|]*"
BEFORE, BEHIND = r"(?<![^\s\"'=:,;(<>|&`\[{])", r"(?=$|[/\s\"'=:,;)<>|&`\]}])"
NAMED = re.compile(r"(?<=[@/])([a-z0-9.-]+):(\d+)(?=/|$)")
PROGRAMS_HERE = Path(__file__).with_name("programs")
# What a process needs of this machine, and a container brings along.
INHERITED = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
TMP = "/tmp"  # noqa: S108 - a path of the container
# Where, as rendered, as run.
Replaced = list[tuple[str, str, str]]
Words = tuple[str, ...]
SHOWN_SECRET = "<secret>"  # noqa: S105 - a word, not a password


@dataclass(frozen=True)
class Machine:
    """The share of this machine, and of its `environment`, that a pod is given.

    `directories`: volume → directory. `ports`: port of the pod → free port. `services`: (name, port) → port here.
    `names_port`: of the proxy that knows the names of Services. `secrets`: name → entries. `prisma`: variables for what
    asks Postgres by it.
    """

    venv: str
    directories: Mapping[str, str]
    ports: Mapping[int, int]
    services: Mapping[tuple[str, int], int]
    names_port: int
    secrets: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str]
    prisma: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A process to start. `replaced`: (where, as rendered, as run), no secrets."""

    argv: Words
    env: Mapping[str, str] = field(repr=False)
    replaced: tuple[tuple[str, str, str], ...] = ()


def service_names(services: Sequence[Service]) -> dict[str, Service]:
    """Every name of every Service."""
    return {name: service for service in services for name in service.names}


def files_with_names(rendered: Rendered, workload: Workload, container: Container) -> list[str]:
    """ConfigMaps among the container's mounts whose text names a Service."""
    names = [name for service in rendered.services for name in service.names if "." in name]
    files = []
    for volume in container.mounts.values():
        source = workload.volumes[volume]
        texts = rendered.config_maps.get(source.source, {}).values() if source.kind == "configMap" else ()
        if any(f"//{name}:" in text or f"//{name}/" in text for name in names for text in texts):
            files.append(source.source)
    return files


def command_of(rendered: Rendered, workload: Workload, container: Container, machine: Machine) -> Command:
    """The process of one container. The image has a row in the table: `problems_of` refuses others."""
    stand = stand_for(container.image)
    assert stand is not None, "refused before"
    replaced: Replaced = []
    env, shown = _environment(rendered, workload, container, machine, stand, replaced)
    own_words, words = _words(container, machine, stand, replaced)
    argv = list(own_words)
    for before, word in pairwise(("", *words)):
        # directories first: what a variable holds has them already, and this machine's may look like the container's
        placed = _placed(word, container, machine)
        new, seen = (_ported(before, _expanded(placed, values), machine, stand) for values in (env, shown))
        argv.append(new)
        if new != word:
            replaced.append(("argument", word, seen))
    return Command(tuple(argv), env, tuple(replaced))


def _words(container: Container, machine: Machine, stand: Stand, replaced: Replaced) -> tuple[Words, Words]:
    """The command line in two parts: words of this machine, whose paths may look like a container's, and the rest."""
    if container.command:
        first, *arguments = container.command
        program = PROGRAMS.get(first, first).format(venv=machine.venv)
        if program == first:
            return (), (*container.command, *container.args)
        replaced.append(("command", first, program))
        return (program,), (*arguments, *container.args)
    entrypoint = tuple(word.format(venv=machine.venv) for word in stand.entrypoint)
    replaced.append(("entrypoint", f"of {container.image}", " ".join(entrypoint)))
    if stand.positional and container.args and not container.args[0].startswith("-"):
        replaced.append(("argument", container.args[0], f"{stand.positional} {container.args[0]}"))
        return (*entrypoint, stand.positional), container.args
    return entrypoint, container.args


def _placed(text: str, container: Container, machine: Machine) -> str:
    """`text` with this machine's directories where a path of a mount stands alone, and loopback for all addresses."""
    if container.mounts:
        longest_first = "|".join(re.escape(path) for path in sorted(container.mounts, key=len, reverse=True))
        text = re.sub(
            rf"{URL}|{BEFORE}({longest_first}){BEHIND}",
            lambda match: machine.directories[container.mounts[match[1]]] if match[1] else match[0],
            text,
        )
    return ANYWHERE.sub(LOOPBACK, text)


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` with the variable's value, as Kubernetes expands it: an unknown name stays, `$$` is one dollar."""
    return EXPANSION.sub(lambda match: "$" if match[1] is None else values.get(match[1], match[0]), text)


def _option(before: str, word: str, options: Sequence[str]) -> tuple[str, str] | None:
    """(what stays, the value) of a word with the value of one of these options: `--port=8000`, or 8000 behind it."""
    name, has_value, value = word.partition("=")
    if has_value and name in options:
        return f"{name}=", value
    return ("", word) if before in options else None


def _ported(before: str, word: str, machine: Machine, stand: Stand) -> str:
    """A word with the port of this machine, where it has one."""
    option = _option(before, word, stand.port_options)
    return option[0] + _port(option[1], machine) if option else word


def _port(text: str, machine: Machine) -> str:
    return str(machine.ports[int(text)]) if text.isdecimal() and int(text) in machine.ports else text


def _environment(
    rendered: Rendered, workload: Workload, container: Container, machine: Machine, stand: Stand, replaced: Replaced
) -> tuple[dict[str, str], dict[str, str]]:
    """(environment, the same with `<secret>` for secrets)."""
    env = {name: value for name in INHERITED if (value := machine.environment.get(name))}
    shown = dict(env)
    hosts = service_names(rendered.services)
    values = {name: value for name, value in container.env if isinstance(value, str)}
    service_ports = {port: host for host, port in stand.service_env}
    for name, value in container.env:
        if isinstance(value, SecretRef):
            env[name], shown[name] = machine.secrets[value.secret][value.entry], SHOWN_SECRET
            continue
        placed = _placed(value, container, machine)
        new, seen = (_reached(_expanded(placed, values), hosts, machine) for values in (env, shown))
        if name in stand.port_env:
            new = seen = _port(new, machine)
        elif value in hosts and any(name == host for host, _ in stand.service_env):
            new = seen = LOOPBACK
        elif name in service_ports and (service := hosts.get(values.get(service_ports[name], ""))):
            new = seen = str(machine.services[service.name, int(value)])
        if new != value:
            replaced.append((name, value, seen))
        env[name], shown[name] = new, seen
    for name, value, why in _additions(rendered, workload, container, machine, stand):
        replaced.append((name, f"not set; {why}", value))
        env[name] = shown[name] = value
    return env, shown


def _additions(
    rendered: Rendered, workload: Workload, container: Container, machine: Machine, stand: Stand
) -> Iterator[tuple[str, str, str]]:
    """(name, value, why) of variables that are not rendered."""
    if stand.programs:
        path = f"{PROGRAMS_HERE}:{machine.environment.get('PATH', '')}"
        yield "PATH", path, f"{' and '.join(stand.programs)} of this machine"
    if stand.programs and stand.image in container.ports:
        yield f"PORT_{stand.image.upper()}", str(machine.ports[container.ports[stand.image]]), "read by what is on PATH"
    if asks_database(container):
        yield from ((name, value, "Prisma without its binaries") for name, value in machine.prisma.items())
    if TMP in container.mounts:
        yield "TMPDIR", machine.directories[container.mounts[TMP]], f"{TMP} is the pod's own"
    if files := files_with_names(rendered, workload, container):
        proxy = f"http://{LOOPBACK}:{machine.names_port}"
        yield "http_proxy", proxy, f"it knows the names of Services in {', '.join(files)}"
        yield "no_proxy", f"{LOOPBACK},localhost", "what runs beside it is reached directly"


def undirected_ports(container: Container) -> list[str]:
    """Ports a container opens that no argument or variable of the table tells it: they cannot be moved."""
    stand = stand_for(container.image)
    assert stand is not None, "refused before"
    told_values = {value for name, value in container.env if name in stand.port_env and isinstance(value, str)}
    words = (*container.command, *container.args)
    told_values |= {option[1] for pair in pairwise(("", *words)) if (option := _option(*pair, stand.port_options))}
    own = stand.image if stand.programs else None
    return [name for name, number in container.ports.items() if str(number) not in told_values and name != own]


def asks_database(container: Container) -> bool:
    """Whether it is LiteLLM with a database."""
    stand = stand_for(container.image)
    return bool(stand) and stand.package == "litellm" and "DATABASE_URL" in dict(container.env)


def named_services(container: Container, services: Sequence[Service]) -> list[Service]:
    """Services that a variable of a container gives the address of."""
    hosts, values = service_names(services), [value for _, value in container.env if isinstance(value, str)]
    return [hosts[match[1]] for value in values for match in NAMED.finditer(value) if match[1] in hosts]


def _reached(text: str, hosts: Mapping[str, Service], machine: Machine) -> str:
    """`text` with the port of this machine in place of every `NAME:PORT` of a Service in a URL."""

    def here(match: re.Match[str]) -> str:
        service = hosts.get(match[1])
        port = machine.services.get((service.name, int(match[2]))) if service else None
        return f"{LOOPBACK}:{port}" if port else match[0]

    return NAMED.sub(here, text)
