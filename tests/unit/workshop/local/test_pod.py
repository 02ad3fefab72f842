"""One pod with real processes: start, probes, restarts, preStop, grace, deletion.

Periods are those of impatient probes; that Kubernetes' own are read right is shown in test_local_objects.py.
"""

import asyncio
import signal
import time
from typing import Any

import pytest

from tests.unit.workshop.local.pods import (
    STUBBORN,
    WAITS,
    Answering,
    Loopback,
    Told,
    alive,
    container,
    in_loop,
    is_gone,
    make_pod,
    parsed,
    running,
    server,
    until,
)
from workshop.local.places import short
from workshop.local.pod import KILLED, SPAWN_FAILED
from workshop.local.probes import ask
from workshop.process import last_lines

FAILS = "print('no weights', flush=True); raise SystemExit(3)"
# Says what it gets, and ends at the second SIGTERM.
LATE = (
    "import signal, time; print('up', flush=True); signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))"
    "; signal.pause(); signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.pause()"
)


# Hangs: nothing but SIGKILL ends it.
FREEZES = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
# A port at which somebody else answers than the container.
APART = {"name": "apart", "containerPort": 9}
# Hooks that take longer than anybody waits.
ENDLESS = [{"sleep": {"seconds": 3600}}, {"httpGet": {"path": "/slow", "port": "http"}}]
# What a server does first that does not end at SIGTERM, and one that ends by itself when a file is there.
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
ENDS = """
import os, threading, time
def end():
    while not os.path.exists('end'):
        time.sleep(0.01)
    os._exit(0)
threading.Thread(target=end).start()
"""


def asks(path: str) -> dict:
    """A hook that asks at the port apart."""
    return {"httpGet": {"path": path, "port": "apart"}}


def probes(path: str, **fields) -> dict:
    """A probe that does so all the time, and takes no slow answer for a bad one."""
    return {**asks(path), "periodSeconds": 0.02, "timeoutSeconds": 30, **fields}


def is_asked(pod, hook: dict | None) -> bool:
    """Whether one of these hooks is under way as far as the container can know."""
    return not hook or "sleep" in hook or (pod.place.folder / "asked").exists()


def pod_beside(server: Loopback, folder, found, told: Told | None = None):
    """A pod for which `server` answers at the port apart."""
    return make_pod(folder, found, told, ports={9: server.port})


def log(pod, name: str = "main") -> list[str]:
    """The lines of a container's log."""
    return last_lines(pod.log(name), 100)


# ---- starting --------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_container_without_probes_is_ready_when_it_runs(tmp_path):
    """As Kubernetes takes it."""
    pod = make_pod(tmp_path, parsed(container()))
    async with running(pod):
        assert pod.ready is False
        await until(lambda: pod.ready)
        state = pod.states["main"]
        assert (state.started, state.restarts, state.exit_code, is_gone(state.pid)) == (True, 0, None, False)


@in_loop
async def test_init_containers_run_one_after_the_other_before_all_others(tmp_path):
    """Each has to end well first; then all containers run side by side."""
    order = tmp_path / "order"
    note = f"open({str(order)!r}, 'a').write"
    init = [container(f"{note}('{name}')", name) for name in ("a", "b")]
    mains = [container(f"{note}('m'); {WAITS}", name) for name in ("x", "y")]
    told = Told()
    pod = make_pod(tmp_path, parsed(*mains, pod={"initContainers": init}), told)
    async with running(pod):
        await until(lambda: pod.ready and order.read_text() == "abmm")
        assert told.said == ["a is done", "b is done"]


@in_loop
async def test_an_init_container_is_tried_again(tmp_path):
    """A Deployment's pod starts it anew, the first time at once, and says what it said last."""
    first = "import os, sys\nif os.path.exists('again'): sys.exit()\nopen('again', 'w').close()\n"
    script = first + FAILS
    told = Told()
    pod = make_pod(tmp_path, parsed(container(), pod={"initContainers": [container(script, "check")]}), told)
    async with running(pod):
        await until(lambda: pod.ready)
        assert (told.said, pod.states["check"].restarts) == (
            ["check failed with exit status 3: no weights", "check is done"],
            1,
        )


