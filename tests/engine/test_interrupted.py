"""`python -m workshop.simcluster up` that is ended before the engine is done: the same command goes on from there.

What is not proved here: that the pods of the stack start, and what a terminal shows meanwhile.
"""

import os
import shutil
import signal
import subprocess
import sys

from tests.harness import ROOT
from workshop.simcluster.cluster import Cluster


def up(name: str, end: int | None = None) -> tuple[int, list[str]]:
    """The exit code of `up`, and locks that are left; `end`: a signal to its whole group once an object is made."""
    command = [sys.executable, "-m", "workshop.simcluster", "up", "--stack", "dev", "--name", name]
    begun = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert begun.stdout
    deploying = False
    for line in begun.stdout:
        deploying = deploying or line.startswith("pulumi up")
        if deploying and end is not None and line.startswith(" + ") and " created " in line:
            os.killpg(begun.pid, end)
            break
    begun.communicate()
    locks = Cluster(name).paths.root.glob("pulumi/state/.pulumi/locks/**/*.json")
    return begun.returncode, [lock.name for lock in locks]


def test_an_up_that_was_ended_is_finished_by_the_same_command():
    """Killed, it leaves the engine's lock, which the next takes off; Ctrl-C leaves none; the third ends well."""
    name = f"test-{os.getpid()}-interrupted"
    try:
        killed, left = up(name, signal.SIGKILL)
        assert (killed, len(left)) == (-signal.SIGKILL, 1)
        assert up(name, signal.SIGINT) == (130, [])
        assert up(name) == (0, [])
    finally:
        Cluster(name).down()
        shutil.rmtree(Cluster(name).paths.root)
