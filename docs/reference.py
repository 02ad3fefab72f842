"""The configuration reference, written from the settings themselves, and its translation.

Every sentence and every word of the page goes through one function. A translation is a table of the same sentences
(`docs/zh/configuration.yaml`), never a second page: what it lacks, or says of a sentence that is gone, is found.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from catalog import load_catalog
from settings.keys import SECRET_KEYS
from settings.scalars import (
    CommitSha,
    Cron,
    DnsName,
    EmailAddress,
    LabelValue,
    ObjectName,
    PinnedImage,
    QualifiedName,
    RegistryPrefix,
    Repository,
    SentinelAddress,
    Sha256,
    StoreUrl,
    Tag,
    Url,
)
from settings.schema import CertificateName, ControllerName, PlatformName, StackSettings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "configuration.md"
CHINESE_PAGE = ROOT / "docs" / "zh" / "configuration.md"
CHINESE = ROOT / "docs" / "zh" / "configuration.yaml"
TITLE = "Configuration"
GENERATED = "Generated from settings/schema.py by `make docs`. Change the descriptions there, not here."
PREFACE = (
    "Every key a stack file may set below `llm-stack:`.",
    "Keys without *required* may be left out.",
    "An unknown or misspelt key is an error that names the nearest known one, at every depth.",
    "A default of – means that the value is derived, or that the thing is not used; the meaning says which,",
    "and `python -m preview --stack NAME` shows every derived value with its reason.",
)
SECRETS = (
    "Flat top-level keys, because a secret inside an object would end up in clear in the state file.",
    "Set them with `pulumi config set --secret KEY`; a value that is stored in clear is refused.",
)


def _pattern(annotated: Any) -> str:
    return get_args(annotated)[1].pattern


# How the constrained texts of the schema are called here.
WORDS = {
    _pattern(ObjectName): "name",
    _pattern(DnsName): "DNS name",
    _pattern(LabelValue): "label value",
    _pattern(QualifiedName): "label key, with or without a domain",
    _pattern(EmailAddress): "e-mail address, in small letters",
    _pattern(Url): "URL",
    _pattern(Cron): "cron expression",
    _pattern(CommitSha): "commit, 40 hex digits",
    _pattern(StoreUrl): "URL of a bucket or a folder in it: `s3://`, `gs://` or `az://`",
    _pattern(SentinelAddress): "host, with or without a port",
    _pattern(PinnedImage): "image reference with a digest",
    _pattern(Sha256): "`sha256:` and 64 hex digits",
    _pattern(CertificateName): "name or ARN of a certificate",
    _pattern(ControllerName): "name of a controller (docs/edges.md)",
    _pattern(Repository): "image repository",
    _pattern(Tag): "image tag",
    _pattern(RegistryPrefix): "registry, with or without a path",
}
SCALARS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
# JSON Schema's names, and pydantic's own, which it leaves in the schema behind a validator.
LIMITS = {"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "gt": ">", "maximum": "≤", "le": "≤"}

Said = Callable[[str], str]


def configuration(said: Said = str) -> str:
    """The whole page; `said` turns an English sentence or word into that of another language."""
    return "".join(_Reference(said).page())


def sentences() -> list[str]:
    """Every sentence and word of the page, in its order, each once: what a translation has to have."""
    found: dict[str, None] = {}
    configuration(lambda text: str(found.setdefault(text) or text))
    return list(found)


def chinese() -> Mapping[str, str]:
    """The table of the translation: English → Chinese."""
    return yaml.safe_load(CHINESE.read_text(encoding="utf-8"))


def chinese_configuration() -> str:
    """The page in Chinese; a sentence without translation stays English, and a test finds it."""
    table = chinese()
    return configuration(lambda text: table.get(text, text))


class _Reference:
    """The page, piece by piece."""

    def __init__(self, said: Said) -> None:
        self.said = said
        self._shown: set[str] = set()

    def page(self) -> Iterator[str]:
        schema = StackSettings.model_json_schema(by_alias=True)
        yield f"# {self.said(TITLE)}\n\n<!-- {GENERATED} -->\n\n{self._lines(PREFACE)}\n"
        yield from self._section("", schema, schema["$defs"], 1)
        yield f"\n## {self.said('Secrets')}\n\n{self._lines(SECRETS)}\n{self._head('key', 'meaning')}"
        declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
        for key in SECRET_KEYS:
            yield _row(f"`{key}`", self._cell(declared[key]["description"].removeprefix("Secret: ")))

    def _lines(self, lines: Iterable[str]) -> str:
        return "".join(f"{self.said(line)}\n" for line in lines)

    def _head(self, *columns: str) -> str:
        return _row(*map(self.said, columns)) + f"|{'---|' * len(columns)}\n"

    def _cell(self, text: str) -> str:
        """A description as a table cell: one line, no bar that would end it, no tag that Markdown would swallow."""
        return self.said(" ".join(text.split())).replace("|", "\\|").replace("<", "&lt;") if text else ""

    def _section(self, path: str, schema: Mapping[str, Any], known: Mapping[str, Any], level: int) -> Iterator[str]:
        """The table of one mapping, then those of the mappings in it."""
        inner: list[tuple[str, Mapping[str, Any]]] = []
        self._shown.add(schema["title"])
        if path:
            docstring = " ".join(str(schema.get("description", "")).split())
            yield f"\n{'#' * level} `{path}`\n\n{self.said(docstring)}\n\n"
        yield self._head("key", "type", "default", "meaning")
        for key, field in schema["properties"].items():
            inner += _mappings(f"{path}.{key}" if path else key, field, known)
            default = f"*{self.said('required')}*" if key in schema.get("required", []) else self._default(field)
            yield _row(f"`{key}`", self._type(field, known), default, self._cell(field.get("description", "")))
        for where, mapping in inner:
            # what may be left out and has kinds has those of a section that must be there, or is told of here alone
            if "oneOf" not in mapping:
                yield from self._section(where, mapping, known, min(level + 1, 4))
                continue
            for there, kind in _mappings(where, mapping, known):
                if kind["title"] not in self._shown:
                    yield from self._section(there, kind, known, min(level + 1, 4))

    def _type(self, field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
        """What may be written, in words."""
        choices = [choice for choice in field.get("oneOf") or field.get("anyOf") or [] if choice.get("type") != "null"]
        if len(choices) == 1:
            return self._type(choices[0], known)
        if choices or "$ref" in field:
            return self.said("mapping, see below")
        if "const" in field:
            return f"`{field['const']}`"
        # names of the catalogue, of which the settings know none
        known_words = load_catalog().platforms if field.get("pattern") == _pattern(PlatformName) else field.get("enum")
        if known_words:
            return f"{self.said('one of')} {_listed(known_words)}"
        return self._plain(field, known)

    def _plain(self, field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
        kind = str(field["type"])
        if kind == "array":
            least = f"; {self.said('at least one')}" if field.get("minItems") else ""
            return f"{self.said('list')}: {self._type(field['items'], known)}{least}"
        if kind == "object":
            names = field.get("propertyNames", {}).get("enum")
            if not (values := _values(field)):
                # the settings do not know the shape of the catalogue's entries
                return self.said(field.get("word", "entry of the catalogue"))
            return f"{self.said('mapping')} {_listed(names) if names else 'NAME'} → {self._type(values, known)}"
        if kind == "string" and "pattern" in field:
            if field["pattern"] in WORDS:
                return self.said(WORDS[field["pattern"]])
            return f"{self.said('text like')} `{field['pattern'].replace('|', chr(92) + '|')}`"
        limits = ", ".join(f"{sign} {field[key]:g}" for key, sign in LIMITS.items() if key in field)
        return f"{self.said(SCALARS[kind])} {limits}".strip()

    def _default(self, field: Mapping[str, Any]) -> str:
        value = field.get("default")
        if value is None or value in ([], {}):
            return "–"
        if isinstance(value, dict):
            return f"{self.said('kind')} `{value['kind']}`" if "oneOf" in field else self.said("its own defaults")
        if isinstance(value, str):
            # a version in YAML needs its quotes
            return f'`"{value}"`' if value[0].isdigit() else f"`{value}`"
        return f"`[{', '.join(map(str, value))}]`" if isinstance(value, list) else f"`{json.dumps(value)}`"


def _mappings(path: str, field: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, schema) of every mapping with keys of its own that the field may hold."""
    choices = field.get("oneOf") or field.get("anyOf") or [field]
    for choice in choices:
        if "oneOf" in choice and choice is not field:
            yield path, choice
        elif "$ref" in choice:
            target = known[choice["$ref"].rpartition("/")[2]]
            kind = target["properties"].get("kind", {}).get("const")
            yield (f"{path} (kind: {kind})" if len(choices) > 1 and kind else path), target
        elif choice.get("type") == "object":
            yield from _mappings(f"{path}.NAME", _values(choice), known)
        elif choice.get("type") == "array":
            yield from _mappings(f"{path}[]", choice["items"], known)


def _values(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the values of a mapping with free names are; the names of some must match a pattern."""
    by_pattern = list(field.get("patternProperties", {}).values())
    values = by_pattern[0] if by_pattern else field.get("additionalProperties", {})
    return {} if values is True else values


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
