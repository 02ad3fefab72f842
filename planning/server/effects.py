"""Effects of the options that a user adds: what is not counted, cannot be had or opens a door, by the engine's file.

An option that a setting decides, or that nothing works with, is refused with the words of the list themselves, in
`planning.server.arguments`.
"""

from collections.abc import Iterator, Mapping, Sequence

from catalog.engine import Case, Effect, Engine
from catalog.load import Catalog
from planning.capacity.options import Setting, effects, read_options
from planning.plan.servers import ServerPlan
from planning.server import measured
from planning.stack.engines import running
from settings.problems import Problem
from settings.schema import ModelSettings

# Characters of a value that a sentence repeats.
LONGEST_VALUE = 60


def effect_problems(
    settings: ModelSettings, options: Mapping[str, Setting], engine: Engine, path: str, *, canary: bool, on_cpu: bool
) -> list[Problem]:
    """Problems of the options of one server; those of a canary's model are among its own, and come first."""
    own = settings.canary.args if canary and settings.canary else settings.args
    inherited, model = len(settings.args) - len(own), path.removesuffix(".canary") if canary else path
    problems = []
    for setting, case in effects(options, engine):
        mine = setting.position >= inherited
        # what is measured of another model is said at the canary
        whose = path if mine or (settings.canary and (settings.canary.model or settings.canary.measured)) else model
        if text := _refusal(setting, case, settings, whose, on_cpu=on_cpu):
            place = f"{path}.args[{setting.position - inherited}]" if mine else f"{model}.args[{setting.position}]"
            problems.append(Problem(place, text))
    return problems


def _refusal(setting: Setting, case: Case, settings: ModelSettings, path: str, *, on_cpu: bool) -> str:
    """The refusal of one option; empty where it is allowed, or refused elsewhere."""
    shown, why = _shown(setting), case.why.replace("models.NAME", path)
    match case.effect:
        case Effect.FILES:
            return f"{shown} needs files that no server has: {why}"
        case Effect.NETWORK:
            return f"{shown} needs the network, and no server may call anything: {why}; leave it out"
        case Effect.HOST if settings.memory_gib is None:
            use = f"give {path}.memoryGib with room for it, or leave it out"
            return f"{shown} takes memory of the pod that is not counted: {why}; {use}"
        case Effect.UNCOUNTED if settings.measured is None:
            use = "leave it out" if on_cpu else f"leave it out, or {measured.hint(path)}"
            return f"{shown} changes the memory by what is not counted: {why}; {use}"
        case _:
            return ""


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
            if case.effect is Effect.RISKY:
                yield f"{server.name}: {_shown(setting)} {case.why}"
            if deprecated := engine.options[setting.name].deprecated:
                yield f"{server.name}: {setting.written} is deprecated: {deprecated}"
