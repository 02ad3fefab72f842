"""One process and what it leaves behind: exit statuses, marks, killed descendants, shared memory.

Does not prove that vLLM's own processes behave like these; it proves what happens to any that do.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.unit.workshop.local.pods import STUBBORN, in_loop, is_gone, nothing_left, soon, until
from workshop.local.process import KEEP_ENVIRONMENT, Process, kill_marked, shared_memory
from workshop.process import MARK, carries, marked

# Starts a process that leaves its session, and waits.
ORPHAN = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('orphan.new', 'w').write(str(os.getpid()))
        os.rename('orphan.new', 'orphan')
signal.pause()
"""


async def start(folder: Path, script: str, mark: str | None = None, **env: str) -> Process:
    """A process that runs `script` in `folder`."""
    argv = [sys.executable, "-c", script]
    return Process.start(argv, env, folder, folder / "log", mark or str(folder))


@pytest.mark.parametrize(
    ("script", "status"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137), ("1/0", 1)],
)
@in_loop
async def test_an_exit_status_is_what_a_shell_says(tmp_path, script, status):
    """The process's own, or 128 and the signal that ended it."""
    assert await (await start(tmp_path, script)).wait() == status


@in_loop
async def test_a_process_gets_what_it_is_given_and_its_mark(tmp_path):
    """Its environment is the given one, the mark and the word that keeps the mark readable; nothing is inherited."""
    script = "import os; print(sorted(os.environ.items()))"
    await (await start(tmp_path, script, A="1", LC_CTYPE="C.UTF-8")).wait()
    expected = sorted({"A": "1", "LC_CTYPE": "C.UTF-8", KEEP_ENVIRONMENT: "1", MARK: str(tmp_path)}.items())
    assert (tmp_path / "log").read_text() == f"{expected}\n"


@in_loop
async def test_a_process_has_a_session_a_folder_and_no_input(tmp_path):
    """It leads its own session, works in its folder, and reads an end of file."""
    script = "import os, sys; print(os.getsid(0) == os.getpid(), os.getcwd(), repr(sys.stdin.read()))"
    await (await start(tmp_path, script)).wait()
    assert (tmp_path / "log").read_text() == f"True {tmp_path} ''\n"


@in_loop
async def test_a_log_goes_on_over_restarts(tmp_path):
    """Output and errors of every life are added to the same file."""
    for script in ("print('one')", "import sys; sys.stderr.write('two\\n')"):
        await (await start(tmp_path, script)).wait()
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@in_loop
async def test_what_cannot_be_started_is_an_error(tmp_path):
    """A program that is not there raises OSError, for the caller to report."""
    with pytest.raises(FileNotFoundError):
        Process.start(["/no/such/program"], {}, tmp_path, tmp_path / "log", str(tmp_path))


@in_loop
async def test_grandchildren_that_left_the_session_are_killed(tmp_path):
    """When the first process is gone, so is everything it started."""
    with nothing_left(tmp_path):
        process = await start(tmp_path, ORPHAN)
        orphan = int((await until(lambda: (tmp_path / "orphan").exists() and tmp_path / "orphan")).read_text())
        process.signal(signal.SIGTERM)
        status = await process.wait()
        assert (status, process.ended.is_set(), is_gone(orphan)) == (143, True, True)


@in_loop
async def test_children_without_an_environment_are_killed_too(tmp_path):
    """As those of a program that writes its title over it: they are of the container's session still."""
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], env={})\n"
        "open('child.new', 'w').write(str(child.pid)); __import__('os').rename('child.new', 'child')\n"
    )
    process = await start(tmp_path, script)
    assert await process.wait() == 0
    assert is_gone(int((tmp_path / "child").read_text()))


@in_loop
async def test_sessions_of_others_are_let_be(tmp_path):
    """A process that is in neither, be it a child of ours, lives on."""
    words = [sys.executable, "-c", "import signal; signal.pause()"]
    other = subprocess.Popen(words, env={}, start_new_session=True)  # noqa: ASYNC220 - nothing here waits for it
    try:
        await (await start(tmp_path, "")).wait()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@in_loop
