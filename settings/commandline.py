"""What every command of this project does alike: exit codes, wrong usage, refusals, and how it ends early."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn

from settings.problems import Refused

FINE, REFUSED, USAGE, INTERRUPTED = 0, 2, 64, 130
# What a shell reports of a command that Linux ended because nobody reads it any more: 128 + SIGPIPE.
PIPE_CLOSED = 141


class UsageError(Exception):
    """The command line is wrong: exit code 64 (EX_USAGE, sysexits.h)."""


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
        sys.stderr.write(f"{program}: {error}\n")
        return USAGE
    except Refused as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return INTERRUPTED
    except BrokenPipeError:
        # a reader that has seen enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return code


def end_with_the_reader() -> None:
    """A reader that has seen enough ends this process at once, as it does every command (signal(7)).

    Only for commands without connections: one that breaks would end them, too.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
