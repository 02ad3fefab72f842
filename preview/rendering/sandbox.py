"""What a run under mocks must put in place, and must not leave behind: event loop, environment, import path, log."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path


class Messages(logging.Handler):
    """Collects what the program logs, which would otherwise go to stderr between the lines of a report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self.logger = logging.Logger("preview", logging.WARNING)  # noqa: LOG001 - one per run, out of the global tree
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.texts.append(record.getMessage())


@contextmanager
def event_loop() -> Iterator[None]:
    """A loop of our own, and one thread for the calls to the monitor, so that nothing is left open behind a run."""
    loop, executor = asyncio.new_event_loop(), ThreadPoolExecutor(max_workers=1)
    loop.set_default_executor(executor)
    # what fails is raised by the run itself; asyncio would print it once more when the task is collected
    loop.set_exception_handler(lambda _loop, _context: None)
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        # the mock monitor opens a loop in the thread it is called in; without a call there is none
        with suppress(RuntimeError):
            executor.submit(lambda: asyncio.get_event_loop().close()).result()
        executor.shutdown()
        loop.close()
        asyncio.set_event_loop(None)


@contextmanager
def strict_outputs() -> Iterator[None]:
    """An f-string over an Output is an error, not the text `Calling __str__ on an Output is not supported`."""
    name = "PULUMI_ERROR_OUTPUT_STRING"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def import_path(directory: Path) -> Iterator[None]:
    """The program's own folder first on the import path, as Python itself puts it there."""
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
