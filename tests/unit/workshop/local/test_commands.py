"""The command line: exit codes and what is said, and a stack of lines of Python brought up and taken down for real.

Does not prove that a real model answers; tests/local does.
"""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from preview.rendering.stackfile import find_project, read_project
from settings.problems import Problem, Refused
from tests.unit.workshop.local.pods import DEADLINE_S, SERVES, STUBBORN, deployment, is_gone, nothing_left, soon
from tests.unit.workshop.local.pods import planned as planned_of
from workshop import process
from workshop.local import down as down_module
from workshop.local import toolchain
from workshop.local import up as up_module
from workshop.local.__main__ import main
from workshop.local.blueprint import Entrance
from workshop.local.chat import Load
from workshop.local.client import NotRunning, ask
from workshop.local.client import status as status_of
from workshop.local.down import down, logs, status, stop
from workshop.local.objects import SecretRef
from workshop.local.places import RunFolder
from workshop.local.process import kill_marked, marked
from workshop.local.up import Failed, _hopeless, _missing_programs, _show_answers, _start, planned, up
from workshop.process import MARK

ROOT = Path(__file__).parents[4]
# The real one, which no test of a whole run calls.
REAL_ENSURE = toolchain.ensure
# A program that declares a server, a stubborn pod that drains for an hour, and a Service.
PROGRAM = """
import json
from pathlib import Path
import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import Service

for item in json.loads(Path(__file__).with_name("objects.json").read_text()):
    kind = {"Deployment": Deployment, "Service": Service}[item["kind"]]
    kind(item["metadata"]["name"], metadata=item["metadata"], spec=item["spec"])
"""
IMAGE = "docker.io/vllm/vllm-openai-cpu:v0.32.0"
LABELS = {"app": "app"}


def workload(name: str, script: str, **pod) -> dict:
    """A Deployment of one pod in Pulumi's own spelling."""
    container = {
        "name": "main",
        "image": IMAGE,
        "command": [sys.executable, "-c", script],
        "args": ["--port=8000"],
        "ports": [{"name": "http", "containerPort": 8000}],
        **pod.pop("container", {}),
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **pod}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "llm"}, "spec": spec}


READY = {"container": {"readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1}}}
SERVICE = {
    "kind": "Service",
    "metadata": {"name": "app", "namespace": "llm"},
    "spec": {"selector": {"app": "app"}, "ports": [{"port": 8000, "targetPort": "http"}]},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, whose stack `test` is what it is told; machine and environment are always fine."""
    monkeypatch.setattr(toolchain, "problems", list)
    monkeypatch.setattr(toolchain, "memory_problems", lambda _: [])
    monkeypatch.setattr(toolchain, "ensure", lambda _: 0)
    (tmp_path / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
    (tmp_path / "Pulumi.test.yaml").write_text("config: {}\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)

    def declare(*objects: dict) -> list[str]:
        (tmp_path / "objects.json").write_text(json.dumps(objects))
        return ["--project", str(tmp_path), "--stack", "test"]

    with nothing_left(tmp_path):
        yield declare
        stop(RunFolder.of(tmp_path, "test"), now=True)


def folder_of(tmp_path: Path) -> RunFolder:
    """The run of that stack."""
    return RunFolder.of(tmp_path, "test")


def printed(show) -> tuple[object, str]:
    """What `show` returns, and what it prints on a wide console."""
    text = io.StringIO()
    return show(Console(file=text, width=200)), text.getvalue()


# ---- words -----------------------------------------------------------------------------------------------------------


def test_help_lists_what_a_person_may_ask(capsys):
    """All commands but the one `up` calls, and the exit codes."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("    ")]
    assert (caught.value.code, listed) == (0, ["up", "down", "status", "logs", "delete", "setup"])
    assert "Exit codes: 0 fine, 1 not up, 2 refused, 64 wrong usage, 130 stopped by" in text
    assert "SUPPRESS" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "argument COMMAND: invalid choice: 'dance'"),
        (["up", "--now"], "unrecognized arguments: --now"),
        (["delete"], "the following arguments are required: pod"),
        (["logs", "--lines", "many"], "argument --lines: invalid int value: 'many'"),
        (["up", "--stack", "nope"], "no stack 'nope'; stacks: "),
    ],
)
def test_wrong_usage_is_64(capsys, words, said):
    """With what is wrong, on stderr."""
    assert main([*words, *(["--project", str(ROOT)] if "--stack" in words else [])]) == 64
    found = capsys.readouterr()
    assert (found.out, found.err.startswith(f"python -m workshop.local: {said}")) == ("", True)


