"""The namespace everything is served from: restricted pods, nothing allowed on the network, kept on destroy."""

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.parts import dns_of_any_cluster
from planning.plan.pods import DnsPlan

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
    "pod-security.kubernetes.io/audit": "restricted",
}


def serving_namespace(name: str, opts: pulumi.ResourceOptions, dns: DnsPlan | None = None) -> pulumi.Output[str]:
    """Declare the namespace and its default-deny policies; returns its name. `dns`: default: that of any cluster."""
    return closed(bare_namespace(name, opts), name, opts, dns)


def bare_namespace(name: str, opts: pulumi.ResourceOptions) -> k8s.core.v1.Namespace:
    """The namespace alone.

    It stays on destroy, because deleting it would delete the weights in it, and is taken over by the next `up`.
    """
    return k8s.core.v1.Namespace(
        name,
        metadata={"name": name, "labels": {"app.kubernetes.io/part-of": _k8s.PART_OF, **RESTRICTED}},
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True)),
    )


def closed(
    namespace: k8s.core.v1.Namespace, name: str, opts: pulumi.ResourceOptions, dns: DnsPlan | None
) -> pulumi.Output[str]:
    """Declare that its pods reach nobody but DNS; returns its name.

    The names of the policies are ours alone: a namespace that existed may have a `default-deny` of its own.
    """
    for policy, spec in (
        ("default-deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        (
            "allow-dns",
            {"podSelector": {}, "policyTypes": ["Egress"], "egress": [_k8s.dns(dns or dns_of_any_cluster())]},
        ),
    ):
        k8s.networking.v1.NetworkPolicy(
            f"{name}-{policy}",
            metadata={"name": f"{_k8s.PART_OF}-{policy}", "namespace": namespace.metadata.name},
            spec=spec,  # pyright: ignore[reportArgumentType] - Kubernetes spelling, checked against its schema in tests
            opts=opts,
        )
    return namespace.metadata.name
