"""`up`: from a stack file to an answer. Preview, checks, set-up, weights, pods, a chat, a small load."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from preview.rendering.manifests import Manifest, collect_manifests, write
from preview.rendering.stackfile import Project
from settings.problems import Problem, Refused
from workshop.local import client, database, places, toolchain, weights
from workshop.local.blueprint import Blueprint, blueprint, locked
from workshop.local.chat import load, question
from workshop.local.down import stop
from workshop.local.images import stand_for
from workshop.local.monitoring import write_config
from workshop.local.places import RunFolder, read_keys, write_keys
from workshop.local.process import kill_marked
from workshop.local.screen import endpoint, not_here, show_event, show_load, show_next, show_replaced
from workshop.problems import refuse
from workshop.process import last_lines, start
from workshop.progress import progress
from workshop.shown import show

LOOK_EVERY_S = 0.5
# What the preview writes besides objects, by the first word of its file's name.
OTHER = {"patch": "patch of a node", "release": "Helm release"}
# Program → its package.
PACKAGES = {"redis-server": "redis-server", "postgres": "postgresql", "initdb": "postgresql"}
# A container that ended this often will not come up by waiting.
HOPELESS_RESTARTS = 3
SAID_LINES = 25


class Failed(Exception):
    """The stack could not be brought up; the message says which part and where to look."""


@dataclass(frozen=True)
class Run:
    """A stack's rendered objects, and how they will run; `digest` tells one such run from another."""

    manifests: tuple[Manifest, ...]
    plan: Blueprint
    digest: str


def up(project: Project, stack: str, console: Console) -> int:
    """Brings a stack up and shows that it answers. Raises `Refused` and `Failed`."""
    folder = RunFolder.of(project.directory, stack)
    run = look(project, stack, folder)
    console.print(not_here(run.plan))
    # without the folder of runs nothing is up, and it may be that not even that can be made
    if not folder.path.parent.is_dir():
        refuse([*_problems(folder, run.plan), *toolchain.memory_problems(run.plan.memory_gib)])
    with folder.alone() as alone:
        if not alone:
            raise Refused([Problem(stack, "another `up` in this project is under way; wait until it has ended")])
        return _up(folder, run, stack, console)


def _up(folder: RunFolder, run: Run, stack: str, console: Console) -> int:
    begun, plan = time.monotonic(), run.plan
    running = client.status(folder)
    if running and not running["stopping"] and running["digest"] == run.digest:
        console.print("this very stack is up already")
        _show(folder, plan, stack, console)
        return 0
    problems = _problems(folder, plan)
    if running and not problems:
        why = "it is being stopped" if running["stopping"] else "the stack has changed since it was brought up"
        console.print(f"{why}: waiting for it to stop")
        stop(folder)
        running = None
    if not running:
        # what ran has its memory until it is stopped; everything else could be asked before
        problems += toolchain.memory_problems(plan.memory_gib)
    refuse(problems)
    _set_up(plan, console)
    try:
        _start(stack, folder, run)
        _show(folder, plan, stack, console)
    except BaseException:
        # with its terminal gone nothing can be said, but all the more has to be done
        with contextlib.suppress(OSError):
            console.print(f"stopping what was started; the logs stay in {folder.logs}", highlight=False, soft_wrap=True)
        # nobody uses it yet, so there is nothing to drain
        stop(folder, now=True, keep_logs=True)
        raise
    console.print(f"\nup after {time.monotonic() - begun:.0f} s", highlight=False)
    return 0


def _show(folder: RunFolder, plan: Blueprint, stack: str, console: Console) -> None:
    """Waits until everything is ready, and shows what runs and that it answers. Raises `Failed`."""
    status = _wait(folder, console)
    show_replaced(status, console)
    _show_answers(folder, plan, status, console)
    show_next(folder, plan, status, stack, console)


def look(project: Project, stack: str, folder: RunFolder) -> Run:
    """Renders a stack, shows it, and plans its run. Raises `Refused` with every reason of either."""
    declared = collect_manifests(show(project, stack).records)
    plan = planned({manifest.file: manifest.body for manifest in declared}, folder)
    # a mapping may come in another order each time it is rendered
    text = json.dumps([manifest.body for manifest in declared], sort_keys=True) + toolchain.lock_text()
    return Run(declared, plan, hashlib.sha256(text.encode()).hexdigest())


def _problems(folder: RunFolder, plan: Blueprint) -> list[Problem]:
    """Reasons against a run here, but for memory."""
    workloads = plan.rendered.workloads
    volumes = [volume for workload in workloads for volume in workload.volumes.values()]
    claims = {volume.source for volume in volumes if volume.kind == "persistentVolumeClaim"}
    return [
        *weights.problems(plan.checkpoints, claims),
        *_missing_programs(plan),
        *(database.problems() if plan.asks_database else []),
        *toolchain.problems(),
        *places.problems(folder.path.parent.name, folder.path, places.RUN_GB, places.OF_PROJECT),
    ]


def _missing_programs(plan: Blueprint) -> list[Problem]:
    """Programs that stand for an image, and are not on this machine."""
    return [
        Problem(
            str(workload),
            f"needs {program}, which is not here; on Debian and Ubuntu: apt-get install {PACKAGES[program]}",
        )
        for workload, container in plan.rendered.containers
        if (stand := stand_for(container.image))
        for program in stand.programs
        if database.program(program) is None
    ]


