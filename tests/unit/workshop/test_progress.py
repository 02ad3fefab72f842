"""Where work stands, on terminals and without one."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from workshop import progress


@pytest.mark.parametrize("terminal", [{}, {"force_terminal": True, "_environ": {"TERM": "dumb"}}])
def test_progress_is_a_line_now_and_then_where_none_can_change(monkeypatch, terminal):
    """Not at once, then every 15 s; without a terminal, and on one that can only add lines."""
    now = SimpleNamespace(monotonic=lambda: clock[0])
    clock = [0.0]
    monkeypatch.setattr(progress, "time", now)

    text = io.StringIO()
    with progress.progress(Console(file=text, width=60, **terminal)) as say:
        for second in (0, 1, 2, 3, 16, 17, 18, 32):
            clock[0] = second
            say(f"{second} s")
    assert text.getvalue().split("\n") == ["2 s", "17 s", "32 s", ""]


def test_progress_on_a_terminal_is_one_line():
    """It changes in place, and is gone afterwards."""
    text = io.StringIO()
    with progress.progress(Console(file=text, force_terminal=True, width=60, _environ={"TERM": "xterm"})) as say:
        say("loading")
    assert "\n" not in text.getvalue().rstrip("\n") or text.getvalue().endswith("\x1b[2K")
