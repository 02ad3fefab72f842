"""Progress of long work: a line that changes on a terminal, and lines now and then where nothing can change."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

EVERY_S, FIRST_AFTER_S = 15, 2


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """Shows where things stand: on a line that changes, or on one now and then where lines can only be added."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status("…") as status:
            yield status.update
    else:
        due = time.monotonic() + FIRST_AFTER_S

        def now_and_then(text: str) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + EVERY_S
                console.print(text, highlight=False)

        yield now_and_then
