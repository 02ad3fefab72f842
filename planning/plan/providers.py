"""External providers behind the gateway, and its ways out of the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from planning.plan.access import CaBundle, SecretVariable
from planning.plan.pods import EgressRule


@dataclass(frozen=True)
class ProviderModel:
    """One model of a provider. `name`: what fallbacks, answers and metrics call it; `model`: LiteLLM's word for it.

    `direct`: whether clients may ask it by its name.
    """

    name: str
    model: str
    context_tokens: int
    input_cost_per_token: float
    output_cost_per_token: float
    direct: bool


@dataclass(frozen=True)
class ProviderPlan:
    """One provider: its base URL, its key as a variable of the gateway, and its models."""

    name: str
    base_url: str
    host: str
    key: SecretVariable
    models: tuple[ProviderModel, ...]
    asked_for: Mapping[str, tuple[str, ...]]
    """Served model → those of these models that its requests may reach."""


@dataclass(frozen=True)
class Outside:
    """Places beyond the stack that the gateway asks: rules towards each by name, and what its pods are told of the way.

    `ca_bundle`: whom it trusts there instead of the authorities of its image.
    """

    egress: Mapping[str, tuple[EgressRule, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretVariable, ...] = ()
    ca_bundle: CaBundle | None = None
