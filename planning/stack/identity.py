"""Identities by which stacks of one cluster never meet: names of what no namespace holds, claims on what one holds."""

import hashlib
from collections.abc import Mapping

from settings.schema import ClusterSettings

# The ConfigMap in which a stack claims its namespace, and its entries: the stack, and which state of it.
CLAIM = "llm-stack-claim"
CLAIMED_BY, CLAIMED_IN = "stack", "state"
# A field manager has 128 characters at most (kubernetes apimachinery pkg/apis/meta/v1/validation,
# FieldManagerMaxLength), and the identity of a state 36: a UUID (pulumi pkg/resource/deploy/providers, registry.go).
LONGEST_OWNER = 50


def name_on_cluster(name: str, cluster: ClusterSettings) -> str:
    """The name of something that no namespace holds: its own in the namespace of stacks that say none, else with both.

    Two stacks of one cluster have two namespaces, so that no two names are the same; a label has 63 characters at most.
    """
    if cluster.namespace == ClusterSettings.model_fields["namespace"].default:
        return name
    mark = hashlib.sha256(f"{cluster.namespace}/{name}".encode()).hexdigest()[:6]
    return f"{f'{name}-{cluster.namespace}'[:56].rstrip('-')}-{mark}"


def claim_manager(owner: str, state: str) -> str:
    """The field manager of a claim, which the API server quotes to whoever meets it: hence the way out in it.

    Another text would be another manager, and every stack in conflict with its own claim.
    """
    return f"{owner[:LONGEST_OWNER]}, state {state}; cluster.takeOver: true takes over"


def lost_claim(namespace: str, claim: Mapping[str, str], state: str) -> str:
    """The refusal of a stack whose namespace another state claims by now; empty: it is this one's."""
    if claim.get(CLAIMED_IN) == state:
        return ""
    who = f"stack '{claim[CLAIMED_BY]}' of another state" if CLAIMED_BY in claim else "somebody else"
    return (
        f"cluster.namespace: '{namespace}' was taken over by {who} (ConfigMap {CLAIM}); leave it to them, "
        "or take it back by cluster.takeOver: true and one `pulumi up --refresh`"
    )
