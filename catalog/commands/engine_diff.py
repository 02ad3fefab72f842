"""`python -m catalog engine-diff A B`: what another version of vLLM changes, for all or for one stack."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from catalog.commands.lists import print_list
from catalog.load import load_catalog
from planning.plan import Plan
from planning.questions.engine_concerns import concerning
from planning.questions.engine_diff import as_list, differences
from planning.stack.engines import HOW_TO_ADD
from preview.rendering.render import render
from preview.rendering.stackfile import find_project, read_project
from settings.commandline import FINE, Parser, UsageError
from settings.problems import Problem, Refused

ENGINE = "vllm"


def add_options(parser: Parser) -> None:
    """The two versions, and the stack."""
    parser.add_argument("before", metavar="A", help="version of vLLM to compare from, e.g. 0.32.0")
    parser.add_argument("after", metavar="B", help="version of vLLM to compare with")
    parser.add_argument("--stack", help="name of a stack: what concerns it comes first, with the models")
    parser.add_argument("--project", type=Path, metavar="DIR", help="directory of Pulumi.yaml; default: this project's")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")


def answer(options: argparse.Namespace) -> int:
    """Prints the differences. Raises `Refused` where a version is not known, or the stack cannot be planned."""
    if options.project is not None and options.stack is None:
        raise UsageError("--project needs --stack")
    catalog = load_catalog()
    known = catalog.versions[ENGINE]
    names = {"A": options.before.removeprefix("v"), "B": options.after.removeprefix("v")}
    if unknown := [_unknown(place, name, known) for place, name in names.items() if name not in known]:
        raise Refused(unknown)
    before, after = (known[name] for name in names.values())
    changes, plan = differences(before, after), _plan(options.project, options.stack)
    if plan is not None:
        changes = concerning(changes, before, after, plan, catalog)
    listing = as_list(changes, of_stack=plan is not None)
    if options.json:
        content = {"from": before.version, "to": after.version, "stack": options.stack, "differences": listing.rows}
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        return FINE
    about = sum(bool(change.concerns) for change in changes)
    sys.stdout.write(f"vLLM {before.version} → {after.version}: {_counted(len(changes))}")
    if plan is not None and changes:
        runs = " and ".join(sorted({server.image.engine for server in plan.servers}))
        sys.stdout.write(f", {about} of them about {options.stack}, which runs {runs}")
    sys.stdout.write("\n")
    if changes:
        print_list(listing)
    return FINE


def _unknown(place: str, name: str, known: Iterable[str]) -> Problem:
    return Problem(place, f"nothing is known of vLLM '{name}', only of {' and '.join(known)}; {HOW_TO_ADD}")


def _counted(number: int) -> str:
    return {0: "no difference", 1: "1 difference"}.get(number, f"{number} differences")


def _plan(directory: Path | None, stack: str | None) -> Plan | None:
    """The plan of the stack; None where none is asked for. Raises `Refused` with all that is wrong with it."""
    if stack is None:
        return None
    project = read_project(find_project(directory))
    project.chosen(stack)
    rendering = render(project, stack)
    if rendering.plan is None:
        raise Refused(rendering.refused or [Problem(stack, "its program makes no stack of ours")])
    return rendering.plan
