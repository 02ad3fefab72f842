"""`python -m workshop.simcluster`: clusters without GPUs, by name: start, look, break, stop.

Exit codes: 0 fine, 2 refused or impossible (each reason on a line of its own on stderr), 64 wrong
usage, 130 stopped by Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from settings.commandline import ENDS, INTERRUPTED, REFUSED, Parser, ended_by, run
from workshop.simcluster.api import ApiError, Unreachable
from workshop.simcluster.cluster import Cluster, names, unended
from workshop.simcluster.problems import Impossible

PROGRAM = "python -m workshop.simcluster"
DEPLOY_TIMEOUT_S = 600
NO_CRYPTOGRAPHY = (
    "cryptography: the Python package that makes a cluster's certificates is not installed; `make up CLUSTER=sim` does "
    "so, or: .venv/bin/python -m pip install -r workshop/simcluster/requirements.txt"
)
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
    build.add_argument("--from-source", action="store_true", help="build it, even where the official one can be had")
    down = commands.add_parser("down", help="stop a cluster and forget all but its logs")
    down.add_argument("--all", action="store_true", help="every cluster of this user")
    _named(down)
    _named(commands.add_parser("status", help="processes, nodes, pods, GPUs, endpoints"))
    _named(commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig"))
    kubectl = commands.add_parser("kubectl", help="kubectl of the same version, on the cluster")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER, help="what kubectl is told")
    _named(kubectl)
    fault = commands.add_parser("fault", help="break something: crash, slow, heal a pod; lose, return a node")
    fault.add_argument("kind", choices=("crash", "slow", "heal", "lose", "return"))
    fault.add_argument("target", help="name of the pod (crash, slow, heal) or node (lose, return)")
    fault.add_argument("--namespace", default="llm-serving", help="namespace of the pod")
    fault.add_argument("--factor", type=float, default=10, metavar="N", help="slow: the load takes N times as long")
    _named(fault)
    return parser


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the cluster; default: the stack's, or the only one there is")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program name) and returns the exit code."""
    return run(PROGRAM, lambda: _run(_parser().parse_args(sys.argv[1:] if argv is None else argv)))


def _run(arguments: argparse.Namespace) -> int:
    try:
        with ended_by(*ENDS):
            return _COMMANDS[arguments.command](arguments)
    except (Impossible, ApiError, Unreachable) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except BrokenPipeError:
        # a reader that has gone is no problem
        raise
    except OSError as error:
        sys.stderr.write(f"{_reason(error)}\n")
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return INTERRUPTED


def _reason(error: Exception) -> str:
    """What went wrong, without what only programmers read."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror


def _up(arguments: argparse.Namespace) -> int:
    # two seconds of imports, not spent on --help or a typing error
    from preview.stackfile import find_project, read_project  # noqa: PLC0415
    from workshop.simcluster.obtain import control_plane  # noqa: PLC0415
    from workshop.simcluster.up import bring_up  # noqa: PLC0415

    # now, and not after minutes of a build
    if find_spec("cryptography") is None:
        raise Impossible(NO_CRYPTOGRAPHY)
    if arguments.stack is None:
        cluster = Cluster(arguments.name or "default")
        cluster.up(control_plane())
        sys.stdout.write(f"export KUBECONFIG={cluster.paths.kubeconfig}\n")
        return 0
    project = read_project(find_project(arguments.project))
    (stack,) = project.chosen(arguments.stack)
    bring_up(project, stack, Cluster(arguments.name or stack), arguments.timeout)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    from workshop.simcluster import obtain  # noqa: PLC0415 - as above

    sys.stdout.write(f"{obtain.from_source() if arguments.from_source else obtain.control_plane()}\n")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    code = 0
    for name in unended() if arguments.all else [_chosen(arguments.name)]:
        try:
            gone = Cluster(name).down()
        except (Impossible, OSError) as error:
            # the others can go down still
            sys.stderr.write(f"{_reason(error)}\n")
            code = REFUSED
        else:
            sys.stdout.write(f"cluster '{name}' {'is down' if gone else 'was not there'}\n")
    return code


def _status(arguments: argparse.Namespace) -> int:
    from workshop.simcluster.report import print_status  # noqa: PLC0415 - as above

    cluster = Cluster(_chosen(arguments.name))
    state = _state(cluster)
    for program, process in state.processes.items():
        lives = f"runs, process {process.pid}" if process.alive() else f"has ended: {cluster.end_of_log(program)}"
        sys.stdout.write(f"{program:<26}{lives}\n")
    sys.stdout.write(f"{'logs':<26}{cluster.paths.logs}\n\n")
    print_status(cluster.api(state), f"simulated cluster '{cluster.name}'")
    return 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    cluster = Cluster(_chosen(arguments.name))
    _state(cluster)
    sys.stdout.write(f"{cluster.paths.kubeconfig}\n")
    return 0


def _kubectl(arguments: argparse.Namespace) -> int:
    cluster = Cluster(_chosen(arguments.name))
    state = _state(cluster)
    words = arguments.arguments[1:] if arguments.arguments[:1] == ["--"] else arguments.arguments
    environment = {**os.environ, "KUBECONFIG": str(cluster.paths.kubeconfig)}
    kubectl = cluster.program(state, "kubectl")
    sys.stdout.flush()
    os.execve(kubectl, [kubectl, *words], environment)


def _fault(arguments: argparse.Namespace) -> int:
    from workshop.simcluster import faults  # noqa: PLC0415 - as above

    cluster = Cluster(_chosen(arguments.name))
    api = cluster.api(_state(cluster))
    match arguments.kind:
        case "lose":
            faults.lose_node(api, arguments.target)
        case "return":
            faults.return_node(api, arguments.target)
        case kind:
            wanted = {"crash": "crash", "slow": f"slow:{arguments.factor:g}", "heal": None}[kind]
            faults.set_pod_fault(api, arguments.namespace, arguments.target, wanted)
    sys.stdout.write(f"{arguments.kind} {arguments.target}\n")
    return 0


def _state(cluster: Cluster):  # noqa: ANN202 - cluster.State
    state = cluster.state()
    if state is None:
        raise Impossible(f"cluster '{cluster.name}': is not there; clusters: {', '.join(names()) or 'none'}")
    return state


def _chosen(name: str | None) -> str:
    """The name given, or that of the only cluster there is."""
    if name is not None:
        return name
    found = names()
    if len(found) != 1:
        raise Impossible(f"which cluster? give --name; clusters: {', '.join(found) or 'none'}")
    return found[0]


_COMMANDS = {
    "up": _up,
    "build": _build,
    "down": _down,
    "status": _status,
    "kubeconfig": _kubeconfig,
    "kubectl": _kubectl,
    "fault": _fault,
}

if __name__ == "__main__":
    sys.exit(main())
