"""Callbacks of the gateway: who else hears of its requests."""

from collections.abc import Mapping
from dataclasses import dataclass

from planning.plan.access import SecretVariable


@dataclass(frozen=True)
class CallbackPlan:
    """LiteLLM's callbacks by its own names, and what they read; `prompts`: with what was asked and answered."""

    names: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: tuple[SecretVariable, ...]
    prompts: bool
