"""Helm releases of the operators a stack relies on: one per cluster, so they belong to no single pool or server."""

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from planning.plan.observe import ReleasePlan


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
            timeout=release.timeout_s,
            opts=opts,
        )
    return declared
