"""A comparison as Markdown for a pull request: what is lost first, then what changes, then what it costs.

Bounded: a comment on GitHub holds 65,536 characters, and nobody reads the thousandth changed field.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import ndiff
from typing import Any

from preview.compare import Action, Change, FieldChange
from preview.fields import ABSENT
from preview.wording import count, usd_range

Document = Mapping[str, Any]
MAX_PAGE = 30_000
MAX_OBJECTS = 40
# Fields shown per object: the first of these with which the page is short enough.
MAX_FIELDS = (12, 3, 0)
MAX_VALUE = 100
MAX_LINES = 6
HEADINGS = {
    Action.REPLACE: "Replaced",
    Action.DELETE: "Deleted",
    Action.CHANGE: "Changed in place",
    Action.ADD: "Added",
}


def comparison(before: Document | None, after: Document, changes: Sequence[Change]) -> str:
    """The Markdown of one stack; `before` is None when the base has no such stack."""
    pages = (_comparison(before, after, changes, fields) for fields in MAX_FIELDS)
    return next((page for page in pages if len(page) <= MAX_PAGE), None) or _comparison(before, after, changes, 0)


def _comparison(before: Document | None, after: Document, changes: Sequence[Change], fields: int) -> str:
    counts = [f"{number} {action}" for action in Action if (number := sum(c.action is action for c in changes))]
    news = "" if before is not None else " (new stack)"
    parts = [f"### {after['stack']}{news}: {', '.join(counts) or 'no changes'}"]
    if blocked := [change for change in changes if change.blocked]:
        lines = [f"- `{change.thing}`: {note}" for change in blocked for note in change.notes]
        parts.append("\n".join(["**⚠ This update cannot succeed**", "", *lines]))
    for action, heading in HEADINGS.items():
        if found := [change for change in changes if change.action is action]:
            parts.append("\n".join([f"**{heading}**", "", *_objects(found, fields)]))
    known = set(before["warnings"]) if before is not None else set()
    if warnings := [text for text in after["warnings"] if text not in known]:
        parts.append("\n".join(["**New warnings**", "", *(f"- {text}" for text in warnings)]))
    if changes or before is None:
        parts.append("\n".join(_models(before, after)))
    return "\n\n".join(parts) + "\n"


def refusal(document: Document, side: str) -> str:
    """The Markdown of a stack that one side (`this change`, `the base`) refuses."""
    lines = [f"- `{problem['path']}`: {problem['message']}" for problem in document["refused"]]
    return "\n".join([f"### {document['stack']}: refused by {side}", "", *lines]) + "\n"


def _objects(changes: Sequence[Change], most: int) -> Iterator[str]:
    for change in changes[:MAX_OBJECTS]:
        owner = change.thing.entry.get("component")
        yield f"- `{change.thing}`{f' ({owner})' if owner else ''}"
        yield from (f"  - {'⚠ ' if change.blocked else ''}{note}" for note in change.notes)
        # what forces the replacement is what the reader asks first
        fields = sorted(change.fields, key=lambda field: not field.replaces)
        yield from (f"  - {_field(field)}" for field in fields[:most])
        if len(fields) > most:
            yield f"  - … and {count(len(fields) - most, 'more field' if most else 'field')}"
    if len(changes) > MAX_OBJECTS:
        yield f"- … and {count(len(changes) - MAX_OBJECTS, 'more object')}"


def _field(field: FieldChange) -> str:
    name = f"`{field.path}`{' (forces the replacement)' if field.replaces else ''}"
    if field.old is ABSENT:
        return f"{name}: added {_code(field.new)}"
    if field.new is ABSENT:
        return f"{name}: removed {_code(field.old)}"
    if isinstance(field.old, list) and isinstance(field.new, list):
        return f"{name}: {_lines([_text(item) for item in field.old], [_text(item) for item in field.new])}"
    if isinstance(field.old, str) and isinstance(field.new, str) and "\n" in field.old + field.new:
        return f"{name}: {_lines(field.old.splitlines(), field.new.splitlines())}"
    return f"{name}: {_code(field.old)} → {_code(field.new)}"


def _lines(old: list[str], new: list[str]) -> str:
    """The lines or list items that went and came, a few of them."""
    changed = [line for line in ndiff(old, new) if line[:2] in ("- ", "+ ")]
    shown = [f"{'−' if line[0] == '-' else '+'}{_code(line[2:].strip())}" for line in changed[:MAX_LINES]]
    more = f" … and {len(changed) - MAX_LINES} more" if len(changed) > MAX_LINES else ""
    return " ".join(shown) + more


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _code(value: Any) -> str:
    """Inline code, on one line and cut; a value with backticks needs longer fences."""
    text = " ".join(_text(value).split())
    text = text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
    return f"`` {text} ``" if "`" in text else f"`{text or ' '}`"


def _models(before: Document | None, after: Document) -> Iterator[str]:
    """One row per model, with `old → new` where a cell differs, and the total."""
    old = before["models"] if before is not None else {}
    yield "| model | runs on | context | replicas | $/h |"
    yield "|---|---|---|---|---|"
    for name in {**after["models"], **old}:
        sides = [_row(models.get(name)) for models in (old, after["models"])]
        cells = [_cell(*pair, known=before is not None) for pair in zip(*sides, strict=True)]
        yield f"| {name} | {' | '.join(cells)} |"
    totals = [_total(document) if document is not None else None for document in (before, after)]
    yield f"| **total** | | | | **{_cell(*totals, known=before is not None)}** |"


def _row(model: Document | None) -> list[str | None]:
    if model is None:
        return [None] * 4
    devices = f"{model['gpus']} × {model['gpu']}" if model["gpus"] else f"CPU pool {model['pool']}"
    fewest, most = model["replicas"]["min"], model["replicas"]["max"]
    price = model["usd_per_hour"]
    return [
        devices,
        f"{model['context_tokens']:,}",
        str(most) if fewest == most else f"{fewest}–{most}",
        usd_range(price * fewest, price * most) if price is not None else "not known",
    ]


def _cell(old: str | None, new: str | None, *, known: bool) -> str:
    if not known or old == new:
        return new or "–"
    return f"{old or '–'} → {new or '–'}"


def _total(document: Document) -> str | None:
    cost = document["cost"]
    if cost is None:
        return "not known"
    missing = f" without {', '.join(cost['unpriced'])}" if cost["unpriced"] else ""
    return usd_range(cost["usd_per_hour_min"], cost["usd_per_hour_max"]) + missing
