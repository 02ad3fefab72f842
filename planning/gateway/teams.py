"""Teams and their keys: models with their fallbacks, Secrets, names in LiteLLM, and what is refused."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from planning.gateway.fallbacks import reached
from planning.gateway.names import RESERVED_MODELS
from planning.plan.gateway import Route
from planning.plan.pods import JobLimits
from planning.plan.teams import ModelLimit, TeamKey, TeamPlan, TeamsPlan
from planning.stack.timing import GATEWAY_AWAIT_TIMEOUT_S, LAST_WORDS_S
from settings.doubt import Judging, doubts, judge
from settings.problems import Problem, nearest
from settings.schema import StackSettings, TeamSettings, public_names

# Teams of LiteLLM's own sessions (1.109.1, proxy/_types.py, UI_TEAM_ID).
RESERVED_TEAM = "litellm-dashboard"
# Of the Job's pod: each has the value of a key, and this before its alias.
VARIABLE = "TEAM_KEY_"
# Keys of a stack: each is a variable of the Job's pod, of some 400 bytes with what the API server notes about it, and
# an object of Kubernetes has 1.5 MiB at most (etcd, --max-request-bytes).
MOST_KEYS = 2_000
# A ConfigMap has 1 MiB (Kubernetes, ConfigMap); the script beside the plan takes a part of it.
MOST_FILE_BYTES = 900 * 1024
# Requests about one team or key take tens of milliseconds, and on a busy gateway ten times as long.
PER_KEY_S = 1
LEAST_DEADLINE_S = 600
# One pod tries for so long: more than a database's failover, or one start of a proxy.
PATIENCE_S = 150
RETRIES = 6
# Settings of a team that its Secret follows from.
OF_SECRETS = {"existing_secret", "keys"}
# The Job's exit status when nothing but another plan or Secret helps (components/pod_scripts/gateway_teams.py).
REFUSED_EXIT = 20


def plan_teams(
    settings: StackSettings, routes: Sequence[Route], fallbacks: Sequence[tuple[str, tuple[str, ...]]]
) -> tuple[TeamsPlan | None, list[Problem]]:
    """All teams of the gateway; None where nothing is said of them. `fallbacks`: of each model, by public names."""
    teams = settings.gateway.teams
    if teams is None:
        return None, []
    direct = _providers_models(settings)
    hidden = {model for model, may_be_asked in direct.items() if not may_be_asked}
    names = public_names(settings.models)
    served = {*names, *names.values(), *(route.model_name for route in routes), *(direct.keys() - hidden)}
    chains = dict(fallbacks)
    planned = tuple(_team(name, team, chains, names) for name, team in sorted(teams.items()))
    file = plan_file(planned, hidden)
    written = json.dumps(file, sort_keys=True)
    # another database knows none of it
    database = settings.gateway.database.model_dump_json() if settings.gateway.database else ""
    keys = sum(len(team.keys) for team in planned)
    deadline_s = LEAST_DEADLINE_S + PER_KEY_S * (len(planned) + keys)
    plan = TeamsPlan(
        teams=planned,
        file=file,
        digest=hashlib.sha256(f"{written}{database}".encode()).hexdigest()[:10],
        patience_s=PATIENCE_S,
        job=JobLimits(RETRIES, deadline_s, max(GATEWAY_AWAIT_TIMEOUT_S, deadline_s + LAST_WORDS_S)),
    )
    problems = [
        *judge(_stack_problems, settings, keys, len(written)),
        *(p for team in planned for p in judge(_team_problems, teams[team.name], team, served, hidden, names)),
        *_alias_problems(_sure_keys(teams)),
        *judge(_secret_problems, settings, [t for t in planned if not OF_SECRETS & {*doubts(teams[t.name])}]),
    ]
    return plan, problems


def _providers_models(settings: StackSettings) -> dict[str, bool]:
    """Models of external providers → whether clients may ask them, and not only a fallback."""
    providers = settings.gateway.providers.values()
    return {name: model.direct for provider in providers for name, model in provider.models.items()}


def _team(name: str, team: TeamSettings, chains: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> TeamPlan:
    models = tuple(dict.fromkeys(names.get(word, word) for word in team.models))
    # LiteLLM asks no fallback that a key may not ask
    added = tuple(model for model in reached(models, chains) if model not in models)
    return TeamPlan(
        name=name,
        models=(*models, *added),
        added=added,
        requests_per_minute=team.requests_per_minute,
        tokens_per_minute=team.tokens_per_minute,
        per_model=tuple(
            ModelLimit(names.get(model, model), limit.requests_per_minute, limit.tokens_per_minute)
            for model, limit in sorted(team.per_model.items())
        ),
        monthly_budget_usd=team.monthly_budget_usd,
        keys=tuple(
            team_key(name, key, generation)
            for key, settings in sorted(team.keys.items())
            for generation in settings.generations
        ),
        secret=team.existing_secret or f"llm-team-{name}",
        derived=team.existing_secret is None,
    )


def team_key(team: str, key: str, generation: int) -> TeamKey:
    """The names of one generation of a key."""
    alias = f"{team}-{key}-{generation}"
    variable = f"{VARIABLE}{alias.upper().replace('-', '_')}"
    return TeamKey(key, generation, alias, f"{key}-{generation}", variable, f"team/{team}/{key}/{generation}")


def plan_file(teams: Sequence[TeamPlan], hidden: Collection[str] = ()) -> dict[str, object]:
    """All that the Job is told, in LiteLLM's own words (1.109.1, proxy/_types.py, NewTeamRequest).

    `hidden`: models that answer as fallbacks only, and are in no list of models.
    """
    return {
        "teams": {
            team.name: {
                "models": sorted(team.models),
                "rpm_limit": team.requests_per_minute,
                "tpm_limit": team.tokens_per_minute,
                "max_budget": team.monthly_budget_usd,
                "budget_duration": "1mo" if team.monthly_budget_usd else None,
                "model_rpm_limit": {
                    limit.model: limit.requests_per_minute for limit in team.per_model if limit.requests_per_minute
                },
                "model_tpm_limit": {
                    limit.model: limit.tokens_per_minute for limit in team.per_model if limit.tokens_per_minute
                },
            }
            for team in teams
        },
        "listed": {team.name: sorted(model for model in team.models if model not in hidden) for team in teams},
        "keys": {
            key.alias: {"team": team.name, "variable": key.variable, "from": f"{team.secret}/{key.entry}"}
            for team in teams
            for key in team.keys
        },
    }


def _stack_problems(settings: StackSettings, keys: int, file_bytes: int) -> Iterator[Problem]:
    path = "gateway.teams"
    if settings.gateway.database is None:
        yield Problem(
            path,
            "need gateway.database, where their keys and what they have spent are kept; add "
            "database: {kind: bundled}, or one that exists",
        )
    if keys > MOST_KEYS:
        yield Problem(path, f"have {keys:,} keys in all, with their generations; at most {MOST_KEYS:,}")
    if file_bytes > MOST_FILE_BYTES:
        yield Problem(
            path,
            f"take {file_bytes:,} bytes with all models and limits; at most {MOST_FILE_BYTES:,}, which is what one "
            "ConfigMap holds; name fewer models, or put teams together",
        )


def _team_problems(
    settings: TeamSettings,
    team: TeamPlan,
    served: Collection[str],
    hidden: Collection[str],
    names: Mapping[str, str],
) -> Iterator[Problem]:
    path = f"gateway.teams.{team.name}"
    if team.name == RESERVED_TEAM:
        yield Problem(path, "is the name of LiteLLM's own sessions; use another")
    for position, model in enumerate(settings.models):
        here = f"{path}.models[{position}]"
        if model in RESERVED_MODELS:
            yield Problem(here, f"'{model}' means more models than one to LiteLLM; name each of them")
        elif model in hidden:
            yield Problem(
                here,
                f"'{model}' of an external provider answers as a fallback only, and is added where it is one; leave it "
                "out, or make it direct",
            )
        elif model not in served:
            yield Problem(here, f"no model '{model}' is served{nearest(model, served)}")
        elif names.get(model, model) in [names.get(word, word) for word in settings.models[:position]]:
            yield Problem(here, f"'{model}' is named before")
    limited: list[str] = []
    for model in settings.per_model:
        here, public = f"{path}.perModel.{model}", names.get(model, model)
        if public not in team.models:
            yield Problem(here, f"'{model}' is no model of the team{nearest(model, team.models)}")
        elif public in limited:
            yield Problem(here, f"'{public}' has limits already, by its other name; write them once")
        limited.append(public)


def _sure_keys(teams: Mapping[str, TeamSettings]) -> Iterator[tuple[str, TeamKey]]:
    """Team → each of its keys that are not in doubt."""
    for team, settings in sorted(teams.items()):
        for name, key in sorted(settings.keys.items()):
            with Judging() as judging:
                keys = [team_key(team, name, generation) for generation in key.generations]
            yield from ((team, known) for known in keys if judging.is_sure())


def _alias_problems(keys: Iterable[tuple[str, TeamKey]]) -> Iterator[Problem]:
    """LiteLLM wants an alias to be unique over all keys, whatever their team."""
    first: dict[str, str] = {}
    for team, key in keys:
        path = f"gateway.teams.{team}.keys.{key.name}"
        if key.alias in first:
            yield Problem(
                path, f"would be called {key.alias} in LiteLLM, as {first[key.alias]} is; rename one of the two"
            )
        first.setdefault(key.alias, path)


def _secret_problems(settings: StackSettings, teams: Sequence[TeamPlan]) -> Iterator[Problem]:
    """A Secret for each team and for nothing else: who may read it has all of its keys."""
    others = set(_named_secrets(settings.model_dump(exclude={"gateway": {"teams"}})))
    times = Counter(team.secret for team in teams)
    for team in teams:
        path = f"gateway.teams.{team.name}.existingSecret"
        if team.derived and settings.gateway.existing_secret is not None:
            entries = ", ".join(key.entry for key in team.keys)
            yield Problem(
                path,
                "is needed: with gateway.existingSecret nothing knows the master key that keys are derived from; name "
                f"a Secret with the entries {entries}, e.g. {team.name}-keys",
            )
        elif team.secret in others:
            yield Problem(path, f"'{team.secret}' is a Secret of the stack for something else; give it one of its own")
        elif times[team.secret] > 1:
            sharing = ", ".join(other.name for other in teams if other.secret == team.secret and other != team)
            yield Problem(path, f"'{team.secret}' is that of {sharing} too; give each team one of its own")


def _named_secrets(value: object, key: str = "") -> Iterator[str]:
    """Names of Secrets that exist, wherever settings have them: the values of keys that say so."""
    match value:
        case dict():
            for name, inside in value.items():
                yield from _named_secrets(inside, str(name))
        case list():
            for inside in value:
                yield from _named_secrets(inside, key)
        case str() if "secret" in key:
            yield value