def test_a_project_that_is_none_is_refused(tmp_path, capsys):
    """With the file that is missing."""
    assert main(["up", "--project", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("Pulumi.yaml: ")


def test_a_stack_for_a_cluster_is_refused_with_every_reason(capsys):
    """The stack of GPUs: one line per reason, path first, and nothing is set up."""
    assert main(["up", "--project", str(ROOT), "--stack", "prod"]) == 2
    lines = capsys.readouterr().err.splitlines()
    gpus = (
        "asks for nvidia.com/gpu: {}, and processes of this machine get no devices; "
        "use a pool with gpu: none, or CLUSTER=sim"
    )
    expected = {
        f"Deployment vllm-qwen3-14b: container vllm {gpus.format(2)}",
        f"Deployment vllm-deepseek-r1: container vllm {gpus.format(8)}",
        (
            "Job verify-nodes-cpu: talks to the API server (it mounts a service account token), and there is none "
            "here; gpuOperator.verifyNodes: false leaves node verification out"
        ),
        (
            "Deployment vllm-qwen3-14b: container vllm: nothing on this machine stands for the image "
            "docker.io/vllm/vllm-openai:v0.33.0; leave out what asks for it; "
            "known are vllm-openai-cpu, litellm-non_root, redis, postgres"
        ),
    }
    assert (expected - set(lines), len(lines) > 6, len(lines) == len(set(lines))) == (set(), True, True)
    assert not (ROOT / ".local" / "prod").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status"], 1, "nothing is up\n"),
        (["delete", "x"], 1, "nothing is up\n"),
        (["down"], 0, "nothing was up\n"),
        (["down", "--now"], 0, "nothing was up\n"),
    ],
)
def test_nothing_is_up(project, capsys, words, code, said):
    """Asking is an answer of its own, stopping is fine."""
    assert (main([words[0], *project(), *words[1:]]), capsys.readouterr().out) == (code, said)


def test_there_are_no_logs(project, capsys, tmp_path):
    """Which is said with what was looked for, brackets and all."""
    assert main(["logs", *project(), "a[/b]"]) == 1
    where = folder_of(tmp_path).logs
    assert "".join(capsys.readouterr().out.split()) == f"nologwitha[/b]initsnamein{where}".replace(" ", "")


