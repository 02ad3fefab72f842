"""A whole run in one process: order of workloads, volumes, endpoints, the control socket, every way to end.

The processes are real, the images are lines of Python. That vLLM drains like these is shown by tests/local.
"""

import asyncio
import errno
import fcntl
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.workshop.local.pods import (
    STUBBORN,
    WAITS,
    asked,
    container,
    deployment,
    from_secret,
    in_loop,
    is_gone,
    job,
    nothing_left,
    planned,
    run_folder,
    server,
    service,
    soon,
    supervised,
    until,
    workload,
)
from workshop.local.client import NotRunning, ask
from workshop.local.client import status as status_of
from workshop.local.places import RunFolder, claim
from workshop.local.process import marked
from workshop.local.supervisor import Supervisor
from workshop.process import last_lines

ROOT = Path(__file__).parents[4]
LONG = {"terminationGracePeriodSeconds": 3600}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Claims of these tests are theirs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def get(port: int, path: str = "/") -> tuple[int, str]:
    """(status, text) of a request on a connection of its own."""

    def request() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(request)


def here(found: Supervisor, name: str = "app") -> int:
    """The port of a Service on loopback."""
    return next(port for (service_name, _), port in found.router.ports.items() if service_name == name)


def ready(found: Supervisor) -> int:
    """How many pods are."""
    return sum(pod.ready for pod in found._pods())


# ---- a run -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_run_answers_through_its_service(tmp_path):
    """Two pods in turn, each a process of its own; its status says all of it."""
    async with supervised(tmp_path, deployment(server(), replicas=2), service()) as found:
        await until(lambda: ready(found) == 2)
        answers = [await get(here(found)) for _ in range(4)]
        pids = {str(pod.states["main"].pid) for pod in found._pods()}
        assert ({status for status, _ in answers}, {text for _, text in answers}) == ({200}, pids)
        status = await asked(found, do="status")
        first, pod = found._pods()[0], status["pods"][0]
        assert {key: status[key] for key in ("pid", "digest", "stopping", "failed", "services")} == {
            "pid": os.getpid(),
            "digest": "digest",
            "stopping": False,
            "failed": [],
            "services": [{"name": "app", "port": 8000, "here": here(found), "ready": 2, "wanted": 2}],
        }
        assert pod == {
            "name": first.name,
            "workload": "Deployment app",
            "ready": True,
            "deleting": False,
            "created": first.created,
            "ports": {"http": first.place.ports[8000]},
            "containers": [
                {
                    "name": "main",
                    "log": str(found.folder.logs / f"{first.name}.main.log"),
                    "init": False,
                    "started": True,
                    "ready": True,
                    "restarts": 0,
                    "exit_code": None,
                    "pid": first.states["main"].pid,
                    "replaced": [["argument", "--port=8000", f"--port={first.place.ports[8000]}"]],
                }
            ],
        }
        assert next((pod, text) for _, pod, text in status["events"]) == (first.name, "is created")


@in_loop
async def test_deployments_wait_for_jobs(tmp_path):
    """What a Job has prepared is there; a Job that is done is no pod any more."""
    done = tmp_path / "done"
    writes = f"import time; time.sleep(0.05); open({str(done)!r}, 'w')"
    reads = f"import os, signal; os.path.exists({str(done)!r}) or exit(9); signal.pause()"
    async with supervised(tmp_path, deployment(container(reads)), job(container(writes), name="fetch")) as found:
        await until(lambda: len(found.workloads) == 2 and ready(found) == 1)
        assert [(pod.workload.name, pod.states["main"].restarts) for pod in found._pods()] == [("app", 0)]


@in_loop
async def test_a_failed_job_is_the_end_of_it(tmp_path):
    """Nothing else is started, and the status says which failed until it is stopped."""
    failing = job(container("raise SystemExit(1)"), name="fetch", backoffLimit=0)
    async with supervised(tmp_path, failing, deployment(container())) as found:
        await until(lambda: found.failed)
        status = await asked(found, do="status")
        assert (status["failed"], status["pods"], found.workloads[1:]) == (["fetch"], [], [])


