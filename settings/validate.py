"""From raw configuration values to `StackSettings`, or to a list of everything that is wrong with them.

Pure: knows neither Pulumi nor files. What is broken is replaced by what may stand in for it and known to be in doubt,
so that a misspelt key and a model that does not fit are reported together, and nothing that follows from the former.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from settings.broken import NAMED, take_away, take_key
from settings.doubt import mark
from settings.gate import Path, copy_checked
from settings.problems import Problem, guess, nearest, not_offered
from settings.public_name import with_key
from settings.schema import RuleError, StackSettings
from settings.secret_shapes import mask
from settings.shape import annotation, as_written, at, fields, item, kinds, section
from settings.wording import worded

# How a refusal of a key begins that its section does not have; what is beside it is known as written.
UNKNOWN = ("unknown key", "belongs to kind")
# The rules of a section are asked one after the other, and each may need something in place of what it looks at; no
# section has more, and each of its rules is asked twice at most.
ROUNDS = 16
# Faults that are put into words; nobody reads more.
MOST_DETAILS = 1000


def validate(raw: Mapping[str, Any], doubtful: Iterable[str] = ()) -> tuple[StackSettings | None, list[Problem]]:
    """Checks `raw` (top-level key → plain value, camelCase).

    Returns the settings and no problems; or the problems, with the settings in which something stands in for whatever
    is broken, and is in doubt (None when nothing sensible is left). Of very many problems the first are returned.
    `doubtful`: sections of which something was lost before they came here.
    """
    passed = copy_checked(raw)
    problems = [Problem(_written(path, raw), message) for path, message in passed.refusals]
    if passed.values is None:
        return None, problems
    values = {key: _sorted(value) if key in NAMED else value for key, value in passed.values.items()}
    repair = _Repair(values, {path for path, _ in passed.refusals}, [(section,) for section in doubtful])
    settings = repair.repaired()
    return settings, problems + repair.problems


def broken_sections(problems: Iterable[Problem]) -> set[str]:
    """Sections of which not all is known, because a value in them is broken: what follows from the rest is no news."""
    return {problem.path.partition(".")[0] for problem in problems if not problem.message.startswith(UNKNOWN)}


class _Repair:
    """One configuration on its way to settings; `covered`: paths already refused, `doubts`: those replaced."""

    def __init__(self, values: dict[str, Any], covered: set[Path], doubts: list[Path]) -> None:
        self.values, self.covered, self.doubts = values, covered, doubts
        self.problems: list[Problem] = []
        self.taken: set[Path] = set()
        # names that none is, by those that they have meanwhile
        self.names: dict[Path, str] = {}

    def repaired(self) -> StackSettings | None:
        """The settings; None where no replacing helps."""
        settings, details = _checked(self.values)
        self.problems = [
            _problem(detail, self.values)
            for detail in details
            if as_written(detail["loc"], self.values) not in self.covered
        ]
        for _ in range(ROUNDS):
            if settings is not None:
                return self._marked(settings)
            for detail in sorted(details, key=lambda detail: detail["loc"][-1:] == ("[key]",)):
                self._replace(detail)
            settings, details = _checked(self.values)
            self.problems += [p for detail in details if (p := self._contradiction(detail)) and p not in self.problems]
        return None

    def _replace(self, detail: Any) -> None:
        """Takes away what a detail is about."""
        path = as_written(detail["loc"], self.values)
        if detail["type"] == "extra_forbidden":
            take_key(self.values, path)
            meant = guess(str(path[-1]), fields(section(path[:-1], self.values)))
            holder = at(path[:-1], self.values)
            # the key that was probably meant has another value than its default
            if meant and isinstance(holder, dict) and meant not in holder:
                self.doubts.append((*path[:-1], meant))
        elif detail["loc"][-1:] == ("[key]",) and path[0] in NAMED and len(path) == 2:
            self._rename(path, too_long=detail["type"] == "string_too_long")
        elif isinstance(error := detail.get("ctx", {}).get("error"), RuleError):
            places = [self._place(path, field) for field in error.fields]
            # where nothing stands in for any of them, the section goes
            self._take([path] if self.taken.issuperset(places) else places)
        else:
            self._take([path])

    def _take(self, paths: Sequence[Path]) -> None:
        self.taken.update(paths)
        self.doubts += [doubt for path in paths if path and (doubt := take_away(self.values, path))]

    def _rename(self, path: Path, *, too_long: bool) -> None:
        """Gives an entry a name that may be, until all is checked: others say the name that it has."""
        entries, written = self.values[str(path[0])], str(path[1])
        name = f"unnamed-{len(self.names)}"
        if path[1] in entries:
            self.names[path[0], name] = written
            entries[name] = entries.pop(path[1])
            # what is made of the name is too long as well
            self.doubts += [path] if too_long else []

    def _contradiction(self, detail: Any) -> Problem | None:
        """A rule that could not be asked before; None where what it looks at is in doubt."""
        error, path = detail.get("ctx", {}).get("error"), as_written(detail["loc"], self.values)
        if not isinstance(error, RuleError) or any(self._in_doubt(self._place(path, field)) for field in error.fields):
            return None
        return Problem(_written(self._named(path), self.values), str(error))

    def _place(self, path: Path, field: str) -> Path:
        """The path of a field that a rule of the section at `path` looks at."""
        for name in field.split("."):
            shape = section(path, self.values)
            known = shape.model_fields.get(name) if shape else None
            path = (*path, (known.alias if known else None) or name)
        return path

    def _in_doubt(self, path: Path) -> bool:
        """Whether what is at a path, around it or in it, is in doubt."""
        return any(path[: len(doubt)] == doubt[: len(path)] for doubt in self.doubts)

    def _named(self, path: Path) -> Path:
        return (path[0], self.names[path[:2]], *path[2:]) if path[:2] in self.names else path

    def _marked(self, settings: StackSettings) -> StackSettings:
        """The settings with the names that were written, and all doubts."""
        for (place, name), written in self.names.items():
            entries: dict[str, Any] = getattr(settings, "models" if place == "models" else "gpu_pools")
            entries.setdefault(written, entries.pop(str(name)))
        for path in self.doubts:
            settings = mark(settings, self._named(path))
        return settings


def _checked(values: Mapping[str, Any]) -> tuple[StackSettings | None, list[Any]]:
    """The settings, or what pydantic says against them."""
    try:
        return StackSettings.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)[:MOST_DETAILS]


def _sorted(value: Any) -> Any:
    return dict(sorted(value.items(), key=lambda entry: str(entry[0]))) if isinstance(value, dict) else value


def _problem(detail: Any, values: Mapping[str, Any]) -> Problem:
    path = as_written(detail["loc"], values)
    return Problem(_written(path, values), _message(detail, path, values))


def _written(path: Path, values: Any) -> str:
    """The path as the reader of a refusal sees it: dots between keys, brackets around positions of a list.

    Each key is masked by itself, because next to others it may look like no secret any more.
    """
    text, here = "", values
    for step in path:
        key = mask(str(step))
        text += f"[{step}]" if isinstance(here, list) else f".{key}" if text else key or '""'
        here = here.get(step) if isinstance(here, dict) else item(here, step)
    return text


def _message(detail: Any, path: Path, values: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "string_pattern_mismatch" | "string_too_long" if detail["loc"][-1:] == ("[key]",):
            return worded(detail) if (fix := _public_key(path, values)) is None else fix
        case "extra_forbidden":
            return _misplaced(str(path[-1]), path[:-1], values)
        case "missing":
            described = fields(section(path[:-1], values)).get(str(path[-1]))
            return f"is missing: {described.description}{_choices(described.annotation)}" if described else "is missing"
        case "union_tag_not_found" if detail["input"] is not None:
            return f"needs a kind: {', '.join(kinds(annotation(path, values)))}"
        case _:
            return worded(detail)


def _public_key(path: Path, values: Any) -> str | None:
    """The refusal of a name that is one for clients only; None where nothing is known by such a name, or it is none."""
    if "publicName" not in fields(section(path, values)):
        return None
    return with_key(str(path[-1]), at(path[:-1], values) or {})


def _misplaced(key: str, place: Path, values: Any) -> str:
    """The refusal of a key that the mapping at `place` does not have: which kinds have it, or what was meant."""
    members, here = kinds(annotation(place, values)), fields(section(place, values))
    words = {*members, *(get_args(here["kind"].annotation) if "kind" in here else ())}
    if key in words:
        return f"{UNKNOWN[0]}; {key} is a kind: write kind: {key}, and beside it what that has"
    having = [kind for kind, member in members.items() if key in fields(member)]
    if not having:
        return f"{UNKNOWN[0]}{not_offered(place, key) or nearest(key, here)}"
    return f"{UNKNOWN[1]} {' or '.join(having)}; leave it out, or use kind: {having[0]}"


def _choices(kind: Any) -> str:
    return f"; one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else ""
