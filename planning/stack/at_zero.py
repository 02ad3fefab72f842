"""Models that may have no replica, and what a request then meets: an error, another model, or a wait."""

from planning.plan.servers import Timing
from settings.schema import AtZero, ModelSettings


def to_zero(model: ModelSettings) -> bool:
    """Whether its replicas may all go, at any hour or in some."""
    return model.replicas.min == 0 or model.scaling.off_peak is not None


def at_zero(model: ModelSettings) -> AtZero | None:
    """The word of its settings, or to fall back, if it can; None: it always has a replica."""
    if not to_zero(model):
        return None
    return model.scaling.at_zero or "fallback"


def held_s(model: ModelSettings, timing: Timing) -> int | None:
    """Seconds that a request waits: the whole load budget of a start, node and images included, or less if asked for.

    None: it does not.
    """
    if at_zero(model) != "hold":
        return None
    return model.scaling.hold_s or timing.progress_deadline_s
