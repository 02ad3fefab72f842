"""Secrets of the keys of servers and gateway: derived from one master key, or entries of a Secret that exists."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from planning.gateway.litellm import weak_key


@dataclass(frozen=True)
class ExistingSecret:
    """A Secret with the entries `master-key`, `redis-password`, `salt-key` and `vllm-<model>`."""

    name: str


@dataclass(frozen=True)
class MasterKey:
    """The key that opens the gateway, a secret; all others follow from it. A weak one is refused when it is known."""

    value: pulumi.Input[str]

    @property
    def strong(self) -> pulumi.Output[str]:
        """The key itself, or a refusal before anything is deployed."""
        return pulumi.Output.secret(self.value).apply(_refuse_weak)

    def derived(self, purpose: str) -> pulumi.Output[str]:
        """A key of its own for `purpose`, the same at every run: HMAC-SHA256 of the purpose under the master key.

        Derived instead of drawn, so that no random provider is needed and nothing changes between runs; whoever has it
        cannot learn the master key.
        """
        return pulumi.Output.secret(self.value).apply(
            lambda key: "sk-" + hmac.new(key.encode(), purpose.encode(), hashlib.sha256).hexdigest()
        )


Keys = MasterKey | ExistingSecret


def own_secret(
    name: str,
    metadata: Any,
    entries: Mapping[str, pulumi.Output[str]],
    opts: pulumi.ResourceOptions,
    kind: str | None = None,
) -> pulumi.Output[str]:
    """A Secret of ours with these entries; returns its name. `kind`: its type, of those that Kubernetes knows."""
    return k8s.core.v1.Secret(name, metadata=metadata, type=kind, string_data=entries, opts=opts).metadata.name


def _refuse_weak(key: str) -> str:
    if why := weak_key(key):
        raise pulumi.RunError(why)
    return key
