"""The shapes of the report: how lines break and hang. What stands in them is tested with the stacks."""

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from preview.reporting.page import (
    Body,
    as_it_stands,
    facts,
    headed,
    indented,
    lines_of,
    listed,
    named,
    reasons,
    section,
    stacked,
)
from preview.reporting.report import plain, styled


def shown(body: Body, width: int) -> list[str]:
    """The lines of a body, without what is left of empty columns."""
    return [plain(line).rstrip(" ") for line in lines_of(body, width)]


def test_what_does_not_fit_hangs_below_its_own_text():
    """In lists, below the text and not below the sign; in what is listed in facts, too."""
    text = "one two three four five six"
    assert shown(facts([("label", listed([text, "b"])), ("", "continued")]), 34) == [
        "label       • one two three four",
        "              five six",
        "            • b",
        "            continued",
    ]


def test_a_column_is_as_wide_as_its_longest_name():
    """Each block for itself."""
    blocks = stacked(named([("a", "1"), ("bbb", "2")]), indented(named([("c", "3")]), 2))
    assert shown(blocks, 40) == ["a    1", "bbb  2", "  c  3"]


def test_no_character_is_left_out():
    """A word that is wider than the page goes on in the next line, and one of wide characters counts its columns."""
    assert shown(listed(["x" * 30]), 22) == [f"• {'x' * 20}", f"  {'x' * 10}"]
    assert shown("模" * 15, 20) == ["模" * 10, "模" * 5]


def test_given_values_need_no_reason():
    """And a row of nothing but those keeps its label."""
    assert shown(facts([("why", reasons({"a": "given"}))]), 40) == ["why"]
    assert shown(facts([("why", reasons({"a": "given", "b": "c"}))]), 40) == ["why         b  c"]


def test_a_section_is_headed_by_a_line_to_the_edge():
    """Below an empty line; a heading that is too long leaves one dash."""
    assert shown(section("Title", "body"), 20) == ["", f"Title {'─' * 14}", "body"]
    assert shown(headed(Text("x" * 40)), 20) == [f"{'x' * 17}… ─"]


def test_what_is_copied_is_not_broken():
    """A line of a command is one line, whatever the page holds: half of it could not be run."""
    assert shown(listed([as_it_stands("kubectl \\\n  get pods --all-namespaces", "green")]), 22) == [
        "• kubectl \\",
        "    get pods --all-namespaces",
    ]


@pytest.mark.parametrize("width", [1, 19, 20, 60])
def test_a_terminal_shows_what_a_file_gets_in_its_styles(width):
    """The same characters in the same lines, however narrow it is."""
    body = section("Title", facts([("why", stacked("some words that break", reasons({"key": "a reason of words"})))]))
    lines = list(body(width))
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=width, _environ={})
    coloured = styled(lines, console)
    assert [Text.from_ansi(line).plain for line in coloured] == [plain(line) for line in lines]
    assert any("\x1b[2m" in line for line in coloured)
