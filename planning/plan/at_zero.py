"""A model without a replica, as the gateway knows it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AtZero:
    """A public name whose servers may all be away. `routes`: id of a route → its server; `health_path`: of each.

    `hold_s`: how long a request waits for one of them; None: it is told at once that it may come back in `start_s`.
    """

    model_name: str
    routes: Mapping[str, str]
    health_path: str
    hold_s: int | None
    start_s: int
