"""`up`: a cluster, and a stack on it. The preview is shown while the control plane is being fetched or built."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from preview.rendering.prerequisites import prerequisites
from preview.rendering.render import render
from preview.rendering.stackfile import Project, read_stack
from preview.reporting.report import print_report
from settings.problems import Refused
from workshop.lock import held
from workshop.problems import Impossible
from workshop.simcluster import engine
from workshop.simcluster.api import Api
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.deploy import Deployment, pods_in_trouble
from workshop.simcluster.furnish import furnish
from workshop.simcluster.obtain import control_plane
from workshop.simcluster.rendered import Stack, stack_of
from workshop.simcluster.report import print_status
from workshop.simcluster.stages import TIME_SCALE
from workshop.simcluster.surroundings import surroundings

LOCK = ".deploy.lock"
T = TypeVar("T")


@contextmanager
def one_at_a_time(cluster: Cluster) -> Iterator[None]:
    """What is done meanwhile to the objects of a cluster, nobody else does: a second `up` waits, and says so."""

    def busy() -> bool:
        say(f"another `up` is putting a stack on cluster '{cluster.name}'; waiting for it")
        return True

    # among the logs, which `down` leaves: it keeps somebody out also over a `down`
    with held(cluster.paths.logs / LOCK, busy):
        yield


def bring_up(project: Project, stack: str, cluster: Cluster, timeout_s: float, scale: float = TIME_SCALE) -> None:
    """The whole way from a stack file to a served stack. Raises `Refused` before anything is built or started."""
    rendering = render(project, stack)
    if rendering.refused:
        raise Refused(rendering.refused)
    wanted = stack_of(rendering)
    programs = _begun(control_plane)
    print_report(rendering, wanted.manifests)
    sys.stdout.flush()
    began = time.monotonic()
    api = cluster.up(programs.result(), [wanted.plan.context])
    with one_at_a_time(cluster):
        furnish(api, wanted, scale)
        version = api.request("GET", "/version")["gitVersion"]
        say(f"control plane {version}, ready after {time.monotonic() - began:.0f} s")
        deploy(api, project, wanted, cluster, timeout_s)
    say("")
    print_status(
        api, f"{stack} on simulated cluster '{cluster.name}', {time.monotonic() - began:.0f} s after its start"
    )
    say(f"\nexport KUBECONFIG={cluster.paths.kubeconfig}")


def _begun(work: Callable[[], T]) -> Future[T]:
    """What `work` gives, while something else is shown; ends with this process, also half-way."""
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it is told
            future.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return future


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
    found = engine.Engine(pulumi, cluster, project, stack.name)
    found.prepare()
    try:
        found.up(say, timeout_s)
    except engine.TooLate as error:
        raise Impossible("\n".join([str(error), *pods_in_trouble(api, stack.plan.namespace)])) from None


def unreadable(project: Project, stack: str) -> str:
    """What of the configuration the engine could not read; empty when it can read all."""
    found = ", ".join(read_stack(project, stack).secret_keys)
    return f"{found}: encrypted with a key that is not this cluster's" if found else ""


def prepare(api: Api, stack: Stack) -> None:
    """What the stack expects to find."""
    for body in surroundings(prerequisites(stack.manifests)):
        api.create(body)


def say(line: str, lines: Iterable[str] = ()) -> None:
    """One line at once, even into a pipe."""
    sys.stdout.write("\n".join([line, *lines]) + "\n")
    sys.stdout.flush()
