"""Everything that follows from a configuration: pure functions from settings and catalogue to one frozen `Plan`."""

from planning.plan import Plan
from planning.resolve import resolve_stack

__all__ = ["Plan", "resolve_stack"]