def test_ctrl_c_is_130(project, monkeypatch, capsys):
    """Without a traceback."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(down_module, "status", interrupted)
    assert (main(["status", *project()]), capsys.readouterr().err) == (130, "stopped\n")


# ---- a run -----------------------------------------------------------------------------------------------------------


def test_a_stack_is_brought_up_changed_and_taken_down(project, capsys, tmp_path):
    """Up shows it, up again finds it, status and logs tell of it, a change restarts it, down leaves nothing."""
    stubborn = workload("deaf", STUBBORN, terminationGracePeriodSeconds=3600)
    words = project(workload("app", SERVES, **READY), SERVICE)
    folder = folder_of(tmp_path)
    assert main(["up", *words]) == 0
    text = capsys.readouterr().out
    pod = ask(folder, do="status")["pods"][0]
    assert f"  {pod['name']} main\n    argument  --port=8000 → --port={pod['ports']['http']}\n" in text
    assert "  make down STACK=test\n" in text
    assert text.splitlines()[-1].startswith("up after ")
    assert (folder.path.stat().st_mode & 0o777, [one.pid for one in marked(f"{folder.mark}/supervisor")]) == (
        0o700,
        [ask(folder, do="status")["pid"]],
    )

    assert main(["up", *words]) == 0
    assert ("this very stack is up already" in capsys.readouterr().out) is True
    assert ask(folder, do="status")["pods"][0]["name"] == pod["name"]

    assert main(["status", *words]) == 0
    told = capsys.readouterr().out
    assert (pod["name"] in told, "http://127.0.0.1:" in told, f"{pod['name']}: is created" in told) == (
        True,
        True,
        True,
    )
    assert main(["logs", *words, "main"]) == 0

    assert main(["delete", *words, "no[/such]"]) == 1
    assert capsys.readouterr().out == "no pod no[/such]\n"
    assert main(["delete", *words, pod["name"]]) == 0
    assert capsys.readouterr().out == f"pod {pod['name']} is deleted\n"
    soon(lambda: [found["name"] for found in ask(folder, do="status")["pods"]][:1] not in ([], [pod["name"]]))

    project(workload("app", SERVES, **READY), SERVICE, stubborn)
    assert main(["up", *words]) == 0
    assert "the stack has changed since it was brought up: waiting for it to stop" in capsys.readouterr().out
    soon(lambda: list(folder.pods.glob("deaf-*/deaf")))
    pids = [process.pid for process in marked(folder.mark)]
    assert main(["down", *words, "--now"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("nothing is left but claims in the cache")
    assert (len(pids), all(is_gone(pid) for pid in pids), (tmp_path / ".local").exists()) == (3, True, False)


def test_a_run_whose_stack_has_no_file_any_more_can_be_taken_down(project, tmp_path, capsys):
    """And looked at; only `up` needs the file, and a name without either is none."""
    words = project(workload("app", SERVES, **READY), SERVICE)
    assert main(["up", *words]) == 0
    (tmp_path / "Pulumi.test.yaml").rename(tmp_path / "Pulumi.other.yaml")
    pod = ask(folder_of(tmp_path), do="status")["pods"][0]["name"]
    commands = (["up"], ["status"], ["logs"], ["delete", pod], ["down", "--now"], ["down"])
    assert [main([command, *words, *more]) for command, *more in commands] == [64, 0, 0, 0, 0, 64]
    usage = "python -m workshop.local: no stack 'test'; stacks: other\n"
    assert (capsys.readouterr().err, (tmp_path / ".local").exists()) == (2 * usage, False)


@pytest.mark.parametrize("stack", ["..", ".", "", "test/.."])
def test_a_name_that_is_a_path_is_no_stack(project, tmp_path, stack):
    """Whatever it leads to stays."""
    project()
    folder_of(tmp_path).path.mkdir(parents=True)
    assert main(["down", "--project", str(tmp_path), "--stack", stack]) == 64
    assert folder_of(tmp_path).path.is_dir()


def test_what_does_not_come_up_is_1_and_leaves_its_logs(project, capsys, tmp_path, monkeypatch):
    """With the last words of the container; no process and no key is left."""
    monkeypatch.setattr("workshop.local.up.HOPELESS_RESTARTS", 2)
    # with a probe, or it would be ready for the moment it lives
    words = project(workload("app", "print('no [/weights]', flush=True); raise SystemExit(3)", **READY))
    assert main(["up", *words]) == 1
    folder, found = folder_of(tmp_path), capsys.readouterr()
    (log,) = folder.logs.iterdir()
    pod = log.name.removesuffix(".main.log")
    assert found.err.startswith(f"test: container main of {pod} was restarted ")
    assert found.err.endswith("its log ends with:\nno [/weights]\nno [/weights]\n")
    assert (sorted(path.name for path in folder.path.iterdir()), marked(folder.mark)) == (
        ["logs", "supervisor.log"],
        [],
    )
    assert f"stopping what was started; the logs stay in {folder.logs}" in found.out


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_up_and_all_it_has_started(project, tmp_path, monkeypatch, number):
    """As Ctrl-C does, with the signal's exit code."""
    before = signal.signal(number, signal.default_int_handler)
    pids = []

    def event(*_) -> None:
        pids.extend(marked(folder_of(tmp_path).mark))
        os.kill(os.getpid(), number)

    monkeypatch.setattr(up_module, "show_event", event)
    try:
        code = main(["up", *project(workload("app", SERVES, **READY), SERVICE)])
    finally:
        signal.signal(number, before)
    assert (code, bool(pids), [pid for pid in pids if not is_gone(pid)]) == (128 + number, True, [])
    assert not folder_of(tmp_path).keys.exists()


