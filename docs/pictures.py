"""Pictures of the documentation, drawn from what the program does: the preview of production, and its components.

Both are SVG with text that can be selected, and the same on every machine: fonts are the reader's, nothing is loaded.
"""

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console, Group
from rich.segment import Segment, Segments
from rich.text import Text

from preview.rendering.manifests import Manifest, collect_manifests
from preview.rendering.render import Rendering, render
from preview.rendering.stackfile import read_project
from preview.reporting.report import PLAIN_WIDTH, page

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "images"
STACK = "prod"
# What of the preview is shown; `…` stands for the rest.
CHOSEN = ("llm-stack ", "qwen3-14b ", "Warnings ", "Total ")
# Rich's own page loads a font from elsewhere.
FONT_FACES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)

Point = tuple[int, int]
Segmented = Sequence[Segment]


@cache
def _stack() -> tuple[Rendering, tuple[Manifest, ...]]:
    rendering = render(read_project(ROOT), STACK)
    assert not rendering.refused, "the stack of the repository can be deployed"
    return rendering, collect_manifests(rendering.records)


def preview() -> str:
    """The preview of the production stack as a terminal shows it, most of its length left out."""
    rendering, found = _stack()
    console = Console(
        record=True, width=PLAIN_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        highlight=False, legacy_windows=False, _environ={},
    )  # fmt: skip
    lines = (Text.assemble(*line) for line in page(rendering, found)(console.width))
    for line in _shortened(console.render_lines(Group(*lines), pad=False)):
        console.print(Segments([*line, Segment.line()]), end="")
    drawn = console.export_svg(title=f"make preview STACK={STACK}", unique_id="preview")
    return FONT_FACES.sub("", drawn) + "\n"


def _shortened(lines: Iterable[Segmented]) -> Iterator[Segmented]:
    """The chosen blocks, which blank lines end, and one `…` for those between them."""
    blocks: list[list[Segmented]] = [[]]
    for line in lines:
        if _text(line):
            blocks[-1].append(line)
        else:
            blocks.append([])
    left_out = False
    for number, block in enumerate(block for block in blocks if block):
        chosen = _text(block[0]).startswith(CHOSEN)
        if chosen:
            yield from ([[Segment("")]] if number else [])
            yield from block
        elif not left_out:
            yield from ([Segment("")], [Segment("…")])
        left_out = not chosen


def _text(line: Segmented) -> str:
    return "".join(segment.text for segment in line).rstrip()


# ---- architecture ----------------------------------------------------------------------------------------------------

STATIONS = (
    (f"Pulumi.{STACK}.yaml", "what you want"),
    ("settings/", "is it well formed?"),
    ("planning/", "what follows: pure, exact"),
    ("components/", "what is declared"),
    ("the cluster", "Kubernetes objects"),
)
OUTERMOST, OPERATORS = "LlmStack", "operators"
# Pixels: margin, width of a box, height of a station, gaps between columns and rows, a line of text.
MARGIN, BOX, STATION, GAP, ROW, LINE = 20, 216, 50, 54, 26, 16
BELOW_STATIONS = MARGIN + STATION + 24
# What a line of a box holds.
CHARACTERS = 34
STYLE = (
    "text{font-family:ui-sans-serif,system-ui,sans-serif;font-size:12px;fill:#1f2937}"
    ".title{font-weight:600;font-size:13px}.small{fill:#6b7280;font-size:11px}"
    ".box{fill:#f8fafc;stroke:#64748b}.station{fill:#e0f2fe;stroke:#0284c7}.arrow{stroke:#64748b;fill:none}"
)


