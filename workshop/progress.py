"""How long work is going on: what changes on a terminal, and lines now and then where nothing can change."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

EVERY_S, FIRST_AFTER_S = 15, 2


class NowAndThen:
    """Hands on one text every so many seconds, and drops what comes in between."""

    def __init__(self, write: Callable[[str], object], every_s: float, first_after_s: float) -> None:
        self._write, self._every_s = write, every_s
        self._due = time.monotonic() + first_after_s

    def __call__(self, text: str) -> None:
        """Hands it on, when it is time."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every_s
            self._write(text)


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """Shows where things stand: on a line that changes, or on one now and then where lines can only be added."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status("…") as status:
            yield status.update
    else:
        yield NowAndThen(lambda text: console.print(text, highlight=False), EVERY_S, FIRST_AFTER_S)