@in_loop
async def test_a_pod_that_is_not_ready_gets_no_requests(tmp_path):
    """Its Service resets connections until it is, and again when it is not any more."""
    async with supervised(tmp_path, deployment(server()), service()) as found:
        await until(lambda: ready(found) == 1)
        (found._pods()[0].place.folder / "sick").touch()
        await until(lambda: ready(found) == 0)
        with pytest.raises(ConnectionResetError):
            await get(here(found))
        (found._pods()[0].place.folder / "sick").unlink()
        await until(lambda: ready(found) == 1)
        assert (await get(here(found)))[0] == 200


@in_loop
async def test_a_service_without_a_selector_has_no_pods(tmp_path):
    """Though every pod has all of its labels, which are none."""
    bare = {"kind": "Service", "metadata": {"name": "bare"}, "spec": {"ports": [{"port": 80}]}}
    async with supervised(tmp_path, deployment(server()), service(), bare) as found:
        await until(lambda: ready(found) == 1)
        status = await asked(found, do="status")
        assert [(item["name"], item["ready"]) for item in status["services"]] == [("app", 1), ("bare", 0)]


# ---- volumes, secrets ------------------------------------------------------------------------------------------------


@in_loop
async def test_files_of_config_maps_are_those_rendered_to_the_byte(tmp_path):
    """Line ends, a missing last one, and letters of all scripts; the container finds them at its mount."""
    texts = {"a.yaml": "x: 1\r\ny: 2", "empty": "", "z.json": '{"城": "münchen\\n"}\n\n', "tab": "\t a\n"}
    mount: dict[str, Any] = {"volumeMounts": [{"mountPath": "/etc/app", "name": "config"}]}
    pod = {"volumes": [{"name": "config", "configMap": {"name": "files"}}]}
    found = {"kind": "ConfigMap", "metadata": {"name": "files"}, "data": texts}
    reads = "import signal, sys; open('seen', 'wb').write(open(sys.argv[1], 'rb').read()); signal.pause()"
    app = deployment(container(reads, args=["/etc/app/a.yaml"], **mount), pod=pod)
    async with supervised(tmp_path, app, found) as run:
        folder = (await until(run._pods))[0].place.folder
        await until(lambda: (folder / "seen").exists() and (folder / "seen").read_bytes())
        assert {file.name: file.read_bytes() for file in (folder / "config").iterdir()} == {
            name: text.encode() for name, text in texts.items()
        }
        assert (folder / "seen").read_bytes() == b"x: 1\r\ny: 2"


@in_loop
async def test_empty_dirs_are_new_for_every_pod_and_shared_within(tmp_path):
    """A container that is restarted finds what was there; the next pod does not. Claims are the user's, and stay."""
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "models", "persistentVolumeClaim": {"claimName": "weights"}},
    ]
    mounts = [{"mountPath": "/scratch", "name": "scratch"}, {"mountPath": "/models", "name": "models"}]
    counts = (
        "import pathlib, signal, sys; [open(f'{path}/lives', 'a').write('x') for path in sys.argv[1:]]; "
        "print([len(pathlib.Path(path, 'lives').read_text()) for path in sys.argv[1:]], flush=True); signal.pause()"
    )
    app = deployment(container(counts, args=["/scratch", "/models"], volumeMounts=mounts), pod={"volumes": volumes})

    def says(pod) -> list[str]:
        return last_lines(pod.log("main"), 9)

    async with supervised(tmp_path, app) as found:
        first = (await until(found._pods))[0]
        await until(lambda: says(first) == ["[1, 1]"])
        os.kill(first.states["main"].pid or 0, signal.SIGKILL)
        await until(lambda: says(first) == ["[1, 1]", "[2, 2]"])
        await asked(found, do="delete", pod=first.name)
        await until(lambda: found._pods()[-1] is not first and says(found._pods()[-1]) == ["[1, 3]"])
        assert (claim("weights") / "lives").read_text() == "xxx"
        scratch = found._pods()[-1].place.folder / "scratch"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (scratch, claim("weights"))] == [0o700, 0o700]
        await until(lambda: not first.place.folder.exists())
        assert says(first) == ["[1, 1]", "[2, 2]"]


