"""The only reader of `pulumi.Config`: collects this project's keys, and keeps the secrets apart.

Secrets are flat top-level keys, because a secret inside an object ends up in clear in the state file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

from settings.gate import MOST_BYTES, MOST_LEVELS
from settings.keys import HOLDS_A_SECRET, HUB_TOKEN, MASTER_KEY, SECRET_KEYS
from settings.problems import Problem, nearest
from settings.schema import StackSettings
from settings.validate import MOST_DETAILS

# Python reads no number of more than 4,300 digits, and no setting takes one of more than 20.
MOST_DIGITS = 400
OBJECT_KEYS = tuple(field.alias or name for name, field in StackSettings.model_fields.items())


class ConfigError(pulumi.RunError):
    """The configuration is refused: every problem on a line of its own, path first, and no traceback."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{count} in the stack configuration:", *(f"  {p}" for p in self.problems)]))


class Secrets(TypedDict):
    """Secret values, each a secret `Output[str]`; what is not there is in a Secret that exists, or needed by nobody."""

    gateway_master_key: NotRequired[pulumi.Output[str]]
    hugging_face_token: NotRequired[pulumi.Output[str]]


@dataclass(frozen=True)
class Loaded:
    """The sections as plain values, the secrets, and what is wrong with the keys themselves."""

    values: Mapping[str, Any]
    secrets: Secrets
    problems: tuple[Problem, ...]


def project_folder() -> Path:
    """The folder of Pulumi.yaml, where paths of a stack file begin; without an engine, the working directory."""
    folder = Path(pulumi.get_root_directory() or ".")
    return folder if folder.is_absolute() else Path.cwd()


def owner() -> str:
    """Name of project and stack: who owns what is deployed."""
    return f"{pulumi.get_project()}-{pulumi.get_stack()}"


def load() -> Loaded:
    """Reads the configuration of the running stack; what is wrong with its keys is returned, not raised.

    Raises `ConfigError` for values of which nothing sensible can be made: too large, or too deep.
    """
    config = pulumi.Config()
    prefix = f"{config.name}:"
    full_keys = [*(CONFIG.get() or get_config_env())]
    keys = [key.removeprefix(prefix) for key in full_keys if key.startswith(prefix)]
    known = (*OBJECT_KEYS, *SECRET_KEYS)
    strange = [key for key in keys if key not in known]
    problems = [Problem(key, f"unknown key{nearest(key, known)}") for key in strange[:MOST_DETAILS]]
    problems += _astray(full_keys, config.name, known)
    sections = [key for key in keys if key in OBJECT_KEYS]
    problems += _secrets_inside(config, sections)
    values = _values(config, sections, problems)
    secrets: Secrets = {}
    if key := _secret(config, MASTER_KEY):
        secrets["gateway_master_key"] = key
    if token := _secret(config, HUB_TOKEN):
        secrets["hugging_face_token"] = token
    problems += _in_clear(config)
    return Loaded(values, secrets, tuple(problems))


def _secrets_inside(config: pulumi.Config, keys: Sequence[str]) -> list[Problem]:
    """Sections that hold a secret, which everybody would see."""
    return [
        Problem(key, f"{HOLDS_A_SECRET}secrets are the top-level keys {' and '.join(SECRET_KEYS)}")
        for key in keys
        if is_config_secret(f"{config.name}:{key}")
    ]


def _values(config: pulumi.Config, keys: Sequence[str], problems: Sequence[Problem]) -> dict[str, Any]:
    """The sections in these keys; what is empty was not given.

    Raises ConfigError for what nothing can be done with, with the `problems` so far.
    """
    if sum(len(text) for key in keys if isinstance(text := config.get(key), str)) > MOST_BYTES:
        raise ConfigError([*problems, Problem("config", f"is larger than {MOST_BYTES:,} bytes")])
    values = {}
    for key in keys:
        try:
            values[key] = _plain(config, key)
        except RecursionError:
            raise ConfigError([*problems, Problem(key, f"is nested deeper than {MOST_LEVELS} levels")]) from None
    return {key: value for key, value in values.items() if value is not None and value != {}}


def _astray(full_keys: Sequence[str], project: str, known: Sequence[str]) -> list[Problem]:
    """Keys of ours under the name of another project, as in a stack file that was copied: nobody would read them."""
    parts = [key.partition(":") for key in full_keys]
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


def _secret(config: pulumi.Config, key: str) -> pulumi.Output[str] | None:
    return config.require_secret(key) if config.get(key) else None


def _in_clear(config: pulumi.Config) -> list[Problem]:
    """Secrets that are there for everybody to read."""
    return [
        Problem(key, f"is stored in clear; run: pulumi config set --secret {key}")
        for key in (MASTER_KEY, HUB_TOKEN)
        if config.get(key) and not is_config_secret(f"{config.name}:{key}")
    ]
