"""`down`, `status`, `logs`, `delete`: everything that is done to a run that is up."""

import contextlib
import shutil
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from workshop.local import client
from workshop.local.client import NotRunning
from workshop.local.places import RunFolder, forget
from workshop.local.process import kill_marked
from workshop.local.screen import plainly, show_event
from workshop.ports import LOOPBACK
from workshop.process import marked

LOOK_EVERY_S = 0.2
NOT_UP = 1


def stop(folder: RunFolder, *, now: bool = False, keep_logs: bool = False) -> None:
    """Ends a run and waits, killing what still carries its mark; a second Ctrl-C cuts the draining of pods short."""
    _ask_to_stop(folder, now=now)
    while True:
        try:
            if client.status(folder) is None:
                break
            time.sleep(LOOK_EVERY_S)
        except KeyboardInterrupt:
            _ask_to_stop(folder, now=True)
    kill_marked(folder.mark)
    forget(folder.pods)
    if keep_logs:
        for gone in (folder.pods, folder.keys, folder.prometheus, folder.objects):
            shutil.rmtree(gone, ignore_errors=True)
    else:
        shutil.rmtree(folder.path, ignore_errors=True)
        if folder.path.parent.is_dir():
            # who leaves removes the folder of all runs, if nothing and nobody else is in it
            with folder.alone():
                pass


def _ask_to_stop(folder: RunFolder, *, now: bool) -> None:
    with contextlib.suppress(NotRunning):
        client.ask(folder, do="stop", now=now)


def down(folder: RunFolder, console: Console, *, now: bool) -> int:
    """Stops a run, if there is one; 1 when an `up` is only about to start one."""
    begun = time.monotonic()
    # whatever runs is stopped also while an `up` waits for it
    if marked(folder.mark) or client.status(folder):
        console.print("stopping: pods drain first; Ctrl-C ends them at once" if not now else "stopping at once")
        stop(folder, now=now)
        console.print(f"down after {time.monotonic() - begun:.0f} s; nothing is left but claims in the cache")
        return 0
    if folder.path.parent.is_dir():
        with folder.alone() as alone:
            if not alone:
                plainly(console)("an `up` in this project is still setting up; Ctrl-C where it runs ends it")
                return NOT_UP
            # held, so that no `up` begins in what is being removed
            stop(folder)
    console.print("nothing was up")
    return 0


def status(folder: RunFolder, console: Console) -> int:
    """Pods, Services and the latest events; 1 when nothing is up."""
    run = client.status(folder)
    if run is None:
        console.print("nothing is up")
        return NOT_UP
    pods = Table("pod", "ready", "restarts", "age", "pid", "ports", box=None, pad_edge=False)
    for pod in run["pods"]:
        main = [container for container in pod["containers"] if not container["init"]]
        pods.add_row(
            pod["name"],
            "stops" if pod["deleting"] else f"{sum(container['ready'] for container in main)}/{len(main)}",
            str(sum(container["restarts"] for container in pod["containers"])),
            f"{time.time() - pod['created']:.0f} s",
            " ".join(str(container["pid"]) for container in main if container["pid"]) or "–",
            ", ".join(f"{name} {port}" for name, port in pod["ports"].items()),
        )
    services = Table("service", "here", "ready pods", box=None, pad_edge=False)
    for service in run["services"]:
        here = f"http://{LOOPBACK}:{service['here']}"
        services.add_row(f"{service['name']}:{service['port']}", here, str(service["ready"]))
    for table in (pods, services):
        _whole(table, console)
        console.print()
    for event in run["events"][-8:]:
        show_event(event, console)
    return 0


def _whole(table: Table, console: Console) -> None:
    """Prints it as wide as it is: half a name or address is of no use, on however narrow a terminal."""
    unlimited = console.options.update(max_width=sys.maxsize)
    table.width = console.measure(table, options=unlimited).maximum
    console.print(table, crop=False, no_wrap=True)


def logs(folder: RunFolder, name: str, console: Console, *, lines: int, follow: bool) -> int:
    """The ends of all logs whose file name holds `name`; then, with `follow`, what is added to them."""
    files = [file for file in sorted(folder.logs.glob("*.log")) if name in file.name]
    if not files:
        plainly(console)(f"no log{f' with {name} in its name' if name else ''} in {folder.logs}")
        return NOT_UP
    words = [f"-n{lines}", *(["-F"] if follow else []), *(file.name for file in files)]
    return subprocess.run(["tail", *words], cwd=folder.logs, check=False).returncode  # noqa: S603, S607 - of every system


def delete(folder: RunFolder, pod: str, console: Console) -> int:
    """Deletes one pod as `kubectl delete pod` does; its Deployment makes another."""
    try:
        answer = client.ask(folder, do="delete", pod=pod)
    except NotRunning:
        console.print("nothing is up")
        return NOT_UP
    plainly(console)(answer.get("error", f"pod {pod} is deleted"))
    return NOT_UP if answer else 0