def test_a_signal_ends_the_installer_too(project, tmp_path, monkeypatch):
    """Whatever of set-up is under way."""
    uv, pid, ensure = tmp_path / "uv", tmp_path / "pid", REAL_ENSURE
    uv.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000\n")
    uv.chmod(0o755)
    monkeypatch.setattr(toolchain, "_uv", lambda: str(uv))
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.01)

    def say(_text: str) -> None:
        if pid.exists():
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(toolchain, "ensure", lambda _: ensure(say, tmp_path / "venv"))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main(["up", *project(workload("app", SERVES, **READY), SERVICE)])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (code, is_gone(int(pid.read_text())), (tmp_path / ".local").exists()) == (143, True, False)


ON_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from workshop.local import toolchain
toolchain.problems = list
toolchain.memory_problems = lambda _: []
toolchain.ensure = lambda _: 0
from workshop.local.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_terminal_that_is_closed_leaves_nothing_running(project, tmp_path):
    """Though nothing can be said any more."""
    words = project(workload("app", "import signal; signal.pause()", **READY))
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, "up", *words],
        **dict.fromkeys(("stdin", "stdout", "stderr"), slave),
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(slave)
    said = b""
    while b"is created" not in said:
        said += os.read(master, 4096)
    pids = [process.pid for process in marked(folder_of(tmp_path).mark)]
    os.close(master)
    assert process.wait(DEADLINE_S) == 128 + signal.SIGHUP
    assert (bool(pids), [pid for pid in pids if not is_gone(pid)]) == (True, [])


# ---- up, piece by piece ----------------------------------------------------------------------------------------------


def test_programs_that_are_missing_are_refused(monkeypatch):
    """Those that stand for an image."""
    plan = planned_of(deployment({"name": "redis", "image": "redis:8.10.1"}, name="redis"))
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert [str(problem) for problem in _missing_programs(plan)] == [
        "Deployment redis: needs redis-server, which is not here; on Debian and Ubuntu: apt-get install redis-server"
    ]
    monkeypatch.setattr("shutil.which", lambda _: "/bin/redis-server")
    assert _missing_programs(plan) == []


def test_patches_and_releases_are_listed_not_run(tmp_path):
    """Neither is an object of the cluster."""
    plan = planned({"release-keda.yaml": {"x": 1}, "patch-node-a.yaml": {"kind": "Node"}}, RunFolder(tmp_path))
    assert plan.not_here[:2] == (
        ("1 Helm release", "nothing here reads it"),
        ("1 patch of a node", "nothing here reads it"),
    )


@pytest.mark.parametrize(
    ("restarts", "ready", "failed", "said"),
    [
        (2, False, [], ""),
        (3, True, [], ""),
        (3, False, [], "container main of app-1 was restarted 3 times; its log ends with:\na\nb"),
        (0, True, ["fetch", "check"], "Job fetch, check failed"),
    ],
)
def test_hopeless_is_a_failed_job_or_three_restarts(tmp_path, restarts, ready, failed, said):
    """With the end of the log; a pod that is ready has come back, however often it had ended."""
    (tmp_path / "log").write_text("a\nb\n")
    container = {"name": "main", "restarts": restarts, "log": str(tmp_path / "log")}
    assert _hopeless({"failed": failed, "pods": [{"name": "app-1", "ready": ready, "containers": [container]}]}) == said


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """Shows the answers of one model, whose chat and load are functions of the test."""
    plan = SimpleNamespace(gateway=1, servers=(Entrance("a", 1, SecretRef("k", "k"), "small"),))
    monkeypatch.setattr(up_module, "endpoint", lambda *_: None)

    def show(question, load):
        monkeypatch.setattr(up_module, "question", question)
        monkeypatch.setattr(up_module, "load", load)
        folder = RunFolder(tmp_path)
        return printed(lambda console: _show_answers(folder, plan, {}, console))[1]  # pyright: ignore[reportArgumentType]

    return show


def _raises(error: Exception):
    def function(*_, **__):
        raise error

    return function


def test_an_answer_is_shown_as_it_came(answers):
    """On one line, brackets and all."""
    text = answers(
        lambda *_, **__: SimpleNamespace(status=200, text="[/INST] Paris\n [b]is it"),
        lambda *_: Load(1, 2, 4, 0.1, 0.2, 3, 4),
    )
    assert text.splitlines()[:4] == ["", "small  What is the capital of France?", "[/INST] Paris [b]is it", ""]


