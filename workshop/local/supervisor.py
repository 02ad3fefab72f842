"""The process that owns all others of a run: starts workloads, answers on its socket, and takes everything down.

An orderly `stop`, SIGTERM and SIGINT let pods drain; when it is killed the kernel kills all it started.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from workshop.local import database
from workshop.local.blueprint import Blueprint
from workshop.local.deployment import Deployment, Job
from workshop.local.monitoring import write_targets
from workshop.local.objects import Service, Workload
from workshop.local.places import RunFolder, claim, forget, short
from workshop.local.pod import Place, Pod, pause
from workshop.local.process import kill_marked
from workshop.local.services import Router
from workshop.local.translate import TMP, Machine, asks_database, command_of, named_services
from workshop.lock import held
from workshop.ports import free_ports

# How often what keeps data is looked at before others start.
READY_EVERY_S = 0.2


class Supervisor:
    """One run of one stack."""

    def __init__(self, folder: RunFolder, plan: Blueprint, venv: Path, digest: str) -> None:
        self.folder, self.plan, self.venv, self.digest = folder, plan, venv, digest
        self.mark = f"{folder.mark}/{os.getpid()}"
        # (time, pod, sentence), in order
        self.events: list[tuple[float, str, str]] = []
        self.router = Router(plan.rendered.services, self._endpoints)
        self.workloads: list[Deployment | Job] = []
        self.done: list[str] = []
        self.failed: list[str] = []
        self._stop = asyncio.Event()
        self._at_once = False
        self._beside: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """From the first port to the last process. Raises BlockingIOError where another supervisor is at work."""
        with held(self.folder.path, lambda: False, folder=True) as alone:
            if not alone:
                raise BlockingIOError(f"{self.folder.path}: another supervisor is at work")
            await self._run()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self.router.open()
        control = await self._control()
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                # without failed Jobs it only ends like this for a mistake of ours, which then ends everything
                work.result()
            await self._stop.wait()
            await asyncio.gather(*(workload.stop(at_once=self._at_once) for workload in self.workloads))
            await work
        finally:
            # before anything is killed, or a pod would start its containers again
            work.cancel()
            stopping.cancel()
            await asyncio.wait({work})
            await asyncio.to_thread(kill_marked, self.mark)
            forget(self.folder.pods)
            await self.router.close()
            # last, because whoever waits for the end asks this socket
            control.close()
            self.folder.control.unlink(missing_ok=True)

    async def _work(self) -> None:
        """StatefulSets until they are ready, Jobs that others wait for, then Deployments, and Jobs that ask those."""
        services = self.plan.rendered.services
        served = [workload for workload in self.plan.rendered.workloads if workload.kind == "Deployment"]
        ask = {service.name for service in services if any(service.selects(workload.labels) for workload in served)}
        stages: tuple[list[Deployment | Job], ...] = ([], [], [])
        for workload in self.plan.rendered.workloads:
            names = {service.name for main in workload.containers for service in named_services(main, services)}
            stage = {"StatefulSet": 0, "Job": 1 if names.isdisjoint(ask) else 2}.get(workload.kind, 2)
            stages[stage].append((Job if workload.kind == "Job" else Deployment)(workload, self._make))
        # a task group, because a mistake of ours in one of them must end all
        async with asyncio.TaskGroup() as group:
            for stage in stages:
                self.workloads += stage
                tasks = [group.create_task(self._run_one(workload)) for workload in stage]
                if stage is stages[1] and tasks:
                    await asyncio.wait(tasks)
                while stage is stages[0] and not all(pods.pods and pods.pods[0].ready for pods in stage):
                    await pause(self._stop, READY_EVERY_S)
                    if self._stop.is_set():
                        return
                if self.failed or self._stop.is_set():
                    return

    async def _run_one(self, workload: Deployment | Job) -> None:
        """Until a Job has ended; anything else until it is stopped."""
        done = await workload.run()
        if isinstance(workload, Job):
            (self.done if done else self.failed).append(workload.workload.name)

    # ---- pods -------------------------------------------------------------------------------------------------------

    def _make(self, name: str, workload: Workload) -> Pod:
        """A pod with its folder. Raises OSError when that cannot be made, and tells so."""
        folder = self.folder.pods / name
        opened = {number for container in workload.all_containers for number in container.ports.values()}
        try:
            machine = Machine(
                venv=str(self.venv),
                directories=self._volumes(folder, workload),
                ports=dict(zip(sorted(opened), free_ports(len(opened)), strict=True)),
                services=self.router.ports,
                names_port=self.router.names_port,
                secrets=self.plan.secrets,
                environment=os.environ,
                prisma=database.environment() if any(map(asks_database, workload.all_containers)) else {},
            )
            commands = {
                container.name: command_of(self.plan.rendered, workload, container, machine)
                for container in workload.all_containers
            }
        except OSError as error:
            self._tell(name, f"cannot be made: {error.strerror}")
            raise
        pod = Pod(name, workload, commands, Place(folder, self.folder.logs, self.mark, machine.ports), self._tell)
        self._tell(name, "is created")
        return pod

    def _volumes(self, folder: Path, workload: Workload) -> dict[str, str]:
        """A directory for every volume: new ones for emptyDirs and ConfigMaps, the user's cache for claims."""
        directories = {}
        mounts = [mount for container in workload.all_containers for mount in container.mounts.items()]
        temporary = {volume for path, volume in mounts if path == TMP}
        for name, volume in workload.volumes.items():
            place = folder / name
            if volume.kind == "persistentVolumeClaim":
                place = self.folder.data(volume.source) if workload.kind == "StatefulSet" else claim(volume.source)
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            directories[name] = str(short(place) if name in temporary else place)
            if volume.kind == "configMap":
                for file, text in self.plan.rendered.config_maps[volume.source].items():
                    (place / file).write_bytes(text.encode())
        folder.mkdir(parents=True, exist_ok=True)
        self.folder.logs.mkdir(parents=True, exist_ok=True)
        return directories

    def _tell(self, pod: str, text: str) -> None:
        self.events.append((time.time(), pod, text))
        # on a full disk the log lacks it, and a Prometheus finds the pods of before; those that run go on
        with contextlib.suppress(OSError):
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {pod}: {text}\n")
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            write_targets(self.folder.prometheus, self.plan.rendered, self._pods())

    def _pods(self) -> list[Pod]:
        return [pod for workload in self.workloads for pod in workload.pods]

    def _endpoints(self, service: Service, port: int) -> list[int]:
        target = service.ports[port]
        behind = [pod for pod in self._pods() if pod.ready and service.selects(pod.workload.labels)]
        return [pod.place.ports[pod.workload.ports[target] if isinstance(target, str) else target] for pod in behind]

    def _wanted(self, service: Service) -> int:
        """Number of pods there should be behind it."""
        workloads = [workload for workload in self.plan.rendered.workloads if workload.kind != "Job"]
        return sum(workload.replicas for workload in workloads if service.selects(workload.labels))

    # ---- control ----------------------------------------------------------------------------------------------------

    async def _control(self) -> asyncio.Server:
        """A socket only its owner can open; bound from within, because a socket's path may have 107 bytes only."""
        self.folder.control.unlink(missing_ok=True)
        before = Path.cwd()
        os.chdir(self.folder.path)
        try:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(self.folder.control.name)
        finally:
            os.chdir(before)
        self.folder.control.chmod(0o600)
        return await asyncio.start_unix_server(self._serve, sock=listening)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question per connection, as a line of JSON; one line of JSON back."""
        with contextlib.suppress(OSError, ValueError):
            answer = self._answer(json.loads(await reader.readline()))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        match question:
            case {"do": "status"}:
                return self._status()
            case {"do": "stop"}:
                if question.get("now"):
                    self._at_once = True
                    # through its workload, which would make another pod otherwise
                    for workload in self.workloads:
                        self._do(workload.stop(at_once=True))
                self._stop.set()
                return {}
            case {"do": "delete", "pod": name}:
                pod = next((pod for pod in self._pods() if pod.name == name), None)
                if pod is None:
                    return {"error": f"no pod {name}"}
                self._do(pod.delete())
                return {}
            case _:
                return {"error": "not understood"}

    def _do(self, work: Coroutine[None, None, None]) -> None:
        """Does it beside everything else."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "digest": self.digest,
            "stopping": self._stop.is_set(),
            "failed": self.failed,
            "awaited": [name for name in self.plan.rendered.jobs if name not in self.done],
            "pods": [_pod_status(pod) for pod in self._pods()],
            "services": [
                {"name": service.name, "port": port, "here": self.router.ports[service.name, port],
                 "ready": len(self._endpoints(service, port)), "wanted": self._wanted(service)}
                for service in self.plan.rendered.services
                for port in service.ports
            ],
            "events": self.events,
        }  # fmt: skip


def _pod_status(pod: Pod) -> dict[str, Any]:
    init = pod.workload.init_containers
    return {
        "name": pod.name,
        "workload": str(pod.workload),
        "ready": pod.ready,
        "deleting": pod.deleting,
        "created": pod.created,
        "ports": {name: pod.place.ports[number] for name, number in pod.workload.ports.items()},
        "containers": [
            {"name": container.name, "log": str(pod.log(container.name)), "init": container in init,
             **vars(pod.states[container.name]), "replaced": pod.commands[container.name].replaced}
            for container in pod.workload.all_containers
        ],
    }  # fmt: skip
