"""One pod: init containers, containers with their probes and restarts, and its end, as a kubelet would have it."""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workshop.local.objects import Container, Probe, Workload
from workshop.local.places import forget
from workshop.local.probes import NO_ANSWER, ask, initial_delay, until
from workshop.local.process import SIGNALLED, Process
from workshop.local.translate import Command
from workshop.process import last_lines

Tell = Callable[[str, str], None]
SPAWN_FAILED, KILLED = 127, SIGNALLED + signal.SIGKILL
# pkg/kubelet, 1.36: not at all the first time, then 10 s, twice that each time, and as at first after ten minutes.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S, FORGIVEN_AFTER_S = 10, 300, 600


class Backoff:
    """Seconds until the next restart of one container."""

    def __init__(self) -> None:
        self._next = 0.0

    def next(self, ran_s: float = 0) -> float:
        """Seconds to wait after a life of `ran_s`."""
        if ran_s >= FORGIVEN_AFTER_S:
            self._next = 0
        now = self._next
        self._next = min(max(2 * now, FIRST_BACKOFF_S), LONGEST_BACKOFF_S)
        return now


@dataclass
class State:
    """The state of one container. `ready` and `started` as Kubernetes means them."""

    started: bool = False
    ready: bool = False
    restarts: int = 0
    exit_code: int | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Place:
    """Surroundings of a pod: its folder, logs, mark of processes, and the ports it was given (rendered → here)."""

    folder: Path
    logs: Path
    mark: str
    ports: Mapping[int, int]