@pytest.mark.parametrize(
    ("chat", "load", "said"),
    [
        (_raises(ConnectionError("gone")), None, "the gateway did not answer: gone; its logs are in {}"),
        (lambda *_, **__: SimpleNamespace(status=500, text="oops"), None, "the gateway answered 500: oops"),
        (
            lambda *_, **__: SimpleNamespace(status=200, text="Paris"),
            _raises(ConnectionError("the answer was 429: slow down")),
            "small failed under a small load: the answer was 429: slow down; its logs are in {}",
        ),
    ],
)
def test_a_gateway_that_does_not_answer_is_a_failure(answers, tmp_path, chat, load, said):
    """In one sentence, whatever went wrong."""
    with pytest.raises(Failed) as caught:
        answers(chat, load)
    assert str(caught.value) == said.format(RunFolder(tmp_path).logs)


def test_a_supervisor_that_does_not_start_is_a_failure(tmp_path, monkeypatch):
    """With what it said."""
    monkeypatch.setattr(up_module, "write", lambda *_: None)
    wanted = SimpleNamespace(manifests=(), plan=planned_of(), digest="x")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Failed) as caught:
        _start("test", RunFolder(tmp_path / "run"), wanted)  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == "the supervisor ended with exit status 1:\n"


def test_refusals_of_machine_and_programs_come_at_once(project, tmp_path, monkeypatch):
    """Before anything is set up."""
    project(workload("app", SERVES, **READY), SERVICE)
    monkeypatch.setattr(toolchain, "problems", lambda: [Problem("disk", "full")])
    monkeypatch.setattr(toolchain, "memory_problems", lambda _: [Problem("memory", "full")])
    monkeypatch.setattr(up_module, "_missing_programs", lambda _: [Problem("Deployment redis", "missing")])
    with pytest.raises(Refused) as caught:
        printed(lambda console: up(read_project(find_project(tmp_path)), "test", console))
    assert [str(problem) for problem in caught.value.problems] == [
        "Deployment redis: missing",
        "disk: full",
        "memory: full",
    ]
    assert not folder_of(tmp_path).path.exists()


def test_a_project_that_cannot_be_written_is_refused_with_all_else(project, tmp_path, monkeypatch, capsys):
    """Before anything is made."""
    words = project(workload("app", SERVES, **READY), SERVICE)
    (tmp_path / ".local").touch()
    monkeypatch.setattr(toolchain, "problems", lambda: [Problem("disk", "full")])
    monkeypatch.setattr(toolchain, "memory_problems", lambda _: [Problem("memory", "full")])
    assert main(["up", *words]) == 2
    local = tmp_path / ".local"
    assert capsys.readouterr().err.splitlines() == [
        "disk: full",
        (
            f".local: {local}/test cannot be written ({local}: not a directory); "
            "use a copy of the project in another directory"
        ),
        "memory: full",
    ]


