"""The surroundings of a run under mocks, put in place and taken away again: event loop, environment, imports, log."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pulumi import _types


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


class _Loop(asyncio.SelectorEventLoop):
    """Calls the monitor where the SDK would have a thread call it: ours answers at once, and a thread costs more."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # noqa: ARG002
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
            done.set_exception(error)
        return done


@contextmanager
def event_loop() -> Iterator[None]:
    """A loop of our own, so that nothing is left open behind a run."""
    loop = _Loop()
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
def without_stack_traces() -> Iterator[None]:
    """Resources are declared without the stack of their declaration, which only the engine's own display shows.

    The SDK takes it for each of them, all 40 frames and a look at every file. What is raised keeps its traceback: it
    is printed outside of this.
    """
    name = "tracebacklimit"
    before = getattr(sys, name, None)
    # with one frame the SDK finds no program that declares anything; with none it fails
    setattr(sys, name, 1)
    try:
        yield
    finally:
        if before is None:
            delattr(sys, name)
        else:
            setattr(sys, name, before)


@contextmanager
def remembered_types() -> Iterator[None]:
    """The SDK takes a declared type apart once, not for every value of it: a twentieth of a preview of many models."""
    names = ("unwrap_type", "unwrap_optional_type")
    before = {name: getattr(_types, name) for name in names}
    for name, unwrap in before.items():
        setattr(_types, name, cache(unwrap))
    try:
        yield
    finally:
        for name, unwrap in before.items():
            setattr(_types, name, unwrap)


@contextmanager
def import_path(directory: Path) -> Iterator[None]:
    """The program's own folder first on the import path, as Python itself puts it there."""
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
