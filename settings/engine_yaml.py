"""YAML as the engine's Go library reads it, within bounds: any bytes become a mapping or one refusal with a place.

A first pass over the parser's events, which builds nothing, counts what the document would become: levels, values, and
what aliases and merge keys repeat. Only what stays within the bounds of `settings.gate` is built.
"""

import contextlib
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from settings.gate import LONGEST_TEXT, MOST_BYTES, MOST_LEVELS, MOST_VALUES
from settings.problems import Problem, Refused

try:
    from yaml import CSafeLoader as FastLoader
except ImportError:  # PyYAML built without libyaml: slower, same result
    from yaml import SafeLoader as FastLoader

# Characters of all values together, where aliases repeat them.
MOST_CHARACTERS = 4 * MOST_BYTES
# Levels of the file above those of the configuration: its `config`, and the key.
MOST_DEPTH = MOST_LEVELS + 2
# A plain number of more characters is one that Python does not read.
LONGEST_NUMBER = 400
CORE = "tag:yaml.org,2002:"
# Tags that only repeat what is written; every other one asks for a kind of value that no configuration has.
TAGS = frozenset({None, f"{CORE}str", f"{CORE}seq", f"{CORE}map"})


def read_mapping(file: Path, label: str = "") -> dict[Any, Any]:
    """The mapping in a YAML file; an empty file is an empty one. Raises `Refused` for everything else.

    `label`: what refusals call the file; its name, when nothing else is said.
    """
    label = label or file.name
    data = _bytes(file, label)
    try:
        _Bounds(label).check(data)
        content = yaml.load(data, _Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise Refused([Problem(label, _worded(_better(data) or error))]) from None
    except yaml.reader.ReaderError as error:
        raise Refused([Problem(label, _unreadable(data, error))]) from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, IndexError, TypeError, KeyError):
        # a number or a character that YAML allows and Python does not
        raise Refused([Problem(label, "is not readable YAML")]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise Refused([Problem(label, "must be a mapping of keys")])
    return content


def line_of(file: Path, path: Sequence[object]) -> int | None:
    """The line, counted from 1, of the key at `path` in a file that could be read, or of the nearest above it."""
    with contextlib.suppress(OSError, yaml.YAMLError, RecursionError):
        node, line = yaml.compose(file.read_bytes(), _Loader), None
        for step in path:
            match node:
                case yaml.MappingNode():
                    entry = next((entry for entry in node.value if entry[0].value == str(step)), None)
                    if entry is None:
                        return line
                    line, node = entry[0].start_mark.line + 1, entry[1]
                case yaml.SequenceNode() if isinstance(step, int) and step < len(node.value):
                    node = node.value[step]
                    line = node.start_mark.line + 1
                case _:
                    return line
        return line
    return None


def _bytes(file: Path, label: str) -> bytes:
    """The bytes of a file, if it is one and of a sensible size."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Refused([Problem(label, "cannot be read: it is no file")])
        if status.st_size > MOST_BYTES:
            raise Refused([Problem(label, f"has {status.st_size:,} bytes; at most {MOST_BYTES:,}")])
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES)
    except OSError as error:
        raise Refused([Problem(label, f"cannot be read: {(error.strerror or 'unknown error').lower()}")]) from None


def _worded(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{error.problem or error.context}"


def _better(data: bytes) -> yaml.MarkedYAMLError | None:
    """The fault in the words of PyYAML's own parser, which says what it has found; it is slow, but safe."""
    if len(data) > LONGEST_TEXT:
        return None
    try:
        for _ in yaml.parse(data, Loader=yaml.SafeLoader):
            pass
    except yaml.MarkedYAMLError as error:
        return error
    except yaml.YAMLError:
        pass
    return None


def _unreadable(data: bytes, error: yaml.reader.ReaderError) -> str:
    """The refusal of bytes that are not text: the line where they begin; the two parsers count bytes and characters."""
    line = data[: error.position].count(b"\n") + 1
    character = error.character
    number = (
        int(character) if isinstance(character, int) else ord(character) if isinstance(character, str) else character[0]
    )
    return f"is not readable YAML: line {line} has 0x{number:02X}, which is not text that YAML allows"


@dataclass
class _Size:
    """Values and characters of a part of the document, with all that its aliases repeat."""

    values: int = 0
    characters: int = 0
    anchor: str | None = None

    def add(self, size: "_Size") -> None:
        """Counts a part of this part."""
        self.values += size.values
        self.characters += size.characters


@dataclass
class _Bounds:
    """The first pass. Raises `Refused` with the place of the first thing that is too much."""

    file: str
    anchors: dict[str, _Size] = field(default_factory=dict)
    open: list[_Size] = field(default_factory=lambda: [_Size()])

    def check(self, data: bytes) -> None:
        """Looks at every event of the document."""
        events: Iterator[yaml.Event] = yaml.parse(data, Loader=FastLoader)
        documents = 0
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        self.refuse(event, "a second document begins here, which the engine would not read")
                case yaml.CollectionStartEvent():
                    self._tag(event)
                    self.open.append(_Size(values=1, anchor=event.anchor))
                    if len(self.open) > MOST_DEPTH + 1:
                        self.refuse(event, f"is nested deeper than {MOST_DEPTH} levels")
                case yaml.CollectionEndEvent():
                    self._close(event, self.open.pop())
                case yaml.ScalarEvent():
                    self._tag(event)
                    self._scalar(event)
                case yaml.AliasEvent():
                    self._alias(event)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if len(event.value) > LONGEST_TEXT:
            self.refuse(event, f"a value of {len(event.value):,} characters; at most {LONGEST_TEXT:,}")
        if len(event.value) > LONGEST_NUMBER and not event.style and NUMBER.fullmatch(event.value):
            self.refuse(event, f"a number of {len(event.value):,} characters; at most {LONGEST_NUMBER}")
        self._close(event, _Size(1, len(event.value), event.anchor))

    def _alias(self, event: yaml.AliasEvent) -> None:
        if any(part.anchor == event.anchor for part in self.open):
            self.refuse(event, f"'{event.anchor}' contains itself")
        # of an unknown one the loader says so
        self._close(event, self.anchors.get(event.anchor, _Size()))

    def _close(self, event: yaml.Event, part: _Size) -> None:
        """A part is complete: it counts for what it is in, and may be repeated from here on."""
        if part.anchor is not None:
            self.anchors[part.anchor] = part
        whole = self.open[-1]
        whole.add(part)
        if whole.values > MOST_VALUES:
            self.refuse(event, f"more than {MOST_VALUES:,} values, those included that aliases repeat")
        if whole.characters > MOST_CHARACTERS:
            self.refuse(event, f"more than {MOST_CHARACTERS:,} characters, those included that aliases repeat")

    def _tag(self, event: Any) -> None:
        if event.tag not in TAGS:
            shown = event.tag.replace(CORE, "!!")
            self.refuse(event, f"the tag {shown} asks for what no setting is; write the value without it")

    def refuse(self, event: yaml.Event, message: str) -> NoReturn:
        """Ends the reading, with the place of this event."""
        mark = event.start_mark
        raise Refused([Problem(self.file, f"line {mark.line + 1}, column {mark.column + 1}: {message}")])


class _Loader(FastLoader):  # pyright: ignore[reportGeneralTypeIssues] - one of two loaders with the same methods
    """`no` and `2026-11-01` are text, a key given twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT002 - PyYAML's signature
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{CORE}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep=deep)


_DECIMAL = r"(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
# In this order: what is no whole number, such as 08, may be a number.
_SCALARS = {
    f"{CORE}bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    f"{CORE}int": (
        r"^[-+]?(?:0b[01_]+|0o[0-7_]+|0[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)$",
        "-+0123456789",
    ),
    f"{CORE}float": (rf"^(?:[-+]?(?:{_DECIMAL}|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))$", "-+0123456789."),
}
NUMBER = re.compile("|".join(pattern for _, (pattern, _) in _SCALARS.items()))
# The engine reads no dates, and a plain = is text.
_UNKNOWN = frozenset({*_SCALARS, f"{CORE}timestamp", f"{CORE}value"})
_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] not in _UNKNOWN]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