def test_claims_are_checked_before_anything_is_made(project, tmp_path, monkeypatch, capsys):
    """Those that pods mount."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": "kept"}}]
    assert main(["up", *project(workload("app", SERVES, volumes=volumes))]) == 2
    assert capsys.readouterr().err.startswith(f"claim kept: {tmp_path}/file/llm-stack/claims/kept cannot be written (")
    assert not (tmp_path / ".local").exists()


def test_a_disk_that_fills_up_meanwhile_is_1_in_one_line(project, tmp_path, monkeypatch, capsys):
    """And nothing is left running."""
    monkeypatch.setattr(up_module, "show_event", _raises(OSError(28, "No space left on device", "/x")))
    assert main(["up", *project(workload("app", SERVES, **READY), SERVICE)]) == 1
    assert capsys.readouterr().err == "test: [Errno 28] No space left on device: '/x'\n"
    assert marked(folder_of(tmp_path).mark) == []


def test_what_is_up_is_stopped_only_for_what_can_take_its_place(project, tmp_path, monkeypatch, capsys):
    """A change that is refused leaves it as it is; only its memory has to be free before that can be asked for."""
    words = project(workload("app", SERVES, **READY), SERVICE)
    assert main(["up", *words]) == 0
    folder = folder_of(tmp_path)
    before = ask(folder, do="status")["pods"]
    project(workload("other", SERVES, **READY), SERVICE)
    memory = []

    def memory_problems(_gib: float) -> list[Problem]:
        memory.append(status_of(folder) is not None)
        return [Problem("memory", "too small")]

    monkeypatch.setattr(toolchain, "memory_problems", memory_problems)
    monkeypatch.setattr(toolchain, "problems", lambda: [Problem("disk", "full")])
    assert main(["up", *words]) == 2
    assert (ask(folder, do="status")["pods"], memory, capsys.readouterr().err) == (before, [], "disk: full\n")
    monkeypatch.setattr(toolchain, "problems", list)
    assert main(["up", *words]) == 2
    assert (memory, capsys.readouterr().err) == ([False], "memory: too small\n")


# ---- down, piece by piece --------------------------------------------------------------------------------------------


def test_down_says_that_up_has_not_started_anything_yet(project, tmp_path, monkeypatch, capsys):
    """It fails, and takes nothing from the `up`, which nobody else may join and which goes on."""
    words, said = project(workload("app", SERVES, **READY), SERVICE), []

    def set_up(_progress) -> int:
        if not said:
            said.append("set up")
            codes = [main(["down", *words]), main(["up", *words])]
            said.extend([codes, capsys.readouterr()])
        return 0

    monkeypatch.setattr(toolchain, "ensure", set_up)
    assert main(["up", *words]) == 0
    _, codes, found = said
    assert (codes, found.err) == ([1, 2], "test: another `up` in this project is under way; wait until it has ended\n")
    assert found.out.count("\nan `up` in this project is still setting up; Ctrl-C where it runs ends it\n") == 1
    assert "stopping" not in found.out
    assert status_of(folder_of(tmp_path)) is not None


def test_down_takes_away_what_an_up_waits_for(project, tmp_path, monkeypatch, capsys):
    """The `up` ends, saying that the supervisor is gone."""
    words, codes = project(workload("app", SERVES, **READY), SERVICE), []

    def event(*_) -> None:
        if not codes:
            codes.append(main(["down", *words, "--now"]))

    monkeypatch.setattr(up_module, "show_event", event)
    assert (main(["up", *words]), codes) == (1, [0])
    assert "test: the supervisor is gone; it said:" in capsys.readouterr().err
    assert (marked(folder_of(tmp_path).mark), (tmp_path / ".local").exists()) == ([], False)


@pytest.fixture
def orphan(tmp_path):
    """A process that carries a run's mark though no supervisor is there."""
    folder = RunFolder(tmp_path / ".local" / "test")
    folder.path.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], env={MARK: f"{folder.mark}/1/pod"}, cwd=tmp_path)
    soon((tmp_path / "deaf").exists)
    yield folder, process
    process.kill()
    process.wait()


def test_what_a_killed_supervisor_left_is_taken_down(orphan, tmp_path):
    """Down finds it by its mark."""
    folder, process = orphan
    code, text = printed(lambda console: down(folder, console, now=False))
    assert (code, "down after" in text, process.wait(20), (tmp_path / ".local").exists()) == (0, True, -9, False)


def test_a_second_ctrl_c_ends_draining(tmp_path, monkeypatch):
    """It asks for an end at once, and what is left is killed also when nobody listens any more."""
    folder = RunFolder(tmp_path / "run")
    asked = []

    def answer(_folder, **question):
        asked.append(question)
        if question == {"do": "status"}:
            if len(asked) == 2:
                raise KeyboardInterrupt
            raise NotRunning
        if question["now"]:
            raise NotRunning
        return {}

    monkeypatch.setattr("workshop.local.client.ask", answer)
    killed = []
    monkeypatch.setattr(down_module, "kill_marked", killed.append)
    stop(folder)
    assert (asked, killed) == (
        [{"do": "stop", "now": False}, {"do": "status"}, {"do": "stop", "now": True}, {"do": "status"}],
        [folder.mark],
    )


