"""Effects of the options that a user adds: what is not counted, cannot be had or opens a door, by the engine's file.

An option that a setting decides, or that nothing works with, is refused with the words of the list themselves, in
`planning.server.arguments`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from catalog.engine import NO_EFFECT, Case, Effect, Engine
from catalog.load import Catalog
from planning.capacity.options import Setting, effects, read_options
from planning.plan.flows import Flow
from planning.plan.servers import ServerPlan
from planning.server import measured
from planning.stack.engines import running
from planning.stack.flows import leads_to
from settings.problems import Problem
from settings.schema import ModelSettings

# Characters of a value that a sentence repeats.
LONGEST_VALUE = 60
# An address in a value: what comes before the host says a protocol, and gRPC has none.
ENDPOINT = re.compile(r"[a-z+]{2,10}://[^\s\"',]{1,300}")
USUAL_PORTS = {"http": 80, "https": 443}
Opened = Callable[[], Sequence[Flow]]


def effect_problems(
    settings: ModelSettings,
    options: Mapping[str, Setting],
    engine: Engine,
    path: str,
    opened: Opened,
    *,
    canary: bool,
    on_cpu: bool,
) -> list[Problem]:
    """Problems of the options of one server; those of a canary's model are among its own, and come first.

    `opened`: the ways of its pods, which nobody looks at where no option needs one.
    """
    own = settings.canary.args if canary and settings.canary else settings.args
    inherited, model = len(settings.args) - len(own), path.removesuffix(".canary") if canary else path
    problems = []
    for setting, case in effects(options, engine):
        mine = setting.position >= inherited
        # what is measured of another model is said at the canary
        whose = path if mine or (settings.canary and (settings.canary.model or settings.canary.measured)) else model
        if text := _refusal(setting, case, settings, whose, opened, on_cpu=on_cpu):
            place = f"{path}.args[{setting.position - inherited}]" if mine else f"{model}.args[{setting.position}]"
            problems.append(Problem(place, text))
    return problems


def _refusal(setting: Setting, case: Case, settings: ModelSettings, path: str, opened: Opened, *, on_cpu: bool) -> str:
    """The refusal of one option; empty where it is allowed, or refused elsewhere."""
    shown, why = _shown(setting), case.why.replace("models.NAME", path)
    match case.effect:
        case Effect.FILES:
            return f"{shown} needs files that no server has: {why}"
        case Effect.NETWORK:
            closed = _closed(setting, opened(), path.removesuffix(".canary"))
            if closed:
                return f"{shown} needs the network, {closed}: {why}; open the way there, or leave it out"
            then = case.then or NO_EFFECT
            return _refusal(setting, then, settings, path, opened, on_cpu=on_cpu)
        case Effect.HOST if settings.memory_gib is None:
            use = f"give {path}.memoryGib with room for it, or leave it out"
            return f"{shown} takes memory of the pod that is not counted: {why}; {use}"
        case Effect.UNCOUNTED if settings.measured is None:
            use = "leave it out" if on_cpu else f"leave it out, or {measured.hint(path)}"
            return f"{shown} changes the memory by what is not counted: {why}; {use}"
        case _:
            return ""


def _closed(setting: Setting, flows: Sequence[Flow], path: str) -> str:
    """The reason why an option finds no network; empty where a way of the user's leads to where it says."""
    if not flows:
        return f"and no way of network.extraEgress is of {path}"
    for endpoint in ENDPOINT.findall(setting.value):
        host, port = _target(endpoint)
        if host and not leads_to(flows, host, port):
            at = f"{host} port {port}" if port else host
            return f"and no way of network.extraEgress that is of {path} leads to {at}"
    return ""


def _target(endpoint: str) -> tuple[str, int | None]:
    """(host, port) of an endpoint; no host where it is one to listen at, or none that can be read."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", None
    return ("" if host in ("*", "0.0.0.0", "::") else host), port or USUAL_PORTS.get(parts.scheme)  # noqa: S104 - read


def _shown(setting: Setting) -> str:
    """The option as it is named in a sentence: a flag alone, others with their value or the beginning of it."""
    if setting.value in ("true", "false"):
        return setting.written
    short = setting.value if len(setting.value) <= LONGEST_VALUE else f"{setting.value[:LONGEST_VALUE]}…"
    return f"{setting.written} {short}"


def option_warnings(servers: Sequence[ServerPlan], catalog: Catalog) -> Iterator[str]:
    """Sentences about options that work and open a door, or that the next version may not have."""
    for server in servers:
        engine = running(server, catalog).vllm
        for setting, case in effects(read_options(server.args, engine), engine):
            for risk in (case, *([case.then] if case.then else [])):
                if risk.effect is Effect.RISKY:
                    yield f"{server.name}: {_shown(setting)} {risk.why}"
            if deprecated := engine.options[setting.name].deprecated:
                yield f"{server.name}: {setting.written} is deprecated: {deprecated}"