@in_loop
async def test_a_failed_init_container_ends_the_pod_of_a_job(tmp_path):
    """With its exit status, and nothing else is started."""
    told = Told()
    init = {"initContainers": [container(FAILS, "check")]}
    pod = make_pod(tmp_path, parsed(container("open('ran', 'w')"), kind="Job", pod=init), told)
    async with running(pod) as life:
        assert (await life, told.said, (pod.place.folder / "ran").exists()) == (
            3,
            ["check failed with exit status 3: no weights"],
            False,
        )


@in_loop
async def test_a_pod_of_a_job_ends_with_the_worst_of_its_containers(tmp_path):
    """Each is run once, and its end is told."""
    told = Told()
    pod = make_pod(tmp_path, parsed(container("", "good"), container(FAILS, "bad"), kind="Job"), told)
    async with running(pod) as life:
        assert (await life, sorted(told.said)) == (
            3,
            ["bad failed with exit status 3: no weights", "good is done"],
        )


@in_loop
async def test_a_program_that_is_not_there_is_said_in_the_log(tmp_path):
    """And counts as a container that ended with 127, to be started again."""
    told = Told()
    pod = make_pod(tmp_path, parsed({**container(), "command": ["/no/such/program"]}), told)
    async with running(pod):
        await until(lambda: len(told.said) == 2)
        said = "main ended with exit status 127, again {}; it said: /no/such/program cannot be started: {}"
        missing = "No such file or directory"
        assert told.said == [said.format(when, missing) for when in ("at once", "in 10 s")]
        assert (pod.states["main"].exit_code, pod.ready, SPAWN_FAILED) == (127, False, 127)


@in_loop
async def test_a_crash_is_restarted_at_once_and_then_after_10_s(tmp_path):
    """As a kubelet does it; the log holds every life, and the sentence its last words."""
    told = Told()
    pod = make_pod(tmp_path, parsed(container(FAILS)), told)
    async with running(pod):
        await until(lambda: len(told.said) == 2)
        said = "main ended with exit status 3, again {}; it said: no weights"
        assert told.said == [said.format("at once"), said.format("in 10 s")]
        assert (log(pod), pod.states["main"].restarts, pod.states["main"].exit_code) == (["no weights"] * 2, 2, 3)


@in_loop
async def test_who_waits_to_be_restarted_is_deleted_at_once(tmp_path):
    """The back-off is no grace period."""
    told = Told()
    pod = make_pod(tmp_path, parsed(container(FAILS)), told)
    async with running(pod) as life:
        await until(lambda: told.has("in 10 s"))
        await pod.delete()
        assert (await asyncio.wait_for(life, 5), pod.states["main"].restarts) == (3, 2)


# ---- probes ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_readiness_comes_and_goes(tmp_path):
    """Ready after a success, not ready after so many failures, ready again; the container is not restarted."""
    told = Told()
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 0.02, "failureThreshold": 2}
    pod = make_pod(tmp_path, parsed(server(readinessProbe=probe)), told)
    async with running(pod):
        await until(lambda: pod.ready)
        pid = pod.states["main"].pid
        (pod.place.folder / "sick").touch()
        await until(lambda: not pod.ready)
        (pod.place.folder / "sick").unlink()
        await until(lambda: pod.ready)
        assert [text.partition(" after")[0] for text in told.said] == [
            "main is ready",
            "main is not ready: its readiness probe failed 2 times",
            "main is ready",
        ]
        assert (pod.states["main"].pid, pod.states["main"].restarts) == (pid, 0)


@in_loop
async def test_a_pod_is_ready_when_all_containers_are(tmp_path):
    """One that is not keeps all requests away."""
    slow = container(name="slow", readinessProbe=probes("/ready"), ports=[APART])
    async with Answering() as server:
        pod = pod_beside(server, tmp_path, parsed(container(name="quick"), slow))
        async with running(pod):
            await until(lambda: pod.states["quick"].ready and pod.states["slow"].started)
            assert pod.ready is False
            server.good.add("/ready")
            await until(lambda: pod.ready)


