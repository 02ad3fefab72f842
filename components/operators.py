"""Helm releases of the operators a stack relies on: one per cluster, so they belong to no single pool or server."""

from collections.abc import Mapping
from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as k8s


class ReleaseArgs(TypedDict):
    """One Helm release."""

    name: str
    """Release name."""
    chart: str
    """Chart name, oci:// reference or path."""
    repository: str | None
    """Repository URL; None with an OCI reference or a path."""
    version: str
    """Exact chart version."""
    namespace: str
    """Namespace, created with it."""
    values: Mapping[str, Any]
    """Values; never secrets."""
    privileged: bool
    """Whether its pods need the *privileged* Pod Security level: drivers and node exporters."""
    timeout_s: int
    """How long Helm waits."""


def install(releases: Mapping[str, ReleaseArgs], opts: pulumi.ResourceOptions) -> dict[str, pulumi.Resource]:
    """Declare each release in a namespace with the Pod Security level it needs; returns them by chart name.

    A namespace that exists is taken over, and none is ever deleted: others may have put something there.
    """
    kept = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True))
    namespaces: dict[str, k8s.core.v1.Namespace] = {}
    declared: dict[str, pulumi.Resource] = {}
    for chart, args in releases.items():
        if args["namespace"] not in namespaces:
            level = "privileged" if args["privileged"] else "baseline"
            labels = {"pod-security.kubernetes.io/enforce": level}
            namespaces[args["namespace"]] = k8s.core.v1.Namespace(
                args["namespace"], metadata={"name": args["namespace"], "labels": labels}, opts=kept
            )
        # no atomic: it uninstalls an operator that is slow. No replace, force_update or cleanup_on_fail: with none of
        # them Helm goes on from a release that says it is pending (helm 3.20.2 pkg/action, install.go availableName
        # and upgrade.go errPending; tried). docs/operations.md, After a killed update, has the command.
        declared[chart] = k8s.helm.v3.Release(
            chart,
            name=args["name"],
            chart=args["chart"],
            repository_opts={"repo": args["repository"]} if args["repository"] else None,
            version=args["version"],
            namespace=namespaces[args["namespace"]].metadata.name,
            values=dict(args["values"]),
            timeout=args["timeout_s"],
            opts=opts,
        )
    return declared
