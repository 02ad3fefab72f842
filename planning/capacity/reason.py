"""A reason against a fit, as a sentence that who asked completes."""

from dataclasses import dataclass

# Stands in a reason for the name of the place, which only who asked knows.
PLACE = "<place>"


@dataclass(frozen=True)
class Reason:
    """A reason against a fit. `fix`: what to use instead; not `computable`: only a measurement can tell."""

    text: str
    fix: str = ""
    computable: bool = True

    def at(self, place: str) -> str:
        """The sentence, with the name of the place and the fix."""
        sentence = self.text.replace(PLACE, place)
        return f"{sentence}; use {self.fix}" if self.fix else sentence
