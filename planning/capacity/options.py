"""Arguments of a server as its engine's parser reads them: one last value per option, whichever spelling was used.

Follows vllm/utils/argparse_utils.py (FlexibleArgumentParser, 0.33.0). What is no option, or has no value that it takes,
is left out here and reported by `planning.server.arguments`. Pure functions.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.engine import Case, Engine, Option
from planning.capacity.flags import SIZE, WITH_SIZES, expanded, json_value, size_bytes


@dataclass(frozen=True)
class Setting:
    """The value an option has in the end: text, `true` or `false` of a flag, JSON as Python writes it.

    `position`: of the last word that changed it; `written`: that spelling, without its value.
    """

    name: str
    value: str
    position: int
    written: str


def is_option(argument: str) -> bool:
    """Whether this is an option and no value; -1 is a value."""
    return argument.startswith("-") and not re.fullmatch(r"-\d+(\.\d+)?", argument)


def option_name(written: str, engine: Engine) -> str | None:
    """The long name of an option: underscores are dashes, -O3 is a level, --json.key is a part of --json."""
    base, dot, _ = written.partition(".")
    option = engine.spellings.get(base.replace("_", "-") if base.startswith("--") else base)
    if re.fullmatch(r"-O\d", base):
        option = None if dot else engine.spellings.get("-O")
    if dot and option and not engine.options[option].type.startswith("json"):
        return None
    return option


def read_options(args: Sequence[str], engine: Engine) -> dict[str, Setting]:
    """The last value of every option in `args`, by long name.

    Parts of a JSON option (`--json.key value`, `--json.key+ item`) are put together by spelling, and those of the
    spelling that came last stand in place of all the rest.
    """
    settings: dict[str, Setting] = {}
    for position, argument in enumerate(args):
        written, equals, value = argument.partition("=")
        name = option_name(written, engine) if is_option(argument) else None
        if name is None or "." in written:
            continue
        option = engine.options[name]
        following = _following(args, position)
        if level := re.fullmatch(r"-O(\d)", written):
            value = level[1]
        elif not equals:
            value = " ".join(following) if option.nargs == "+" else next(iter(following), "")
        if option.kind == "optional-value" and not value:
            value = "true"
        if option.kind == "flag":
            value = "false" if written.replace("_", "-") in (option.negative, *option.hidden) else "true"
        if value:
            earlier = settings.get(name) if option.repeat else None
            value = f"{earlier.value} {value}" if earlier else value
            settings[name] = Setting(name, _canonical(option, value), position, written)
    return settings | {setting.name: setting for setting in read_parts(args, engine)}


def read_parts(args: Sequence[str], engine: Engine) -> list[Setting]:
    """The JSON that parts of options make, by spelling: the parser reads each of them, and the last of a name counts.

    They stand after everything else, in the order in which the spellings came first.
    """
    wholes: dict[str, dict[str, object]] = {}
    joined: dict[str, Setting] = {}
    for position, argument in enumerate(args):
        written, equals, value = argument.partition("=")
        name = option_name(written, engine) if is_option(argument) and "." in written else None
        if name is None:
            continue
        spelling, _, keys = written.partition(".")
        spelling = spelling.replace("_", "-")
        whole = wholes.setdefault(spelling, {})
        _put(whole, keys, value if equals else next(iter(_following(args, position)), ""))
        joined[spelling] = Setting(name, json.dumps(whole), position, spelling)
    return [*joined.values()]


def _following(args: Sequence[str], position: int) -> list[str]:
    """Words after an option up to the next one."""
    words = []
    for word in args[position + 1 :]:
        if is_option(word):
            break
        words.append(word)
    return words


def _put(whole: dict[str, object], keys: str, text: str) -> None:
    """Puts one part of a JSON option into it; a key ending in + takes items."""
    more, path = keys.endswith("+"), keys.removesuffix("+").split(".")
    for key in path[:-1]:
        below = whole.setdefault(key, {})
        if not isinstance(below, dict):
            below = whole[key] = {}
        whole = below
    whole[path[-1]] = _joined(whole.get(path[-1]), text.split(",") if more else _part(text))


def _joined(present: Any, value: Any) -> Any:
    """A part after another of the same key: lists and objects are put together, anything else is the last."""
    if isinstance(present, list) and isinstance(value, list):
        return [*present, *value]
    if isinstance(present, dict) and isinstance(value, dict):
        return {**present, **{key: _joined(present.get(key), inner) for key, inner in value.items()}}
    return value


def _part(text: str) -> object:
    """The value of a part: JSON, a size, a number as Python reads it, or else the text."""
    try:
        return json_value(text)
    except ValueError:
        pass
    if re.fullmatch(SIZE, text.strip()):
        return size_bytes(text.strip())
    try:
        return int(text)
    except ValueError:
        return text


def _canonical(option: Option, value: str) -> str:
    """JSON as Python writes it, so that it can be compared; other text as it is."""
    if not option.type.startswith("json"):
        return value
    try:
        return json.dumps(json_value(expanded(value) if option.type == WITH_SIZES else value))
    except ValueError:
        return value


def effects(settings: Mapping[str, Setting], engine: Engine) -> Iterator[tuple[Setting, Case]]:
    """The settings with what each does, in the order of the arguments."""
    for setting in sorted(settings.values(), key=lambda setting: setting.position):
        yield setting, engine.options[setting.name].case_of(setting.value)


def plain(settings: Mapping[str, Setting], engine: Engine) -> list[str]:
    """The same as arguments of one spelling, whatever the version: `--name=VALUE`, a flag `--name` or `--no-name`."""
    words = []
    for setting in settings.values():
        flag = setting.name if setting.value == "true" else f"--no-{setting.name[2:]}"
        words.append(flag if engine.options[setting.name].kind == "flag" else f"{setting.name}={setting.value}")
    return words
