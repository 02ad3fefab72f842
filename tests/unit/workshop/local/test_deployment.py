"""Workloads with real processes: a Deployment's pods and their followers, a Job's tries.

Does not prove surges of a rolling update: a changed stack is taken down and brought up.
"""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.unit.workshop.local.pods import (
    STUBBORN,
    WAITS,
    Told,
    container,
    in_loop,
    make_pod,
    nothing_left,
    parsed,
    until,
)
from workshop.local import deployment as module
from workshop.local.deployment import ALPHABET, Deployment, Job, pod_name


class Making:
    """Makes pods below a folder, and keeps them."""

    def __init__(self, folder) -> None:
        self.folder, self.told, self.made = folder, Told(), []

    def __call__(self, name, workload):
        """One more pod."""
        self.made.append(make_pod(self.folder, workload, self.told, name))
        return self.made[-1]


def made(item) -> list:
    """All pods a workload has made, in order."""
    return item._make.made


def told(item) -> Told:
    """What they have told."""
    return item._make.told


@asynccontextmanager
async def run(item):
    """Runs a workload, and stops it at once at the end."""
    with nothing_left(item._make.folder):
        life = asyncio.create_task(item.run())
        try:
            yield life
        finally:
            await item.stop(at_once=True)
            await asyncio.wait_for(asyncio.gather(life, return_exceptions=True), 10)


@pytest.fixture
def no_pauses(monkeypatch):
    """Tries of a Job without waiting; keeps how many had failed when it was asked for the pause."""
    asked = []
    monkeypatch.setattr(module, "job_pause_s", lambda failed: asked.append(failed) or 0)
    return asked


def job(script: str, folder, **spec) -> Job:
    """A Job that runs `script`; what it writes to `../tries` is seen by the next pod."""
    return Job(parsed(container(script), kind="Job", **spec), Making(folder))


def counting(script: str) -> str:
    """`script`, with `n` as the number of the try."""
    return f"open('../tries', 'a').write('x'); n = len(open('../tries').read()); {script}"


# ---- Deployment ------------------------------------------------------------------------------------------------------


def test_names_of_pods_end_as_kubernetes_ends_them():
    """The workload's name and five characters, another one each time."""
    names = [pod_name(parsed(container())) for _ in range(50)]
    assert [(len(name), name[:4], set(name[4:]) <= set(ALPHABET)) for name in names] == [(9, "app-", True)] * 50
    assert len(set(names)) == 50


@in_loop
async def test_as_many_pods_run_as_are_wanted(tmp_path):
    """All are started side by side, each under a name of its own."""
    found = Deployment(parsed(container(), replicas=3), Making(tmp_path))
    async with run(found) as life:
        await until(lambda: len(found.pods) == 3 and all(pod.ready for pod in found.pods))
        assert (len({pod.name for pod in found.pods}), life.done()) == (3, False)
        await found.stop(at_once=False)
        await life
        assert found.pods == []


@in_loop
async def test_a_deployment_of_no_pods_is_done(tmp_path):
    """Nothing is started."""
    found = Deployment(parsed(container(), replicas=0), Making(tmp_path))
    async with run(found) as life:
        await life
        assert made(found) == []


@in_loop
async def test_a_deleted_pod_is_replaced_before_it_is_gone(tmp_path):
    """Its follower starts at once, beside the one that drains."""
    grace = {"terminationGracePeriodSeconds": 3600}
    found = Deployment(parsed(container(STUBBORN), pod=grace), Making(tmp_path))
    async with run(found) as life:
        first = (await until(lambda: found.pods))[0]
        await until((first.place.folder / "deaf").exists)
        deleting = asyncio.create_task(first.delete())
        await until(lambda: len(found.pods) == 2 and found.pods[1].ready)
        assert (first.states["main"].pid is None, found.pods[0] is first) == (False, True)
        await first.delete(at_once=True)
        await deleting
        await until(lambda: len(found.pods) == 1)
        assert (found.pods[0] is made(found)[1], life.done()) == (True, False)


