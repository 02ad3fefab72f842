"""Writes what documentation would otherwise repeat by hand: the configuration reference, and what commands print.

`make docs` (or `python -m docs.generate`) writes `docs/configuration.md` from the settings themselves, and renews every
block of a page that follows a line `<!-- printed: NAME -->`. Tests compare the files with what this module returns.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from catalog import load_catalog
from planning import resolve
from settings import Refused, validate
from settings.load import SECRET_KEYS
from settings.scalars import (
    CommitSha,
    Cron,
    DnsName,
    LabelValue,
    ObjectName,
    RegistryPrefix,
    Repository,
    Sha256,
    Tag,
    Url,
)
from settings.schema import StackSettings

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "configuration.md"
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PREFACE = """\
# Configuration

<!-- Generated from settings/schema.py by `make docs`. Change the descriptions there, not here. -->

Every key a stack file may set below `llm-stack:`.
Keys without *required* may be left out.
An unknown or misspelt key is an error that names the nearest known one, at every depth.
A default of – means that the value is derived, or that the thing is not used; the meaning says which,
and `python -m preview --stack NAME` shows every derived value with its reason.
"""
SECRETS = """
## Secrets

Flat top-level keys, because a secret inside an object would end up in clear in the state file.
Set them with `pulumi config set --secret KEY`; a value that is stored in clear is refused.

| key | meaning |
|---|---|
"""


def _pattern(annotated: Any) -> str:
    return get_args(annotated)[1].pattern


# How the constrained texts of the schema are called here.
WORDS = {
    _pattern(ObjectName): "name",
    _pattern(DnsName): "DNS name",
    _pattern(LabelValue): "label value",
    _pattern(Url): "URL",
    _pattern(Cron): "cron expression",
    _pattern(CommitSha): "commit, 40 hex digits",
    _pattern(Sha256): "`sha256:` and 64 hex digits",
    _pattern(Repository): "image repository",
    _pattern(Tag): "image tag",
    _pattern(RegistryPrefix): "registry, with or without a path",
}
SCALARS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
# JSON Schema's names, and pydantic's own, which it leaves in the schema behind a validator.
LIMITS = {"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "gt": ">", "maximum": "≤", "le": "≤"}


def configuration() -> str:
    """The whole page."""
    schema = StackSettings.model_json_schema(by_alias=True)
    parts = [PREFACE, "\n", *_section("", schema, schema["$defs"], 1), SECRETS]
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    parts += [_row(f"`{key}`", _sentence(declared[key]["description"].removeprefix("Secret: "))) for key in SECRET_KEYS]
    return "".join(parts)


def _section(path: str, schema: Mapping[str, Any], known: Mapping[str, Any], level: int) -> Iterator[str]:
    """The table of one mapping, then those of the mappings in it."""
    inner: list[tuple[str, Mapping[str, Any]]] = []
    if path:
        yield f"\n{'#' * level} `{path}`\n\n{_docstring(schema)}\n\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|\n"
    for key, field in schema["properties"].items():
        found = list(_mappings(f"{path}.{key}" if path else key, field, known))
        inner += found
        default = "*required*" if key in schema.get("required", []) else _default(field)
        yield _row(f"`{key}`", _type(field, known), default, _sentence(field.get("description", "")))
    for where, mapping in inner:
        yield from _section(where, mapping, known, min(level + 1, 4))


def _mappings(path: str, field: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, schema) of every mapping with keys of its own that the field may hold."""
    choices = field.get("oneOf") or field.get("anyOf") or [field]
    for choice in choices:
        if "$ref" in choice:
            target = known[choice["$ref"].rpartition("/")[2]]
            kind = target["properties"].get("kind", {}).get("const")
            yield (f"{path} (kind: {kind})" if len(choices) > 1 and kind else path), target
        elif choice.get("type") == "object":
            yield from _mappings(f"{path}.NAME", _values(choice), known)


