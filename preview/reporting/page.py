"""The few shapes the report is made of: a headed section, rows of label and text, a list whose lines hang.

Each is a block: told how many columns there are, it gives its lines. Tables of rich would say the same, but measure and
lay out what stands in them again at every depth, which was a fifth of the preview of 200 models.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.text import Text

# Pieces of one line, from left to right; every Text in them is of one line, too.
Line = tuple[str | Text, ...]
Block = Callable[[int], Iterable[Line]]
Body = str | Text | Block

LABEL_WIDTH = 10
# In fewer columns nothing can be read: such lines are longer than the terminal is wide, which breaks them.
LEAST_WIDTH = 20
# Asked by rich for how text is broken, and printed on by nobody.
_NOWHERE = Console(width=LEAST_WIDTH)


def lines_of(body: Body, width: int) -> Iterable[Line]:
    """The lines of a block, or of a text that is broken between words; no character of it is left out."""
    if not isinstance(body, str | Text):
        return body(width)
    text = body if isinstance(body, str) else body.plain
    # as many characters take at least as many columns
    if len(text) <= width and text.isascii() and text.isprintable():
        return ((body,),)
    whole = Text(body) if isinstance(body, str) else body
    return ((line,) for line in whole.wrap(_NOWHERE, max(width, LEAST_WIDTH), overflow="fold"))


def stacked(*bodies: Body) -> Block:
    """Blocks, one below the other."""
    return lambda width: (line for body in bodies for line in lines_of(body, width))


def indented(body: Body, columns: int) -> Block:
    """So many columns further to the right."""
    return lambda width: ((" " * columns, *line) for line in lines_of(body, width - columns))


def as_it_stands(text: str, style: str) -> Block:
    """Lines that are copied: none is broken or cut, however narrow the page is."""
    return lambda _: ((Text(line, style=style),) for line in text.split("\n"))


def headed(heading: Text, sign: str = "─", style: str = "dim") -> Block:
    """A heading, and a line to the end of its own."""

    def lines(width: int) -> Iterable[Line]:
        shown = heading.copy()
        shown.truncate(max(width, LEAST_WIDTH) - 2, overflow="ellipsis")
        return ((shown, " ", Text(sign * (width - shown.cell_len - 1), style=style)),)

    return lines


def section(title: str | Text, body: Body) -> Block:
    """`body` below a heading and a line."""
    return stacked("", headed(title if isinstance(title, Text) else Text(title, style="bold")), body)


def facts(rows: Iterable[tuple[str, Body]]) -> Block:
    """Rows of a label and its text; an empty label continues the row above."""
    return _two_columns([(label, "bold", body) for label, body in rows], gap=2, first_width=LABEL_WIDTH)


def reasons(why: Mapping[str, str]) -> Block:
    """Reasons of derived values, by the setting that would override each; what the user gave needs no reason."""
    rows = [(key, "dim", Text(reason, style="dim")) for key, reason in why.items() if reason != "given"]
    return _two_columns(rows, gap=2)


def listed(lines: Iterable[Body], sign: str = "•", style: str = "") -> Block:
    """One line per entry behind a sign; what does not fit hangs below its own text."""
    return _two_columns([(sign, style, line) for line in lines], gap=1)


def named(rows: Iterable[tuple[str, str]]) -> Block:
    """Names in a dim first column, texts in the second."""
    return _two_columns([(name, "dim", text) for name, text in rows], gap=2)


def packed(entries: Iterable[Text], width: int) -> Text:
    """Entries one after the other, broken between them at `width` columns and never inside one."""
    text = Text()
    for entry in entries:
        room = width - len(text.plain.rpartition("\n")[2]) - 2
        text.append("" if not text.plain else "  " if len(entry) <= room else "\n")
        text.append_text(entry)
    return text


def _two_columns(rows: Sequence[tuple[str, str, Body]], *, gap: int, first_width: int = 0) -> Block:
    """Rows of a label, its style, and what stands beside it."""

    def lines(width: int) -> Iterable[Line]:
        first = max([first_width, *(len(label) for label, _, _ in rows)]) + gap
        for label, style, body in rows:
            start: str | Text = Text(label, style=style) if style else label
            room = " " * (first - len(label))
            for line in lines_of(body, width - first):
                yield (start, room, *line)
                start, room = "", " " * first
            if start:
                yield (start,)

    return lines