@in_loop
async def test_a_startup_probe_holds_the_others_back_and_ends_who_does_not_start(tmp_path):
    """Nothing else is asked before it succeeds; when its tries are over, the container starts anew."""
    startup, told = probes("/started", failureThreshold=2), Told()
    found = parsed(container(startupProbe=startup, livenessProbe=probes("/lives"), ports=[APART]))
    async with Answering() as server:
        pod = pod_beside(server, tmp_path, found, told)
        async with running(pod):
            await until(lambda: told.has("again at once"))
            assert (pod.ready, set(server.heard)) == (False, {"/started"})
            assert [text.partition("; it said")[0] for text in told.said[:2]] == [
                "main did not start: its startup probe failed 2 times, every 0 s; it is restarted",
                f"main ended with exit status {128 + signal.SIGTERM}, again at once",
            ]
            server.good |= {"/started", "/lives"}
            await until(lambda: pod.ready and "/lives" in server.heard)
            assert pod.states["main"].started is True


@in_loop
async def test_a_failed_liveness_probe_runs_the_hook_ends_and_restarts(tmp_path):
    """PreStop first, then SIGTERM, then a new process; a container that serves while it is sick is no exception."""
    probe = {"httpGet": {"port": "http"}, "periodSeconds": 0.02, "failureThreshold": 2, "timeoutSeconds": 30}
    told = Told()
    found = parsed(
        server(
            livenessProbe=probe,
            lifecycle={"preStop": asks("/held")},
            startupProbe={**probe, "failureThreshold": 10**6},
            ports=[{"name": "http", "containerPort": 8000}, APART],
        )
    )
    async with Answering() as apart:
        pod = pod_beside(apart, tmp_path, found, told)
        async with running(pod):
            await until(lambda: pod.ready)
            before = pod.states["main"].pid
            (pod.place.folder / "sick").touch()
            await until(lambda: apart.heard)
            assert is_gone(before) is False
            apart.go.set()
            await until(lambda: told.has("again at once"))
            (pod.place.folder / "sick").unlink()
            await until(lambda: pod.ready)
            assert (apart.heard, is_gone(before), pod.states["main"].restarts) == (["/held"], True, 1)
            assert told.has("main is restarted: its liveness probe failed 2 times")
            assert told.has("main ended with exit status 143, again at once; it said: nothing")


@pytest.mark.parametrize("kind", ["livenessProbe", "startupProbe"])
@in_loop
async def test_who_hangs_is_killed_within_the_grace_of_its_probe(tmp_path, kind):
    """A process that is frozen by SIGSTOP hears no SIGTERM; its hook and the pod's own hour are not waited for."""
    quick = {"periodSeconds": 0.05, "failureThreshold": 2, "timeoutSeconds": 0.2}
    probe = {"httpGet": {"port": "http"}, **quick, "terminationGracePeriodSeconds": 1}
    ports, hook = [{"name": "http", "containerPort": 8000}], {"preStop": {"sleep": {"seconds": 3600}}}
    fields: dict[str, Any] = {kind: probe}
    found = parsed(
        container(FREEZES, ports=ports, lifecycle=hook, **fields), pod={"terminationGracePeriodSeconds": 3600}
    )
    told = Told()
    pod = make_pod(tmp_path, found, told)
    async with running(pod):
        hung = await until(lambda: pod.states["main"].pid)
        await until(lambda: told.has("is restarted"))
        begun = time.monotonic()
        await until(lambda: told.has(f"ended with exit status {KILLED}, again at once"))
        took_s = time.monotonic() - begun
        # the sentence is a moment younger than the grace
        assert (is_gone(hung), 0.9 <= took_s < 20) == (True, True)


