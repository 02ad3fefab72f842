"""The few shapes the report is made of: a headed section, rows of label and text, a list whose lines hang."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

LABEL_WIDTH = 10


def section(title: str | Text, body: RenderableType) -> RenderableType:
    """`body` below a heading and a line."""
    heading = title if isinstance(title, Text) else Text(title, style="bold")
    return Padding(Group(Rule(heading, align="left", style="dim"), body), (1, 0, 0, 0))


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """What is talked about, and what is said about it; an empty label continues the row above."""
    table = _two_columns(gap=2, first_width=LABEL_WIDTH)
    for label, body in rows:
        table.add_row(Text(label, style="bold"), body)
    return table


def reasons(why: Mapping[str, str]) -> Table:
    """Why a derived value is what it is, by the setting that would override it; what the user gave needs no reason."""
    table = _two_columns(gap=2)
    for key, reason in why.items():
        if reason != "given":
            table.add_row(Text(key, style="dim"), Text(reason, style="dim"))
    return table


def listed(lines: Iterable[RenderableType], sign: str = "•", style: str = "") -> Table:
    """One line per entry behind a sign; what does not fit hangs below its own text."""
    table = _two_columns(gap=1)
    for line in lines:
        table.add_row(Text(sign, style=style), line)
    return table


def named(rows: Iterable[tuple[str, str]]) -> Table:
    """Names in a dim first column, texts in the second."""
    table = _two_columns(gap=2)
    for name, text in rows:
        table.add_row(Text(name, style="dim"), text)
    return table


def packed(entries: Iterable[Text], width: int) -> Text:
    """Entries one after the other, broken between them at `width` columns and never inside one."""
    text = Text()
    for entry in entries:
        room = width - len(text.plain.rpartition("\n")[2]) - 2
        text.append("" if not text.plain else "  " if len(entry) <= room else "\n")
        text.append_text(entry)
    return text


def _two_columns(*, gap: int, first_width: int | None = None) -> Table:
    table = Table.grid(padding=(0, gap, 0, 0))
    table.add_column(no_wrap=True, min_width=first_width)
    table.add_column(ratio=1)
    return table