class Pod:
    """A running pod. `tell` gets (pod, sentence) whenever something happens that a person would want to know."""

    def __init__(
        self, name: str, workload: Workload, commands: Mapping[str, Command], place: Place, tell: Tell
    ) -> None:
        self.name, self.workload, self.place = name, workload, place
        self.commands = commands
        self.states = {container.name: State() for container in workload.all_containers}
        self.deleting = False
        self.created = time.time()
        self._tell = tell
        self._processes: dict[str, Process] = {}
        self.left = asyncio.Event()
        """Set from the moment it is deleted."""

    @property
    def ready(self) -> bool:
        """Whether Services send requests here."""
        return not self.deleting and all(self.states[container.name].ready for container in self.workload.containers)

    async def run(self) -> int:
        """Until the pod is deleted, or, for a Job, until its containers have ended; returns the worst exit status."""
        for container in self.workload.init_containers:
            if status := await self._keep(container, init=True):
                return status
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(container)) for container in self.workload.containers]
        return max(task.result() for task in tasks)

    async def delete(self, *, at_once: bool = False) -> None:
        """Leaves the Services now, runs preStop, then SIGTERM, and SIGKILL when the grace period is over."""
        if self.deleting and not at_once:
            return
        self.deleting = True
        self.left.set()
        deadline = time.monotonic() + (0 if at_once else self.workload.grace_s)
        async with asyncio.TaskGroup() as group:
            for container in self.workload.all_containers:
                group.create_task(self._stop(container, deadline))

    async def _keep(self, container: Container, *, init: bool = False) -> int:
        """Runs a container again and again: an init container until it has ended well, and any of a Job once."""
        wait, state = Backoff(), self.states[container.name]
        while True:
            begun = time.monotonic()
            status = await self._once(container)
            if self.deleting:
                return status
            last = self._last_line(container)
            if init or self.workload.kind == "Job":
                end = f"failed with exit status {status}: {last}" if status else "is done"
                self._tell(self.name, f"{container.name} {end}")
                if status == 0 or self.workload.kind == "Job":
                    return status
            state.restarts += 1
            wait_s = wait.next(time.monotonic() - begun)
            if not init:
                again = f"again in {wait_s:.0f} s" if wait_s else "again at once"
                self._tell(self.name, f"{container.name} ended with exit status {status}, {again}; it said: {last}")
            await pause(self.left, wait_s)
            if self.deleting:
                return status

    async def _once(self, container: Container) -> int:
        """One life of a container: started, probed, ended. In a pod that was deleted meanwhile it has none."""
        if self.deleting:
            return KILLED
        state, command = self.states[container.name], self.commands[container.name]
        state.started = state.ready = False
        mark = f"{self.place.mark}/{self.name}/{container.name}"
        log = self.log(container.name)
        try:
            process = Process.start(command.argv, command.env, self.place.folder, log, mark)
        except OSError as error:
            # the disk may be full
            with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as stream:
                stream.write(f"{command.argv[0]} cannot be started: {error.strerror}\n")
            state.exit_code = SPAWN_FAILED
            return SPAWN_FAILED
        self._processes[container.name] = process
        state.pid, state.exit_code = process.pid, None
        probing = asyncio.create_task(self._probe(container))
        try:
            status = await process.wait()
        finally:
            probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probing
            state.started = state.ready = False
            state.pid = None
            self._processes.pop(container.name, None)
        state.exit_code = status
        return status

    async def _probe(self, container: Container) -> None:
        """Startup first; then readiness and liveness side by side. A failed startup or liveness ends the container."""
        state, probes, begun = self.states[container.name], container.probes, time.monotonic()
        if startup := probes.get("startup"):
            await initial_delay(startup, begun)
            if not await until(startup, self._named(container), wanted_answer=True):
                attempts = f"{startup.failures} times, every {startup.period_s:.0f} s"
                why = f"did not start: its startup probe failed {attempts}; it is restarted"
                await self._end(container, startup, why)
                return
        state.started = True
        async with asyncio.TaskGroup() as group:
            if readiness := probes.get("readiness"):
                group.create_task(self._readiness(container, readiness, begun))
            else:
                state.ready = True
            if liveness := probes.get("liveness"):
                group.create_task(self._liveness(container, liveness, begun))

    async def _readiness(self, container: Container, probe: Probe, begun: float) -> None:
        state, ports = self.states[container.name], self._named(container)
        await initial_delay(probe, begun)
        while True:
            await until(probe, ports, wanted_answer=True, patient=True)
            state.ready = True
            self._tell(self.name, f"{container.name} is ready after {time.monotonic() - begun:.0f} s")
            await asyncio.sleep(probe.period_s)
            await until(probe, ports, wanted_answer=False)
            state.ready = False
            self._tell(self.name, f"{container.name} is not ready: its readiness probe failed {probe.failures} times")
            await asyncio.sleep(probe.period_s)

    async def _liveness(self, container: Container, probe: Probe, begun: float) -> None:
        await initial_delay(probe, begun)
        await until(probe, self._named(container), wanted_answer=False)
        await self._end(container, probe, f"is restarted: its liveness probe failed {probe.failures} times")

    async def _end(self, container: Container, failed: Probe, why: str) -> None:
        """A container that failed a probe: preStop, SIGTERM, and SIGKILL after the probe's grace, or else the pod's."""
        # who drains may stop answering (pkg/kubelet/prober, StopLivenessAndStartup, 1.36)
        if self.deleting:
            return
        self._tell(self.name, f"{container.name} {why}")
        grace_s = self.workload.grace_s if failed.grace_s is None else failed.grace_s
        await self._stop(container, time.monotonic() + grace_s)

    async def _stop(self, container: Container, deadline: float) -> None:
        process = self._processes.get(container.name)
        if process is None:
            return
        if container.pre_stop and deadline > time.monotonic():
            await self._pre_stop(container, process, deadline)
        process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(max(0, deadline - time.monotonic())):
                await process.ended.wait()
        except TimeoutError:
            process.signal(signal.SIGKILL)
            await process.ended.wait()

    async def _pre_stop(self, container: Container, process: Process, deadline: float) -> None:
        """The hook, cut off by the grace period or the container's own end; a hook that fails changes nothing."""
        assert container.pre_stop is not None, "the caller has looked"
        handler, detail = container.pre_stop
        with contextlib.suppress(*NO_ANSWER):
            async with asyncio.timeout(max(0, deadline - time.monotonic())):
                if handler == "sleep":
                    async with asyncio.timeout(detail["seconds"]):
                        await process.ended.wait()
                else:
                    await ask(handler, detail, self._named(container))

    def _named(self, container: Container) -> dict[str, int]:
        """Ports by name and by rendered number."""
        ports = self.place.ports
        return {key: ports[number] for name, number in container.ports.items() for key in (name, str(number))}

    def remove(self) -> None:
        """Takes its folder away, and links to what is in it, when it has ended; its logs stay."""
        forget(self.place.folder)
        shutil.rmtree(self.place.folder, ignore_errors=True)

    def log(self, container: str) -> Path:
        """The log of a container over all its restarts."""
        return self.place.logs / f"{self.name}.{container}.log"

    def _last_line(self, container: Container) -> str:
        lines = last_lines(self.log(container.name), 1)
        return lines[0] if lines else "nothing"


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Waits, or less when it is stopped."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