@in_loop
async def test_a_full_disk_ends_nothing(tmp_path, monkeypatch):
    """What cannot be written down is not: pods run on, and what happens is known all the same."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with supervised(tmp_path, deployment(container())) as found:
        (pod,) = await until(found._pods)
        await until(lambda: last_lines(pod.log("main"), 1))
        monkeypatch.setattr("workshop.local.supervisor.write_targets", full)
        monkeypatch.setattr(
            "workshop.local.supervisor.sys", SimpleNamespace(stdout=SimpleNamespace(write=full, flush=full))
        )
        os.kill(pod.states["main"].pid or 0, signal.SIGKILL)
        await until(lambda: pod.states["main"].restarts == 1 and pod.states["main"].pid)
        assert found.events[-1][2] == "main ended with exit status 137, again at once; it said: up"


@in_loop
async def test_a_pod_whose_folder_cannot_be_made_is_told_of(tmp_path, monkeypatch):
    """With the reason; the next try makes it."""
    real, tries = Supervisor._volumes, []

    def volumes(self, folder, workload):
        tries.append(folder.name)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, folder, workload)

    monkeypatch.setattr(Supervisor, "_volumes", volumes)
    async with supervised(tmp_path, deployment(container())) as found:
        (pod,) = await until(found._pods)
        assert [(name, text) for _, name, text in found.events] == [
            (tries[0], "cannot be made: No space left on device"),
            (pod.name, "is created"),
        ]


@in_loop
async def test_pods_get_their_secrets_and_nobody_sees_them(tmp_path):
    """In the environment of the process, not in what the supervisor tells about it."""
    shows = "import os, signal, pathlib; pathlib.Path('key').write_text(os.environ['URL']); signal.pause()"
    env = [from_secret("KEY", "keys", "k"), {"name": "URL", "value": "redis://:$(KEY)@host"}]
    kept = {"keys": {"k": "sk-hushhush"}}
    async with supervised(tmp_path, deployment(container(shows, env=env)), kept=kept) as found:
        file = (await until(found._pods))[0].place.folder / "key"
        await until(lambda: file.exists() and file.read_text())
        assert file.read_text() == "redis://:sk-hushhush@host"
        assert "hushhush" not in json.dumps(await asked(found, do="status"))


@in_loop
async def test_what_keeps_data_comes_first_and_who_asks_a_deployment_last(tmp_path):
    """A StatefulSet until it is ready, a Job that asks it, Deployments, and beside them a Job that asks one."""
    asks = {"first": "data:8000", "last": "app:8000"}
    order = "import os, pathlib; pathlib.Path('{}').open('a').write('{} ')"
    log = tmp_path / "order"
    jobs = [
        job(container(order.format(log, name), env=[{"name": "URL", "value": f"http://{where}/"}]), name=name)
        for name, where in asks.items()
    ]
    keeps = workload("StatefulSet", server(), name="data")
    objects = (*jobs, deployment(server()), keeps, service(), service("data"))
    async with supervised(tmp_path, *objects) as found:
        await until(lambda: found.done == ["first", "last"])
        assert log.read_text() == "first last "
        created = [pod.partition("-")[0] for _, pod, text in found.events if text == "is created"]
        assert created[:2] == ["data", "first"]
        assert sorted(created[2:]) == ["app", "last"]
        assert (await asked(found, do="status"))["awaited"] == []


@in_loop
async def test_a_claim_of_what_keeps_data_is_of_one_stack(tmp_path):
    """Another stack of the same names has another folder; weights are shared."""
    pod = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}
    mounting = container(volumeMounts=[{"mountPath": "/v", "name": "v"}])
    for name in ("one", "two"):
        async with supervised(tmp_path / name, workload("StatefulSet", mounting, pod=pod)) as found:
            await until(lambda: ready(found) == 1)
    kept = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "cache" / "llm-stack" / "claims").iterdir())
    assert kept == ["c", "c"]


# ---- deleting and stopping -------------------------------------------------------------------------------------------


@in_loop
async def test_a_deleted_pod_drains_while_another_takes_its_place(tmp_path):
    """Its endpoint is gone at once, the request in flight is finished, the next ones go to the follower."""
    app = server(lifecycle={"preStop": {"sleep": {"seconds": 3600}}})
    async with supervised(tmp_path, deployment(app, pod=LONG), service()) as found:
        await until(lambda: ready(found) == 1)
        first = found._pods()[0]
        pid = first.states["main"].pid
        slow = asyncio.create_task(get(here(found), "/slow"))
        await until((first.place.folder / "asked").exists)
        assert await asked(found, do="delete", pod=first.name) == {}
        await until(lambda: ready(found) == 1)
        answers = [await get(here(found)) for _ in range(3)]
        follower = found._pods()[1]
        assert answers == [(200, str(follower.states["main"].pid))] * 3
        assert (first.deleting, first.ready, is_gone(pid), slow.done()) == (True, False, False, False)
        (first.place.folder / "go").touch()
        assert await slow == (200, str(pid))


@in_loop
async def test_stopping_lets_pods_drain(tmp_path):
    """PreStop and SIGTERM for all of them; then the socket is gone, and nobody answers."""
    ends = "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), exit(0)))"
    says = f"import signal; {ends}; print('up', flush=True); signal.pause()"
    async with supervised(tmp_path, deployment(container(says), replicas=2)) as found:
        await until(lambda: ready(found) == 2 and all(last_lines(pod.log("main"), 1) for pod in found._pods()))
        logs = [pod.log("main") for pod in found._pods()]
        assert await asked(found, do="stop") == {}
        await until(lambda: not found.folder.control.exists())
        assert [last_lines(log, 9) for log in logs] == [["up", "bye"]] * 2
        assert (status_of(found.folder), found._pods()) == (None, [])


@pytest.mark.parametrize("graceful", [False, True], ids=["alone", "while it drains"])
@in_loop
async def test_stopping_at_once_does_not_wait_and_makes_no_new_pods(tmp_path, graceful):
    """Neither for a deaf process, nor for a hook, nor for a container that still starts."""
    never = {"tcpSocket": {"port": "http"}, "failureThreshold": 10**6, "periodSeconds": 0.05, "timeoutSeconds": 30}
    silent = container(STUBBORN, args=["--port=8000"], ports=[{"name": "http", "containerPort": 8000}])
    hook = {"preStop": {"sleep": {"seconds": 3600}}}
    async with supervised(
        tmp_path,
        deployment({**silent, "startupProbe": never}, name="starts", pod=LONG),
        deployment(container(STUBBORN, lifecycle=hook), name="sleeps", pod=LONG, replicas=2),
        deployment(container(STUBBORN), name="deaf", pod=LONG),
    ) as found:
        pods = await until(lambda: len(found._pods()) == 4 and found._pods())
        await until(lambda: all((pod.place.folder / "deaf").exists() for pod in pods))
        if graceful:
            await asked(found, do="stop")
            await until(lambda: all(pod.deleting for pod in pods))
        begun = time.monotonic()
        await asked(found, do="stop", now=True)
        await until(lambda: not found.folder.control.exists())
        created = [pod for _, pod, text in found.events if text == "is created"]
        assert (len(created), marked(found.folder.mark), time.monotonic() - begun < 10) == (4, [], True)


@in_loop
async def test_a_job_under_way_is_stopped_too(tmp_path):
    """And what waits for it is never started."""
    async with supervised(tmp_path, job(container(WAITS), name="fetch"), deployment(container())) as found:
        await until(lambda: ready(found) == 1)
        await asked(found, do="stop")
        await until(lambda: not found.folder.control.exists())
        assert [pod.partition("-")[0] for _, pod, text in found.events if text == "is created"] == ["fetch"]


@in_loop
async def test_a_mistake_of_ours_leaves_no_process(tmp_path):
    """The error comes out of the run; pods of all workloads are gone, and the socket too."""
    folder = run_folder(tmp_path)
    plan = planned(deployment(container(), name="a"), deployment(container(STUBBORN), name="b", pod=LONG))
    found = Supervisor(folder, plan, tmp_path, "digest")
    with nothing_left(folder.path):
        life = asyncio.create_task(found.run())
        pods = await until(lambda: len(found._pods()) == 2 and ready(found) == 2 and found._pods())
        await until((pods[1].place.folder / "deaf").exists)

        def broken(*_):
            raise ZeroDivisionError

        pods[0]._tell = broken
        os.kill(pods[0].states["main"].pid, signal.SIGKILL)
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(life, 20)
        assert caught.group_contains(ZeroDivisionError)
        assert (marked(folder.mark), folder.control.exists()) == ([], False)


@in_loop
async def test_a_run_that_is_cancelled_leaves_no_process(tmp_path):
    """It ends its workloads before it looks for what is left, and waits for nobody's grace period."""
    folder = run_folder(tmp_path)
    found = Supervisor(folder, planned(deployment(container(STUBBORN), pod=LONG)), tmp_path, "digest")
    with nothing_left(folder.path):
        life = asyncio.create_task(found.run())
        await until(lambda: list(folder.pods.glob("*/deaf")))
        life.cancel()
        assert await asyncio.wait({life}, timeout=20) == ({life}, set())
        assert (life.cancelled(), marked(folder.mark), folder.control.exists()) == (True, [], False)


