"""Reads the catalogue of the user's own: entries in the stack file, and in the files that it names.

Owns the way from paths to sections of entries, each with the place it came from. What the entries mean is
`planning.own_catalog`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from settings.checkpoint_files import Unreadable, read_checkpoint, repository_of
from settings.engine_yaml import line_of, read_mapping
from settings.gate import LONGEST_TEXT, copy_checked
from settings.paths import JSON, YAML, unfit_path
from settings.problems import Problem, Refused, nearest

# Where paths begin that are words of a command.
WORKING_DIRECTORY = Path()
SECTION, MODELS, PRICES = "catalog", "models", "prices"
# Of an entry of a model: the file of the checkpoint that it is made of.
CONFIG = "config"
# Of a model: the text of its template, or a file with it, which has none of these signs in its name; vLLM tells them
# apart in the same way (vllm/renderers/chat_utils/chat_template.py, 0.33.0).
TEMPLATE, JINJA = "chatTemplate", frozenset("{}\n")
# Sections of a file of entries, which are those of the stack file's own section.
SECTIONS = (MODELS, "gpus", "instances", PRICES)


@dataclass(frozen=True)
class EntrySource:
    """Entries from one file, or those of the stack file itself.

    `label`: the file as it was named, empty for the stack file.
    `file`: where the keys of `content` have lines; None: they are not those of a file.
    """

    content: Mapping[str, Any]
    label: str = ""
    file: Path | None = None

    def place(self, *path: object) -> str:
        """The place of a key for the reader: file and line, or a path in the stack file."""
        if not self.label:
            return ".".join([SECTION, *map(str, path)])
        line = line_of(self.file, path) if self.file else None
        return f"{self.label}:{line}" if line else self.label


@dataclass(frozen=True)
class OwnFiles:
    """The sections of a stack file, with the content of files that models name, and the entries of the user's.

    `passed_over`: there are more, of another shape than `settings.schema` has, which whoever checks that refuses.
    """

    sections: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[EntrySource, ...] = ()
    problems: tuple[Problem, ...] = ()
    passed_over: bool = False


def read_own(sections: Mapping[str, Any], folder: Path) -> OwnFiles:
    """The user's own entries of a stack, whose files' paths begin at `folder`."""
    reader = _Reader(folder)
    reader.of_section(sections.get(SECTION))
    named = dict(sections)
    if isinstance(models := sections.get(MODELS), Mapping):
        named[MODELS] = {name: reader.by_repository(model, f"{MODELS}.{name}") for name, model in models.items()}
    return OwnFiles(named, tuple(reader.sources), tuple(reader.refused), reader.passed_over)


def read_files(names: Sequence[str], folder: Path) -> OwnFiles:
    """The entries of files that a command names: catalogues, or stack files that have a section for them."""
    reader = _Reader(folder)
    for name in names:
        content = reader.mapping(name)
        if content is None:
            continue
        config = content.get("config")
        if not isinstance(config, Mapping):
            reader.add(EntrySource(content, name, folder / name))
            continue
        inner = read_own({str(key).rpartition(":")[2]: value for key, value in config.items()}, (folder / name).parent)
        reader.sources += inner.sources
        reader.refuse(*inner.problems)
    return OwnFiles({}, tuple(reader.sources), tuple(reader.refused))


@dataclass
class _Reader:
    folder: Path
    sources: list[EntrySource] = field(default_factory=list)
    refused: dict[Problem, None] = field(default_factory=dict)
    passed_over: bool = False

    def refuse(self, *problems: Problem) -> None:
        """Notes what cannot be read, each once."""
        self.refused |= dict.fromkeys(problems)

    def of_section(self, section: object) -> None:
        """The entries of the stack file's section, and those of the files that it names."""
        own = self._fit(section, Mapping, {})
        inline = {key: self._fit(own.get(key), Mapping, {}) for key in SECTIONS}
        if any(inline.values()):
            self.add(EntrySource({key: entries for key, entries in inline.items() if entries}))
        for name in self._fit(own.get("files"), list, []):
            if self._fit(name, str, "") and not unfit_path(name):
                self.entries(name)
            else:
                self.passed_over = True

    def _fit(self, value: Any, kind: type, instead: Any) -> Any:
        """The value, where it is of the kind that the settings have there."""
        if value is not None and not isinstance(value, kind):
            self.passed_over = True
        return value if isinstance(value, kind) else instead

    def entries(self, name: str) -> EntrySource | None:
        """The entries of a file, read once whoever names it; None where it cannot be read."""
        file = self.folder / name
        known = next((source for source in self.sources if source.file == file), None)
        if known is None and (content := self.mapping(name)) is not None:
            return self.add(EntrySource(content, name, file))
        return known

    def mapping(self, name: str) -> dict[str, Any] | None:
        """The content of a YAML file that has passed the gate of every configuration; None where it has not."""
        file = self.folder / name
        try:
            passed = copy_checked(read_mapping(file, name))
        except Refused as refused:
            self.refuse(*(refused.problems if file.exists() else [Problem(name, self._missing(file))]))
            return None
        self.refuse(*(Problem(name, f"{'.'.join(map(str, path))}: {why}") for path, why in passed.refusals))
        return passed.values

    def add(self, source: EntrySource) -> EntrySource:
        """Keeps entries, with the files of checkpoints that those of models are made of."""
        models = source.content.get(MODELS)
        if isinstance(models, Mapping):
            made = {name: self._made(source, name, entry) for name, entry in models.items()}
            source = replace(source, content={**source.content, MODELS: made})
        self.sources.append(source)
        return source

    def _made(self, source: EntrySource, name: object, entry: Any) -> Any:
        """The entry of a model with the content of the checkpoint's files in place of their path."""
        config = entry.get(CONFIG) if isinstance(entry, Mapping) else None
        if not isinstance(config, str):
            return entry
        folder, why = source.file.parent if source.file else self.folder, unfit_path(config, JSON)
        try:
            if not why:
                return {**entry, CONFIG: read_checkpoint(folder / config)}
        except Unreadable as error:
            why = str(error)
        inside = f"{MODELS}.{name}.{CONFIG}: " if source.file else ""
        self.refuse(Problem(source.place(MODELS, name, CONFIG), f"{inside}{why}"))
        return {key: value for key, value in entry.items() if key != CONFIG}

    def by_repository(self, model: Any, path: str) -> Any:
        """The settings of a model, in which the file of an entry is replaced by the repository it is of."""
        if not isinstance(model, Mapping):
            return model
        named = dict(model)
        if isinstance(name := model.get("model"), str) and name.endswith((*YAML, *JSON)):
            if wrong := unfit_path(name, (*YAML, *JSON)):
                self.refuse(Problem(f"{path}.model", wrong))
            else:
                named["model"] = self._repository(name, f"{path}.model") or name
        if isinstance(text := model.get(TEMPLATE), str) and not JINJA & set(text):
            named[TEMPLATE] = self._template(text, f"{path}.{TEMPLATE}")
        if isinstance(model.get("canary"), Mapping):
            named["canary"] = self.by_repository(model["canary"], f"{path}.canary")
        return named

    def _template(self, name: str, path: str) -> str | None:
        """The template in a file; None where it cannot be read, which is a problem."""
        file, why = self.folder / name, unfit_path(name, (name,))
        try:
            if not why and file.stat().st_size > LONGEST_TEXT:
                why = f"{name} has {file.stat().st_size:,} bytes; at most {LONGEST_TEXT:,}"
            elif not why and JINJA & set(text := file.read_text(encoding="utf-8")):
                return text
            why = why or f"{name} has no Jinja in it"
        except OSError as error:
            why = f"{name} cannot be read: {(error.strerror or 'unknown error').lower()}"
        except ValueError:
            why = f"{name} is no text in UTF-8"
        self.refuse(Problem(path, why))
        return None

    def _repository(self, name: str, path: str) -> str | None:
        """The repository of the one model in a file; None where that is not to be known, which is a problem."""
        if name.endswith(JSON):
            return self._published(name, path)
        source = self.entries(name)
        models = source.content.get(MODELS) if source else {}
        names = [str(key) for key in models] if isinstance(models, Mapping) else []
        if source is None or len(names) == 1:
            return names[0] if names else None
        listed = f": {', '.join(names)}; name one of them here, and the file in catalog.files" if names else ""
        self.refuse(Problem(path, f"{name} has {len(names)} models{listed}"))
        return None

    def _published(self, name: str, path: str) -> str | None:
        """The repository of a checkpoint's `config.json`, whose entry is made of it."""
        repository = repository_of(Path(name))
        if repository is None:
            why = f"{name} does not say whose it is: lay it in folders ORG/NAME"
            self.refuse(Problem(path, f"{why}, or give catalog.models an entry with {CONFIG}: {name}"))
            return None
        if all(source.label != name for source in self.sources):
            try:
                content = read_checkpoint(self.folder / name)
            except Unreadable as error:
                self.refuse(Problem(path, str(error)))
                return repository
            self.sources.append(EntrySource({MODELS: {repository: {CONFIG: content}}}, name))
        return repository

    def _missing(self, file: Path) -> str:
        """The refusal of a file that is not there, with one beside it of a like name."""
        beside = [path.name for path in file.parent.glob("*") if path.suffix in YAML]
        guess = nearest(file.name, beside)
        hint = guess if guess.startswith("; did") else ""
        return f"there is no such file in {file.parent.resolve()}{hint}"
