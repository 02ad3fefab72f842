"""`python -m preview`: renders stacks without an engine, reports on them, compares them, lists what they are made of.

Exit codes: 0 fine, 1 a comparison that could not be made, 2 refused (each reason on a line of its own on stderr, path
first), 64 wrong usage.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from settings.commandline import Parser, end_with_the_reader, run

PROGRAM = "python -m preview"
# Seconds for the images of a kind of node: 10 GB at 20 MB/s; and the longest that may be asked for.
IMAGES_S, LONGEST_S = 900, 7200
LONGEST_REF = 1000
EXIT_CODES = "Exit codes: 0 fine, 2 refused, 64 wrong usage."
# Names of preview.reporting.bundle_formats.FORMATS, which a test compares: importing it takes half a second.
BUNDLE_FORMATS = ("text", "json", "hauler", "cyclonedx", "copy-script")
DIFF_EXIT_CODES = "Exit codes: 0 compared, 1 could not be compared, 2 refused, 64 wrong usage."


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description="Render a stack without Pulumi's engine, a cluster or credentials, and report on it.",
        epilog=f"`{PROGRAM} diff --base REF` compares with a commit, `{PROGRAM} bundle --stack NAME` lists what a "
        f"network without internet needs, `{PROGRAM} keys --stack NAME` says which key is where, "
        f"`{PROGRAM} preflight --stack NAME` asks its cluster whether it can come, "
        f"`{PROGRAM} manifest FOLDER` prints the hash of a checkpoint. {EXIT_CODES}",
    )
    _common(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the report")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write one YAML file per object to DIR")
    return parser


def _diff_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} diff",
        description="Compare the working tree with a commit and print Markdown for a pull request.",
        epilog=DIFF_EXIT_CODES,
    )
    _common(parser)
    parser.add_argument(
        "--base", required=True, type=_ref, metavar="REF", help="commit to compare the working tree with"
    )
    parser.add_argument("--all", action="store_true", help="print everything, not what a comment on GitHub holds")
    return parser


def _bundle_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} bundle",
        description="List what a network without internet needs for one stack: images, charts and weights.",
        epilog=EXIT_CODES,
    )
    _common(parser, single=True)
    parser.add_argument("--format", choices=BUNDLE_FORMATS, default="text", help="default: text, for a person")
    parser.add_argument("--helm", action="store_true", help="let helm render the charts, for the images they have")
    parser.add_argument(
        "--listing",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="files of a checkpoint: its manifest.json, or the hub's answer to "
        "/api/models/REPO/revision/COMMIT?blobs=true; may be given for each",
    )
    return parser


def _manifest_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} manifest",
        description="Print the hash that stands for all files of a checkpoint, for models.NAME.manifestSha256.",
        epilog="Exit codes: 0 fine, 64 wrong usage.",
    )
    parser.add_argument("path", type=Path, metavar="FOLDER", help="the checkpoint, or its manifest.json")
    parser.add_argument(
        "--write",
        metavar="ORG/NAME@COMMIT",
        help="also write FOLDER/manifest.json, of files that no Job publishes; one that is there is never replaced",
    )
    return parser


def _keys_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} keys",
        description="List which key of a stack is in which Secret, for whom, and what it opens; no value is shown.",
        epilog=EXIT_CODES,
    )
    _common(parser, single=True)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the page")
    return parser


def _preflight_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} preflight",
        description="Ask the cluster of a stack, with kubectl and reading only, whether all that the stack expects is "
        "there and right.",
        epilog="Exit codes: 0 nothing stands in the way, 2 something does, or the stack is refused, or nobody answers; "
        "64 wrong usage.",
    )
    _common(parser, single=True)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the lines")
    parser.add_argument(
        "--admission",
        action="store_true",
        help="also show every object and pod to what admits them, as a dry run that the API server does not keep",
    )
    parser.add_argument(
        "--images",
        type=_seconds,
        nargs="?",
        const=IMAGES_S,
        default=0,
        metavar="SECONDS",
        help="also let a node of each kind pull the images, by a pod that is made for it and deleted; at most that "
        f"long for each (default {IMAGES_S})",
    )
    return parser


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of seconds from 1 to {LONGEST_S}")
    return int(text)


def _ref(text: str) -> str:
    """A name of a commit, which begins with no dash and has no control character (git-check-ref-format)."""
    if text.startswith("-") or not text.isprintable() or len(text) > LONGEST_REF:
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a commit")
    return text


def _common(parser: argparse.ArgumentParser, *, single: bool = False) -> None:
    description = "name of the stack" if single else "name of the stack; default: all that have a file"
    parser.add_argument("--stack", required=single, help=description)
    parser.add_argument("--project", type=Path, metavar="DIR", help="directory of Pulumi.yaml; default: this project's")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program name) and returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run(PROGRAM, lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    # not a subparser: it would take the value of a misspelt option for a subcommand
    if words[:1] == ["diff"]:
        return _diff(_diff_parser().parse_args(words[1:]))
    if words[:1] == ["bundle"]:
        return _bundle(_bundle_parser().parse_args(words[1:]))
    if words[:1] == ["keys"]:
        return _keys(_keys_parser().parse_args(words[1:]))
    if words[:1] == ["preflight"]:
        return _preflight(_preflight_parser().parse_args(words[1:]))
    if words[:1] == ["manifest"]:
        return _manifest(_manifest_parser().parse_args(words[1:]))
    return _preview(_parser().parse_args(words))


def _preview(arguments: argparse.Namespace) -> int:
    from preview.reporting.show import show  # noqa: PLC0415 - half a second of imports, not spent on --help or a typing error

    return show(arguments.project, arguments.stack, as_json=arguments.json, out=arguments.out)


def _diff(arguments: argparse.Namespace) -> int:
    from preview.reporting.diff import diff  # noqa: PLC0415 - as above

    return diff(arguments.project, arguments.stack, arguments.base, everything=arguments.all)


def _bundle(arguments: argparse.Namespace) -> int:
    from preview.reporting.bundle_show import show  # noqa: PLC0415 - as above

    return show(arguments.project, arguments.stack, arguments.format, arguments.listing, ask_helm=arguments.helm)


def _keys(arguments: argparse.Namespace) -> int:
    from preview.reporting.keys import show  # noqa: PLC0415 - as above

    return show(arguments.project, arguments.stack, as_json=arguments.json)


def _preflight(arguments: argparse.Namespace) -> int:
    from preview.preflight.show import More, show  # noqa: PLC0415 - as above

    more = More(arguments.admission, arguments.images)
    return show(arguments.project, arguments.stack, more, as_json=arguments.json)


def _manifest(arguments: argparse.Namespace) -> int:
    from preview.reporting.manifest_hash import show  # noqa: PLC0415 - as above

    return show(arguments.path, arguments.write)


if __name__ == "__main__":
    # a process of a second ends before its garbage matters; looking for it, and once more at the end, takes a third
    gc.disable()
    end_with_the_reader()
    code = main()
    gc.freeze()
    sys.exit(code)
