"""`python -m catalog COMMAND`: what the catalogue knows, and how something is put into it.

Exit codes: 0 fine, 2 refused (each reason on a line of its own on stderr), 64 wrong usage.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

from settings.commandline import FINE, Parser, UsageError, end_with_the_reader, run
from settings.problems import nearest

PROGRAM = "python -m catalog"
EXIT_CODES = "Exit codes: 0 fine, 2 refused, 64 wrong usage."


class Command(NamedTuple):
    """A row of the table: `module` is one of `catalog.commands`, imported when it is asked for.

    It has `add_options(parser)` and `answer(options) -> int`, the exit code; `options.command` is the name of the row.
    """

    module: str
    help: str


COMMANDS: Mapping[str, Command] = {
    "models": Command("lists", "models: format, context, task, and the memory they need"),
    "gpus": Command("lists", "GPUs: memory, compute capability, price"),
    "instances": Command("lists", "machine types of clouds: GPUs, CPUs, memory, price"),
    "add": Command("add", "the entry of a model from its config.json, as YAML for a catalogue file of your own"),
    "platforms": Command("lists", "platforms a cluster may be of, and what differs there"),
    "engine-file": Command("engine_file", "the file of another version of vLLM, from where it is installed"),
    "engine-diff": Command("engine_diff", "what another version of vLLM changes, for all or for one stack"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program name) and returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run(PROGRAM, lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    listed = "\n".join(f"  {name:12}{command.help}" for name, command in COMMANDS.items())
    if words[:1] in (["-h"], ["--help"]):
        sys.stdout.write(
            f"usage: {PROGRAM} COMMAND …\n\n{listed}\n\n`{PROGRAM} COMMAND --help` says more. {EXIT_CODES}\n"
        )
        return FINE
    if not words:
        raise UsageError(f"a command is missing\n{listed}")
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(f"no command '{name}'{nearest(name, COMMANDS)}")
    module = import_module(f"catalog.commands.{COMMANDS[name].module}")
    parser = Parser(prog=f"{PROGRAM} {name}", description=COMMANDS[name].help, epilog=EXIT_CODES, allow_abbrev=False)
    parser.set_defaults(command=name)
    module.add_options(parser)
    return module.answer(parser.parse_args(rest))


if __name__ == "__main__":
    end_with_the_reader()
    sys.exit(main())
