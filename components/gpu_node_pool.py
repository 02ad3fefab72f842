"""`GpuNodePool`: where the nodes of one pool come from, and the proof that they offer what was promised.

Owns labels and taints of named nodes, or the Karpenter or GKE objects that create nodes, and the verification Job. Does
not own the GPU Operator (one per cluster, see `components.operators`) nor anything that runs on the nodes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.pod_scripts import source


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
    node_labels: Mapping[str, str]
    """Labels named or created nodes get."""
    resource_name: str | None
    """Device resource, nvidia.com/gpu; None for CPU nodes."""
    expected_gpu_memory_mib: int | None
    """Memory each GPU must report; None: not checked."""
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


TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


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
        job = self._verification(name, args, [*after, *declared]) if args["verify"] else None
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
                return self._karpenter(name, args, opts)
            case "computeClass":
                return [self._compute_class(name, args, opts)]
            case _:
                return []

    def _named_node(self, name: str, node: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Labels (and the GPU taint) of one node; on delete only these fields are given up."""
        spec: Any = {"taints": [TAINT]} if args["gpus_per_node"] else None
        labels = {**args["node_labels"], _k8s.POOL_LABEL: name}
        return k8s.core.v1.NodePatch(f"{name}-{node}", metadata={"name": node, "labels": labels}, spec=spec, opts=opts)

    def _karpenter(self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        wanted = args["provisioning"]
        created: list[pulumi.Resource] = []
        node_class = wanted.get("node_class")
        if node_class is None:
            node_class = name
            terms = [{"tags": {"karpenter.sh/discovery": wanted["discovery_tag"]}}]
            spec: Any = {
                "role": wanted["role"],
                "amiSelectorTerms": [{"alias": wanted["ami_alias"]}],
                "subnetSelectorTerms": terms,
                "securityGroupSelectorTerms": terms,
                "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
                "blockDeviceMappings": [
                    {
                        "deviceName": "/dev/xvda",
                        "ebs": {
                            "volumeType": "gp3",
                            "volumeSize": f"{wanted['disk_gib']}Gi",
                            "throughput": 1000,
                            "iops": 16000,
                            "encrypted": True,
                            "deleteOnTermination": True,
                        },
                    }
                ],
            }
            created.append(
                k8s.apiextensions.CustomResource(
                    f"{name}-class",
                    api_version="karpenter.k8s.aws/v1",
                    kind="EC2NodeClass",
                    metadata={"name": node_class},
                    spec=spec,
                    opts=opts,
                )
            )
        requirements = [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(wanted["instance_types"])},
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": list(wanted["capacity_types"])},
        ]
        template: dict[str, Any] = {
            "metadata": {"labels": {**args["node_labels"], _k8s.POOL_LABEL: name}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class},
                "requirements": requirements,
                "expireAfter": "Never",
            },
        }
        limits: dict[str, str] = {"nodes": str(args["nodes"])}
        if args["gpus_per_node"]:
            template["spec"]["taints"] = [TAINT]
            limits = {"nvidia.com/gpu": str(args["nodes"] * args["gpus_per_node"])}
        spec = {
            "template": template,
            "limits": limits,
            # a node that loads for a quarter of an hour is never moved for a better price
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "10m"},
        }
        created.append(
            k8s.apiextensions.CustomResource(
                f"{name}-nodes",
                api_version="karpenter.sh/v1",
                kind="NodePool",
                metadata={"name": name},
                spec=spec,
                opts=opts,
            )
        )
        return created

    def _compute_class(self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        wanted = args["provisioning"]
        priorities: list[dict[str, Any]] = []
        for machine_type in wanted["machine_types"]:
            priority: dict[str, Any] = {"machineType": machine_type}
            if wanted.get("reservation"):
                specific = [{"name": wanted["reservation"]}]
                priorities.append({**priority, "reservations": {"affinity": "Specific", "specific": specific}})
            priorities.append({**priority, "spot": True} if wanted.get("spot") else priority)
        return k8s.apiextensions.CustomResource(
            f"{name}-class",
            api_version="cloud.google.com/v1",
            kind="ComputeClass",
            metadata={"name": name},
            spec={
                "nodePoolAutoCreation": {"enabled": True},
                "activeMigration": {"optimizeRulePriority": False},
                "whenUnsatisfiable": "DoNotScaleUp",
                "priorities": priorities,
            },
            opts=opts,
        )

    def _verification(self, name: str, args: GpuNodePoolArgs, after: list[pulumi.Resource]) -> k8s.batch.v1.Job:
        """A Job that asks the API server what the nodes offer; it holds no GPU, so it also runs on a full pool."""
        child = pulumi.ResourceOptions(parent=self)
        labels = _k8s.labels("verify-nodes", "nodes", name)
        match = _k8s.selector("verify-nodes", name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        full_name = pulumi.Output.concat(args["namespace"], "-verify-nodes-", name)
        account = k8s.core.v1.ServiceAccount(
            f"{name}-verify",
            metadata=_k8s.named(metadata, f"verify-nodes-{name}"),
            automount_service_account_token=False,
            opts=child,
        )
        role = k8s.rbac.v1.ClusterRole(
            f"{name}-verify",
            metadata={"name": full_name, "labels": labels},
            rules=[{"api_groups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}],
            opts=child,
        )
        binding = k8s.rbac.v1.ClusterRoleBinding(
            f"{name}-verify",
            metadata={"name": full_name, "labels": labels},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata.name},
            subjects=[
                {"kind": "ServiceAccount", "name": f"verify-nodes-{name}", "namespace": args["namespace"]},
            ],
            opts=child,
        )
        script = k8s.core.v1.ConfigMap(
            f"{name}-verify",
            metadata=metadata,
            immutable=True,
            data={"verify_nodes.py": source("verify_nodes")},
            opts=child,
        )
        policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-verify",
            metadata=_k8s.named(metadata, f"verify-nodes-{name}"),
            # the API server has no label to select it by
            spec=_k8s.network_policy(match, egress=[{"ports": _k8s.tcp(443, 6443)}]),  # pyright: ignore[reportArgumentType]
            opts=child,
        )
        pod: Any = {
            "serviceAccountName": account.metadata.name,
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "affinity": _k8s.off_gpu_nodes(),
            "restartPolicy": "Never",
            "securityContext": _k8s.pod_security(args["uid"], args["uid"]),
            "containers": [
                {
                    "name": "verify",
                    "image": args["image"],
                    "command": ["python", "/scripts/verify_nodes.py"],
                    "env": _k8s.env(_verification_env(name, args)),
                    "securityContext": _k8s.DROP_ALL,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"cpu": "500m", "memory": "256Mi"},
                    },
                    "volumeMounts": [{"name": "scripts", "mountPath": "/scripts", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "scripts", "configMap": {"name": script.metadata.name}}],
        }
        spec: Any = {
            "backoffLimit": 2,
            "activeDeadlineSeconds": 3 * args["verify_timeout_s"],
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        timeout = f"{3 * args['verify_timeout_s'] + 120}s"
        return k8s.batch.v1.Job(
            f"{name}-verify",
            metadata=metadata,
            spec=spec,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*after, binding, policy],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            ),
        )


def _verification_env(name: str, args: GpuNodePoolArgs) -> dict[str, str]:
    """What verify_nodes.py reads."""
    memory = args["expected_gpu_memory_mib"]
    return {
        "POOL_NAME": name,
        "NODE_SELECTOR": ",".join(f"{key}={value}" for key, value in sorted(args["node_selector"].items())),
        "EXPECTED_NODES": str(args["nodes"]),
        "RESOURCE_NAME": args["resource_name"] or "",
        "GPUS_PER_NODE": str(args["gpus_per_node"]),
        "EXPECTED_GPU_MEMORY_MIB": str(memory) if memory else "",
        "TIMEOUT_S": str(args["verify_timeout_s"]),
    }