@in_loop
async def test_a_pod_of_a_stateful_set_keeps_its_name_and_is_alone(tmp_path):
    """What keeps data is never there twice: the next pod starts when the former is gone, under the same name."""
    grace = {"terminationGracePeriodSeconds": 3600}
    found = Deployment(parsed(container(STUBBORN), kind="StatefulSet", pod=grace), Making(tmp_path))
    async with run(found):
        first = (await until(lambda: found.pods))[0]
        await until((first.place.folder / "deaf").exists)
        deleting = asyncio.create_task(first.delete())
        await until(lambda: first.deleting)
        assert found.pods == [first]
        await first.delete(at_once=True)
        await deleting
        await until(lambda: len(made(found)) == 2 and found.pods == [made(found)[1]])
        assert [pod.name for pod in made(found)] == ["app-0", "app-0"]


@in_loop
async def test_a_deployment_tries_again_where_no_pod_can_be_made(tmp_path, monkeypatch):
    """A full disk ends nothing: there is another try, after a pause."""
    real, pauses = Making(tmp_path), []
    found = Deployment(parsed(container()), real)

    def make(name, workload):
        if len(pauses) < 2:
            raise OSError
        return real(name, workload)

    async def no_pause(_stopping, seconds):
        pauses.append(seconds)

    monkeypatch.setattr(found, "_make", make)
    monkeypatch.setattr(module, "pause", no_pause)
    life = asyncio.create_task(found.run())
    await until(lambda: found.pods and found.pods[0].ready)
    await found.stop(at_once=True)
    await life
    assert (pauses, len(real.made), real.made[0].place.folder.exists()) == ([0, 10], 1, False)


@in_loop
async def test_a_job_without_a_pod_has_failed_a_try(tmp_path, monkeypatch, no_pauses):
    """One that cannot be made counts like one that ended badly."""
    found = job("pass", tmp_path, backoffLimit=1)

    def make(*_):
        raise OSError

    monkeypatch.setattr(found, "_make", make)
    assert (await found.run(), no_pauses) == (False, [0, 1])


@in_loop
async def test_stopping_makes_no_new_pods(tmp_path):
    """Those that leave are not replaced."""
    found = Deployment(parsed(container(), replicas=2), Making(tmp_path))
    async with run(found) as life:
        await until(lambda: len(found.pods) == 2 and all(pod.ready for pod in found.pods))
        await found.stop(at_once=False)
        await life
        assert len(made(found)) == 2


@in_loop
async def test_what_is_stopped_before_it_runs_starts_nothing(tmp_path):
    """However late its turn comes."""
    found = Deployment(parsed(container(), replicas=2), Making(tmp_path))
    await found.stop(at_once=False)
    await asyncio.wait_for(found.run(), 10)
    assert made(found) == []


@in_loop
async def test_a_mistake_in_one_pod_ends_all(tmp_path):
    """The error comes out, and no process of the others is left."""
    making = Making(tmp_path)
    found = Deployment(parsed(container(), replicas=2), making)
    with nothing_left(tmp_path):
        life = asyncio.create_task(found.run())
        await until(lambda: len(found.pods) == 2 and all(pod.ready for pod in found.pods))

        def broken(*_):
            raise ZeroDivisionError

        making.made[0]._tell = broken
        making.made[0]._processes["main"].signal(9)
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(life, 10)
        assert caught.group_contains(ZeroDivisionError)
        assert making.made[1]._processes == {}


# ---- Job -------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_job_that_ends_well_is_done(tmp_path, no_pauses):
    """After one pod, which is none of its pods any more."""
    found = job("", tmp_path)
    async with run(found) as life:
        assert (await life, len(made(found)), found.pods, no_pauses) == (True, 1, [], [0])
        assert told(found).said == ["main is done"]