def test_other_runs_stay(tmp_path):
    """Only the folder of this one goes."""
    for name in ("a", "b"):
        (tmp_path / ".local" / name / "logs").mkdir(parents=True)
    stop(RunFolder(tmp_path / ".local" / "a"))
    assert [path.name for path in (tmp_path / ".local").iterdir()] == ["b"]


def test_stopping_leaves_the_folder_to_who_holds_it(tmp_path):
    """An `up` stops what has changed and stays alone."""
    folder = RunFolder.of(tmp_path, "test")
    with folder.alone():
        folder.path.mkdir()
        stop(folder)
        with folder.alone() as another:
            assert (folder.path.exists(), another) == (False, False)


def test_status_shows_events_with_brackets(tmp_path, monkeypatch):
    """What a log said is no markup."""
    found = {"pods": [], "services": [], "events": [[0, "app-1", "it said: [/red] [INFO]"]]}
    monkeypatch.setattr("workshop.local.client.ask", lambda *_, **__: found)
    code, text = printed(lambda console: status(RunFolder(tmp_path), console))
    assert (code, text.splitlines()[-1].partition(" ")[2]) == (0, "app-1: it said: [/red] [INFO]")


def test_logs_are_the_ends_of_those_that_are_asked_for(tmp_path, capfd):
    """Each under its name."""
    folder = RunFolder(tmp_path)
    folder.logs.mkdir()
    for name in ("app-1.main", "app-2.main", "other"):
        (folder.logs / f"{name}.log").write_text(f"a\n{name}\n")
    code, text = printed(lambda console: logs(folder, "app", console, lines=1, follow=False))
    first, second = "==> app-1.main.log <==", "==> app-2.main.log <=="
    assert (code, text) == (0, "")
    assert capfd.readouterr().out.split("\n") == [first, "app-1.main", "", second, "app-2.main", ""]


def test_logs_can_be_followed(tmp_path):
    """What is added is printed."""
    folder = RunFolder(tmp_path)
    folder.logs.mkdir()
    log = folder.logs / "app-1.main.log"
    log.write_text("a\nb\n")
    code = (
        "import sys; from pathlib import Path; from rich.console import Console\n"
        "from workshop.local import down, places\n"
        "down.logs(places.RunFolder(Path(sys.argv[1])), 'app', Console(), lines=1, follow=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "b\n"
            with log.open("a") as stream:
                stream.write("added\n")
            assert process.stdout.readline() == "added\n"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_status_is_whole_on_a_narrow_terminal(tmp_path, monkeypatch):
    """A name or an address that is cut is of no use."""
    name = "litellm-7d9c5b6f4-x2x7k"
    container = {"init": False, "ready": True, "restarts": 0, "pid": 4_194_303}
    pod = {"name": name, "deleting": False, "created": 0, "ports": {"http": 41234}, "containers": [container]}
    service = {"name": "vllm-qwen3-14b-canary", "port": 8000, "here": 41235, "ready": 1}
    found = {"pods": [pod], "services": [service], "events": []}
    monkeypatch.setattr("workshop.local.client.ask", lambda *_, **__: found)
    monkeypatch.setattr(down_module, "time", SimpleNamespace(time=lambda: 75))
    text = io.StringIO()
    status(RunFolder(tmp_path), Console(file=text, width=30))
    assert [line.split() for line in text.getvalue().splitlines()] == [
        ["pod", "ready", "restarts", "age", "pid", "ports"],
        [name, "1/1", "0", "75", "s", "4194303", "http", "41234"],
        [],
        ["service", "here", "ready", "pods"],
        ["vllm-qwen3-14b-canary:8000", "http://127.0.0.1:41235", "1"],
        [],
    ]


def test_a_supervisor_that_hangs_is_killed_too(project, tmp_path, monkeypatch):
    """It carries the mark of its run, and answers nobody."""
    words = project(workload("app", SERVES, **READY), SERVICE)
    assert main(["up", *words]) == 0
    folder = folder_of(tmp_path)
    pid = ask(folder, do="status")["pid"]
    monkeypatch.setattr("workshop.local.client.ANSWER_TIMEOUT_S", 0.2)
    os.kill(pid, signal.SIGSTOP)
    assert status_of(folder) is None
    assert main(["down", *words]) == 0
    assert (is_gone(pid), kill_marked(folder.mark), folder.path.exists()) == (True, 0, False)