async def test_a_signal_goes_to_the_first_process_only(tmp_path):
    """As a container gets it: what the first one started goes on until the first one ends."""
    script = """
import os, signal, time
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, lambda *_: open('child-was-told', 'w'))
    while True: signal.pause()
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
open('up', 'w')
while not told: signal.pause()
"""
    process = await start(tmp_path, script)
    await until((tmp_path / "up").exists)
    process.signal(signal.SIGTERM)
    assert (await process.wait(), (tmp_path / "child-was-told").exists()) == (0, False)


@in_loop
async def test_who_is_cancelled_while_waiting_kills(tmp_path):
    """A mistake or a timeout above leaves no process behind."""
    process = await start(tmp_path, STUBBORN)
    await until((tmp_path / "deaf").exists)
    waiting = asyncio.create_task(process.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (process.ended.is_set(), marked(str(tmp_path)), is_gone(process.pid)) == (True, [], True)


@in_loop
async def test_signals_to_what_has_ended_are_lost(tmp_path):
    """Nobody is hit, and nothing is raised."""
    process = await start(tmp_path, "")
    await process.wait()
    process.signal(signal.SIGTERM)
    assert process.ended.is_set()


# ---- marks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def others(tmp_path):
    """Starts processes of somebody else with a mark, or none; they are ended after the test."""
    started = []

    def start_other(mark: str | None, script: str = "import signal; signal.pause()") -> subprocess.Popen[bytes]:
        env = {} if mark is None else {MARK: mark}
        process = subprocess.Popen([sys.executable, "-c", script], env=env, cwd=tmp_path)
        started.append(process)
        soon(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(sys.executable.encode()))
        return process

    yield start_other
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("mark", "dies"),
    [
        (None, False),
        ("/x/run", True),
        ("/x/run/pod/main", True),
        ("/x/run2", False),
        ("/x/run-2/pod", False),
        ("/x", False),
        ("/y/x/run", False),
    ],
)
def test_only_what_carries_the_mark_is_killed(tmp_path, others, mark, dies):
    """The mark itself or one below it; a mark that only begins alike, and no mark at all, survive."""
    own = mark and f"{tmp_path}{mark}"
    process = others(own)
    wanted = f"{tmp_path}/x/run"
    found = (
        carries(psutil.Process(process.pid), wanted),
        [each.pid for each in marked(wanted)] == [process.pid],
        kill_marked(wanted),
    )
    assert found == (dies, dies, int(dies))
    if dies:
        process.wait(30)
    assert process.poll() == (-signal.SIGKILL if dies else None)


def test_a_mark_in_another_variable_is_none(tmp_path):
    """Only the variable counts, not its text anywhere in the environment."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], env={f"X{MARK}": str(tmp_path), "Y": str(tmp_path)}
    )
    try:
        assert (kill_marked(str(tmp_path)), process.poll()) == (0, None)
    finally:
        process.kill()
        process.wait()


def test_the_own_process_is_never_marked(tmp_path):
    """Whoever looks is left out, so that nobody kills itself."""
    script = f"""
