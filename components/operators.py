"""Helm releases of the operators a stack relies on: one per cluster, so they belong to no single pool or server."""

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.plan.observe import ReleasePlan

# Kubernetes documentation, Guaranteed Scheduling For Critical Add-On Pods.
CRITICAL = ("system-node-critical", "system-cluster-critical")


def install(releases: Mapping[str, ReleasePlan], opts: pulumi.ResourceOptions) -> dict[str, pulumi.Resource]:
    """Declare each release in a namespace with the Pod Security level it needs; returns them by chart name.

    A namespace that exists is taken over, and none is ever deleted: others may have put something there.
    """
    retained = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True))
    namespaces: dict[str, k8s.core.v1.Namespace] = {}
    declared: dict[str, pulumi.Resource] = {}
    for chart, release in releases.items():
        if release.namespace not in namespaces:
            level = "privileged" if release.privileged else "baseline"
            labels = {"pod-security.kubernetes.io/enforce": level}
            namespaces[release.namespace] = k8s.core.v1.Namespace(
                release.namespace, metadata={"name": release.namespace, "labels": labels}, opts=retained
            )
        before = [_quota(release, namespaces[release.namespace], opts)] if release.critical_pods else []
        # no atomic: it uninstalls an operator that is slow. No replace, force_update or cleanup_on_fail: with none of
        # them Helm goes on from a release that says it is pending (helm 3.20.2 pkg/action, install.go availableName
        # and upgrade.go errPending; tried). docs/operations.md, After a killed update, has the command.
        declared[chart] = k8s.helm.v3.Release(
            chart,
            name=release.name,
            chart=release.chart,
            repository_opts={"repo": release.repository} if release.repository else None,
            version=release.version,
            namespace=namespaces[release.namespace].metadata.name,
            values=dict(release.values),
            allow_null_values=True if release.takes_away else None,
            timeout=release.timeout_s,
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=before)) if before else opts,
        )
    return declared


def _quota(
    release: ReleasePlan, namespace: k8s.core.v1.Namespace, opts: pulumi.ResourceOptions
) -> k8s.core.v1.ResourceQuota:
    """Lets pods of Kubernetes' own priority classes into the namespace of a release."""
    return k8s.core.v1.ResourceQuota(
        f"{release.name}-critical-pods",
        metadata={"name": f"{_k8s.PART_OF}-critical-pods", "namespace": namespace.metadata.name},
        spec={
            "hard": {"pods": release.critical_pods or ""},
            "scope_selector": {
                "match_expressions": [
                    {"operator": "In", "scope_name": "PriorityClass", "values": list(CRITICAL)},
                ]
            },
        },
        opts=opts,
    )