def _type(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """What may be written, in words."""
    choices = [choice for choice in field.get("oneOf") or field.get("anyOf") or [] if choice.get("type") != "null"]
    if len(choices) == 1:
        return _type(choices[0], known)
    if choices or "$ref" in field:
        return "mapping, see below"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return "one of " + _listed(field["enum"])
    return _plain(field, known)


def _plain(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    kind = str(field["type"])
    if kind == "array":
        return f"list: {_type(field['items'], known)}{'; at least one' if field.get('minItems') else ''}"
    if kind == "object":
        names = field.get("propertyNames", {}).get("enum")
        return f"mapping {_listed(names) if names else 'NAME'} → {_type(_values(field), known)}"
    if kind == "string" and "pattern" in field:
        return WORDS.get(field["pattern"], f"text like `{field['pattern'].replace('|', chr(92) + '|')}`")
    limits = ", ".join(f"{sign} {field[key]:g}" for key, sign in LIMITS.items() if key in field)
    return f"{SCALARS[kind]} {limits}".strip()


def _values(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the values of a mapping with free names are; the names of some must match a pattern."""
    by_pattern = list(field.get("patternProperties", {}).values())
    return by_pattern[0] if by_pattern else field.get("additionalProperties", {})


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value is None or value in ([], {}):
        return "–"
    if isinstance(value, dict):
        return f"kind `{value['kind']}`" if "oneOf" in field else "its own defaults"
    if isinstance(value, str):
        # a version in YAML needs its quotes
        return f'`"{value}"`' if value[0].isdigit() else f"`{value}`"
    return f"`[{', '.join(value)}]`" if isinstance(value, list) else f"`{json.dumps(value)}`"


def _docstring(schema: Mapping[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())


def _sentence(text: str) -> str:
    """A description as a table cell: one line, no bar that would end the cell, no tag that Markdown would swallow."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


@cache
def _run(*arguments: str) -> str:
    """What a module of ours prints, on either stream, as it would into a file."""
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "FORCE_COLOR": "", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, env=environment, check=False, capture_output=True, encoding="utf-8"
    )
    return done.stdout + done.stderr


def _production() -> str:
    """The preview of the production stack without most of its length, which `…` stands for."""
    shown: list[str] = []
    for block in _run("preview", "--stack", "prod").rstrip().split("\n\n"):
        chosen = block.startswith(("llm-stack ", "qwen3-14b ", "Warnings ", "Total "))
        if chosen or shown[-1] != "…":
            shown.append(block if chosen else "…")
    return "\n\n".join(shown)


def _calculator() -> str:
    return _run("planning", "--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a10", "--gpus", "2").rstrip()


def _refusals() -> str:
    """For each line of YAML that cannot be deployed, the reason."""
    return "\n\n".join(
        f"# gpuPools: {{{pool}}}\n# models: {{{model}}}\n{_refusal(pool, model)}" for pool, model in REFUSED
    )


# Pool and model of stacks that are otherwise complete.
REFUSED = (
    (
        "a10: {gpu: nvidia-a10, nodes: 1, gpusPerNode: 1}",
        "qwen3-14b: {model: Qwen/Qwen3-14B, pool: a10, tensorParallel: 1}",
    ),
    (
        "h100: {gpu: nvidia-h100, nodes: 1, gpusPerNode: 8}",
        "deepseek-r1: {model: deepseek-ai/DeepSeek-R1, pool: h100}",
    ),
    (
        "a10: {gpu: nvidia-a10, nodes: 1, gpusPerNode: 1}",
        "qwen3-8b: {model: Qwen/Qwen3-8B, pool: a10, contextTokns: 8192}",
    ),
    ("a10: {gpu: nvidia-a11, nodes: 1, gpusPerNode: 1}", "qwen3-8b: {model: Qwen/Qwen3-8B, pool: a10}"),
    (
        "a10: {gpu: nvidia-a10, nodes: 4, gpusPerNode: 1}",
        "qwen3-8b: {model: Qwen/Qwen3-8B, pool: a10, replicas: {min: 3, max: 1}}",
    ),
)


def _refusal(pool: str, model: str) -> str:
    raw = {
        "cluster": {"context": "any", "identifier": "any"},
        "gpuPools": yaml.safe_load(f"{{{pool}}}"),
        "models": yaml.safe_load(f"{{{model}}}"),
        "weights": {"storageClass": "any"},
        "gateway": {"existingSecret": "any"},
    }
    settings, problems = validate(raw)
    try:
        resolve(settings, load_catalog(), problems)
    except Refused as refused:
        return str(refused)
    raise AssertionError(f"{pool} with {model} is not refused any more")


PRINTED: Mapping[str, Callable[[], str]] = {
    "preview": _production,
    "calculator": _calculator,
    "refusals": _refusals,
}
BLOCK = re.compile(r"(<!-- printed: (\w+) -->\n\n```\w*\n).*?(^```$)", re.DOTALL | re.MULTILINE)


def renewed(page: str) -> str:
    """The text of a page with what commands print now in its marked blocks."""
    return BLOCK.sub(lambda found: f"{found[1]}{PRINTED[found[2]]()}\n{found[3]}", page)


def main() -> None:
    """Write the reference and renew the pages."""
    TARGET.write_text(configuration(), encoding="utf-8")
    for page in READMES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