@in_loop
async def test_probes_do_not_wait_for_each_other(tmp_path):
    """Readiness and liveness ask side by side: an answer that is long in coming holds the other one up in nothing."""
    told = Told()
    liveness = probes("/lives", failureThreshold=1)
    found = parsed(container(readinessProbe=probes("/held"), livenessProbe=liveness, ports=[APART]))
    async with Answering() as server:
        server.good |= {"/held", "/lives"}
        pod = pod_beside(server, tmp_path, found, told)
        async with running(pod):
            await until(lambda: "/held" in server.heard)
            asked = server.heard.count("/lives")
            await until(lambda: server.heard.count("/lives") > asked + 2)
            assert (server.heard.count("/held"), pod.ready) == (1, False)
            server.go.set()
            await until(lambda: pod.ready)
            assert (len(told.said), pod.states["main"].restarts) == (1, 0)


@in_loop
async def test_a_named_port_and_its_number_are_asked_where_they_are_here(tmp_path):
    """Both lead to the port this pod was given."""
    pod = make_pod(tmp_path, parsed(server()))
    here = pod.place.ports[8000]
    assert pod._named(pod.workload.containers[0]) == {"http": here, "8000": here}
    async with running(pod):
        await until(lambda: pod.ready)
        assert await ask("tcpSocket", {"port": 8000}, pod._named(pod.workload.containers[0]))


@in_loop
async def test_who_drains_is_not_asked_whether_it_lives(tmp_path):
    """A server that answers no more while it ends is told so once, and is not restarted."""
    drains = (
        "import signal, time; from pathlib import Path\n"
        "def told(*_): print('told', flush=True)\n"
        "signal.signal(signal.SIGTERM, told); print('up', flush=True)\n"
        "while not Path('done').exists(): time.sleep(0.01)"
    )
    probe, told = probes("/lives", failureThreshold=2), Told()
    found = parsed(container(drains, livenessProbe=probe, ports=[APART]), pod={"terminationGracePeriodSeconds": 3600})
    async with Answering() as server:
        server.good.add("/lives")
        pod = pod_beside(server, tmp_path, found, told)
        async with running(pod) as life:
            await until(lambda: pod.ready and log(pod))
            deleting = asyncio.create_task(pod.delete())
            await until(lambda: log(pod) == ["up", "told"])
            server.good.clear()
            asked = len(server.heard)
            await until(lambda: len(server.heard) == asked + 2)
            (pod.place.folder / "done").touch()
            await deleting
            assert (await life, log(pod), told.said, len(server.heard)) == (0, ["up", "told"], [], asked + 2)


@in_loop
async def test_what_is_removed_leaves_its_log(tmp_path):
    """The folder of a pod and every link into it go, as an emptyDir does."""
    pod = make_pod(tmp_path, parsed(container("print('done')"), kind="Job"))
    link = short(pod.place.folder / "tmp")
    assert await pod.run() == 0
    pod.remove()
    assert (pod.place.folder.exists(), link.is_symlink(), log(pod)) == (False, False, ["done"])


# ---- deleting --------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_deleted_pod_is_not_ready_from_that_moment(tmp_path):
    """Before preStop has begun, and while its container goes on."""
    pod = make_pod(tmp_path, parsed(container(LATE), pod={"terminationGracePeriodSeconds": 60}))
    async with running(pod):
        await until(lambda: pod.ready and log(pod))
        deleting = asyncio.create_task(pod.delete())
        await until(pod.left.is_set)
        assert (pod.ready, is_gone(pod.states["main"].pid)) == (False, False)
        await pod.delete(at_once=True)
        await deleting


@in_loop
async def test_pre_stop_comes_before_sigterm(tmp_path):
    """The container learns of its end when the hook is done."""
    script = LATE.replace("print('told'", "(print(time.time()), exit(0)) and print('told'")
    pod = make_pod(tmp_path, parsed(container(script, lifecycle={"preStop": {"sleep": {"seconds": 0.3}}})))
    async with running(pod) as life:
        await until(lambda: pod.ready and log(pod))
        begun = time.time()
        await pod.delete()
        assert (await life, float(log(pod)[1]) >= begun + 0.3) == (0, True)


