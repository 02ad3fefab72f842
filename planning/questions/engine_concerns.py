"""The servers of a stack that differences of two versions of their engine are about.

`ABOUT` has the rule of each field of the engine's file. Pure functions.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from catalog.engine import Engine
from catalog.load import Catalog
from catalog.schema import TaskName
from planning.capacity import flags
from planning.capacity.options import Setting, read_options
from planning.plan import Plan
from planning.plan.servers import ServerPlan
from planning.questions.engine_diff import SPELLINGS, ChangeKind, EngineChange, differ
from planning.stack.mig import with_parts
from planning.tasks import TASKS

EVERY_MODEL = "every model"
# Defaults that count where one of these options is not written: of a card, and of CPUs.
BATCH = (flags.MAX_NUM_SEQS, flags.MAX_NUM_BATCHED_TOKENS)
INSTEAD = {False: {"batch": BATCH, "batch_cpu": ()}, True: {"batch": (), "batch_cpu": BATCH}}


@dataclass(frozen=True)
class Use:
    """Facts of a server that differences may be about.

    `options`: as each version reads its arguments; `vendor`, `format`, `family`: None where the catalogue does not say.
    """

    model: str
    cpu: bool
    options: tuple[Mapping[str, Setting], Mapping[str, Setting]]
    words: frozenset[str]
    task: str
    silent_roles: frozenset[str]
    vendor: str | None
    format: str | None
    family: str | None
    idle_options: frozenset[str]

    @property
    def given_options(self) -> Mapping[str, Setting]:
        """The options of its arguments, as one or the other version reads them."""
        return {**self.options[1], **self.options[0]}


About = Callable[[Use, EngineChange], bool]


def concerning(
    changes: Iterable[EngineChange], before: Engine, after: Engine, plan: Plan, catalog: Catalog
) -> list[EngineChange]:
    """The same with what each is about in a stack; those that are about something come first."""
    uses = [_use(server, plan, catalog, (before, after)) for server in plan.servers]
    asking = dict(_asking(plan))
    done = []
    for change in changes:
        models = list(dict.fromkeys(use.model for use in uses if ABOUT[change.field](use, change)))
        named = [EVERY_MODEL] if len(models) == len({use.model for use in uses}) > 1 else models
        if change.field == "metrics":
            metric = re.compile(rf"(?<![\w:]){re.escape(change.name)}(_bucket|_sum|_count)?(?![\w:])")
            named = [place for place, queries in asking.items() if metric.search(queries)]
        done.append(replace(change, concerns=tuple(named)))
    return sorted(done, key=lambda change: not change.concerns)


def _use(server: ServerPlan, plan: Plan, catalog: Catalog, engines: tuple[Engine, Engine]) -> Use:
    old, new = (read_options(server.args, engine) for engine in engines)
    values = [setting.value for setting in [*old.values(), *new.values()]]
    model = catalog.models.get(server.model)
    gpu = with_parts(catalog, plan.pools).gpus.get(plan.pools[server.pool].gpu)
    return Use(
        model=server.model_name,
        cpu=server.cpu,
        options=(old, new),
        words=frozenset([*old, *new, *server.env, *re.findall(r"[^\s,]+", " ".join(values))]),
        task=next((name.value for name, task in TASKS.items() if task == server.task), TaskName.GENERATE.value),
        silent_roles=server.watched.silent_roles,
        vendor=gpu.vendor.value if gpu else None,
        format=model.checkpoint.format.value if model else None,
        family=model.family if model else None,
        idle_options=_idle_options(server, engines[1]),
    )


def _idle_options(server: ServerPlan, engine: Engine) -> frozenset[str]:
    """Options that mean nothing to what the server is for."""
    chats = frozenset() if server.task.chats else engine.chat_options
    return chats | (frozenset() if server.task.writes else engine.writing_options)


def _asking(plan: Plan) -> Iterator[tuple[str, str]]:
    """Everything that asks Prometheus for metrics, with its queries."""
    for rule in plan.observability.alerts:
        yield f"alert {rule.alert}", rule.expr
    yield "dashboard", json.dumps(plan.observability.dashboard)
    for server in plan.servers:
        if server.scaling:
            queries = [signal.query for signal in server.scaling.signals] + [server.scaling.wake_query or ""]
            yield f"scaling of {server.name}", "\n".join(queries)
    yield "rules of the adapter", json.dumps(plan.observability.adapter_rules)


def _option(use: Use, change: EngineChange) -> bool:
    """It is written; or it is not, and what counts in its place is another value now."""
    settings = [options.get(change.name) for options in use.options]
    if all(setting is None for setting in settings):
        speaks = change.name not in use.idle_options
        return change.kind is ChangeKind.CHANGED and speaks and differ(change, {"default"})
    if change.kind is not ChangeKind.CHANGED or set(settings) & {None}:
        return True
    # it is read alike by both where only spellings differ that it does not have
    return differ(change, (change.before.keys() | change.after.keys()) - SPELLINGS) or settings[0] != settings[1]


def _holds(use: Use, change: EngineChange) -> bool:
    """It has the option, whatever is in it."""
    return any(change.name in options for options in use.options)


def _value_of(option: str) -> About:
    return lambda use, change: option in use.given_options and use.given_options[option].value == change.name


def _named(use: Use, change: EngineChange) -> bool:
    """A word of it that came or went is one of the server's."""
    words = [set(re.findall(r"[^\s,\"\[\]{}]+", json.dumps(value))) for value in (change.before, change.after)]
    return bool(({change.name} | (words[0] ^ words[1])) & use.words)


def _default(use: Use, change: EngineChange) -> bool:
    return any(option not in use.given_options for option in INSTEAD[use.cpu].get(change.name, ("",)))


def _every(_use: Use, _change: EngineChange) -> bool:
    return True


def _none(_use: Use, _change: EngineChange) -> bool:
    return False


def _task(use: Use, change: EngineChange) -> bool:
    return use.task == change.name


def _role(use: Use, change: EngineChange) -> bool:
    return change.name not in use.silent_roles


def _vendor(use: Use, change: EngineChange) -> bool:
    return use.vendor in {None, change.name}


def _family(use: Use, change: EngineChange) -> bool:
    """A family came or went, and the model is of it."""
    return use.family in set(change.before or ()) ^ set(change.after or ()) or use.family == change.name


def _format(use: Use, change: EngineChange) -> bool:
    return use.format in {None, change.name}


ABOUT: Mapping[str, About] = {
    "options": _option,
    "contents": _holds,
    "removed_options": _named,
    "metrics": _none,
    "roles": _role,
    "reasoning_parsers": _value_of(flags.REASONING_PARSER),
    "tool_call_parsers": _value_of(flags.TOOL_CALL_PARSER),
    "kv_cache_dtypes": _value_of(flags.KV_CACHE_DTYPE),
    "load_formats": _value_of(flags.LOAD_FORMAT),
    "tokenizer_modes": _value_of(flags.TOKENIZER_MODE),
    "tasks": _task,
    "variables": _named,
    "defaults": _default,
    "slices": _format,
    "devices": _vendor,
    "quantizations": _named,
    "loading": _every,
    "health": _every,
    "any_delta": _named,
    "chat_options": _named,
    "writing_options": _named,
    "no_loras": _family,
    "cache_options": _named,
    "uncompiled": _named,
    "gone_metrics": _none,
}
