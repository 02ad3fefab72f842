"""Facts of an installed vLLM, as JSON: its options, and the words that its registries know.

Runs under the interpreter that has vLLM, which `python -m catalog engine-file` starts; it imports nothing of ours.
Options have the fields of `catalog.engine.Option` that a parser knows; the rest is for people to say.
"""

import argparse
import contextlib
import dataclasses
import inspect
import json
import sys
import typing
from enum import Enum
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Any

# Where releases keep it: the first that is there.
PARSERS = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args")
LEVEL = "--optimization-level"
TYPES = {
    "int": "int",
    "float": "float",
    "loads": "json",
    # numbers in it may have units: 80m
    "parse_dataclass": "json-units",
    "union_dict_and_str": "json-or-str",
    "human_readable_int": "size",
    "human_readable_int_or_auto": "size-or-auto",
}
# Registries: field of the engine's file → module, attribute.
REGISTRIES = {
    "reasoning_parsers": ("vllm.reasoning", "_REASONING_PARSERS_TO_REGISTER"),
    "tool_call_parsers": ("vllm.tool_parsers", "_TOOL_PARSERS_TO_REGISTER"),
    "load_formats": ("vllm.model_executor.model_loader", "_LOAD_FORMAT_TO_MODEL_LOADER"),
}
# Classes whose annotations say what JSON of an option is when it is loaded, as far as they are there.
FIELDS = (
    ("vllm.engine.arg_utils", "AsyncEngineArgs"),
    ("vllm.entrypoints.common.cli_args", "FrontendArgs"),
    ("vllm.entrypoints.launchers.cli_args", "FrontendArgs"),
)
# Classes that are written by names: of these only a table knows them.
NAMED = {"QuantKey": ("vllm.config.quantization", "QUANT_KEY_NAMES")}
# Fields of classes that a word may stand for: the tables of such words are of whole classes, or of one value.
WORDS = {
    ("QuantizationConfigArgs", field): ("vllm.config.quantization", "_ONLINE_SHORTHANDS", "QUANT_KEY_NAMES")
    for field in ("linear", "moe")
}
# Plain types that are written as others.
PLAIN = {"NoneType": "None", "Path": "str"}
# Limits as pydantic keeps them, and as they are written.
LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
TYPED_WORDS = {
    "kv_cache_dtypes": ("vllm.config.cache", "CacheDType"),
    "tokenizer_modes": ("vllm.config.model", "TokenizerMode"),
}


def parser() -> argparse.ArgumentParser:
    """The parser of `vllm serve`. Raises ImportError where it is in none of the known places."""
    flexible = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
    for name in PARSERS:
        try:
            module = import_module(name)
        except ModuleNotFoundError:
            continue
        return module.make_arg_parser(flexible(prog="vllm serve"))
    raise ImportError(f"no parser in {', '.join(PARSERS)}")


