"""Tells the gateway of its teams and their keys, and ends those it has told it of before and that are no more.

Runs as a Job once the gateway serves. Teams, models and limits are read from `PLAN_FILE`, values of keys from
variables; they go from Secrets to LiteLLM and never back. It looks at what is there, changes what differs, and looks
again until nothing does, so it may be killed at any point, run twice, or meet a gateway that starts anew: the next run
goes on.

What LiteLLM calls `metadata.managed_by` says whose a team or key is. Without our mark it is somebody else's: it is
never changed, and where it has the name of one of ours, that is refused. Of ours, models, limits, budgets and values
are as planned afterwards; whether one is blocked or expires is left to whoever did that.

Exit status: 0 all is as planned and every key sees its models; 10 not yet, another try may help; 20 refused, nothing
helps but another plan, Secret or database.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_admin import Denied, Gateway, Later, Refused, Row, say

DONE, LATER, REFUSED = 0, 10, 20
MARK = "managed_by"
# Keys of LiteLLM's own kind; a shorter one could be guessed.
STRONG_KEY = re.compile(r"sk-[!-~]{17,}")
PAUSE_S = 2
# Looks at what is there until nothing differs; refusals in a row that are taken for an answer.
PASSES, DENIALS = 5, 3
# Limits of single models are kept in the metadata of a team.
IN_METADATA = ("model_rpm_limit", "model_tpm_limit")


@dataclass(frozen=True)
class Key:
    """One key as planned; `origin`: Secret and entry its value is from."""

    alias: str
    team: str
    value: str = field(repr=False)
    origin: str = ""

    @property
    def token(self) -> str:
        """What LiteLLM keeps of it (1.109.1, proxy/utils.py, hash_token)."""
        return hashlib.sha256(self.value.encode()).hexdigest()


@dataclass(frozen=True)
class Wanted:
    """The plan: teams with their settings by id, models that each is shown, keys by alias, and whose they are."""

    teams: Mapping[str, Mapping[str, Any]]
    listed: Mapping[str, list[str]]
    keys: Mapping[str, Key]
    mark: str


@dataclass(frozen=True)
class State:
    """What the gateway has: teams by id, keys."""

    teams: Mapping[str, Row]
    keys: tuple[Row, ...]


Change = tuple[str, Callable[[], object]]


def _metadata(row: Row) -> dict[str, Any]:
    return dict(row.get("metadata") or {})


def read(gateway: Gateway) -> State:
    """All teams and keys; what is whose is decided by who looks."""
    keys = gateway.pages("/key/list?return_full_object=true&sort_by=key_alias&sort_order=asc", "size", "keys")
    teams = gateway.pages("/v2/team/list?sort_by=team_id", "page_size", "teams")
    return State({row["team_id"]: row for row in teams}, tuple(keys))


def refusals(wanted: Wanted, state: State) -> Iterator[str]:
    """Teams and keys of somebody else that stand where ours should."""

    def whose(row: Row) -> str:
        return f"is not this stack's (metadata.{MARK} is {_metadata(row).get(MARK)!r}, not {wanted.mark!r})"

    for name, row in state.teams.items():
        if name in wanted.teams and _metadata(row).get(MARK) != wanted.mark:
            yield f"team {name} is there and {whose(row)}; rename one, or give that mark to it by /team/update"
    tokens = {key.token: key for key in wanted.keys.values()}
    for row in state.keys:
        if _metadata(row).get(MARK) == wanted.mark:
            continue
        alias = row.get("key_alias")
        if alias in wanted.keys:
            yield f"key {alias} is there and {whose(row)}; rename one of the two, or delete it"
        elif row["token"] in tokens:
            key = tokens[row["token"]]
            yield f"the value of {key.alias} ({key.origin}) is that of key {alias}, which {whose(row)}; use another"


def changes(gateway: Gateway, wanted: Wanted, state: State) -> Iterator[Change]:
    """(what for the log, the call) of all that differs: first what is new, then what is no more."""
    for name, team in wanted.teams.items():
        yield from _team_change(gateway, name, team, state.teams.get(name), wanted.mark)
    ours = [row for row in state.keys if _metadata(row).get(MARK) == wanted.mark]
    by_alias = {row.get("key_alias"): row for row in ours}
    by_token = {row["token"]: row for row in ours}
    for key in wanted.keys.values():
        yield from _key_changes(gateway, key, by_alias.get(key.alias), by_token.get(key.token), wanted.mark)
    for row in ours:
        if row.get("key_alias") not in wanted.keys:
            yield _end_key(gateway, row)
    for name, row in state.teams.items():
        if _metadata(row).get(MARK) == wanted.mark and name not in wanted.teams:
            yield from _end_team(gateway, name, wanted.mark, state)


def _team_change(gateway: Gateway, name: str, team: Mapping[str, Any], row: Row | None, mark: str) -> Iterator[Change]:
    columns = {key: value for key, value in team.items() if key not in IN_METADATA}
    limits = {key: team[key] for key in IN_METADATA if team[key]}
    if row is None:
        body = {"team_id": name, "team_alias": name, **columns, **limits, "metadata": {MARK: mark}}
        yield f"team {name}: made", lambda: gateway.call("/team/new", body)
        return
    # only what differs: a duration that is said again begins a new period
    differing = {key: value for key, value in columns.items() if _plain(row.get(key)) != _plain(value)}
    metadata = _metadata(row)
    if limits != {key: metadata[key] for key in IN_METADATA if metadata.get(key)}:
        kept = {key: value for key, value in metadata.items() if key not in IN_METADATA}
        differing |= {**limits, "metadata": kept}
    if differing:
        yield f"team {name}: changed", lambda: gateway.call("/team/update", {"team_id": name, **differing})


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _key_changes(gateway: Gateway, key: Key, row: Row | None, holder: Row | None, mark: str) -> Iterator[Change]:
    """`row`: the key of that name, `holder`: that of that value, among ours."""
    columns = {"team_id": key.team, "models": ["all-team-models"]}
    if holder is not None and holder is not row:
        # the same value under another name: that one makes room
        yield _end_key(gateway, holder)
    if row is not None and row["token"] != key.token:
        yield _end_key(gateway, row)
    elif row is not None:
        if differing := {name: value for name, value in columns.items() if row.get(name) != value}:
            body = {"key": row["token"], **differing}
            yield f"key {key.alias}: changed", lambda: gateway.call("/key/update", body)
        return
    new = {"key": key.value, "key_alias": key.alias, **columns, "metadata": {MARK: mark}}
    yield f"key {key.alias}: made", lambda: gateway.call("/key/generate", new)


def _end_key(gateway: Gateway, row: Row) -> Change:
    return f"key {row.get('key_alias')}: ended", lambda: gateway.call("/key/delete", {"keys": [row["token"]]})


def _end_team(gateway: Gateway, name: str, mark: str, state: State) -> Iterator[Change]:
    """A team goes with all of its keys, so one in which somebody has made keys stays, without doing anything for us."""
    foreign = [row for row in state.keys if row.get("team_id") == name and _metadata(row).get(MARK) != mark]
    if foreign:
        say(f"team {name}: stays, because {len(foreign)} of its keys are not this stack's")
        return
    yield f"team {name}: ended", lambda: gateway.call("/team/delete", {"team_ids": [name]})


def converge(gateway: Gateway, wanted: Wanted) -> State:
    """Changes what differs, until nothing does; returns what is there then. Raises `Later`, `Refused`."""
    for _ in range(PASSES):
        state = read(gateway)
        if refused := list(refusals(wanted, state)):
            raise Refused("\n".join(refused))
        differing = list(changes(gateway, wanted, state))
        if not differing:
            return state
        for text, change in differing:
            change()
            say(text)
    raise Later("somebody else keeps changing teams or keys")


def unseen(gateway: Gateway, wanted: Wanted, state: State) -> list[str]:
    """Keys that do not see the models of their team, and what they see. Blocked ones and expired ones see nothing."""
    rows = {row.get("key_alias"): row for row in state.keys}
    wrong: list[str] = []
    for key in wanted.keys.values():
        row, team = rows[key.alias], state.teams[key.team]
        if row.get("blocked") or team.get("blocked") or row.get("expires"):
            say(f"key {key.alias}: somebody has blocked it, or lets it expire; not looked at")
            continue
        models = wanted.listed[key.team]
        try:
            seen = sorted(model["id"] for model in gateway.call("/v1/models", key=key.value)["data"])
        except Denied as denied:
            wrong.append(f"key {key.alias}: {denied}")
            continue
        if seen != sorted(models):
            wrong.append(f"key {key.alias} sees {', '.join(seen)}, not {', '.join(models)}")
    return wrong


def once(gateway: Gateway, wanted: Wanted) -> None:
    """One try at all of it. Raises `Later`, `Refused`."""
    database = gateway.call("/health/readiness").get("db")
    if database != "connected":
        raise Later(f"the gateway's database is {database}")
    state = converge(gateway, wanted)
    if wrong := unseen(gateway, wanted, state):
        raise Later("\n".join(wrong))


def plan(environment: Mapping[str, str]) -> Wanted:
    """The file and the values. Raises `Refused` for values that are none."""
    said = json.loads(Path(environment["PLAN_FILE"]).read_text(encoding="utf-8"))
    keys = {
        alias: Key(alias, key["team"], environment.get(key["variable"], ""), key["from"])
        for alias, key in said["keys"].items()
    }
    wrong = []
    first = {environment["LITELLM_MASTER_KEY"]: "the master key"}
    for key in keys.values():
        if not STRONG_KEY.fullmatch(key.value):
            wrong.append(
                f"{key.origin}: must start with sk- and have at least 20 characters, all of them visible ASCII, "
                "without a line break at its end"
            )
        elif key.value in first:
            wrong.append(f"{key.origin}: is the same as {first[key.value]}; every key has a value of its own")
        first.setdefault(key.value, key.origin)
    if wrong:
        raise Refused("\n".join(wrong))
    return Wanted(said["teams"], said["listed"], keys, environment["MANAGED_BY"])


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Tries until all is as planned, it is refused, or `PATIENCE_S` have passed."""
    end = time.monotonic() + float(environment["PATIENCE_S"])
    denied = 0
    try:
        wanted = plan(environment)
        hidden = (environment["LITELLM_MASTER_KEY"], *(key.value for key in wanted.keys.values()))
        gateway = Gateway(environment["GATEWAY_URL"], environment["LITELLM_MASTER_KEY"], hidden)
        while True:
            try:
                once(gateway, wanted)
            except Later as later:
                denied = denied + 1 if isinstance(later, Denied) else 0
                if denied == DENIALS:
                    raise Refused(str(later)) from None
                say(str(later))
            else:
                say(f"as planned: {len(wanted.teams)} teams with {len(wanted.keys)} keys")
                return DONE
            if time.monotonic() > end:
                return LATER
            time.sleep(PAUSE_S)
    except Refused as refused:
        say(f"refused:\n{refused}")
        return REFUSED


if __name__ == "__main__":
    sys.exit(main())
