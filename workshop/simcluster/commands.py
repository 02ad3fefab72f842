"""The commands."""

import argparse
import os
import sys

from settings.commandline import REFUSED
from workshop.problems import Impossible, reason
from workshop.simcluster import obtain
from workshop.simcluster.cluster import STAND_INS, Cluster, names, unended
from workshop.simcluster.programs import PROGRAMS, State
from workshop.simcluster.report import print_status


def _up(arguments: argparse.Namespace) -> int:
    # a second of imports that the other commands need not
    from preview.rendering.stackfile import find_project, read_project  # noqa: PLC0415
    from workshop.simcluster.up import bring_up  # noqa: PLC0415

    if arguments.stack is None:
        cluster = Cluster(arguments.name or "default")
        cluster.up(obtain.control_plane())
        sys.stdout.write(f"export KUBECONFIG={cluster.paths.kubeconfig}\n")
        return 0
    project = read_project(find_project(arguments.project))
    (stack,) = project.chosen(arguments.stack)
    bring_up(project, stack, Cluster(arguments.name or stack), arguments.timeout)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    sys.stdout.write(f"{obtain.from_source() if arguments.from_source else obtain.control_plane()}\n")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    code = 0
    for name in unended() if arguments.all else [_chosen(arguments.name)]:
        try:
            gone = Cluster(name).down()
        except (Impossible, OSError) as error:
            # the others can go down still
            sys.stderr.write(f"{reason(error)}\n")
            code = REFUSED
        else:
            sys.stdout.write(f"cluster '{name}' {'is down' if gone else 'was not there'}\n")
    return code


def _status(arguments: argparse.Namespace) -> int:
    cluster, state = _there(arguments)
    running = cluster.processes()
    for program in (*PROGRAMS, STAND_INS):
        process = running.get(program)
        lives = f"runs, process {process.pid}" if process else f"has ended: {cluster.end_of_log(program)}"
        sys.stdout.write(f"{program:<26}{lives}\n")
    sys.stdout.write(f"{'logs':<26}{cluster.paths.logs}\n\n")
    sys.stdout.flush()
    print_status(cluster, state)
    return 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    cluster, _ = _there(arguments)
    sys.stdout.write(f"{cluster.paths.kubeconfig}\n")
    return 0


def _kubectl(arguments: argparse.Namespace) -> int:
    cluster, state = _there(arguments)
    words = arguments.arguments[1:] if arguments.arguments[:1] == ["--"] else arguments.arguments
    environment = {**os.environ, "KUBECONFIG": str(cluster.paths.kubeconfig)}
    kubectl = cluster.program(state, "kubectl")
    sys.stdout.flush()
    os.execve(kubectl, [kubectl, *words], environment)


def _there(arguments: argparse.Namespace) -> tuple[Cluster, State]:
    cluster = Cluster(_chosen(arguments.name))
    state = cluster.state()
    if state is None:
        raise Impossible(f"cluster '{cluster.name}': is not there; clusters: {', '.join(names()) or 'none'}")
    return cluster, state


def _chosen(name: str | None) -> str:
    """The name given, or that of the only cluster there is."""
    if name is not None:
        return name
    clusters = names()
    if len(clusters) != 1:
        raise Impossible(f"which cluster? give --name; clusters: {', '.join(clusters) or 'none'}")
    return clusters[0]


COMMANDS = {
    "up": _up,
    "build": _build,
    "down": _down,
    "status": _status,
    "kubeconfig": _kubeconfig,
    "kubectl": _kubectl,
}