@in_loop
async def test_one_folder_has_one_supervisor(tmp_path):
    """A second one is refused by the kernel, and the first goes on; the lock goes with its owner."""
    async with supervised(tmp_path, deployment(container())) as found:
        await until(lambda: ready(found) == 1)
        second = Supervisor(found.folder, found.plan, tmp_path, "other")
        with pytest.raises(BlockingIOError):
            await second.run()
        status = await asked(found, do="status")
        assert (status["digest"], len(status["pods"]), ready(found)) == ("digest", 1, 1)


SUPERVISE = """
import asyncio, json, sys
from pathlib import Path
from workshop.local.places import RunFolder
from workshop.local.supervisor import Supervisor
from tests.unit.workshop.local.pods import planned
folder, objects = RunFolder(Path(sys.argv[1])), json.loads(sys.argv[2])
asyncio.run(Supervisor(folder, planned(*objects), Path(sys.argv[1]), 'digest').run())
"""


@pytest.fixture
def detached(tmp_path):
    """A supervisor in a process of its own, ended with all it started after the test."""
    folder = run_folder(tmp_path)
    objects = [deployment(server()), deployment(container(STUBBORN), name="deaf", pod=LONG), service()]
    command = [sys.executable, "-c", SUPERVISE, str(folder.path), json.dumps(objects)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with nothing_left(folder.path):
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            soon(lambda: process.poll() is not None or status_of(folder))
            soon(lambda: all(pod["ready"] for pod in ask(folder, do="status")["pods"]))
            soon(lambda: list(folder.pods.glob("*/deaf")))
            yield process, folder
        finally:
            process.kill()
            process.wait()


def test_a_killed_supervisor_takes_its_pods_along(detached):
    """The kernel ends them; then nobody answers, and the folder can be taken by another."""
    process, folder = detached
    pids = [item["pid"] for pod in ask(folder, do="status")["pods"] for item in pod["containers"]]
    process.kill()
    process.wait()
    soon(lambda: all(is_gone(pid) for pid in pids))
    assert (len(pids), status_of(folder)) == (2, None)
    handle = os.open(folder.path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_pods_drain(detached, number):
    """As `stop` does, which then can still be told to hurry."""
    process, folder = detached
    process.send_signal(number)
    soon(lambda: ask(folder, do="status")["stopping"])
    soon(lambda: len(ask(folder, do="status")["pods"]) == 1)
    (left,) = ask(folder, do="status")["pods"]
    assert (left["workload"], left["deleting"]) == ("Deployment deaf", True)
    ask(folder, do="stop", now=True)
    assert (process.wait(20), folder.control.exists()) == (0, False)


# ---- the control socket ----------------------------------------------------------------------------------------------


@in_loop
async def test_the_control_socket_is_its_owners(tmp_path):
    """Nobody else may open it."""
    async with supervised(tmp_path) as found:
        mode = found.folder.control.stat().st_mode
        assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)


@in_loop
async def test_the_control_socket_works_however_deep_it_lies(tmp_path):
    """Below a path that is longer than a socket's address may be; the working directory is what it was."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    before = Path.cwd()
    async with supervised(deep) as found:
        assert len(str(found.folder.control)) > 200
        assert ((await asked(found, do="status"))["digest"], Path.cwd()) == ("digest", before)


@in_loop
async def test_a_socket_of_a_killed_supervisor_is_no_obstacle(tmp_path):
    """The next one takes its place."""
    folder = run_folder(tmp_path)
    handle = os.open(folder.path, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"/proc/self/fd/{handle}/control")
    os.close(handle)
    assert (status_of(folder), stat.S_ISSOCK(folder.control.stat().st_mode)) == (None, True)
    async with supervised(tmp_path) as found:
        assert (await asked(found, do="status"))["digest"] == "digest"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({"do": "dance"}, {"error": "not understood"}),
        ({}, {"error": "not understood"}),
        ({"do": "delete"}, {"error": "not understood"}),
        ({"do": "delete", "pod": "app-zzzzz"}, {"error": "no pod app-zzzzz"}),
    ],
)
@in_loop
async def test_wrong_questions_are_answered(tmp_path, question, answer):
    """With what is wrong, and the run goes on."""
    async with supervised(tmp_path) as found:
        assert (await asked(found, **question), found._stop.is_set()) == (answer, False)


@pytest.mark.parametrize(
    ("text", "answer"), [(b"nonsense\n", b""), (b"\n", b""), (b"", b""), (b"[1]\n", b'{"error": "not understood"}\n'),
                         (b"x" * 2**17 + b"\n", b"")]
)  # fmt: skip
@in_loop
async def test_what_is_no_question_ends_the_connection(tmp_path, text, answer):
    """And harms nobody else."""
    async with supervised(tmp_path) as found:
        handle = os.open(found.folder.path, os.O_RDONLY)
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/control")
        os.close(handle)
        try:
            writer.write(text)
            writer.write_eof()
            got = await reader.read()
        except (ConnectionResetError, BrokenPipeError):
            got = b""
        writer.close()
        assert (got, (await asked(found, do="status"))["digest"]) == (answer, "digest")


@pytest.mark.parametrize("there", ["nothing", "folder", "file"])
def test_nobody_answers_where_nothing_runs(tmp_path, there):
    """A folder without a supervisor, with or without a socket left behind, is not running."""
    folder = RunFolder(tmp_path / "run")
    if there != "nothing":
        folder.path.mkdir()
    if there == "file":
        folder.control.touch()
    with pytest.raises(NotRunning):
        ask(folder, do="status")
    assert status_of(folder) is None


def test_questions_leave_no_handles_behind(tmp_path):
    """However often they are asked in vain."""
    folder = RunFolder(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        status_of(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