def options(built: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """Every option by its long name, in the order and the words of the engine's file."""
    # argparse tells nobody what it was given; these have been its own names for it since Python 2.7
    inside = vars(built)
    spellings: dict[int, list[str]] = {}
    for spelling, action in inside["_option_string_actions"].items():
        spellings.setdefault(id(action), []).append(spelling)
    groups = [vars(group)["_group_actions"] for group in inside["_action_groups"]]
    actions = [action for group in groups for action in group if action.option_strings]
    long = {id(action): next(s for s in action.option_strings if s.startswith("--")) for action in actions}
    known = {long[id(action)]: _option(action, long[id(action)], spellings[id(action)]) for action in actions}
    # FlexibleArgumentParser reads -O3 by itself, and a function of its own makes a number of it
    known[LEVEL] = {**known.get(LEVEL, {"kind": "value"}), "type": "int", "aliases": ["-O"]}
    return known


def contents(built: argparse.ArgumentParser) -> dict[str, object]:
    """Content of the JSON of each option, where something says so."""
    actions = {id(action): action for action in vars(built)["_option_string_actions"].values()}.values()
    held = {next(s for s in action.option_strings if s.startswith("--")): _content(action) for action in actions}
    return {name: content for name, content in held.items() if content is not None}


def _option(action: argparse.Action, name: str, spellings: list[str]) -> dict[str, Any]:
    flag, option = action.nargs == 0, {}
    option["kind"] = "flag" if flag else "optional-value" if action.nargs == "?" else "value"
    if not flag:
        option["type"] = _type(action)
    if action.choices is not None:
        option["choices"] = [choice for choice in action.choices if str(choice) != "None"]
    negatives = [s for s in spellings if s.startswith(("--no-", "--disable-", "--enable-")) and _negates(s, name)]
    shown = [s for s in negatives if s in action.option_strings]
    option["aliases"] = [s for s in action.option_strings if s != name and s not in negatives]
    option["negative"] = shown[0] if flag and shown else ""
    option["hidden"] = sorted(s for s in spellings if s not in action.option_strings)
    default = action.default.value if isinstance(action.default, Enum) else action.default
    if isinstance(default, bool | int | float | str) and default != argparse.SUPPRESS:
        option["default"] = default
    if action.nargs == "+":
        option["nargs"] = "+"
    if type(action).__name__ == "_AppendAction":
        option["repeat"] = True
    return {key: value for key, value in option.items() if value not in ("", [])}


def _negates(spelling: str, name: str) -> bool:
    return spelling == f"--no-{name[2:]}" or {spelling, name} in [
        {f"--enable-{rest}", f"--disable-{rest}"} for rest in (spelling.partition("able-")[2],)
    ]


def _type(action: argparse.Action) -> str:
    """The type in the words of the engine's file."""
    if type(action).__name__ == "LoRAParserAction":
        return "json-or-str"
    return TYPES.get(getattr(_unwrapped(action), "__name__", ""), "str")


def _unwrapped(action: argparse.Action) -> Any:
    """The type behind the wrappers that vLLM puts around it."""
    of: Any = action.type
    while getattr(of, "__name__", "") in ("_optional_type", "_parse_type") and of.__closure__:
        of = next(cell.cell_contents for cell in of.__closure__ if callable(cell.cell_contents))
    return of


def _content(action: argparse.Action) -> object:
    """Content of an option's JSON: keys with their types, or one type; None where nothing says so."""
    of = _unwrapped(action)
    name = getattr(of, "__name__", "")
    if name == "parse_dataclass":
        return _keys(of.__defaults__[0])
    hint = _annotations().get(action.dest) if name == "loads" else None
    return _written(hint) if hint else None


@cache
def _annotations() -> dict[str, Any]:
    """The types of the fields that options are put into; those that nothing resolves are left out."""
    hints: dict[str, Any] = {}
    for module, name in FIELDS:
        try:
            classes = vars(import_module(module))[name].__mro__
        except (ModuleNotFoundError, KeyError):
            continue
        for base in classes:
            for field, hint in inspect.get_annotations(base).items():
                alone = type(field, (), {"__annotations__": {field: hint}, "__module__": base.__module__})
                with contextlib.suppress(NameError):
                    hints |= {key: hints.get(key, value) for key, value in typing.get_type_hints(alone).items()}
    return hints


def _keys(of: Any) -> dict[str, object]:
    """Key → its type, of a class that forbids others."""
    hints = typing.get_type_hints(of, include_extras=True)
    fields = [field for field in dataclasses.fields(of) if field.init]
    known = {field.name: _limited(hints[field.name], getattr(field.default, "metadata", ())) for field in fields}
    for field, content in known.items():
        if isinstance(content, list) and (of.__name__, field) in WORDS:
            known[field] = [*content, _words(field, *WORDS[of.__name__, field])]
    return known


def _words(field: str, module: str, wholes: str, values: str) -> str:
    """The words that may stand for a field: of values, and of whole classes that have it."""
    tables = vars(import_module(module))
    having = [name for name, whole in tables[wholes].items() if getattr(whole, field) is not None]
    return f"Literal[{', '.join(map(repr, dict.fromkeys([*tables[values], *having])))}]"


def _limited(hint: Any, limits: Any) -> object:
    """A type with the limits of its values."""
    whole = _written(hint)
    if not isinstance(whole, str):
        return whole
    signs = [
        f" {sign} {getattr(limit, name)}" for limit in limits for name, sign in LIMITS.items() if hasattr(limit, name)
    ]
    # they are those of the value, which may be left empty
    value, *rest = whole.split(" | ") if " | None" in whole else [whole]
    if any(getattr(limit, "min_length", 0) for limit in limits):
        value = f"Filled[{value}]"
    value = f"({value}{''.join(signs)})" if signs and rest else value + "".join(signs)
    return " | ".join([value, *rest])


def _written(hint: Any) -> object:
    """A type as Python writes it; keys where it is a class of them, alternatives where some of several are."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _written(parts[0])
    if origin in (typing.Union, UnionType):
        several = [_written(part) for part in parts]
        return " | ".join(map(str, several)) if all(isinstance(part, str) for part in several) else several
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    if dataclasses.is_dataclass(hint) and getattr(hint, "__name__", "") not in NAMED:
        return _keys(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enumerated(hint)
    return _plain(hint, origin, parts)


def _enumerated(hint: type[Enum]) -> str:
    """Values where they are text; else names, in letters of any case, and numbers where they are such."""
    values = f"Literal[{', '.join(repr(member.value) for member in hint)}]"
    if issubclass(hint, str):
        return values
    names = f"Name[{', '.join(map(repr, hint.__members__))}]"
    return f"{names} | {values}" if issubclass(hint, int) else names


def _plain(hint: Any, origin: Any, parts: tuple[Any, ...]) -> str:
    """A type that is no class of keys; `Any` where nothing is known of it."""
    name = getattr(hint, "__name__", "")
    if name in NAMED:
        module, table = NAMED[name]
        return f"Literal[{', '.join(map(repr, vars(import_module(module))[table]))}]"
    if (origin or hint) is list:
        return f"list[{_written(parts[0]) if parts else 'Any'}]"
    if (origin or hint) is dict:
        return f"dict[str, {_written(parts[1]) if parts else 'Any'}]"
    return PLAIN.get(name, name if hint in (bool, int, float, str) else "Any")


def words() -> dict[str, list[str]]:
    """The words of registries, and of types that enumerate them."""
    typing = import_module("typing")
    known = {field: list(vars(import_module(module))[name]) for field, (module, name) in REGISTRIES.items()}
    for field, (module, name) in TYPED_WORDS.items():
        known[field] = [word for word in typing.get_args(vars(import_module(module))[name]) if isinstance(word, str)]
    return known


def main() -> None:
    """Prints one JSON object on the last line."""
    version = import_module("vllm").__version__
    built = parser()
    json.dump({"version": version, "options": options(built), "contents": contents(built), **words()}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
