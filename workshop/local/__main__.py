"""`python -m workshop.local`: a stack on this machine."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from preview.rendering.stackfile import Project, find_project, read_project
from settings.commandline import ENDS, Parser, ended_by, run
from workshop.problems import check_packages, refuse

PROGRAM = "python -m workshop.local"
FAILED = 1
EXIT_CODES = "Exit codes: 0 fine, 1 not up, 2 refused, 64 wrong usage, 130 stopped by Ctrl-C (129, 143: by a signal)."


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Run a stack's rendered pods as processes of this machine.",
                     epilog=EXIT_CODES)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, text in (
        ("up", "bring a stack up, and show that it answers"),
        ("down", "stop it; pods drain first"),
        ("status", "what runs, and where"),
        ("logs", "what containers have written"),
        ("delete", "delete one pod, as kubectl does; another takes its place"),
        ("setup", "only make .venv-local"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        if name != "setup":
            command.add_argument("--stack", default="local", help="name of the stack; default: local")
            command.add_argument("--project", type=Path, metavar="DIR", help="directory of Pulumi.yaml")
        if name == "down":
            command.add_argument("--now", action="store_true", help="do not let pods drain")
        if name == "logs":
            command.add_argument("name", nargs="?", default="", help="a part of the pod's or container's name")
            command.add_argument("--lines", type=int, default=20, help="how many of each log; default 20")
            command.add_argument("--follow", action="store_true", help="go on printing what is added")
        if name == "delete":
            command.add_argument("pod", help="name of the pod")
    # without a line in the list of commands: it is `up` that calls it
    command = commands.add_parser("supervise")
    command.add_argument("folder", type=Path)
    command.add_argument("digest")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program name) and returns the exit code."""
    return run(PROGRAM, lambda: _run(_parser().parse_args(argv), Console(markup=False, emoji=False)))


def _run(arguments: argparse.Namespace, console: Console) -> int:  # noqa: PLR0911 - one per command
    check_packages()
    # imported when needed: half a second that --help and a typing error should not take
    if arguments.command == "setup":
        from workshop.local import toolchain  # noqa: PLC0415
        from workshop.progress import progress  # noqa: PLC0415

        refuse(toolchain.problems())
        with ended_by(*ENDS), progress(console) as say:
            took = toolchain.ensure(say)
        console.print(f"{toolchain.VENV.name} is ready after {took:.0f} s")
        return 0
    from workshop.local import down  # noqa: PLC0415
    from workshop.local.places import RunFolder  # noqa: PLC0415

    if arguments.command == "supervise":
        from preview.rendering.manifests import read  # noqa: PLC0415
        from workshop.local.supervisor import Supervisor  # noqa: PLC0415
        from workshop.local.toolchain import VENV  # noqa: PLC0415
        from workshop.local.up import planned  # noqa: PLC0415

        folder = RunFolder(arguments.folder)
        asyncio.run(Supervisor(folder, planned(read(folder.objects), folder), VENV, arguments.digest).run())
        return 0
    project = read_project(find_project(arguments.project).resolve())
    stack = arguments.stack
    # what runs can be looked at and stopped also when its file has gone (another branch, another name)
    if arguments.command == "up" or stack not in RunFolder.found(project.directory):
        (stack,) = project.chosen(stack)
    folder = RunFolder.of(project.directory, stack)
    match arguments.command:
        case "up":
            return _up(project, stack, console)
        case "down":
            return down.down(folder, console, now=arguments.now)
        case "status":
            return down.status(folder, console)
        case "logs":
            return down.logs(folder, arguments.name, console, lines=arguments.lines, follow=arguments.follow)
        case _:
            return down.delete(folder, arguments.pod, console)


def _up(project: Project, stack: str, console: Console) -> int:
    from workshop.local.up import Failed, up  # noqa: PLC0415 - as above

    try:
        with ended_by(*ENDS):
            return up(project, stack, console)
    except BrokenPipeError:
        # who read the output has gone; `run` knows how a command ends then
        raise
    except (Failed, OSError) as error:
        sys.stderr.write(f"{stack}: {error}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