def architecture() -> str:
    """From the stack file to the cluster, and which component of the production stack waits for which."""
    _, found = _stack()
    boxes, edges = _boxes(found), _edges(found)
    drawn: list[str] = []
    left_of: dict[str, Point] = {}
    right_of: dict[str, Point] = {}
    bottom = 0
    for column, names in enumerate(_columns(boxes, edges)):
        left, top = MARGIN + column * (BOX + GAP), BELOW_STATIONS + 30
        for name in names:
            height = 34 + LINE * len(boxes[name])
            drawn += _box("box", left, top, height, name, boxes[name])
            left_of[name], right_of[name] = (left, top + height // 2), (left + BOX, top + height // 2)
            top += height + ROW
        bottom = max(bottom, top - ROW)
    caption = f"components of the stack {STACK}, each waits for those that point to it"
    arrows = [_arrow(right_of[before], left_of[after]) for before, after in edges]
    return _svg(bottom + MARGIN, [*_stations(), _label(MARGIN, BELOW_STATIONS + 12, caption, "small"), *arrows, *drawn])


def _boxes(found: Iterable[Manifest]) -> dict[str, list[str]]:
    """Class of component → what is written below it: names of its components, and the kinds of their objects."""
    names: dict[str, dict[str, None]] = {}
    kinds: dict[str, dict[str, None]] = {}
    for item in found:
        if owner := _owner(item):
            names.setdefault(owner, {})[item.name if owner == OPERATORS else item.component.partition("/")[2]] = None
            kinds.setdefault(owner, {})[item.kind.replace("Release", "Helm release")] = None
    return {
        owner: [
            *textwrap.wrap(", ".join(names[owner]), CHARACTERS, break_on_hyphens=False),
            *textwrap.wrap(", ".join(kinds[owner]), CHARACTERS, break_on_hyphens=False),
        ]
        for owner in names
    }


def _owner(item: Manifest) -> str:
    """The class of component an object belongs to; empty for what the outermost has beside the operators."""
    owner = item.component.partition("/")[0]
    return owner if owner != OUTERMOST else OPERATORS if item.kind == "Release" else ""


def _edges(found: Iterable[Manifest]) -> list[tuple[str, str]]:
    """(what is waited for, what waits), without what another pair says already."""
    owners = {item.urn: _owner(item) for item in found}
    waits: dict[str, set[str]] = {}
    for item in found:
        after = owners[item.urn]
        for urn in item.options.depends_on:
            if after and (before := owners.get(urn, "")) not in ("", after):
                waits.setdefault(after, set()).add(before)

    def reaches(before: str, after: str) -> bool:
        return any(before == other or reaches(before, other) for other in waits.get(after, ()))

    return sorted(
        (before, after)
        for after, those in waits.items()
        for before in those
        if not any(reaches(before, other) for other in those - {before})
    )


def _columns(boxes: Iterable[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Boxes from left to right: right of what they wait for, or else right before the first that waits for them."""

    def depth(name: str) -> int:
        return max((depth(before) + 1 for before, after in edges if after == name), default=0)

    def column(name: str) -> int:
        return depth(name) or min((depth(after) - 1 for before, after in edges if before == name), default=0)

    found: list[list[str]] = []
    for name in boxes:
        found += [[] for _ in range(column(name) + 1 - len(found))]
        found[column(name)].append(name)
    return found


def _stations() -> Iterator[str]:
    for number, (title, said) in enumerate(STATIONS):
        left = MARGIN + number * (BOX + GAP)
        yield from _box("station", left, MARGIN, STATION, title, [said])
        if number:
            yield _arrow((left - GAP, MARGIN + STATION // 2), (left, MARGIN + STATION // 2))


def _box(kind: str, left: int, top: int, height: int, title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f'<rect class="{kind}" x="{left}" y="{top}" width="{BOX}" height="{height}" rx="6"/>'
    yield _label(left + 12, top + 20, title, "title")
    for number, line in enumerate(lines, 1):
        yield _label(left + 12, top + 20 + LINE * number, line, "small")


def _label(left: int, top: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{left}" y="{top}">{escape(text)}</text>'


def _arrow(start: Point, end: Point) -> str:
    middle = (start[0] + end[0]) // 2
    return (
        f'<path class="arrow" marker-end="url(#head)" d="M{start[0]} {start[1]}C{middle} {start[1]} {middle} {end[1]} '
        f'{end[0] - 7} {end[1]}"/>'
    )


def _svg(height: int, parts: Iterable[str]) -> str:
    width = 2 * MARGIN + len(STATIONS) * (BOX + GAP) - GAP
    head = '<marker id="head" markerWidth="8" markerHeight="8" refX="1" refY="4" orient="auto">'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>Architecture of llm-stack</title>",
            f"<style>{STYLE}</style>",
            f'<defs>{head}<path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


PICTURES: Mapping[Path, Callable[[], str]] = {
    FOLDER / "preview.svg": preview,
    FOLDER / "architecture.svg": architecture,
}
