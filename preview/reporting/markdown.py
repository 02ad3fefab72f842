"""A comparison as Markdown for a pull request: who notices, what must be there before, and then what is done to what.

Nobody reads the thousandth changed field, so every page comes in versions of less and less detail.
"""

import json
from collections.abc import Iterator, Sequence
from difflib import ndiff
from typing import Any

from preview.rendering.prerequisites import secret
from preview.reporting.compare import Action, Change, FieldChange
from preview.reporting.fields import ABSENT
from preview.reporting.notices import collect_notices
from preview.reporting.sides import Document, Notice, Rank, Sides
from preview.reporting.wording import count, usd_range

MANY = 10**9
# (objects of each kind of change, fields of each object) that are shown, version by version.
DETAIL = ((MANY, MANY), (MANY, 12), (40, 12), (40, 3), (40, 0))
MAX_VALUE = 100
MAX_LINES = 6
HEADINGS = {
    Action.REPLACE: "Replaced",
    Action.DELETE: "Deleted",
    Action.CHANGE: "Changed in place",
    Action.ADD: "Added",
}


def comparison(sides: Sides) -> list[str]:
    """The Markdown of one stack, in versions: the most detailed first."""
    pages = [_comparison(sides, objects, fields) for objects, fields in DETAIL]
    return list(dict.fromkeys(pages))


def _comparison(sides: Sides, objects: int, fields: int) -> str:
    before, after, changes = sides.before, sides.after, sides.changes
    counts = [f"{number} {action}" for action in Action if (number := sum(c.action is action for c in changes))]
    news = "" if before is not None else " (new stack)"
    parts = [f"### {after['stack']}{news}: {', '.join(counts) or 'no changes'}"]
    noticed = collect_notices(sides)
    parts += ["\n".join(_notices(noticed))] if changes or noticed else []
    if needed := _needed(before, after):
        parts.append("\n".join(["**Must be there before this is merged**", "", *needed]))
    if changes or before is None:
        parts.append("\n".join(_models(before, after)))
    known = set(before["warnings"]) if before is not None else set()
    if warnings := [text for text in after["warnings"] if text not in known]:
        parts.append("\n".join(["**New warnings**", "", *(f"- {text}" for text in warnings)]))
    for action, heading in HEADINGS.items():
        if same := [change for change in changes if change.action is action]:
            parts.append("\n".join([f"**{heading}**", "", *_objects(same, objects, fields)]))
    return "\n\n".join(parts) + "\n"


def _notices(noticed: Sequence[Notice]) -> Iterator[str]:
    if all(notice.rank >= Rank.OPERATORS for notice in noticed):
        yield "**Who will notice: nobody who uses it**"
    else:
        yield "**Who will notice, and for how long**"
    if noticed:
        yield ""
    for notice in noticed:
        yield f"- {'⚠ ' if notice.rank <= Rank.FAILS else ''}{notice}"


def _needed(before: Document | None, after: Document) -> list[str]:
    """Objects that the base did not expect on the cluster; of a Secret that it did, the entries that are new."""
    known = {_place(expected): expected for expected in (before or {}).get("prerequisites", ())}
    lines: list[str] = []
    for expected in after.get("prerequisites", ()):
        old = known.get(_place(expected))
        if expected["kind"] != "Secret":
            if old is None:
                note = f": {expected['note']}" if expected.get("note") else ""
                lines += [f"- `{_named(expected)}`{note}", *_fence(expected.get("command", ""))]
            continue
        keys = [key for key in expected.get("keys", ()) if old is None or key not in old.get("keys", ())]
        if old is not None and not keys:
            continue
        commands = secret(
            expected["name"], expected["namespace"], keys, [key for key in expected.get("drawn", ()) if key in keys]
        )
        entries = ", ".join(f"`{key}`" for key in keys)
        also = "with" if old is None else "also with"
        lines.append(f"- `{_named(expected)}`, {also} {entries or 'whatever it holds'}")
        if old is None:
            lines += _fence(commands.command)
            lines += ["  or, where it exists, what it lacks:", *_fence(commands.add)] if commands.add else []
        else:
            lines += _fence(commands.add)
    return lines


def _place(expected: Document) -> tuple[str, str, str]:
    return expected["kind"], expected.get("namespace", ""), expected["name"]


def _named(expected: Document) -> str:
    where = f" in {expected['namespace']}" if expected.get("namespace") else ""
    return f"{expected['kind']} {expected['name']}{where}"


def _fence(command: str) -> list[str]:
    """A command to copy, as part of a list item."""
    return ["  ```sh", *(f"  {line}" for line in command.splitlines()), "  ```"] if command else []


def removal(stack: str) -> str:
    """The Markdown of a stack whose file is gone."""
    return f"### Pulumi.{stack}.yaml is removed\n\nIts resources stay until somebody runs `pulumi destroy`.\n"


def refusal(document: Document, side: str) -> str:
    """The Markdown of a stack that one side (`this change`, `the base`) refuses."""
    lines = [f"- `{problem['path']}`: {problem['message']}" for problem in document["refused"]]
    return "\n".join([f"### {document['stack']}: refused by {side}", "", *lines]) + "\n"


def _objects(changes: Sequence[Change], shown: int, most: int) -> Iterator[str]:
    for change in changes[:shown]:
        owner = change.thing.entry.get("component")
        yield f"- `{change.thing}`{f' ({owner})' if owner else ''}"
        yield from (f"  - {'⚠ ' if change.blocked else ''}{note}" for note in change.notes)
        # what forces the replacement is what the reader asks first
        fields = sorted(change.fields, key=lambda field: not field.replaces)
        yield from (f"  - {_field(field)}" for field in fields[:most])
        if len(fields) > most:
            yield f"  - … and {count(len(fields) - most, 'more field' if most else 'field')}"
    if len(changes) > shown:
        yield f"- … and {count(len(changes) - shown, 'more object')}"


def _field(field: FieldChange) -> str:
    name = f"`{field.path}`{' (forces the replacement)' if field.replaces else ''}"
    if field.old is ABSENT:
        return f"{name}: added {_code(field.new)}"
    if field.new is ABSENT:
        return f"{name}: removed {_code(field.old)}"
    if isinstance(field.old, list) and isinstance(field.new, list):
        return f"{name}: {_lines([_text(element) for element in field.old], [_text(element) for element in field.new])}"
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
    months = [_month(document) if document is not None else None for document in (before, after)]
    if any(months):
        yield f"| **storage, a month** | | | | **{_cell(*months, known=before is not None)}** |"


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


def _month(document: Document) -> str | None:
    """Dollars a month of what is kept; None where no price is given, or an older version did not say."""
    month = (document.get("storage") or {}).get("usd_per_month")
    return usd_range(*month) if month else None


def _total(document: Document) -> str | None:
    cost = document["cost"]
    if cost is None:
        return "not known"
    missing = f" without {', '.join(cost['unpriced'])}" if cost["unpriced"] else ""
    return usd_range(cost["usd_per_hour_min"], cost["usd_per_hour_max"]) + missing
