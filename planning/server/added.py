"""Arguments and variables that a user adds to those of the plan, and all that may be wrong with them."""

from collections.abc import Collection, Mapping

from catalog.engine import Engine
from catalog.load import Catalog
from catalog.schema import Model
from planning.capacity.options import plain, read_options
from planning.capacity.quantized import quantization_problem
from planning.plan.weights import CheckpointPlan
from planning.server.arguments import check_args
from planning.server.effects import effect_problems
from planning.server.environment import CACHE_ROOT, check_env, server_env
from planning.server.fields import field_problems, said_twice
from planning.server.task_fit import task_problems
from planning.stack.stores import access_problems, fill_problems, options_of, streaming_problems
from settings.problems import Problem
from settings.schema import ModelSettings


def in_plain_words(settings: ModelSettings, engine: Engine) -> ModelSettings:
    """The settings with one spelling of each option, for all that is planned; the server gets what was written."""
    return settings.model_copy(update={"args": plain(read_options(settings.args, engine), engine)})


def written_problems(
    settings: ModelSettings,
    catalog: Catalog,
    path: str,
    *,
    canary: bool,
    on_cpu: bool,
    decided: Collection[str] = (),
) -> list[Problem]:
    """Problems of `args`, as they were written, whatever the model is; `decided`: options that its files decide."""
    engine = catalog.vllm
    args = settings.canary.args if canary and settings.canary else settings.args
    versions = catalog.versions[engine.engine].values()
    problems = check_args(args, engine, f"{path}.args", versions)
    if canary:
        # the canary's image may be of another version than its model's
        inherited = settings.args[: len(settings.args) - len(args)]
        problems += check_args(inherited, engine, f"{path.removesuffix('.canary')}.args", versions)
    problems += [] if canary else field_problems(settings, engine, path)
    options = read_options(settings.args, engine)
    decided_elsewhere = {*decided, *said_twice(settings, engine)}
    free = {name: setting for name, setting in options.items() if name not in decided_elsewhere}
    # of a word that is none the parser takes, nothing else is said
    worded = {problem.path for problem in problems}
    done = effect_problems(settings, free, engine, path, canary=canary, on_cpu=on_cpu)
    return problems + [problem for problem in done if problem.path not in worded]


def variable_problems(
    env: Mapping[str, str], engine: Engine, path: str, *, on_cpu: bool, known: Collection[str] = ()
) -> list[Problem]:
    """Problems of variables, whatever the model is; nothing is said of the `known` ones."""
    decided = server_env(engine, startup_budget_s=0, cache_root=CACHE_ROOT, cpu_kv_cache_gib=0 if on_cpu else None)
    others = {name: value for name, value in env.items() if f"{path}.{name}" not in known}
    return check_env(others, decided, engine, path)


def added_problems(
    settings: ModelSettings,
    model: Model,
    catalog: Catalog,
    files: CheckpointPlan,
    path: str,
    *,
    canary: bool,
    on_cpu: bool,
) -> list[Problem]:
    """Problems of `args` and `env` of a server that is known: of its model and of its files, too."""
    engine, source = catalog.vllm, files.source
    args = settings.canary.args if canary and settings.canary else settings.args
    decided = options_of(source)
    problems = written_problems(settings, catalog, path, canary=canary, on_cpu=on_cpu, decided=decided)
    problems += task_problems(settings, model, read_options(settings.args, engine), engine, path)
    if text := quantization_problem(model, in_plain_words(settings, engine).args, engine):
        problems.append(Problem(f"{path}.args", text))
    led = list(access_problems(source, settings.env, catalog, f"{path}.env"))
    known = {problem.path for problem in led}
    problems += [*led, *variable_problems(settings.env, engine, f"{path}.env", on_cpu=on_cpu, known=known)]
    return [*problems, *fill_problems(files, path), *streaming_problems(source, args, path, on_cpu=on_cpu)]
