"""Names that a cluster has for kinds: `networkpolicies` of `networking.k8s.io`, which no rule of grammar makes."""

from dataclasses import dataclass

from preview.preflight.cluster import Cluster


@dataclass(frozen=True)
class Resource:
    """A kind as rules and quotas name it; `group` is empty for the core."""

    group: str
    plural: str
    namespaced: bool

    @property
    def counted(self) -> str:
        """Name of its number in a quota: `deployments.apps` of `count/deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def resource(cluster: Cluster, api_version: str, kind: str) -> Resource | None:
    """The kind as the cluster has it; None where it does not, because its operator is not there yet.

    Raises as `Cluster.get`.
    """
    group, _, version = api_version.rpartition("/")
    answer = cluster.get(f"/apis/{api_version}" if group else f"/api/{version}")
    for each in (answer or {}).get("resources") or ():
        if each["kind"] == kind and "/" not in each["name"]:
            return Resource(group, each["name"], bool(each.get("namespaced")))
    return None
