"""The stack configuration: its shape, what is wrong with it, and the only place that reads it."""

from settings.problems import Problem, Refused
from settings.schema import StackSettings
from settings.validate import validate

__all__ = ["Problem", "Refused", "StackSettings", "validate"]
