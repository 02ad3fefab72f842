"""Findings of scanners, and the table of exceptions in docs/security.md that says which of them are meant.

Pure, but for reading that page. A finding that no row allows is an error, and so is a row that allows nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
HEADING = "## What scanners say"
COLUMNS = ("scanner", "check", "objects", "why it is so")


@dataclass(frozen=True, order=True)
class Finding:
    """One complaint of a scanner about one object of one stack."""

    scanner: str
    check: str
    kind: str
    name: str
    stack: str

    def __str__(self) -> str:
        return f"{self.scanner} {self.check}: {self.kind} {self.name} of {self.stack}"


@dataclass(frozen=True)
class Allowed:
    """A row of the table: findings of one check about objects that match one of `patterns` (`Kind/name`, with `*`)."""

    scanner: str
    check: str
    patterns: tuple[str, ...]
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether the row is about this finding."""
        same = (finding.scanner, finding.check) == (self.scanner, self.check)
        return same and any(fnmatchcase(f"{finding.kind}/{finding.name}", pattern) for pattern in self.patterns)

    def __str__(self) -> str:
        return f"{self.scanner} {self.check}: {', '.join(self.patterns)}"


def table(text: str) -> tuple[Allowed, ...]:
    """The rows of the table below its heading. Raises `ValueError` where there is none, and for an incomplete row."""
    _, found, section = text.partition(f"\n{HEADING}\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    if not found or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"no table of {', '.join(COLUMNS)} below '{HEADING}'")
    allowed = []
    for row in rows[2:]:
        if len(row) != len(COLUMNS) or not all(row):
            raise ValueError(f"a row needs {', '.join(COLUMNS)}: {' | '.join(row)}")
        scanner, check, objects, reason = row
        patterns = tuple(pattern.strip().strip("`") for pattern in objects.split(","))
        allowed.append(Allowed(scanner, check.strip("`"), patterns, reason))
    return tuple(allowed)


def judge(findings: Iterable[Finding], allowed: Sequence[Allowed], ran: Iterable[str]) -> list[str]:
    """What is wrong: findings that no row covers, and rows of scanners that `ran` whose every pattern is not needed."""
    found = sorted(set(findings))
    wrong = [f"not allowed: {finding}" for finding in found if not any(row.covers(finding) for row in allowed)]
    scanners = set(ran)
    for row in allowed:
        for pattern in row.patterns:
            alone = Allowed(row.scanner, row.check, (pattern,), row.reason)
            if row.scanner in scanners and not any(alone.covers(finding) for finding in found):
                wrong.append(f"no longer found, take it out of the table: {row.scanner} {row.check}: {pattern}")
    return wrong
