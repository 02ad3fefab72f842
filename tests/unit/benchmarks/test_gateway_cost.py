"""Arithmetic of the gateway's benchmark: whose CPU is counted, what it is divided into, and when that misses.

Nothing is measured here: `make benchmark` does.
"""

import shutil
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gateway import CHAT, LONG, SHORT, compared, deviations, faults, fitted, planned_cores
from benchmarks.targets import Subject, cpu_s, pod_of, with_database
from catalog.engine import CpuCost, CpuCosts
from tests.gateway import stacks
from tests.gateway.backing import Redis

COST = CpuCost(chat_ms=20, stream_ms=30, chunk_ms=0.5)
KNOWN = CpuCosts.model_validate({"measured": "2026-11-29", "loop_s": 0.1, "plain": COST, "database": COST})
SUBJECT = Subject("it", "http://127.0.0.1:1", "key", [10], heavy=True)


def stat(pid: int, parent: int, session: int, *ticks: int, name: str = "python") -> str:
    """A line of /proc/PID/stat, as far as it is read."""
    return f"{pid} ({name}) S {parent} {pid} {session} 0 -1 4194304 1 2 3 4 {' '.join(map(str, ticks))} 20 0 1 0 5"


def test_the_cpu_of_all_processes_is_counted():
    """Those of the session, those below them in sessions of their own, and what their children took that ended."""
    lines = [
        stat(10, 1, 10, 100, 20, 30, 5),
        stat(11, 10, 10, 7, 3, 0, 0, name="a b) c"),
        stat(12, 11, 12, 40, 0, 0, 0),
        stat(13, 12, 13, 1, 0, 0, 0),
        stat(99, 1, 99, 5000, 0, 0, 0),
    ]
    assert cpu_s(lines, [10]) * 100 == 155 + 10 + 40 + 1


def test_the_cost_of_a_chunk_is_what_chunks_add():
    """A stream without its chunks is what is left of the short one."""
    found = fitted(20, 30 + 0.5 * SHORT.chunks, 30 + 0.5 * LONG.chunks)
    assert [found.chat_ms, found.stream_ms, found.chunk_ms] == pytest.approx([20, 30, 0.5])
    assert CHAT.streamed is False


def test_the_sum_is_the_planners():
    """8 chats, 3 streams and their 300 chunks a second, one token each."""
    assert planned_cores(KNOWN, database=False) == pytest.approx(0.008 * 20 + 0.003 * 30 + 0.3 * 0.5)


def test_another_machine_is_compared_by_its_speed():
    """One that takes twice as long for everything misses nothing; one that takes as long, half of it."""
    slow = CpuCost(chat_ms=40, stream_ms=60, chunk_ms=1)
    names = ("a chat", "a stream of 8", "a stream of 64")
    assert deviations(slow, COST, 2) == dict.fromkeys(names, 0)
    assert deviations(slow, COST, 1) == dict.fromkeys(names, -0.5)


def test_requests_are_compared_as_they_come():
    """A chunk that costs twice as much shows in long streams, and hardly in short ones."""
    dear = CpuCost(chat_ms=20, stream_ms=30, chunk_ms=1)
    assert deviations(dear, COST, 1) == {"a chat": 0, "a stream of 8": 34 / 38 - 1, "a stream of 64": 62 / 94 - 1}


def test_what_is_off_by_more_than_thirty_percent_is_missed():
    """Each of the costs, and the sum; above and below."""
    assert faults("it", {"chat": 0.29, "stream": -0.29, "chunk": 0.31, "the sum of a mixed load": -0.31}) == [
        "it: chunk is off by +31%",
        "it: the sum of a mixed load is off by -31%",
    ]


def test_a_report_has_what_to_write_into_a_stack_file():
    """The three costs of this machine, by the names of gateway.capacity.cpuMs."""
    text, wrong = compared(SUBJECT, COST, planned_cores(KNOWN, database=False), KNOWN, 1)
    assert wrong == []
    assert text.splitlines()[-1] == (
        "it: of this machine is gateway.capacity.cpuMs: {chat: 20.00, stream: 30.00, chunk: 0.50}"
    )


@pytest.mark.parametrize("database", [False, True])
def test_both_gateways_can_be_put_together(database):
    """Whatever the rendered pod asks for is there: every key of a Secret, and the one server for every name."""
    config = with_database() if database else stacks.serving({"plain": {}})
    postgres: Any = SimpleNamespace(url="postgresql://x") if database else None
    made = pod_of(config, 4321, Redis("password"), postgres)
    try:
        text = (made.folder / "config.yaml").read_text("utf-8")
        assert ("http://127.0.0.1:4321/v1" in text, ".svc:8000" in text) == (True, False)
        assert ("DATABASE_URL" in made.environment) == database
    finally:
        shutil.rmtree(made.folder)
