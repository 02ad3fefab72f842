"""`python -m preview`: renders stacks without an engine, reports on them, and compares them with an older commit.

Exit codes: 0 fine, 2 refused (each reason on a line of its own on stderr, path first), 64 wrong usage.
"""

import argparse
import gc
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from preview.stackfile import UsageError
from settings.problems import Refused

REFUSED, USAGE = 2, 64
PROGRAM = "python -m preview"
EXIT_CODES = "Exit codes: 0 fine, 2 refused, 64 wrong usage."


class _Parser(argparse.ArgumentParser):
    """Leaves wrong usage to `main`: argparse's own exit code 2 means refused here."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Render a stack without Pulumi's engine, a cluster or credentials, and report on it.",
        epilog=f"`{PROGRAM} diff --base REF` compares with a commit. {EXIT_CODES}",
    )
    _common(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the report")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write one YAML file per object to DIR")
    return parser


def _diff_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"{PROGRAM} diff",
        description="Compare the working tree with a commit and print Markdown for a pull request.",
        epilog=EXIT_CODES,
    )
    _common(parser)
    parser.add_argument("--base", required=True, metavar="REF", help="commit to compare the working tree with")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stack", help="name of the stack; default: all that have a file")
    parser.add_argument("--project", type=Path, metavar="DIR", help="directory of Pulumi.yaml; default: this project's")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program name) and returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show ▓ gets `?` for it, not a traceback
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        # not a subparser: it would take the value of a misspelt option for a subcommand
        if words[:1] == ["diff"]:
            return _diff(_diff_parser().parse_args(words[1:]))
        return _preview(_parser().parse_args(words))
    except UsageError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return USAGE
    except Refused as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return REFUSED


def _preview(arguments: argparse.Namespace) -> int:
    from preview.show import show  # noqa: PLC0415 - half a second of imports, not spent on --help or a typing error

    return show(arguments.project, arguments.stack, as_json=arguments.json, out=arguments.out)


def _diff(arguments: argparse.Namespace) -> int:
    from preview.diff import diff  # noqa: PLC0415 - as above

    return diff(arguments.project, arguments.stack, arguments.base)


if __name__ == "__main__":
    # a process of two seconds ends before its garbage matters; looking for it takes a sixth of them
    gc.disable()
    # a reader that has seen enough (`| head`) ends us quietly, as it does every command
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
