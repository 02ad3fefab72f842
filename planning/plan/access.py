"""Access of pods to hubs and stores: keys, files, identities, and the way out of the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from planning.plan.pods import EgressRule


@dataclass(frozen=True)
class SecretVariable:
    """An entry of a Secret that exists, as a variable of the container."""

    name: str
    secret: str
    entry: str


@dataclass(frozen=True)
class CaBundle:
    """An entry of a ConfigMap or Secret that exists, with the authorities that a pod trusts, as the file `CA_FILE`."""

    kind: Literal["configMap", "secret"]
    name: str
    entry: str


@dataclass(frozen=True)
class SecretFile:
    """An entry of a Secret that exists, as a file whose path is in `variable`."""

    variable: str
    secret: str
    entry: str


@dataclass(frozen=True)
class Identity:
    """Identity of a pod to a store, granted by the platform: annotations of its ServiceAccount, labels of the pod."""

    annotations: Mapping[str, str]
    pod_labels: Mapping[str, str]


@dataclass(frozen=True)
class Outward:
    """The way of a pod to one place outside of the cluster: by itself or through a proxy, and whom it trusts there."""

    egress: tuple[EgressRule, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretVariable, ...] = ()
    ca_bundle: CaBundle | None = None
