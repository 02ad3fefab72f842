"""What all commands do alike, tried on `run` itself and on each of them: exit codes, wrong usage, ends before the end.

Does not prove what a refusal says; that is with the command that refuses.
"""

import os
import signal
import subprocess
import sys

import pytest

from settings.commandline import Parser, Signalled, UsageError, ended_by, run
from settings.problems import Problem, Refused
from tests.harness import ROOT

PROGRAM = "python -m x"
COMMANDS = ("catalog", "preview", "planning", "workshop.local", "workshop.simcluster")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UsageError("no stack 'x'"), 64, "python -m x: no stack 'x'\n"),
        (Refused([Problem("a.b", "is 1"), Problem("c", "is 2")]), 2, "a.b: is 1\nc: is 2\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (Signalled(signal.SIGTERM), 143, "stopped\n"),
    ],
)
def test_what_is_raised_becomes_an_exit_code(raised: BaseException, code: int, said: str, capsys):
    """Each reason is on a line of its own on stderr, and nothing on stdout."""

    def work() -> int:
        raise raised

    assert (run(PROGRAM, work), *capsys.readouterr()) == (code, "", said)


def test_a_mistake_of_ours_is_not_hidden():
    """What nobody foresaw keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        run(PROGRAM, lambda: 1 // 0)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_what_work_returns_is_the_exit_code(code: int):
    """As it is."""
    assert run(PROGRAM, lambda: code) == code


def test_wrong_words_are_said_with_the_usage():
    """The message first, then how the command is used."""
    parser = Parser(prog=PROGRAM)
    parser.add_argument("--stack", required=True)
    with pytest.raises(UsageError) as caught:
        parser.parse_args([])
    wanted = "the following arguments are required: --stack\nusage: python -m x [-h] --stack STACK"
    assert str(caught.value) == wanted


@pytest.fixture
def interrupted():
    """SIGTERM as it is in a test: like Ctrl-C, lest it end all tests."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield interrupt
    signal.signal(signal.SIGTERM, before)


def test_a_signal_ends_work_once_and_only_while_it_is_waited_for(interrupted):
    """A second one does not interrupt the cleaning up; afterwards each is whose it was."""
    cleaned = []

    def work() -> int:
        with ended_by(signal.SIGTERM):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                cleaned.append("all")
        return 0

    assert (run(PROGRAM, work), cleaned, signal.getsignal(signal.SIGTERM)) == (143, ["all"], interrupted)


def test_a_clean_up_that_fails_does_not_hide_the_signal(interrupted):
    """A closed terminal takes no words; the signal stays the reason."""

    def work() -> int:
        with ended_by(signal.SIGTERM):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                raise OSError(5, "Input/output error")
        return 0

    assert (run(PROGRAM, work), signal.getsignal(signal.SIGTERM)) == (143, interrupted)


def test_a_signal_that_is_ignored_stays_ignored(interrupted):
    """`nohup` has asked for that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with ended_by(signal.SIGTERM):
        signal.raise_signal(signal.SIGTERM)
    assert signal.signal(signal.SIGTERM, interrupted) == signal.SIG_IGN


def of_a_process(*words: str, stdout: int = subprocess.PIPE, **env: str) -> tuple[int, str]:
    """(exit status, stderr) of this Python with these words."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage_is_64(command: str):
    """Of every command, with the name as it was typed."""
    code, said = of_a_process("-m", command, "--no-such-option")
    first = f"python -m {command}: "
    assert (code, said[: len(first)]) == (64, first)


TALKS = """
import sys
from settings.commandline import run
sys.exit(run("x", lambda: print("x" * 100_000) or 0))
"""
# What is still in the buffer when the work is done.
SAYS_LITTLE = TALKS.replace("100_000", "10")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-m", "preview"], -13),
        (["-m", "planning", "--help"], -13),
        (["-c", TALKS], 141),
        (["-c", SAYS_LITTLE], 141),
    ],
)
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str], code: int):
    """`| true`: the command ends as any other does, without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    assert of_a_process(*words, stdout=writer) == (code, "")
    os.close(writer)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-m", "planning", "--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a10", "--gpus", "2"], 0),
        (["-m", "preview", "--stack", "dev"], 0),
        (["-m", "workshop.local", "status", "--stack", "dev"], 1),
    ],
)
def test_a_terminal_with_few_characters_is_no_error(words: list[str], code: int):
    """What it cannot show is a question mark."""
    assert of_a_process(*words, PYTHONIOENCODING="ascii") == (code, "")
