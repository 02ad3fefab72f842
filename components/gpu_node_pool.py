"""`GpuNodePool`: where the nodes of one pool come from, and the proof that they offer what was promised.

Owns labels and taints of named nodes, or the Karpenter or GKE objects that create nodes, and the verification Job. Does
not own the GPU Operator (one per cluster, see `components.operators`) nor anything that runs on the nodes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components._bought_nodes import compute_class, karpenter
from components._node_verification import verification
from planning.plan import NodeOffer
from planning.stack.pools import POOL_LABEL


class GpuNodePoolArgs(TypedDict):
    """What one pool is."""

    namespace: pulumi.Input[str]
    """Namespace of the verification Job."""
    provisioning: Mapping[str, Any]
    """`kind` (labelled, existing, karpenter, computeClass) and the keys of that kind."""
    gpu: str
    """GPU id of the catalogue, or none."""
    nodes: int
    """How many nodes the pool has or may grow to."""
    gpus_per_node: int
    """GPUs each node promises; 0 for CPU nodes."""
    node_selector: Mapping[str, str]
    """Labels that find the nodes."""
    node_affinity: Sequence[Mapping[str, Any]]
    """Further match expressions that find the nodes."""
    tolerations: Sequence[Mapping[str, str]]
    """Taints the pool's pods tolerate."""
    taints: Sequence[Mapping[str, str]]
    """Taints that named nodes get."""
    node_labels: Mapping[str, str]
    """Labels named or created nodes get."""
    resource_name: str | None
    """Device resource, nvidia.com/gpu; None for CPU nodes."""
    expected_gpu_memory_mib: int | None
    """Memory each GPU must report; None: not checked."""
    needed: NodeOffer
    """What each node must give to pods beside GPUs."""
    verify: bool
    """Whether a Job proves that the nodes offer the GPUs."""
    verify_timeout_s: int
    """How long the Job waits for the nodes."""
    image: str
    """Python image of the Job."""
    uid: int
    """Numeric user of the Job."""
    after: NotRequired[Sequence[pulumi.Resource]]
    """What must exist first: the GPU Operator."""


class GpuNodePool(pulumi.ComponentResource):
    """One node pool; `node_selector`, `tolerations` and `resource_name` put pods on it, `ready` waits for it."""

    node_selector: pulumi.Output[Mapping[str, str]]
    tolerations: pulumi.Output[Sequence[Mapping[str, str]]]
    resource_name: pulumi.Output[str | None]
    ready: pulumi.Output[bool]

    def __init__(self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llm-stack:index:GpuNodePool", name, None, opts)
        after = list(args.get("after", []))
        declared = self._nodes(name, args, after)
        job = verification(name, args, [*after, *declared], self) if args["verify"] else None
        self.gates: list[pulumi.Resource] = [job] if job else declared
        """Resources to depend on before a pod is put on the pool."""
        self.node_selector = pulumi.Output.from_input(args["node_selector"])
        self.tolerations = pulumi.Output.from_input(args["tolerations"])
        self.resource_name = pulumi.Output.from_input(args["resource_name"])
        self.ready = job.status.apply(lambda _: True) if job else pulumi.Output.from_input(True)
        self.register_outputs(
            {
                "node_selector": self.node_selector,
                "tolerations": self.tolerations,
                "resource_name": self.resource_name,
                "ready": self.ready,
            }
        )

    def _nodes(self, name: str, args: GpuNodePoolArgs, after: list[pulumi.Resource]) -> list[pulumi.Resource]:
        opts = pulumi.ResourceOptions(parent=self, depends_on=after)
        match args["provisioning"]["kind"]:
            case "existing":
                return [self._named_node(name, node, args, opts) for node in args["provisioning"]["node_names"]]
            case "karpenter":
                return karpenter(name, args, opts)
            case "computeClass":
                return [compute_class(name, args, opts)]
            case _:
                return []

    def _named_node(self, name: str, node: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Labels (and the GPU taint) of one node; on delete only these fields are given up.

        The node is looked up first: a patch of a node that does not exist would create it.
        """
        found = k8s.core.v1.Node.get(f"{name}-{node}", node, opts=opts)
        spec: Any = {"taints": [dict(taint) for taint in args["taints"]]} if args["taints"] else None
        labels = {**args["node_labels"], POOL_LABEL: name}
        return k8s.core.v1.NodePatch(
            f"{name}-{node}",
            metadata={"name": node, "labels": labels},
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[found]),
        )
