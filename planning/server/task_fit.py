"""Settings that mean nothing for what a model is for, and files that it has in no form that is loaded: both refused."""

from collections.abc import Iterator, Mapping

from catalog.engine import Engine
from catalog.schema import KvProfile, Model
from planning.capacity.options import Setting
from planning.plan.weights import CheckpointPlan
from planning.tasks import task_of
from settings.problems import Problem
from settings.schema import ModelSettings

WRITES_NONE = "writes no tokens; leave it out"


def task_problems(
    settings: ModelSettings, model: Model, options: Mapping[str, Setting], engine: Engine, path: str
) -> list[Problem]:
    """Problems of settings, and of `options` among the arguments, that a server of this model has no use for."""
    task, problems = task_of(model), []
    only = f"{settings.model} only answers {', '.join(task.calls)}"
    problems += _by_second(settings, path) if task.charged_by_second else _by_token(settings, model, path)
    if not task.chats:
        if settings.speculative is not None:
            problems.append(Problem(f"{path}.speculative", f"is for models that chat, and {only}; leave it out"))
        problems += _options(options, engine.chat_options, f"is for models that chat, and {only}", path)
    if not task.writes:
        if settings.max_output_tokens is not None:
            problems.append(Problem(f"{path}.maxOutputTokens", f"{settings.model} {WRITES_NONE}"))
        problems += _options(options, engine.writing_options, f"is for models that write, and {only}", path)
    if model.kv_profile is KvProfile.NONE:
        why = f"{settings.model} keeps no KV cache"
        if settings.kv_cache_dtype is not None:
            problems.append(Problem(f"{path}.kvCacheDtype", f"{why}; leave it out"))
        if settings.kv_offload is not None:
            problems.append(Problem(f"{path}.kvOffload", f"{why}; leave it out"))
        if settings.concurrency > 1:
            problems.append(Problem(f"{path}.concurrency", f"{why}, maxNumSeqs is what it reads at once; leave it out"))
        problems += _options(options, engine.cache_options, f"means nothing: {why}", path)
    return problems


def pickle_problems(settings: ModelSettings, model: Model, files: CheckpointPlan, path: str) -> list[Problem]:
    """The download of a repository that has pickles only, unless a commit is said, which is that of a conversion."""
    if model.conversion is None or settings.revision is not None or files.fetch is None:
        return []
    text = (
        f"is missing: {settings.model} has its weights as pickles only, which may run code when they are loaded and "
        f"are not downloaded; give the commit of the hub's own conversion to safetensors, {model.conversion} of its "
        "repository as `git ls-remote` prints it, or weights of kind existingClaim that you converted yourself"
    )
    return [Problem(f"{path}.revision", text)]


def _by_token(settings: ModelSettings, model: Model, path: str) -> Iterator[Problem]:
    """Prices of a model that is charged by the token."""
    prices, writes = settings.price_usd_per_million_tokens, task_of(model).writes
    if settings.price_usd_per_audio_hour is not None:
        fix = "is charged by the token; use priceUsdPerMillionTokens"
        yield Problem(f"{path}.priceUsdPerAudioHour", f"{settings.model} {fix}")
    if prices is not None and writes and prices.output is None:
        yield Problem(f"{path}.priceUsdPerMillionTokens.output", f"is missing: {settings.model} writes answers")
    if prices is not None and not writes and prices.output:
        yield Problem(f"{path}.priceUsdPerMillionTokens.output", f"{settings.model} {WRITES_NONE}")


def _by_second(settings: ModelSettings, path: str) -> Iterator[Problem]:
    """Prices of a model that is charged by the length of the audio."""
    if settings.price_usd_per_million_tokens is not None:
        fix = "is charged by the length of what it hears; use priceUsdPerAudioHour"
        yield Problem(f"{path}.priceUsdPerMillionTokens", f"{settings.model} {fix}")


def _options(options: Mapping[str, Setting], refused: frozenset[str], why: str, path: str) -> Iterator[Problem]:
    for setting in options.values():
        if setting.name in refused:
            yield Problem(f"{path}.args[{setting.position}]", f"{setting.written} {why}; leave it out")
