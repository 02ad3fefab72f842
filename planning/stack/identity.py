"""Names of what no namespace holds, so that stacks of one cluster never meet: pools, and what buys their nodes."""

import hashlib

from settings.schema import ClusterSettings


def name_on_cluster(name: str, cluster: ClusterSettings) -> str:
    """The name of something that no namespace holds: its own in the namespace of stacks that say none, else with both.

    Two stacks of one cluster have two namespaces, so that no two names are the same; a label has 63 characters at most.
    """
    if cluster.namespace == ClusterSettings.model_fields["namespace"].default:
        return name
    mark = hashlib.sha256(f"{cluster.namespace}/{name}".encode()).hexdigest()[:6]
    return f"{f'{name}-{cluster.namespace}'[:56].rstrip('-')}-{mark}"
