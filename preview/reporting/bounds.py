"""Markdown that fits into a comment on GitHub: less detail first, then whole lines cut, and said to be.

A comment holds 65,536 characters; bytes are counted here, of which there are never fewer.
"""

from collections.abc import Sequence

COMMENT_BYTES = 65_536
# What the workflow puts around it: a marker, a heading and a link.
AROUND_BYTES = 4_096
LONGEST_LINE = 2_000
FENCE = "```"


def fitting(pages: Sequence[Sequence[str]], preface: str, whole: str, limit: int | None) -> str:
    """All pages below each other, within `limit` bytes; None: however long.

    A page is given in versions, the most detailed first, and ends with a line break. `whole` is the command that prints
    everything. Every page keeps its beginning, where it says what matters most.
    """
    head = f"{preface}\n" if preface else ""
    if limit is None:
        return head + "\n".join(page[0] for page in pages)
    for level in range(max((len(page) for page in pages), default=0)):
        chosen = [page[min(level, len(page) - 1)] for page in pages]
        text = head + "\n".join(chosen)
        if _size(text) <= limit:
            return text
    shortest = [page[-1] for page in pages]
    room = limit - _size(head) - len(pages)
    return head + "\n".join(
        cut(page, share, whole) for page, share in zip(shortest, _shares(shortest, room), strict=True)
    )


def cut(text: str, limit: int, whole: str) -> str:
    """`text` within `limit` bytes: as many whole lines from its beginning as fit, and a line that says how many do not.

    A fence that is open at the cut is closed, so what follows stays Markdown. `text` as it is where it fits.
    """
    if _size(text) <= limit:
        return text
    lines = [_short(line) for line in text.splitlines()]
    shown: list[str] = []
    fenced, size = "", 0
    # room for the closing fence and the last line, whatever their number of digits
    room = limit - _size(_end(len(lines), whole)) - len(FENCE) - 4
    for line in lines:
        size += _size(line) + 1
        if size > room:
            break
        shown.append(line)
        if line.lstrip().startswith(FENCE):
            fenced = "" if fenced else line[: len(line) - len(line.lstrip())] + FENCE
    left_out = len(lines) - len(shown)
    shown += [fenced] if fenced else []
    return "\n".join([*shown, "", _end(left_out, whole)]) + "\n"


def _end(lines: int, whole: str) -> str:
    return f"… {lines:,} more {'line' if lines == 1 else 'lines'} cut; `{whole}` prints all of it"


def _short(line: str) -> str:
    """A line that is too long for anybody, cut, with its inline code closed."""
    if len(line) <= LONGEST_LINE:
        return line
    begun = line[:LONGEST_LINE] + "…"
    return begun + "`" * (begun.count("`") % 2)


def _shares(pages: Sequence[str], room: int) -> list[int]:
    """Bytes of each page: what it needs where that is little, and the same for all others."""
    shares = [0] * len(pages)
    left = sorted(range(len(pages)), key=lambda position: _size(pages[position]))
    for done, position in enumerate(left):
        shares[position] = min(_size(pages[position]), room // (len(left) - done))
        room -= shares[position]
    return shares


def _size(text: str) -> int:
    return len(text.encode("utf-8", errors="replace"))
