"""Notices of a change of teams: whose key ends, who may ask or spend less than before."""

from collections.abc import Iterator, Mapping
from typing import Any

from preview.reporting.sides import Document, Notice, Rank
from preview.reporting.wording import usd

UNITS = {"requests_per_minute": "requests per minute", "tokens_per_minute": "tokens per minute"}
Team = Mapping[str, Any]


def of_teams(before: Document, after: Document) -> Iterator[Notice]:
    """Nothing where there were none before: what comes new takes nothing from anybody."""
    old, new = ((side.get("gateway") or {}).get("teams") for side in (before, after))
    if old and new is None:
        effect = "`gateway.teams` is left out, so keys of its teams stay valid as they are; `teams: {}` would end them"
        yield Notice(Rank.DIFFERS, "holders of virtual keys", effect)
        return
    for name, team in (old or {}).items():
        yield from _of_team(name, team, (new or {}).get(name))


def _of_team(name: str, old: Team, new: Team | None) -> Iterator[Notice]:
    there = {key["alias"] for key in new["keys"]} if new else set()
    for alias in (key["alias"] for key in old["keys"] if key["alias"] not in there):
        yield Notice(Rank.FAILS, f"users of the key `{alias}`", "it ends, and they get 401")
    if new is None:
        return
    whose = f"team `{name}`"
    may = {*new["models"], *new["fallbacks"]}
    if lost := [model for model in (*old["models"], *old["fallbacks"]) if model not in may]:
        yield Notice(Rank.FAILS, whose, f"may no longer ask {', '.join(lost)}, and gets 403")
    if new["secret"] != old["secret"]:
        effect = f"its keys are those in Secret {new['secret']}, no longer those in {old['secret']}: others get 401"
        yield Notice(Rank.FAILS, whose, effect)
    yield from _lower(whose, "", old, new)
    for model, limits in new["per_model"].items():
        yield from _lower(whose, f" for {model}", old["per_model"].get(model, {}), limits)
    was, now = old["monthly_budget_usd"], new["monthly_budget_usd"]
    if now is not None and (was is None or now < was):
        shown = usd(was) if was is not None else "any sum"
        yield Notice(Rank.DIFFERS, whose, f"may use up {usd(now)} a month, no longer {shown}; then it gets 429")


def _lower(whose: str, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Notice]:
    for key, unit in UNITS.items():
        was, now = old.get(key), new[key]
        if now is not None and (was is None or now < was):
            shown = f"{was:,}" if was is not None else "any number of"
            yield Notice(Rank.DIFFERS, whose, f"has {now:,} {unit}{what}, no longer {shown}; beyond it gets 429")