@in_loop
async def test_pre_stop_by_http_asks_the_container(tmp_path):
    """`httpGet` of the rendered port, before SIGTERM."""
    hook = {"httpGet": {"path": "/slow", "port": "http"}}
    pod = make_pod(tmp_path, parsed(server(lifecycle={"preStop": hook})))
    async with running(pod) as life:
        await until(lambda: pod.ready)
        deleting = asyncio.create_task(pod.delete())
        await until((pod.place.folder / "asked").exists)
        assert is_gone(pod.states["main"].pid) is False
        (pod.place.folder / "go").touch()
        await deleting
        assert await life == 143


@in_loop
async def test_a_hook_where_nobody_listens_changes_nothing(tmp_path):
    """SIGTERM comes all the same."""
    pod = make_pod(tmp_path, parsed(container(lifecycle={"preStop": asks("/stop")}, ports=[APART])))
    async with running(pod) as life:
        await until(lambda: pod.ready and log(pod))
        await pod.delete()
        assert await life == 143


class Silent(Loopback):
    """A server that ends every connection without an answer."""

    async def serve(self, reader, writer):
        """One connection."""
        await reader.read(1)
        writer.close()


@pytest.mark.parametrize("answers", [Silent, Answering])
@in_loop
async def test_a_hook_that_gets_no_good_answer_changes_nothing(tmp_path, answers):
    """SIGTERM comes all the same, whether the answer is bad or none."""
    hook = {"preStop": asks("/stop")}
    found = parsed(container(lifecycle=hook, ports=[APART]), pod={"terminationGracePeriodSeconds": 3600})
    async with answers() as server:
        pod = pod_beside(server, tmp_path, found)
        async with running(pod) as life:
            await until(lambda: pod.ready and log(pod))
            await pod.delete()
            assert await life == 143


@in_loop
async def test_who_ignores_sigterm_is_killed_when_the_grace_is_over(tmp_path):
    """Not before, and with everything it started."""
    pod = make_pod(tmp_path, parsed(container(STUBBORN), pod={"terminationGracePeriodSeconds": 0.5}))
    async with running(pod) as life:
        await until((pod.place.folder / "deaf").exists)
        begun = time.monotonic()
        await pod.delete()
        assert (await life, time.monotonic() - begun >= 0.5) == (KILLED, True)


@pytest.mark.parametrize("hook", ENDLESS)
@in_loop
async def test_the_grace_period_holds_for_the_hook_too(tmp_path, hook):
    """A hook that takes longer is cut off."""
    grace = {"terminationGracePeriodSeconds": 0.5}
    pod = make_pod(tmp_path, parsed(server(before=DEAF, lifecycle={"preStop": hook}), pod=grace))
    async with running(pod) as life:
        await until(lambda: pod.ready)
        await asyncio.wait_for(pod.delete(), 10)
        assert (await life, alive(str(tmp_path))) == (KILLED, [])


@pytest.mark.parametrize("hook", ENDLESS)
@in_loop
async def test_a_container_that_ends_by_itself_cuts_its_hook_off(tmp_path, hook):
    """Nobody waits for a hook of what is gone."""
    grace = {"terminationGracePeriodSeconds": 3600}
    pod = make_pod(tmp_path, parsed(server(before=ENDS, lifecycle={"preStop": hook}), pod=grace))
    async with running(pod) as life:
        await until(lambda: pod.ready)
        deleting = asyncio.create_task(pod.delete())
        await until(lambda: is_asked(pod, hook))
        (pod.place.folder / "end").touch()
        await asyncio.wait_for(deleting, 10)
        assert await life == 0