@in_loop
async def test_a_job_is_tried_again_in_a_new_pod(tmp_path, no_pauses):
    """With a pause that grows, until it ends well."""
    found = job(counting("raise SystemExit(n < 3)"), tmp_path)
    async with run(found) as life:
        assert (await life, len({pod.name for pod in made(found)}), no_pauses) == (True, 3, [0, 1, 2])


@pytest.mark.parametrize("limit", [0, 2])
@in_loop
async def test_a_job_has_one_try_more_than_its_backoff_limit(tmp_path, no_pauses, limit):
    """Then it has failed at once: nobody waits for a try that does not come."""
    found = job("raise SystemExit(1)", tmp_path, backoffLimit=limit)
    async with run(found) as life:
        assert (await life, len(made(found)), no_pauses) == (False, limit + 1, list(range(limit + 1)))


@in_loop
async def test_a_job_waits_between_its_tries(tmp_path):
    """And stopping it does not wait for that, nor starts the next one."""
    found = job("raise SystemExit(1)", tmp_path)
    async with run(found) as life:
        await until(lambda: told(found).has("failed with exit status 1"))
        await asyncio.wait_for(found.stop(at_once=False), 5)
        assert (await asyncio.wait_for(life, 5), len(made(found))) == (False, 1)


@pytest.mark.parametrize(("status", "tries"), [(2, 1), (3, 1), (1, 3)])
@in_loop
async def test_a_pod_failure_policy_ends_the_job(tmp_path, no_pauses, status, tries):
    """The exit codes it names are final, others are tried again."""
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 3]}}
    found = job(f"raise SystemExit({status})", tmp_path, backoffLimit=2, podFailurePolicy={"rules": [rule]})
    async with run(found) as life:
        assert (await life, len(made(found)), len(no_pauses)) == (False, tries, tries)


@pytest.mark.parametrize("ending", ["signal.SIG_DFL", "lambda *_: sys.exit(0)"])
@in_loop
async def test_a_job_that_takes_too_long_has_failed(tmp_path, ending):
    """activeDeadlineSeconds: its pod is deleted, and what it says then is no success."""
    script = f"import signal, sys; signal.signal(signal.SIGTERM, {ending}); signal.pause()"
    found = job(script, tmp_path, activeDeadlineSeconds=0.5)
    async with run(found) as life:
        assert (await asyncio.wait_for(life, 20), len(made(found)), found.pods) == (False, 1, [])


@in_loop
async def test_the_deadline_of_a_job_is_one_for_all_tries(tmp_path):
    """The pause before a try counts too, and no pod is made to be deleted at once."""
    found = job("raise SystemExit(1)", tmp_path, activeDeadlineSeconds=1)
    async with run(found) as life:
        assert (await asyncio.wait_for(life, 9), len(made(found))) == (False, 1)


@in_loop
async def test_a_stopped_job_deletes_its_pod(tmp_path):
    """And has not succeeded."""
    found = job(WAITS, tmp_path)
    async with run(found) as life:
        await until(lambda: found.pods and found.pods[0].ready)
        await found.stop(at_once=False)
        assert (await asyncio.wait_for(life, 10), len(made(found))) == (False, 1)


@in_loop
async def test_a_job_that_drains_after_its_deadline_can_be_stopped_at_once(tmp_path):
    """The grace period of its pod is cut short like any other."""
    grace = {"terminationGracePeriodSeconds": 3600}
    # deaf within milliseconds, long before the deadline
    deaf = {**container(), "command": ["sh", "-c", "trap '' TERM; : > deaf; exec sleep 3600"]}
    found = Job(parsed(deaf, kind="Job", activeDeadlineSeconds=1, pod=grace), Making(tmp_path))
    async with run(found) as life:
        pod = (await until(lambda: found.pods))[0]
        await until((pod.place.folder / "deaf").exists)
        await until(lambda: pod.deleting)
        await asyncio.wait_for(found.stop(at_once=True), 5)
        assert await asyncio.wait_for(life, 5) is False
