"""Workloads: a Deployment keeps its number of pods, a Job tries until one of its pods has ended well."""

import asyncio
import secrets
import time
from collections.abc import Callable

from local.objects import Workload
from local.pod import FIRST_BACKOFF_S, Pod

MakePod = Callable[[str, Workload], Pod]
# What Kubernetes ends names of pods with (apimachinery, util/rand): no vowels, nothing that reads like another.
ALPHABET, SUFFIX_LENGTH = "bcdfghjklmnpqrstvwxz2456789", 5


class Deployment:
    """Keeps `replicas` pods running; one that is deleted is replaced at once, as a ReplicaSet does it."""

    def __init__(self, workload: Workload, make: MakePod) -> None:
        self.workload = workload
        self.pods: list[Pod] = []
        self._make = make
        self._stopping = False

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.workload.replicas):
                group.create_task(self._life(group))

    async def _life(self, group: asyncio.TaskGroup) -> None:
        """One pod from its start to its end; its follower starts when it leaves, not when it is gone."""
        pod = self._make(pod_name(self.workload), self.workload)
        self.pods.append(pod)
        life = group.create_task(pod.run())
        await pod.left.wait()
        if not self._stopping:
            group.create_task(self._life(group))
        await life
        self.pods.remove(pod)

    async def stop(self, *, at_once: bool) -> None:
        """Deletes all pods, side by side."""
        self._stopping = True
        await asyncio.gather(*(pod.delete(at_once=at_once) for pod in list(self.pods)))


class Job:
    """Runs pods one after the other until one ends well, its tries are used up, or its time is over."""

    def __init__(self, workload: Workload, make: MakePod) -> None:
        self.workload = workload
        self.pods: list[Pod] = []
        self._make = make
        self._stopping = asyncio.Event()

    async def run(self) -> bool:
        """Whether it succeeded. Retries wait 10 s, then twice that each time (k8s.io/api batch/v1, backoffLimit)."""
        end = None if self.workload.deadline_s is None else time.monotonic() + self.workload.deadline_s
        for tries in range(self.workload.backoff_limit + 1):
            pod = self._make(pod_name(self.workload), self.workload)
            self.pods = [pod]
            life = asyncio.create_task(pod.run())
            done, _ = await asyncio.wait({life}, timeout=None if end is None else max(0, end - time.monotonic()))
            if not done:
                await pod.delete()
            status = await life
            if status == 0 or not done or self._stopping.is_set() or status in self.workload.fail_on:
                return status == 0
            await asyncio.wait({asyncio.create_task(self._stopping.wait())}, timeout=FIRST_BACKOFF_S * 2**tries)
        return False

    async def stop(self, *, at_once: bool) -> None:
        """Deletes its pod."""
        self._stopping.set()
        await asyncio.gather(*(pod.delete(at_once=at_once) for pod in self.pods))


def pod_name(workload: Workload) -> str:
    """The workload's name and five characters, as a ReplicaSet names its pods."""
    return f"{workload.name}-{''.join(secrets.choice(ALPHABET) for _ in range(SUFFIX_LENGTH))}"
