"""Nodes that are bought on demand: Karpenter on AWS, a ComputeClass on GKE."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from planning.plan.pools import POOL_LABEL, Choice, ComputeClass, Disk, Karpenter, NodeClass, PoolPlan


def karpenter(name: str, pool: PoolPlan, bought: Karpenter, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """A NodePool for each choice and, unless one is named, their EC2NodeClass."""
    match bought.node_class:
        case NodeClass() as node_class:
            created, class_name = [_node_class(name, pool, node_class, opts)], pool.on_cluster
        case class_name:
            created = []
    return created + [
        k8s.apiextensions.CustomResource(
            f"{name}-nodes" if choice.name == pool.on_cluster else f"{name}-nodes-{choice.name}",
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata={"name": choice.name},
            spec=_node_pool(pool, bought, choice, class_name),
            opts=opts,
        )
        for choice in bought.choices
    ]


def _node_pool(pool: PoolPlan, bought: Karpenter, choice: Choice, class_name: str) -> dict[str, Any]:
    node: dict[str, Any] = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": class_name},
        "requirements": [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(choice.machine_types)},
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": list(choice.capacity_types)},
        ],
        "expireAfter": "Never",
    }
    if pool.gpu_taint:
        node["taints"] = [pool.gpu_taint]
    spec: dict[str, Any] = {
        "template": {"metadata": {"labels": {**pool.node_labels, POOL_LABEL: pool.on_cluster}}, "spec": node},
        "limits": dict(bought.limits),
        # a node that loads for a quarter of an hour is never moved for a better price
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": f"{bought.empty_for_minutes}m"},
    }
    return spec if choice.weight is None else {**spec, "weight": choice.weight}


def _node_class(name: str, pool: PoolPlan, node_class: NodeClass, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    terms = [{"tags": {"karpenter.sh/discovery": node_class.discovery_tag}}]
    spec: Any = {
        "role": node_class.role,
        "amiSelectorTerms": [{"alias": node_class.ami_alias}],
        "subnetSelectorTerms": terms,
        "securityGroupSelectorTerms": terms,
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "blockDeviceMappings": [
            *([_volume(node_class.system_disk)] if node_class.system_disk else []),
            _volume(node_class.data_disk),
        ],
    }
    if node_class.reservations:
        spec["capacityReservationSelectorTerms"] = [dict(term) for term in node_class.reservations]
    return k8s.apiextensions.CustomResource(
        f"{name}-class",
        api_version="karpenter.k8s.aws/v1",
        kind="EC2NodeClass",
        metadata={"name": pool.on_cluster},
        spec=spec,
        opts=opts,
    )


def _volume(disk: Disk) -> dict[str, Any]:
    volume = {"volumeType": "gp3", "volumeSize": f"{disk.gib}Gi", "encrypted": True, "deleteOnTermination": True}
    speed = {"throughput": disk.throughput_mib_per_s, "iops": disk.iops}
    known = {key: value for key, value in speed.items() if value is not None}
    return {"deviceName": disk.device, "ebs": {**volume, **known}}


def compute_class(name: str, pool: PoolPlan, bought: ComputeClass, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """A ComputeClass of GKE."""
    storage = {"storage": {"bootDiskSize": bought.boot_disk_gb}} if bought.boot_disk_gb else {}
    reserved = {"reservations": {"affinity": "Specific", "specific": [{"name": bought.reservation}]}}
    ways: dict[str, dict[str, Any]] = {"reserved": reserved, "spot": {"spot": True}, "on-demand": {}}
    priorities = [
        {"machineType": machine_type, **storage, **ways[way]}
        for choice in bought.choices
        for machine_type in choice.machine_types
        for way in choice.capacity_types
    ]
    return k8s.apiextensions.CustomResource(
        f"{name}-class",
        api_version="cloud.google.com/v1",
        kind="ComputeClass",
        metadata={"name": pool.on_cluster},
        spec={
            "nodePoolAutoCreation": {"enabled": True},
            "activeMigration": {"optimizeRulePriority": False},
            "whenUnsatisfiable": "DoNotScaleUp",
            "priorities": priorities,
        },
        opts=opts,
    )
