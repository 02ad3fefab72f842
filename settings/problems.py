"""What is wrong with a configuration, in words for the person who wrote it: where, what, which rule, nearest fix."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to mend: `path` as written in the stack file (dots between keys), `message` for the reader."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Refused(Exception):
    """The configuration cannot be deployed; carries every problem found, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the known word closest to `word`, or the list of known words.

    Letter case is ignored, so that `Nvidia-A10` finds `nvidia-a10`.
    """
    words = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    if matches:
        return f"; did you mean '{words[matches[0]]}'?"
    listed = sorted(words.values())
    shown = ", ".join(listed[:12]) + (", …" if len(listed) > 12 else "")
    return f"; known: {shown}" if listed else ""
