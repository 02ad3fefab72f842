"""Everything that follows from a configuration: pure functions from settings and catalogue to one frozen `Plan`."""

from planning.plan import Plan
from planning.resolve import resolve

__all__ = ["Plan", "resolve"]
