"""`GpuNodePool`: where the nodes of one pool come from, and the proof that they offer what was promised.

Owns labels and taints of named nodes, or the Karpenter or GKE objects that create nodes, and the verification Job. Does
not own the GPU Operator (one per cluster, see `components.operators`) nor anything that runs on the nodes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _contract
from components._bought_nodes import compute_class, karpenter
from components._node_verification import verification
from planning.plan.pools import POOL_LABEL, ComputeClass, Existing, Karpenter, Labelled, PoolPlan, Shared


class GpuNodePoolArgs(TypedDict):
    """One pool, and what is around it."""

    namespace: pulumi.Input[str]
    """Namespace of the verification Job."""
    pool: PoolPlan
    """Its nodes, what they promise, and how pods find them."""
    after: NotRequired[Sequence[pulumi.Resource]]
    """What must exist first: the GPU Operator."""


class GpuNodePool(pulumi.ComponentResource):
    """One node pool; `node_selector`, `tolerations` and `resource_name` put pods on it, `ready` waits for it."""

    node_selector: pulumi.Output[Mapping[str, str]]
    tolerations: pulumi.Output[Sequence[Mapping[str, str]]]
    resource_name: pulumi.Output[str | None]
    ready: pulumi.Output[bool]

    def __init__(self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _contract.check("GpuNodePool", name, args, GpuNodePoolArgs)
        super().__init__("llm-stack:index:GpuNodePool", name, None, opts)
        pool, after = args["pool"], list(args.get("after", ()))
        declared = self._nodes(name, pool, after)
        job = None
        if pool.verification:
            job = verification(name, args["namespace"], pool, pool.verification, [*after, *declared], self)
        self.gates: list[pulumi.Resource] = [job] if job else declared
        """Resources to depend on before a pod is put on the pool."""
        self.node_selector = pulumi.Output.from_input(pool.node_selector)
        self.tolerations = pulumi.Output.from_input(pool.tolerations)
        self.resource_name = pulumi.Output.from_input(pool.resource_name)
        self.ready = job.status.apply(lambda _: True) if job else pulumi.Output.from_input(True)
        self.register_outputs(
            {
                "node_selector": self.node_selector,
                "tolerations": self.tolerations,
                "resource_name": self.resource_name,
                "ready": self.ready,
            }
        )

    def _nodes(self, name: str, pool: PoolPlan, after: list[pulumi.Resource]) -> list[pulumi.Resource]:
        opts = pulumi.ResourceOptions(parent=self, depends_on=after)
        match pool.provisioning:
            case Labelled() | Shared():
                return []
            case Existing(node_names=nodes):
                return [self._named_node(name, node, pool, opts) for node in nodes]
            case Karpenter() as bought:
                return karpenter(name, pool, bought, opts)
            case ComputeClass() as bought:
                return [compute_class(name, pool, bought, opts)]

    def _named_node(self, name: str, node: str, pool: PoolPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Labels (and the GPU taint) of one node; on delete only these fields are given up.

        The node is looked up first: a patch of a node that does not exist would create it.
        """
        existing = k8s.core.v1.Node.get(f"{name}-{node}", node, opts=opts)
        spec: Any = {"taints": [dict(taint) for taint in pool.taints]} if pool.taints else None
        labels = {**pool.node_labels, POOL_LABEL: pool.on_cluster}
        return k8s.core.v1.NodePatch(
            f"{name}-{node}",
            metadata={"name": node, "labels": labels},
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[existing]),
        )
