"""The owner of an object on the cluster, so that an `up` that was killed can be finished by the next one.

An engine that dies between the API server's answer and its own state file has made objects it does not know. The
provider may take such an object over (`upsert_existing_objects`), and server-side apply decides whether it is ours: all
objects of a stack are written under one field manager, named here; what somebody else wrote under another is a conflict
and stays as it is. Without a fixed name the provider draws one per object, and every recovery would leave fields behind
that belong to nobody (pulumi-kubernetes provider/pkg/provider/provider.go, `fieldManagerName`, @94977969, 2026-07).
"""

from typing import Any

import pulumi

ANNOTATION = "pulumi.com/patchFieldManager"
# Of an object that is written whoever else has written it.
FORCE = "pulumi.com/patchForce"
# What outlives its stack may be taken over by another: same weights, another stack name.
KEPT_BY = "llm-stack"


def owned_by(manager: str, *, take_over: bool = False) -> pulumi.ResourceTransformation:
    """A stack transformation that names `manager` as the owner of every object; what is kept belongs to all stacks.

    `take_over`: also of those that other stacks have. An object that names its owner itself keeps it.

    The annotation differs between stacks, so a second stack that declares the same object meets a conflict on it.
    Patches are left alone: two of one manager on one node would take each other's labels away.
    """

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        props: dict[str, Any] = {**args.props}
        # components write plain mappings, never outputs
        metadata: dict[str, Any] | None = props.get("metadata")
        if not args.type_.startswith("kubernetes:") or args.type_.endswith("Patch") or not metadata:
            return None
        owner = KEPT_BY if args.opts.retain_on_delete else manager
        own = metadata.get("annotations", {})
        annotations = {**own, ANNOTATION: own.get(ANNOTATION, owner), **({FORCE: "true"} if take_over else {})}
        return pulumi.ResourceTransformationResult(
            {**props, "metadata": {**metadata, "annotations": annotations}}, args.opts
        )

    return transform
