"""The only reader of `pulumi.Config`: collects this project's keys, checks them, and keeps the secrets apart.

Secrets are flat top-level keys, because a secret inside an object ends up in clear in the state file.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

from settings.gate import MOST_BYTES, MOST_LEVELS
from settings.problems import Problem, nearest
from settings.schema import StackSettings
from settings.validate import MOST_DETAILS, broken_sections, validate

MASTER_KEY = "gatewayMasterKey"
HUB_TOKEN = "huggingFaceToken"  # noqa: S105 - the name of the key, not its value
SECRET_KEYS = (MASTER_KEY, HUB_TOKEN)
# Python reads no number of more than 4,300 digits, and no setting takes one of more than 20.
MOST_DIGITS = 400
OBJECT_KEYS = tuple(field.alias or name for name, field in StackSettings.model_fields.items())


class ConfigError(pulumi.RunError):
    """The configuration is refused: every problem on a line of its own, path first, and no traceback."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{count} in the stack configuration:", *(f"  {p}" for p in self.problems)]))


@dataclass(frozen=True)
class Secrets:
    """Secret values, each a secret `Output[str]`, or None where an existing Kubernetes Secret is named instead."""

    gateway_master_key: pulumi.Output[str] | None
    hugging_face_token: pulumi.Output[str] | None


@dataclass(frozen=True)
class Loaded:
    """What was read. `settings` is None when nothing sensible is left beside `problems`."""

    settings: StackSettings | None
    secrets: Secrets
    problems: tuple[Problem, ...]
    owner: str
    """Name of project and stack: who owns what is deployed."""


def load() -> Loaded:
    """Reads the configuration of the running stack; every problem in it is returned, none is raised."""
    config = pulumi.Config()
    prefix = f"{config.name}:"
    given = [*(CONFIG.get() or get_config_env())]
    keys = [key.removeprefix(prefix) for key in given if key.startswith(prefix)]
    known = (*OBJECT_KEYS, *SECRET_KEYS)
    strange = [key for key in keys if key not in known]
    problems = [Problem(key, f"unknown key{nearest(key, known)}") for key in strange[:MOST_DETAILS]]
    problems += _astray(given, config.name, known)
    settings, found = _settings(config, [key for key in keys if key in OBJECT_KEYS])
    problems += found
    secrets = Secrets(_secret(config, MASTER_KEY, problems), _secret(config, HUB_TOKEN, problems))
    problems += _keys_problems(settings, secrets, problems)
    return Loaded(settings, secrets, tuple(problems), f"{config.name}-{pulumi.get_stack()}")


def _settings(config: pulumi.Config, keys: Sequence[str]) -> tuple[StackSettings | None, list[Problem]]:
    """The settings in these keys, and what is wrong with them."""
    problems, values = [], {}
    secret = [key for key in keys if is_config_secret(f"{config.name}:{key}")]
    problems += [
        Problem(key, f"holds a secret; secrets are the top-level keys {' and '.join(SECRET_KEYS)}") for key in secret
    ]
    if sum(len(text) for key in keys if isinstance(text := config.get(key), str)) > MOST_BYTES:
        return None, [*problems, Problem("config", f"is larger than {MOST_BYTES:,} bytes")]
    for key in keys:
        try:
            values[key] = _plain(config, key)
        except RecursionError:
            problems.append(Problem(key, f"is nested deeper than {MOST_LEVELS} levels"))
            return None, problems
    settings, found = validate({key: value for key, value in values.items() if value is not None and value != {}})
    # of a key that is encrypted it is said already, and what stands for its value looks like one
    told = tuple(f"{key}{end}" for key in secret for end in (":", ".", "["))
    return settings, problems + [
        problem
        for problem in found
        if not (f"{problem.path}:".startswith(told) and problem.message.startswith("holds "))
    ]


def _astray(given: Sequence[str], project: str, known: Sequence[str]) -> list[Problem]:
    """Keys of ours under the name of another project, as in a stack file that was copied: nobody would read them."""
    parts = [key.partition(":") for key in given]
    return [
        Problem(f"{owner}:{key}", f"is not of this project, which is '{project}'; write {project}:{key}")
        for owner, _, key in parts
        if owner != project and key in known
    ]


def _plain(config: pulumi.Config, key: str) -> Any:
    """The value of an object key, whether the engine hands it over as JSON or a test as a plain value.

    Other text stays as it is, and is refused as no mapping; that of a secret is left out, because refusals show values.
    """
    text = config.get(key)
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text, parse_int=_whole)
    except ValueError:
        return None if is_config_secret(f"{config.name}:{key}") else text


def _whole(digits: str) -> int | float:
    """A number of JSON; Python reads none of thousands of digits, and no setting takes one."""
    return int(digits) if len(digits) < MOST_DIGITS else inf


def _secret(config: pulumi.Config, key: str, problems: list[Problem]) -> pulumi.Output[str] | None:
    if not config.get(key):
        return None
    if not is_config_secret(f"{config.name}:{key}"):
        problems.append(Problem(key, f"is stored in clear; run: pulumi config set --secret {key}"))
    return config.require_secret(key)


def _keys_problems(settings: StackSettings | None, secrets: Secrets, found: Sequence[Problem]) -> list[Problem]:
    """Keys come from exactly one place: the secret configuration, or a Secret that exists.

    Nothing is said by a section that is broken, because what stands for it in `settings` says nothing.
    """
    if settings is None:
        return []
    broken = broken_sections(found)
    return [problem for section, problem in _misplaced(settings, secrets) if section not in broken]


def _misplaced(settings: StackSettings, secrets: Secrets) -> Iterator[tuple[str, Problem]]:
    """(the section that decides, what is wrong) of each key that is missing or given twice."""
    if settings.gateway.existing_secret is None and secrets.gateway_master_key is None:
        yield (
            "gateway",
            Problem(
                MASTER_KEY,
                f'is missing; run: pulumi config set --secret {MASTER_KEY} "sk-$(openssl rand -hex 24)", '
                "or name a Secret in gateway.existingSecret",
            ),
        )
    if settings.gateway.existing_secret is not None and secrets.gateway_master_key is not None:
        yield "gateway", Problem(MASTER_KEY, "must be left out when gateway.existingSecret names a Secret")
    if settings.weights.hub.token_secret is not None and secrets.hugging_face_token is not None:
        yield "weights", Problem(HUB_TOKEN, "must be left out when weights.hub.tokenSecret names a Secret")
    if settings.weights.kind == "existingClaim" and secrets.hugging_face_token is not None:
        why = "must be left out when weights.kind is existingClaim: nothing is downloaded"
        yield "weights", Problem(HUB_TOKEN, why)
