"""`python -m catalog engine-file PYTHON`: the file of a version that is installed, as what differs from a known one.

What a program says of itself is taken from it; what an option does to a plan, and which metrics there are, people have
to say, so a new option has the effect `unclassified`, which the catalogue does not load.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from catalog.engine import Engine, Option
from catalog.load import load_catalog
from catalog.versions import difference
from settings.commandline import FINE, Parser
from settings.problems import Problem, Refused, nearest

FACTS = Path(__file__).with_name("vllm_facts.py")
PARSED = ("kind", "type", "choices", "aliases", "hidden", "negative", "default", "nargs", "repeat")
REGISTRIES = ("reasoning_parsers", "tool_call_parsers", "load_formats", "kv_cache_dtypes", "tokenizer_modes")
UNCLASSIFIED = "unclassified"
HEAD = """\
# vLLM {version}: what differs from {like}, made by `python -m catalog engine-file`. What is to be filled in, as
# docs/adding-an-engine-version.md says: every effect `{unclassified}`, metrics, defaults, and where all of it was read.
engine: vllm
version: "{version}"
like: "{like}"
source: {{package: vllm, version: "{version}", read: null}}
"""


def add_options(parser: Parser) -> None:
    """The interpreter that has the version, and the version to compare it with."""
    parser.add_argument("python", metavar="PYTHON", help="interpreter that has the version of vLLM")
    parser.add_argument("--like", metavar="VERSION", help="known version to compare it with; default: the pinned one")


def answer(options: argparse.Namespace) -> int:
    """Prints the file. Raises `Refused` where the interpreter has no vLLM, or nothing is known of the other version."""
    catalog = load_catalog()
    known = catalog.versions["vllm"]
    like = options.like or catalog.vllm.version
    if like not in known:
        raise Refused([Problem("--like", f"nothing is known of vLLM {like}{nearest(like, known)}")])
    facts = ask(options.python)
    sys.stdout.write(HEAD.format(version=facts["version"], like=like, unclassified=UNCLASSIFIED))
    sys.stdout.write(as_yaml(changes(known[like], facts)))
    return FINE


def ask(python: str) -> dict[str, object]:
    """Facts of the vLLM of this interpreter, as it says them. Raises Refused."""
    try:
        # the interpreter is the one that the person at the command line names
        ran = subprocess.run([python, str(FACTS)], capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused([Problem("PYTHON", f"cannot be run: {error}")]) from None
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no output"])[-1]
        raise Refused([Problem("PYTHON", f"has no vLLM that can be asked: {last}")])
    return json.loads(ran.stdout.splitlines()[-1])


def parsed(option: Option) -> dict[str, object]:
    """The part of an option that a parser knows, as `vllm_facts` writes it."""
    fields = option.model_dump(include=set(PARSED))
    if not fields["repeat"]:
        del fields["repeat"]
    return {key: value for key, value in fields.items() if value not in ("", [], None)}


def changes(base: Engine, facts: Mapping[str, object]) -> dict[str, object]:
    """Content of the file of the other version; words of registries are sorted where they differ."""
    theirs = facts["options"]
    assert isinstance(theirs, dict)
    mine = {name: parsed(option) for name, option in base.options.items()}
    for option in [*mine.values(), *theirs.values()]:
        if isinstance(choices := option.get("choices"), list):
            option["choices"] = sorted(choices, key=str)
    options = difference(mine, theirs)
    for name in sorted(theirs.keys() - mine.keys()):
        options[name] = {**theirs[name], "effect": UNCLASSIFIED}
    different: dict[str, object] = {"options": options} if options else {}
    held = facts["contents"]
    assert isinstance(held, Mapping)
    if contents := difference(base.contents, held):
        different["contents"] = contents
    for field in REGISTRIES:
        words = facts[field]
        assert isinstance(words, list)
        if set(words) != set(getattr(base, field)):
            different[field] = sorted(words)
    return different


def as_yaml(different: Mapping[str, object]) -> str:
    """An option a line, and lists on lines of their own."""
    lines = []
    for section, content in different.items():
        lines.append(f"{section}:")
        if isinstance(content, Mapping):
            lines += [f"  {name}: {_flow(value)}" for name, value in content.items()]
        else:
            lines.append(f"  {_flow(content)}")
    return "".join(f"{line}\n" for line in lines)


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("...").removesuffix("\n")
