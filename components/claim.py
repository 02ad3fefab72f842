"""The claim of a stack on its namespace: first of all that it makes there, and taken over from nobody unasked.

The field manager of project and stack tells stacks apart (`components.ownership`), but not those of one name in two
backends. What tells these apart is the identity that the engine draws for the provider: it is in the state before
anything else is made, so whoever was killed half-way has it still, and whoever has another state has it not.
"""

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.ownership import ANNOTATION
from planning.stack.identity import CLAIM, CLAIMED_BY, CLAIMED_IN, claim_manager, lost_claim

Proof = pulumi.Output[pulumi.Resource]


def claim(
    name: str,
    namespace: pulumi.Input[str],
    owner: str,
    provider: pulumi.ProviderResource,
    opts: pulumi.ResourceOptions,
) -> Proof:
    """Declares it in the namespace of this name, and returns what all else waits for: that it is this state's still.

    The claim of another state is a conflict of field managers. One that was lost since is seen by reading it, which
    every preview and every `up` does: the engine has no reason to write what has not changed.
    """
    declared = k8s.core.v1.ConfigMap(
        CLAIM,
        metadata={
            "namespace": namespace,
            "name": CLAIM,
            "labels": _k8s.labels("claim", "ownership", "stack"),
            "annotations": {ANNOTATION: provider.id.apply(lambda state: claim_manager(owner, state))},
        },
        data={CLAIMED_BY: owner, CLAIMED_IN: provider.id},
        opts=opts,
    )
    present = k8s.core.v1.ConfigMap.get(f"{CLAIM}-present", declared.id, opts=opts)

    def proved(content: Mapping[str, str] | None, state: str) -> pulumi.Resource:
        if refusal := lost_claim(name, content or {}, state):
            raise pulumi.RunError(refusal)
        return declared

    return pulumi.Output.all(present.data, provider.id).apply(lambda known: proved(*known))


def waiting_for(proof: Proof) -> pulumi.ResourceTransformation:
    """A transformation by which every object and every release waits for the proof of the claim."""
    waits = pulumi.ResourceOptions(depends_on=[proof])

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith("kubernetes:"):
            return None
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, waits))

    return transform
