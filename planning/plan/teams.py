"""Teams of the gateway: who may ask what, by which keys, and where their values are."""

from collections.abc import Mapping
from dataclasses import dataclass

from planning.plan.pods import JobLimits


@dataclass(frozen=True)
class TeamKey:
    """One generation of a key of a team. `entry`: that of the team's Secret with its value."""

    name: str
    generation: int
    alias: str
    """What LiteLLM calls it in its logs and metrics; no other key has it."""
    entry: str
    variable: str
    """What holds its value in the pod that registers it."""
    purpose: str
    """What its value is derived for, where nobody gives one."""


@dataclass(frozen=True)
class ModelLimit:
    """Limits of a team on one model, per minute; None: none of this kind."""

    model: str
    requests_per_minute: int | None
    tokens_per_minute: int | None


@dataclass(frozen=True)
class TeamPlan:
    """A team. `models` are all it may ask, `added` those among them that are there as fallbacks only."""

    name: str
    models: tuple[str, ...]
    added: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    per_model: tuple[ModelLimit, ...]
    monthly_budget_usd: float | None
    keys: tuple[TeamKey, ...]
    secret: str
    derived: bool
    """Whether the Secret is ours, with values derived from the master key."""


@dataclass(frozen=True)
class TeamsPlan:
    """All teams, and the Job that tells the gateway of them. Without any, it ends those there have been."""

    teams: tuple[TeamPlan, ...]
    file: Mapping[str, object]
    """What the Job reads: all of it but the values of keys."""
    digest: str
    """Of that file: another plan is another Job."""
    job: JobLimits
    patience_s: int
    """How long one pod of the Job tries before it makes room for another."""
