"""`python -m workshop.simcluster`: clusters without GPUs, by name: start, look, stop."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from settings.commandline import ENDS, INTERRUPTED, REFUSED, Parser, ended_by, run
from workshop.problems import Impossible, check_packages, reason

PROGRAM = "python -m workshop.simcluster"
DEPLOY_TIMEOUT_S = 600
EPILOG = """
Exit codes: 0 fine, 2 refused or impossible, 64 wrong usage, 130 stopped by Ctrl-C.
Nothing here runs a container: it proves scheduling, admission, rollouts and drains. See docs/simcluster.md.
"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="A GPU cluster without GPUs, on this machine.", epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a cluster, and with --stack put a stack on it; resumes what was cut off")
    up.add_argument("--stack", help="name of the stack; without one the cluster has no nodes")
    up.add_argument("--project", type=Path, metavar="DIR", help="directory of Pulumi.yaml; default: this project's")
    up.add_argument(
        "--timeout", type=float, default=DEPLOY_TIMEOUT_S, metavar="S", help="seconds to wait for the stack"
    )
    _named(up)
    build = commands.add_parser("build", help="fetch or build the control plane, and nothing else")
    build.add_argument("--from-source", action="store_true", help="build it, even where the official one is available")
    down = commands.add_parser("down", help="stop a cluster and forget all but its logs")
    down.add_argument("--all", action="store_true", help="every cluster of this user")
    _named(down)
    _named(commands.add_parser("status", help="processes, nodes, pods, GPUs, endpoints"))
    _named(commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig"))
    kubectl = commands.add_parser("kubectl", help="kubectl of the same version, on the cluster")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER, help="what kubectl is told")
    _named(kubectl)
    return parser


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the cluster; default: the stack's, or the only one there is")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program name) and returns the exit code."""
    return run(PROGRAM, lambda: _run(_parser().parse_args(sys.argv[1:] if argv is None else argv)))


def _run(arguments: argparse.Namespace) -> int:
    check_packages()
    # imported when needed: half a second that --help and a typing error should not take
    from workshop.simcluster.commands import COMMANDS  # noqa: PLC0415

    try:
        with ended_by(*ENDS):
            return COMMANDS[arguments.command](arguments)
    except BrokenPipeError:
        # a reader that has gone is no problem
        raise
    except (Impossible, OSError) as error:
        sys.stderr.write(f"{reason(error)}\n")
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
