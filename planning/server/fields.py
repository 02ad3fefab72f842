"""Settings that are options of the engine: written as its arguments, so that both ways of a word are counted alike."""

from catalog.engine import Engine
from planning.server.adapters import slot_args
from settings.schema import ModelSettings


def with_fields(settings: ModelSettings, engine: Engine) -> ModelSettings:
    """The settings with the arguments that their fields stand for, before those that were written."""
    return settings.model_copy(update={"args": [*slot_args(settings, engine), *settings.args]})
