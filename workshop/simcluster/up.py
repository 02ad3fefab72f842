"""`up`: a cluster, and a stack on it."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from preview.rendering.stackfile import Project, read_stack
from workshop.lock import held
from workshop.problems import Impossible
from workshop.shown import show
from workshop.simcluster import engine
from workshop.simcluster.api import Api
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.deploy import Deployment, pods_in_trouble, prepare
from workshop.simcluster.furnish import furnish
from workshop.simcluster.obtain import control_plane
from workshop.simcluster.rendered import Stack, stack_of
from workshop.simcluster.report import print_status
from workshop.simcluster.stages import TIME_SCALE

LOCK = ".deploy.lock"


@contextmanager
def one_at_a_time(cluster: Cluster) -> Iterator[None]:
    """One `up` at a time changes the objects of a cluster: a second one waits, and says so."""

    def busy() -> bool:
        say(f"another `up` is putting a stack on cluster '{cluster.name}'; waiting for it")
        return True

    # among the logs, which `down` leaves: it keeps somebody out also over a `down`
    with held(cluster.paths.logs / LOCK, busy):
        yield


def bring_up(project: Project, stack: str, cluster: Cluster, timeout_s: float, scale: float = TIME_SCALE) -> None:
    """The whole way from a stack file to a served stack. Raises `Refused` before anything is built or started."""
    declared = stack_of(show(project, stack))
    # there is time to read the page while a control plane is fetched or built
    sys.stdout.flush()
    programs = control_plane()
    began = time.monotonic()
    api = cluster.up(programs, [declared.plan.context])
    with one_at_a_time(cluster):
        furnish(api, declared, scale)
        version = api.request("GET", "/version")["gitVersion"]
        say(f"control plane {version}, ready after {time.monotonic() - began:.0f} s")
        deploy(api, project, declared, cluster, timeout_s)
    say(f"\n{stack} on simulated cluster '{cluster.name}', {time.monotonic() - began:.0f} s after its start")
    if state := cluster.state():
        print_status(cluster, state)
    say(f"\nexport KUBECONFIG={cluster.paths.kubeconfig}")


def deploy(api: Api, project: Project, stack: Stack, cluster: Cluster, timeout_s: float) -> None:
    """With the engine when it is on PATH, else by server-side apply."""
    absent = f"; not installed: {', '.join(stack.releases)}" if stack.releases else ""
    why = unreadable(project, stack.name) or engine.unavailable()
    pulumi = engine.command()
    if why or pulumi is None:
        say(f"{why}: the same objects by server-side apply{absent}")
        Deployment(api, stack, say).run(timeout_s)
        return
    say(f"pulumi up{absent}")
    prepare(api, stack)
    program = engine.Engine(pulumi, cluster, project, stack.name)
    program.prepare()
    try:
        program.up(say, timeout_s)
    except engine.TooLate as error:
        raise Impossible("\n".join([str(error), *pods_in_trouble(api, stack.plan.namespace)])) from None


def unreadable(project: Project, stack: str) -> str:
    """Reason why the engine cannot read the configuration; empty when it can."""
    keys = ", ".join(read_stack(project, stack).secret_keys)
    return f"{keys}: encrypted with a key that is not this cluster's" if keys else ""


def say(line: str) -> None:
    """Writes a line at once, even into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