def planned(bodies: Mapping[str, Mapping[str, Any]], folder: RunFolder) -> Blueprint:
    """The run of rendered bodies (file name → body), with the keys of a former run. Raises `Refused`."""
    # neither a patch nor a release is an object of the cluster, but a reader should see that they do nothing here
    objects = [
        {"kind": OTHER[kind], "metadata": {"name": file}} if (kind := file.partition("-")[0]) in OTHER else body
        for file, body in bodies.items()
    ]
    return blueprint(objects, locked(toolchain.lock_text()), read_keys(folder.keys))


def _set_up(plan: Blueprint, console: Console) -> None:
    with progress(console) as say:
        took = toolchain.ensure(say)
    if took:
        console.print(f"{toolchain.VENV.name} is ready after {took:.0f} s")
    if plan.asks_database:
        with progress(console) as say:
            database.ensure(say)
    for checkpoint in plan.checkpoints:
        with progress(console) as say:
            took = weights.prepare(checkpoint, toolchain.VENV, say)
        made = f"made in {took:.0f} s" if took else "there already"
        made += ", random: it says nothing sensible" if weights.is_like(checkpoint.repository, weights.RANDOM) else ""
        console.print(f"weights of {checkpoint.repository}: {made}, {weights.place(checkpoint)}")


def _start(stack: str, folder: RunFolder, run: Run) -> None:
    """Writes the run's folder and starts the supervisor, detached from this terminal."""
    # what may be left of a supervisor that was killed, or hangs
    kill_marked(folder.mark)
    for old in (folder.pods, folder.logs, folder.prometheus):
        shutil.rmtree(old, ignore_errors=True)
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(run.manifests, folder.objects, stack)
    write_keys(folder.keys, run.plan.secrets)
    write_config(folder.prometheus, run.plan.rendered)
    command = [sys.executable, "-m", "workshop.local", "supervise", str(folder.path), run.digest]
    folder.supervisor_log.unlink(missing_ok=True)
    # marked: one that hangs is found like everything else of the run
    process = start(command, folder.supervisor_log, f"{folder.mark}/supervisor", cwd=toolchain.ROOT, env=os.environ)
    while process.poll() is None:
        if client.status(folder):
            return
        time.sleep(LOOK_EVERY_S / 5)
    raise Failed(f"the supervisor ended with exit status {process.returncode}:\n{_end_of(folder.supervisor_log)}")


def _wait(folder: RunFolder, console: Console) -> dict[str, Any]:
    """Until every pod is ready, printing what happens. Raises `Failed` when that will not be."""
    shown = 0
    with progress(console) as say:
        begun = time.monotonic()
        while True:
            status = client.status(folder)
            if status is None:
                raise Failed(f"the supervisor is gone; it said:\n{_end_of(folder.supervisor_log)}")
            for event in status["events"][shown:]:
                show_event(event, console)
            shown = len(status["events"])
            pods = status["pods"]
            if reason := _hopeless(status):
                raise Failed(reason)
            behind = all(service["ready"] or not service["wanted"] for service in status["services"])
            if behind and all(pod["ready"] for pod in pods) and not status["awaited"]:
                return status
            ready = sum(pod["ready"] for pod in pods)
            say(f"{ready} of {len(pods)} pods ready, {time.monotonic() - begun:.0f} s; loading vLLM takes 1 to 2 min")
            time.sleep(LOOK_EVERY_S)


def _hopeless(status: Mapping[str, Any]) -> str:
    if status["failed"]:
        return f"Job {', '.join(status['failed'])} failed"
    for pod in status["pods"]:
        for container in pod["containers"]:
            if not pod["ready"] and container["restarts"] >= HOPELESS_RESTARTS:
                where, log = f"container {container['name']} of {pod['name']}", _end_of(Path(container["log"]))
                return f"{where} was restarted {container['restarts']} times; its log ends with:\n{log}"
    return ""


def _end_of(log: Path) -> str:
    return "\n".join(last_lines(log, SAID_LINES))


def _show_answers(folder: RunFolder, plan: Blueprint, status: Mapping[str, Any], console: Console) -> None:
    """A question to every model, and a load on the first that writes. Raises `Failed` when one does not answer."""
    if plan.gateway is None:
        return
    gateway = endpoint(plan, plan.gateway, status)
    for server, query in {at.model: (at, query) for at in plan.servers if (query := at.task.question)}.values():
        try:
            answer = question(gateway, server.model, server.task.path, query)
        except OSError as error:
            raise Failed(f"the gateway did not answer: {error}; its logs are in {folder.logs}") from None
        if answer.status != 200:
            raise Failed(f"the gateway answered {answer.status}: {answer.text}")
        console.print(f"\n{server.model}  {query.text}", highlight=False, markup=False)
        console.print(" ".join(answer.text.split()), style="bold", highlight=False, markup=False)
    if first := next((server for server in plan.servers if server.task.chats), None):
        try:
            measured = load(gateway, endpoint(plan, first, status), first.model, first.inside)
        except OSError as error:
            raise Failed(f"{first.model} failed under a small load: {error}; its logs are in {folder.logs}") from None
        show_load(first.model, measured, console)
