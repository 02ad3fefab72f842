"""Arguments and variables that a user adds to those of the plan, and all that may be wrong with them."""

from collections.abc import Collection, Iterator, Sequence

from catalog.engine import Engine
from catalog.load import Catalog
from catalog.schema import Model
from planning.capacity.options import plain, read_options
from planning.capacity.quantized import quantization_problem
from planning.plan.weights import CheckpointPlan
from planning.server.arguments import check_args
from planning.server.effects import Opened, effect_problems
from planning.server.environment import CACHE_ROOT, check_env, server_env
from planning.server.fields import field_problems, said_twice, with_fields
from planning.server.task_fit import task_problems
from planning.stack.stores import access_problems, fill_problems, options_of, streaming_problems
from settings.doubt import WHOLE, Judging, in_doubt, judge
from settings.problems import Problem
from settings.schema import ModelSettings


def in_plain_words(settings: ModelSettings, engine: Engine) -> ModelSettings:
    """The settings with one spelling of each option, for all that is planned; the server gets what was written."""
    return settings.model_copy(update={"args": plain(read_options(settings.args, engine), engine)})


def in_words_of_the_engine(settings: ModelSettings, engine: Engine, draft: CheckpointPlan | None) -> ModelSettings:
    """The settings with all arguments in one spelling; in doubt where one of the fields is that are among them."""
    with Judging() as judging:
        changed = in_plain_words(with_fields(settings, engine, draft), engine)
    return changed if judging.is_sure("ModelSettings.chat_template") else in_doubt(changed, {"args": WHOLE})


def written_problems(
    settings: ModelSettings,
    catalog: Catalog,
    path: str,
    opened: Opened,
    *,
    canary: bool,
    on_cpu: bool,
    decided: Collection[str] = (),
) -> list[Problem]:
    """Problems of `args`, as they were written, whatever the model is; `decided`: options that its files decide."""
    engine = catalog.vllm
    problems = judge(_word_problems, settings, catalog, path, canary=canary)
    problems += [] if canary else judge(field_problems, settings, engine, path)
    # of a word that is none the parser takes, nothing else is said
    worded = {problem.path for problem in problems}
    done = judge(_done_problems, settings, engine, path, opened, canary=canary, on_cpu=on_cpu, decided=decided)
    return problems + [problem for problem in done if problem.path not in worded]


def _word_problems(settings: ModelSettings, catalog: Catalog, path: str, *, canary: bool) -> list[Problem]:
    """Words that the parser of the engine does not take."""
    engine, args = catalog.vllm, _own_args(settings, canary=canary)
    versions = catalog.versions[engine.engine].values()
    problems = check_args(args, engine, f"{path}.args", versions)
    if canary:
        # the canary's image may be of another version than its model's
        inherited = settings.args[: len(settings.args) - len(args)]
        problems += check_args(inherited, engine, f"{path.removesuffix('.canary')}.args", versions)
    return problems


def _own_args(settings: ModelSettings, *, canary: bool) -> Sequence[str]:
    """The arguments that a server does not share with that of its model."""
    return settings.canary.args if canary and settings.canary else settings.args


def _done_problems(
    settings: ModelSettings,
    engine: Engine,
    path: str,
    opened: Opened,
    *,
    canary: bool,
    on_cpu: bool,
    decided: Collection[str],
) -> list[Problem]:
    """Words that do what cannot be."""
    decided_elsewhere = {*decided, *said_twice(settings, engine)}
    options = read_options(settings.args, engine)
    free = {name: setting for name, setting in options.items() if name not in decided_elsewhere}
    return effect_problems(settings, free, engine, path, opened, canary=canary, on_cpu=on_cpu)


def variable_problems(
    settings: ModelSettings, engine: Engine, path: str, *, on_cpu: bool, known: Collection[str] = ()
) -> list[Problem]:
    """Problems of variables, whatever the model is; nothing is said of the `known` ones."""
    return judge(_variable_problems, settings, engine, f"{path}.env", on_cpu=on_cpu, known=known)


def _variable_problems(
    settings: ModelSettings, engine: Engine, path: str, *, on_cpu: bool, known: Collection[str]
) -> list[Problem]:
    decided = server_env(engine, startup_budget_s=0, cache_root=CACHE_ROOT, cpu_kv_cache_gib=0 if on_cpu else None)
    others = {name: value for name, value in settings.env.items() if f"{path}.{name}" not in known}
    return check_env(others, decided, engine, path)


def added_problems(
    settings: ModelSettings,
    model: Model,
    catalog: Catalog,
    files: CheckpointPlan | None,
    path: str,
    opened: Opened,
    *,
    canary: bool,
    on_cpu: bool,
) -> list[Problem]:
    """Problems of `args` and `env` of a server that is known: of its model and, where those are, of its files, too."""
    engine, decided = catalog.vllm, options_of(files.source) if files else ()
    problems = written_problems(settings, catalog, path, opened, canary=canary, on_cpu=on_cpu, decided=decided)
    problems += judge(_model_problems, settings, model, engine, path)
    led = judge(_access_problems, settings, catalog, files, path) if files else []
    known = {problem.path for problem in led}
    problems += [*led, *variable_problems(settings, engine, path, on_cpu=on_cpu, known=known)]
    return problems + (judge(_file_problems, settings, files, path, canary=canary, on_cpu=on_cpu) if files else [])


def _model_problems(settings: ModelSettings, model: Model, engine: Engine, path: str) -> Iterator[Problem]:
    """Arguments that a model of this task, or of this format, does not take."""
    yield from task_problems(settings, model, read_options(settings.args, engine), engine, path)
    if text := quantization_problem(model, in_plain_words(settings, engine).args, engine):
        yield Problem(f"{path}.args", text)


def _access_problems(settings: ModelSettings, catalog: Catalog, files: CheckpointPlan, path: str) -> Iterator[Problem]:
    return access_problems(files.source, settings.env, catalog, f"{path}.env")


def _file_problems(
    settings: ModelSettings, files: CheckpointPlan, path: str, *, canary: bool, on_cpu: bool
) -> Iterator[Problem]:
    yield from fill_problems(files, path)
    yield from streaming_problems(files.source, _own_args(settings, canary=canary), path, on_cpu=on_cpu)
