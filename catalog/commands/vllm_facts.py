"""Facts of an installed vLLM, as JSON: its options, and the words that its registries know.

Runs under the interpreter that has vLLM, which `python -m catalog engine-file` starts; it imports nothing of ours.
Options have the fields of `catalog.engine.Option` that a parser knows; the rest is for people to say.
"""

import argparse
import json
import sys
from enum import Enum
from importlib import import_module
from typing import Any

# Where releases keep it: the first that is there.
PARSERS = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args")
LEVEL = "--optimization-level"
TYPES = {
    "int": "int",
    "float": "float",
    "loads": "json",
    "parse_dataclass": "json",
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
    """The type behind the wrappers that vLLM puts around it."""
    if type(action).__name__ == "LoRAParserAction":
        return "json-or-str"
    of: Any = action.type
    while getattr(of, "__name__", "") in ("_optional_type", "_parse_type") and of.__closure__:
        of = next(cell.cell_contents for cell in of.__closure__ if callable(cell.cell_contents))
    return TYPES.get(getattr(of, "__name__", ""), "str")


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
    json.dump({"version": version, "options": options(parser()), **words()}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
