"""Storage of a stack: how much is kept where, and what that costs."""

from dataclasses import dataclass
from typing import Literal

Medium = Literal["claim", "existing claim", "node", "bucket"]


@dataclass(frozen=True)
class Stored:
    """One thing that is kept in `place` (a class, a claim, an image, a bucket): `gib` each, `fewest` to `most` of them.

    `usd_per_gib_month` None: nobody has said, or it is paid for with something else.
    """

    what: str
    medium: Medium
    place: str
    gib: float
    fewest: int
    most: int
    usd_per_gib_month: float | None

    @property
    def usd_per_month(self) -> tuple[float, float] | None:
        """With the fewest and with the most of them."""
        if self.usd_per_gib_month is None:
            return None
        each = self.gib * self.usd_per_gib_month
        return each * self.fewest, each * self.most