import os, sys
from workshop.local.process import kill_marked
from workshop.process import marked
print(marked({str(tmp_path)!r}), kill_marked({str(tmp_path)!r}))
"""
    env = {**os.environ, MARK: str(tmp_path)}
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[] 0\n"


def test_a_process_that_is_gone_carries_nothing(tmp_path, others):
    """Before its parent has asked for its end, and afterwards."""
    process = others(str(tmp_path))
    found = psutil.Process(process.pid)
    process.kill()
    soon(lambda: is_gone(process.pid))
    before = carries(found, str(tmp_path), session=process.pid)
    process.wait()
    assert (before, carries(found, str(tmp_path), session=process.pid)) == (False, False)


HEAVY = """
import mmap, pathlib, signal
memory = mmap.mmap(-1, 256 << 20)
for page in range(0, len(memory), mmap.PAGESIZE): memory[page] = 1
pathlib.Path('up').touch()
signal.pause()
"""


def test_what_takes_long_to_end_is_waited_for(tmp_path, others):
    """Memory is given back after the environment can be read no more; only then a process counts as gone."""
    process = others(str(tmp_path), HEAVY)
    soon((tmp_path / "up").exists)
    assert (kill_marked(str(tmp_path)), is_gone(process.pid)) == (1, True)


# ---- shared memory ---------------------------------------------------------------------------------------------------

MAPS = """
import mmap, pathlib, signal
for name in {names!r}:
    file = open('/dev/shm/' + name, 'w+b')
    file.truncate(4096)
    globals()[name.replace('-', '_')] = mmap.mmap(file.fileno(), 4096)
pathlib.Path('mapped').touch()
signal.pause()
"""


@pytest.fixture
def shared(tmp_path):
    """Names for files below /dev/shm, removed after the test."""
    names = [f"llm-stack-test-{os.getpid()}-{tmp_path.name}-{number}" for number in range(2)]
    yield [Path("/dev/shm") / name for name in names]
    for name in names:
        (Path("/dev/shm") / name).unlink(missing_ok=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@in_loop
async def test_shared_memory_of_what_was_ended_is_removed(tmp_path, shared, number):
    """Of a container it would vanish with it; files nobody of it has mapped stay."""
    ours, other = shared
    other.touch()
    process = await start(tmp_path, MAPS.format(names=[ours.name]))
    await until((tmp_path / "mapped").exists)
    assert shared_memory([psutil.Process(process.pid)]) == {ours}
    process.signal(number)
    await process.wait()
    assert (ours.exists(), other.exists()) == (False, True)


def test_shared_memory_of_orphans_is_removed(tmp_path, shared, others):
    """Also of processes that nobody waits for, when their run is taken down."""
    ours, other = shared
    other.touch()
    others(str(tmp_path), MAPS.format(names=[ours.name]))
    soon((tmp_path / "mapped").exists)
    assert (kill_marked(str(tmp_path)), ours.exists(), other.exists()) == (1, False, True)


# ---- a parent that is killed -----------------------------------------------------------------------------------------


def test_a_killed_parent_takes_its_processes_along(tmp_path):
    """The kernel ends them, though the parent could do nothing (PR_SET_PDEATHSIG)."""
    script = f"""
import asyncio, sys
from pathlib import Path
from workshop.local.process import Process
async def main():
    folder = Path({str(tmp_path)!r})
    process = Process.start([sys.executable, '-c', {STUBBORN!r}], {{}}, folder, folder / 'log', str(folder))
    (folder / 'pid.new').write_text(str(process.pid))
    (folder / 'pid.new').rename(folder / 'pid')
    await process.wait()
asyncio.run(main())
"""
    with nothing_left(tmp_path):
        parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[4])
        try:
            soon(lambda: (tmp_path / "pid").exists() and (tmp_path / "deaf").exists())
        finally:
            parent.kill()
            parent.wait()
        pid = int((tmp_path / "pid").read_text())
        soon(lambda: is_gone(pid))


@in_loop
async def test_a_tracker_of_shared_memory_may_tidy_up_when_its_process_is_killed(tmp_path):
    """What Python's multiprocessing made, and nobody left has mapped, is gone too: its tracker is killed last."""
    script = (
        "import time\n"
        "from multiprocessing import shared_memory\n"
        "made = shared_memory.SharedMemory(create=True, size=16)\n"
        "made.close()\n"
        "print(made.name, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = await start(tmp_path, script)
    await until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    file = Path("/dev/shm") / (tmp_path / "log").read_text().strip()
    assert file.exists()
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == 137
    assert (file.exists(), marked(str(tmp_path))) == (False, [])
