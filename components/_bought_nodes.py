"""Nodes that are bought on demand: Karpenter on AWS, a ComputeClass on GKE."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from planning.stack.pools import POOL_LABEL

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def karpenter(name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """A NodePool and, unless one is named, its EC2NodeClass; `args` are those of `GpuNodePool`."""
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
                *([_disk(*wanted["system_disk"])] if wanted["system_disk"] else []),
                _disk(*wanted["data_disk"], throughput=1000, iops=16000),
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
        "metadata": {"labels": {**args["node_labels"], POOL_LABEL: name}},
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


def _disk(device: str, gib: int, **speed: int) -> dict[str, Any]:
    volume = {"volumeType": "gp3", "volumeSize": f"{gib}Gi", "encrypted": True, "deleteOnTermination": True}
    return {"deviceName": device, "ebs": {**volume, **speed}}


def compute_class(name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """A ComputeClass of GKE; `args` are those of `GpuNodePool`."""
    wanted = args["provisioning"]
    priorities: list[dict[str, Any]] = []
    disk_gb = wanted.get("boot_disk_gb")
    storage = {"storage": {"bootDiskSize": disk_gb}} if disk_gb else {}
    for machine_type in wanted["machine_types"]:
        priority: dict[str, Any] = {"machineType": machine_type, **storage}
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
