"""The stack configuration: its shape, what is wrong with it, and the only place that reads it.

`settings.commandline` is beside it for all commands, because it says what was refused.
"""

from settings.problems import Problem, Refused
from settings.schema import StackSettings
from settings.validate import validate

__all__ = ["Problem", "Refused", "StackSettings", "validate"]
