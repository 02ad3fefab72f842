"""The conduct that all commands of this project share: exit codes, wrong usage, refusals, ending early."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from typing import NoReturn

from settings.problems import LONGEST_USAGE, Refused, sanitize

FINE, UNABLE, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 64, 130
# What a shell reports of a command that Linux ended because nobody reads it any more: 128 + SIGPIPE.
PIPE_CLOSED = 141
# Lines of a complaint about wrong usage.
MOST_LINES = 20
# And of one that ended because of another signal: that much, and the signal's number.
SIGNALLED = 128
# A terminal that is closed, and who ends a command in good order; Ctrl-C is Python's own affair.
ENDS = (signal.SIGHUP, signal.SIGTERM)


class UsageError(Exception):
    """The command line is wrong: exit code 64 (EX_USAGE, sysexits.h)."""


class Signalled(BaseException):
    """A signal asks for the end: exit code 128 + its number. Like Ctrl-C, it is no error that somebody may handle."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def ended_by(*numbers: int) -> Iterator[None]:
    """Raises `Signalled` for the first of these signals, so that what was begun is cleaned up, and for no second one.

    One that is ignored already (nohup) stays so. Only for the main thread, which is the only one that gets signals.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    heard = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    got: list[int] = []

    def end(number: int, _frame: object) -> None:
        # a terminal that closes often says so twice, by the kernel and by its shell, and cleaning up takes a while
        for signal_number in heard:
            signal.signal(signal_number, signal.SIG_IGN)
        got.append(number)
        raise Signalled(number)

    for number in heard:
        signal.signal(number, end)
    try:
        yield
    except BaseException as error:
        # with its terminal gone whatever says something fails, and hides why
        if got and not isinstance(error, Signalled):
            raise Signalled(got[0]) from error
        raise
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


class Parser(argparse.ArgumentParser):
    """Leaves wrong usage to `run`: argparse's own exit code 2 means refused here."""

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError` with the message and how the command is used."""
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def run(program: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, or of what it raises; says on stderr why. `program`: as it is typed."""
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show ▓ gets `?` for it, not a traceback
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = work()
        # here, because a reader that has gone is a complaint of the interpreter's afterwards
        sys.stdout.flush()
    except UsageError as error:
        # words of the command line are said again, and may be anything
        lines = f"{program}: {error}".split("\n")[:MOST_LINES]
        sys.stderr.write("".join(f"{sanitize(line, LONGEST_USAGE)}\n" for line in lines))
        return USAGE
    except Refused as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return INTERRUPTED
    except Signalled as ended:
        try:
            sys.stderr.write("stopped\n")
            sys.stdout.flush()
        except OSError:
            # the terminal is gone
            _say_nothing()
        return SIGNALLED + ended.number
    except BrokenPipeError:
        # a reader that has seen enough (`| head`)
        _say_nothing()
        return PIPE_CLOSED
    return code


def _say_nothing() -> None:
    """Discards what is still in the buffer; otherwise the interpreter complains of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_with_the_reader() -> None:
    """A reader that has seen enough ends this process at once, as it does every command (signal(7)).

    Only for commands without connections: one that breaks would end them, too.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
