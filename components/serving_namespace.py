"""The namespace everything is served from: restricted pods, nothing allowed on the network, kept on destroy."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
    "pod-security.kubernetes.io/audit": "restricted",
}

# Address NodeLocal DNSCache listens on where it is used (Kubernetes documentation, nodelocaldns).
NODE_LOCAL_DNS = "169.254.20.10/32"
# What every pod may ask, as a rule of a policy.
DNS: dict[str, Any] = {
    "to": [_k8s.namespace_pods("kube-system"), {"ipBlock": {"cidr": NODE_LOCAL_DNS}}],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}


def serving_namespace(name: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """Declare the namespace and its default-deny policies; returns its name.

    The namespace stays on destroy, because deleting it would delete the weights in it, and is taken over by the next
    `up`. The names of the policies are ours alone: a namespace that existed may have a `default-deny` of its own.
    """
    namespace = k8s.core.v1.Namespace(
        name,
        metadata={"name": name, "labels": {"app.kubernetes.io/part-of": _k8s.PART_OF, **RESTRICTED}},
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True)),
    )
    for policy, spec in (
        ("default-deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        ("allow-dns", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [DNS]}),
    ):
        k8s.networking.v1.NetworkPolicy(
            f"{name}-{policy}",
            metadata={"name": f"{_k8s.PART_OF}-{policy}", "namespace": namespace.metadata.name},
            spec=spec,  # pyright: ignore[reportArgumentType] - Kubernetes spelling, checked against its schema in tests
            opts=opts,
        )
    return namespace.metadata.name
