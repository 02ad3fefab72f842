"""Words about a team: what it may ask, how much of it, and what it may spend. Never a value of a key."""

from typing import Any

from planning.plan.teams import ModelLimit, TeamPlan
from preview.reporting.wording import usd


def models_of(team: TeamPlan) -> str:
    """`qwen3-14b (and its fallbacks qwen3-8b)`."""
    asked = ", ".join(model for model in team.models if model not in team.added)
    return f"{asked} (and, as fallback, {', '.join(team.added)})" if team.added else asked


def limits_of(limited: TeamPlan | ModelLimit) -> str:
    """`600 requests and 400,000 tokens a minute`; empty where there is no limit."""
    parts = [
        f"{limit:,} {unit}"
        for limit, unit in ((limited.requests_per_minute, "requests"), (limited.tokens_per_minute, "tokens"))
        if limit is not None
    ]
    return f"{' and '.join(parts)} a minute" if parts else ""


def sum_of(team: TeamPlan) -> str:
    """All of it in one line."""
    parts = [
        limits_of(team),
        *(f"of {limit.model} {limits_of(limit)}" for limit in team.per_model),
        f"{usd(team.monthly_budget_usd)} a month" if team.monthly_budget_usd else "",
    ]
    return "; ".join([models_of(team), *filter(None, parts)])


def team_document(team: TeamPlan) -> dict[str, Any]:
    """The same for machines."""
    return {
        "models": [model for model in team.models if model not in team.added],
        "fallbacks": list(team.added),
        "requests_per_minute": team.requests_per_minute,
        "tokens_per_minute": team.tokens_per_minute,
        "per_model": {
            limit.model: {
                "requests_per_minute": limit.requests_per_minute,
                "tokens_per_minute": limit.tokens_per_minute,
            }
            for limit in team.per_model
        },
        "monthly_budget_usd": team.monthly_budget_usd,
        "secret": team.secret,
        "derived": team.derived,
        "keys": [
            {"key": key.name, "generation": key.generation, "alias": key.alias, "entry": key.entry} for key in team.keys
        ],
    }
