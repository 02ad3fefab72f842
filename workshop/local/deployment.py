"""Workloads: a Deployment keeps its number of pods, a Job tries until one of its pods has ended well."""

import asyncio
import secrets
from collections.abc import Callable

from workshop.local.objects import Workload
from workshop.local.pod import SPAWN_FAILED, Backoff, Pod, pause

MakePod = Callable[[str, Workload], Pod]
# What Kubernetes ends names of pods with (apimachinery, util/rand): no vowels, nothing that reads like another.
ALPHABET, SUFFIX_LENGTH = "bcdfghjklmnpqrstvwxz2456789", 5
# pkg/controller/job, 1.36: 10 s, then twice that each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 600


class Pods:
    """The pods of one workload."""

    def __init__(self, workload: Workload, make: MakePod) -> None:
        self.workload = workload
        self.pods: list[Pod] = []
        self._make = make
        self._stopping = asyncio.Event()

    def _made(self) -> Pod:
        """A new pod. Raises OSError where its folder cannot be made."""
        return self._make(pod_name(self.workload), self.workload)

    async def stop(self, *, at_once: bool) -> None:
        """Deletes all pods, side by side."""
        self._stopping.set()
        await asyncio.gather(*(pod.delete(at_once=at_once) for pod in list(self.pods)))


class Deployment(Pods):
    """Keeps `replicas` pods running; who is deleted is replaced, in a StatefulSet when it is gone, else at once."""

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.workload.replicas):
                group.create_task(self._life(group))

    async def _life(self, group: asyncio.TaskGroup) -> None:
        """One pod from its start to its end; its follower starts when it leaves, not when it is gone."""
        wait = Backoff()
        while not self._stopping.is_set():
            try:
                pod = self._made()
                break
            except OSError:
                await pause(self._stopping, wait.next())
        else:
            return
        self.pods.append(pod)
        life = group.create_task(pod.run())
        if self.workload.kind == "Deployment":
            await pod.left.wait()
            group.create_task(self._life(group))
        await life
        self.pods.remove(pod)
        await asyncio.to_thread(pod.remove)
        if self.workload.kind == "StatefulSet":
            group.create_task(self._life(group))


class Job(Pods):
    """Runs pods one after the other until one ends well, its tries are used up, or its time is over."""

    async def run(self) -> bool:
        """Runs the pods to their end; returns whether they succeeded. They are gone then, and only their logs stay."""
        try:
            async with asyncio.timeout(self.workload.deadline_s):
                return await self._tries()
        except TimeoutError:
            # also when a pod ended well on being deleted: it was not done
            return False
        finally:
            self.pods = []

    async def _tries(self) -> bool:
        for tries in range(self.workload.backoff_limit + 1):
            await pause(self._stopping, job_pause_s(tries))
            if self._stopping.is_set():
                break
            status = await self._try()
            if status == 0 or status in self.workload.fail_on:
                return status == 0
        return False

    async def _try(self) -> int:
        """One pod; when its time is over it is deleted as any pod is."""
        try:
            pod = self._made()
        except OSError:
            return SPAWN_FAILED
        self.pods = [pod]
        life = asyncio.create_task(pod.run())
        try:
            return await asyncio.shield(life)
        except asyncio.CancelledError:
            await pod.delete()
            await life
            raise
        finally:
            life.cancel()
            await asyncio.wait({life})
            await asyncio.to_thread(pod.remove)


def pod_name(workload: Workload) -> str:
    """The workload's name and five characters, as a ReplicaSet names its pods; that of a StatefulSet has a number."""
    if workload.kind == "StatefulSet":
        return f"{workload.name}-0"
    return f"{workload.name}-{''.join(secrets.choice(ALPHABET) for _ in range(SUFFIX_LENGTH))}"


def job_pause_s(failed: int) -> float:
    """Seconds to wait after so many pods of a Job have failed; not at all before the first."""
    return min(FIRST_PAUSE_S * 2 ** (failed - 1), LONGEST_PAUSE_S) if failed else 0
