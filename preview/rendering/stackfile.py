"""Reads `Pulumi.yaml` and `Pulumi.<stack>.yaml` the way the engine does, without the engine.

Owns the path from files to the configuration a program is handed: defaults, namespaces, objects as JSON, secrets.
Whether the configuration makes sense is `settings`' business.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings.commandline import UsageError
from settings.engine_yaml import read_mapping
from settings.problems import Problem, Refused

PROJECT_FILE = "Pulumi.yaml"
# What the engine takes for the name of a project (pulumi/sdk, tokens.ValidateProjectName), and for a folder beside it.
PROJECT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
LONGEST_MAIN = 200
# Stands for every encrypted value, because the real ones need the stack's key; long enough to pass for a master key.
PLACEHOLDER = "sk-placeholder-000000000000"


@dataclass(frozen=True)
class Project:
    """One `Pulumi.yaml`: where it lies, the program it runs, and the configuration it declares."""

    directory: Path
    name: str
    program: Path
    declared: Mapping[str, Any]

    def stacks(self) -> tuple[str, ...]:
        """Names of all stacks that have a file."""
        files = sorted(self.directory.glob("Pulumi.*.yaml"))
        return tuple(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)

    def chosen(self, stack: str | None) -> tuple[str, ...]:
        """The stack asked for, or all of them. Raises `UsageError` when there is none, or none of that name."""
        stacks = self.stacks()
        if not stacks:
            raise UsageError(f"no stack file Pulumi.<stack>.yaml beside {PROJECT_FILE}")
        if stack is not None and stack not in stacks:
            raise UsageError(f"no stack '{stack}'; stacks: {', '.join(stacks)}")
        return stacks if stack is None else (stack,)


@dataclass(frozen=True)
class StackConfig:
    """The configuration that the engine hands to the program: full keys → strings, and which of them are secret."""

    values: Mapping[str, str]
    secret_keys: tuple[str, ...]


def find_project(directory: Path | None = None) -> Path:
    """The directory that holds `Pulumi.yaml`: the given one, else the working directory or one above, else ours."""
    if directory is not None:
        return directory
    here = Path.cwd()
    own_project = Path(__file__).resolve().parents[2]
    return next((place for place in (here, *here.parents) if (place / PROJECT_FILE).is_file()), own_project)


def read_project(directory: Path) -> Project:
    """Reads `Pulumi.yaml`. Raises `Refused` when it is missing or malformed, or names no program that exists."""
    content = read_mapping(directory / PROJECT_FILE)
    name, main, declared = content.get("name"), content.get("main") or ".", content.get("config") or {}
    if not isinstance(name, str):
        raise Refused([Problem(PROJECT_FILE, "name is missing")])
    if not PROJECT_NAME.fullmatch(name):
        raise Refused([Problem(PROJECT_FILE, f"name: '{name}' must match {PROJECT_NAME.pattern}")])
    if not str(main).isprintable() or len(str(main)) > LONGEST_MAIN:
        raise Refused([Problem(PROJECT_FILE, f"main: '{main}' is not the name of a folder or file")])
    if not isinstance(declared, dict):
        raise Refused([Problem(PROJECT_FILE, "config must be a mapping of keys")])
    program = (directory / str(main)).resolve()
    program = program / "__main__.py" if program.is_dir() else program
    if not program.is_file():
        raise Refused([Problem(PROJECT_FILE, f"main: there is no program at {main}")])
    return Project(directory, name, program, declared)


def read_stack(project: Project, stack: str) -> StackConfig:
    """The configuration of one stack. Raises `Refused` when its file cannot be read; a missing key is no problem here.

    Keys that the project requires and the stack lacks are left out: `settings` says what they are for.
    """
    file = project.directory / f"Pulumi.{stack}.yaml"
    config = read_mapping(file).get("config")
    if config is not None and not isinstance(config, dict):
        raise Refused([Problem(file.name, "config must be a mapping of keys")])
    values: dict[str, str] = {}
    secret_keys: list[str] = []
    merged = _defaults(project) | {_full(project, key): value for key, value in (config or {}).items()}
    objects = _objects(project)
    if empty := [key.partition(":")[2] for key in sorted(objects & merged.keys()) if merged[key] is None]:
        raise Refused(Problem(key, "is empty; give a value, or leave the key out") for key in empty)
    for key, value in merged.items():
        if value is None:
            continue
        shown, secret = _without_ciphers(value)
        # text in the place of an object is handed over as such, whatever is written in it: the engine refuses it
        text = isinstance(shown, str) and (secret or key not in objects)
        values[key] = shown if text else json.dumps(shown, ensure_ascii=False, sort_keys=True)
        if secret:
            secret_keys.append(key)
    return StackConfig(values, tuple(secret_keys))


def ciphers(directory: Path, stack: str) -> dict[str, str]:
    """The encrypted top-level values of a stack file, by key; nothing where the file cannot be read."""
    try:
        config = read_mapping(directory / f"Pulumi.{stack}.yaml").get("config")
    except Refused:
        return {}
    entries = config.items() if isinstance(config, dict) else ()
    return {str(key): str(value["secure"]) for key, value in entries if isinstance(value, dict) and "secure" in value}


def _defaults(project: Project) -> dict[str, Any]:
    """Values that `Pulumi.yaml` gives every stack: `default` or `value` of an entry, or the entry itself."""
    defaults = {}
    for key, entry in project.declared.items():
        if not isinstance(entry, dict):
            # `replicas: integer` only states a type, unless the key has a namespace
            if ":" in str(key):
                defaults[str(key)] = entry
        elif (value := entry.get("value", entry.get("default"))) is not None:
            defaults[_full(project, key)] = value
    return defaults


def _objects(project: Project) -> set[str]:
    """Full names of the keys that `Pulumi.yaml` declares as objects; the engine takes nothing else for them."""
    return {
        _full(project, key)
        for key, entry in project.declared.items()
        if isinstance(entry, dict) and entry.get("type") == "object"
    }


def _full(project: Project, key: object) -> str:
    return str(key) if ":" in str(key) else f"{project.name}:{key}"


def _without_ciphers(value: Any) -> tuple[Any, bool]:
    """`value` with the placeholder for every `{secure: …}`, and whether there was one."""
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return PLACEHOLDER, True
        parts = {str(key): _without_ciphers(child) for key, child in value.items()}
        return {key: child for key, (child, _) in parts.items()}, any(secret for _, secret in parts.values())
    if isinstance(value, list):
        children = [_without_ciphers(child) for child in value]
        return [child for child, _ in children], any(secret for _, secret in children)
    return value, False