@pytest.mark.parametrize("hook", [None, *ENDLESS], ids=["none", "sleep", "httpGet"])
@in_loop
async def test_at_once_means_at_once_also_when_it_drains(tmp_path, hook):
    """Nobody waits for a grace period or a hook any more, the one who deleted first included."""
    grace = {"terminationGracePeriodSeconds": 3600}
    found = server(before=DEAF, lifecycle={"preStop": hook} if hook else {})
    pod = make_pod(tmp_path, parsed(found, pod=grace))
    async with running(pod) as life:
        await until(lambda: pod.ready)
        graceful = asyncio.create_task(pod.delete())
        await until(lambda: is_asked(pod, hook))
        await asyncio.wait_for(asyncio.gather(pod.delete(at_once=True), graceful), 5)
        assert await asyncio.wait_for(life, 5) == KILLED


@in_loop
async def test_at_once_ends_who_still_starts(tmp_path):
    """A startup probe that has long to go and a deaf process are no reason to wait."""
    startup = probes("/started", failureThreshold=10**6)
    grace = {"terminationGracePeriodSeconds": 3600}
    async with Answering() as server:
        pod = pod_beside(server, tmp_path, parsed(container(STUBBORN, startupProbe=startup, ports=[APART]), pod=grace))
        async with running(pod) as life:
            await until(lambda: len(server.heard) > 1 and (pod.place.folder / "deaf").exists())
            await asyncio.wait_for(pod.delete(at_once=True), 5)
            assert await asyncio.wait_for(life, 5) == KILLED


@in_loop
async def test_deleting_twice_asks_once(tmp_path):
    """The second time nothing is begun anew."""
    found = parsed(container(lifecycle={"preStop": asks("/stop")}, ports=[APART]))
    async with Answering() as server:
        pod = pod_beside(server, tmp_path, found)
        async with running(pod) as life:
            await until(lambda: pod.ready and log(pod))
            await asyncio.gather(pod.delete(), pod.delete())
            await life
            assert server.heard == ["/stop"]


@in_loop
async def test_a_pod_that_is_deleted_while_it_is_prepared_starts_nothing_else(tmp_path):
    """An init container that ends well at SIGTERM is followed by nothing."""
    polite = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); open('up', 'w'); signal.pause()"
    )
    found = parsed(container("open('ran', 'w')"), pod={"initContainers": [container(polite, "check")]})
    told = Told()
    pod = make_pod(tmp_path, found, told)
    async with running(pod) as life:
        await until((pod.place.folder / "up").exists)
        await pod.delete()
        assert await asyncio.wait_for(life, 10) == KILLED
        assert ((pod.place.folder / "ran").exists(), told.said, pod.ready) == (False, [], False)


@in_loop
async def test_containers_are_stopped_side_by_side(tmp_path):
    """One that takes its time does not spend the grace of another."""
    quick, slow = container(name="quick"), container(STUBBORN, "slow")
    pod = make_pod(tmp_path, parsed(slow, quick, pod={"terminationGracePeriodSeconds": 3600}))
    async with running(pod):
        await until(lambda: (pod.place.folder / "deaf").exists() and log(pod, "quick"))
        quick_pid, slow_pid = pod.states["quick"].pid, pod.states["slow"].pid
        deleting = asyncio.create_task(pod.delete())
        await until(lambda: is_gone(quick_pid))
        assert is_gone(slow_pid) is False
        await pod.delete(at_once=True)
        await deleting


# ---- logs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        (b"", 2, []),
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\n\n  \nb \r\n", 2, ["a", "b"]),
        (b"no end", 1, ["no end"]),
        (b"\xff\n", 1, ["\ufffd"]),
        (b"a\n" * 9, 0, []),
    ],
)
def test_last_lines_are_those_that_say_something(tmp_path, text, count, expected):
    """Blank lines are left out, and what is no text does no harm."""
    (tmp_path / "log").write_bytes(text)
    assert last_lines(tmp_path / "log", count) == expected


def test_a_long_log_is_not_read_whole(tmp_path):
    """Only its end; without a log there are no lines."""
    (tmp_path / "log").write_bytes(b"x" * 10**6 + b"\nlast\n")
    found = last_lines(tmp_path / "log", 2)
    assert (len(found[0]), found[1], last_lines(tmp_path / "none", 3)) == (2 * 2048 - 6, "last", [])
