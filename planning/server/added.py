"""Arguments and variables that a user adds to those of the plan, and all that may be wrong with them."""

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
    """Problems of `args` and `env`, as they were written."""
    engine, source = catalog.vllm, files.source
    args = settings.canary.args if canary and settings.canary else settings.args
    decided = server_env(engine, startup_budget_s=0, cache_root=CACHE_ROOT, cpu_kv_cache_gib=0 if on_cpu else None)
    versions = catalog.versions[engine.engine].values()
    problems = check_args(args, engine, f"{path}.args", versions)
    if canary:
        # the canary's image may be of another version than its model's
        inherited = settings.args[: len(settings.args) - len(args)]
        problems += check_args(inherited, engine, f"{path.removesuffix('.canary')}.args", versions)
    problems += [] if canary else field_problems(settings, engine, path)
    options = read_options(settings.args, engine)
    decided_elsewhere = {*options_of(source), *said_twice(settings, engine)}
    free = {name: setting for name, setting in options.items() if name not in decided_elsewhere}
    # of a word that is none the parser takes, nothing else is said
    worded = {problem.path for problem in problems}
    done = effect_problems(settings, free, engine, path, canary=canary, on_cpu=on_cpu)
    problems += [problem for problem in done if problem.path not in worded]
    problems += task_problems(settings, model, options, engine, path)
    if text := quantization_problem(model, in_plain_words(settings, engine).args, engine):
        problems.append(Problem(f"{path}.args", text))
    led = list(access_problems(source, settings.env, catalog, f"{path}.env"))
    paths = {problem.path for problem in led}
    others = {name: value for name, value in settings.env.items() if f"{path}.env.{name}" not in paths}
    problems += [*led, *check_env(others, decided, engine, f"{path}.env")]
    return [*problems, *fill_problems(files, path), *streaming_problems(source, args, path, on_cpu=on_cpu)]
