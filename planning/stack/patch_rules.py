"""Fields that no patch may change, since the stack promises something of them: a table, kind of object by kind.

A path is as a patch has it, with [] for any entry of a list. What has a setting of its own is refused with that: a
patch is the last way out, and nothing is planned with it. `{path}` is the section of the settings.
"""

from collections.abc import Mapping

Rules = Mapping[str, str]

_PLANNED = "is planned, and nodes have room for it"
_RESTRICTED = "pods are restricted, by the Pod Security of their namespace"
_ACCOUNT = "pods have an account of their own, and no token of Kubernetes"
_FOUND = "pods are found by it"
_PROBED = "the kubelet asks as the times of a start demand"
_IMAGE = "is decided by images, which pins and lists it; set that"
_ENV = "is decided by {path}.env and {path}.secretEnv; set those"
_CONTAINER = {
    "image": _IMAGE,
    "imagePullPolicy": _IMAGE,
    "command": "is how the program starts",
    "ports": "Services, probes and network rules name them",
    "env": _ENV,
    "envFrom": _ENV,
    "resources": f"{_PLANNED}; set {{path}}.cpus, {{path}}.memoryGib, or gpuPools.NAME.resources",
    "resizePolicy": _PLANNED,
    "restartPolicy": "a container that ends starts again",
    "securityContext": _RESTRICTED,
    "livenessProbe": _PROBED,
    "readinessProbe": _PROBED,
    "startupProbe": _PROBED,
    "lifecycle": "what runs is finished before a pod goes",
    "volumeDevices": "a disk without files is nothing that it reads",
}
_POD = {
    "spec.securityContext": _RESTRICTED,
    "spec.hostNetwork": _RESTRICTED,
    "spec.hostPID": _RESTRICTED,
    "spec.hostIPC": _RESTRICTED,
    "spec.hostUsers": _RESTRICTED,
    "spec.shareProcessNamespace": "containers of a pod do not see each other's processes, and what is in them",
    "spec.serviceAccountName": _ACCOUNT,
    "spec.serviceAccount": _ACCOUNT,
    "spec.automountServiceAccountToken": _ACCOUNT,
    "spec.nodeName": "the scheduler finds the node, which has to have room",
    "spec.priorityClassName": "is decided by {path}.priorityClassName; set that",
    "spec.priority": "is decided by {path}.priorityClassName; set that",
    "spec.imagePullSecrets": "is decided by images.pullSecrets; set that",
    "spec.restartPolicy": "pods that serve start again",
    "spec.activeDeadlineSeconds": "pods that serve have no end",
    "spec.hostname": "pods find each other by it",
    "spec.subdomain": "pods find each other by it",
    "spec.setHostnameAsFQDN": "pods find each other by it",
    "spec.hostnameOverride": "pods find each other by it",
    "spec.enableServiceLinks": "variables that Kubernetes makes of Services would be read as options",
    "spec.resources": _PLANNED,
    "spec.resourceClaims": _PLANNED,
    "spec.overhead": _PLANNED,
    "spec.initContainers": "weights and configurations are brought and proved by those that there are",
    "spec.ephemeralContainers": "are for a pod that runs: kubectl debug",
    **{f"spec.containers[].{field}": why for field, why in _CONTAINER.items()},
}
_NODES = {
    "spec.nodeSelector": "is decided by gpuPools.NAME.provisioning; set labels there",
    "spec.affinity.nodeAffinity": "is decided by gpuPools.NAME.provisioning; set labels there",
    "spec.tolerations": "is decided by gpuPools.NAME.tolerations; set that",
    "spec.runtimeClassName": "is decided by gpuPools.NAME.runtimeClassName; set that",
    "spec.terminationGracePeriodSeconds": "follows from the longest answer; set {path}.drainTimeoutS",
    "spec.containers[].args": "is decided by {path}.args; set that",
}
_OF_THE_GATEWAY = {
    "spec.terminationGracePeriodSeconds": "follows from the longest answer; set gateway.requestTimeoutS",
    "spec.containers[].args": "are the stack's; keys of LiteLLM's file are gateway.settings",
}
_IDENTITY = {
    "apiVersion": "is what it is",
    "kind": "is what it is",
    **{
        f"metadata.{field}": "is who it is to the engine, the cluster and everything that names it"
        for field in (
            "name", "namespace", "generateName", "finalizers", "ownerReferences", "uid", "resourceVersion",
            "generation", "selfLink", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    },
}  # fmt: skip
_REPLICAS = "is decided by {path}.replicas; set that"


def _at(place: str, rules: Rules) -> Rules:
    return {f"{place}.{path}": why for path, why in rules.items()}


_DEPLOYMENT = {
    **_IDENTITY,
    "spec.selector": _FOUND,
    "spec.replicas": _REPLICAS,
    "spec.paused": "an update that does not run leaves what the engine waits for",
    "spec.strategy": "an update has the room that its nodes have",
}
# Kind → its rules, for servers and for the gateway.
OF_SERVERS: Mapping[str, Rules] = {
    "Deployment": {**_DEPLOYMENT, **_at("spec.template", {**_POD, **_NODES})},
    "LeaderWorkerSet": {
        **_IDENTITY,
        "spec.replicas": _REPLICAS,
        "spec.rolloutStrategy": "an update has the room that its nodes have",
        "spec.networkConfig": "pods of a group find each other by it",
        "spec.startupPolicy": "workers wait for their leader as vLLM does",
        "spec.leaderWorkerTemplate.size": "is decided by tensorParallel and pipelineParallel; set those",
        "spec.leaderWorkerTemplate.restartPolicy": "a group starts again as a whole, or not at all",
        "spec.leaderWorkerTemplate.subGroupPolicy": "a group is one, and its pods are counted",
        "spec.leaderWorkerTemplate.volumeClaimTemplates": "storage is counted; use {path}.extraVolumes",
        "spec.leaderWorkerTemplate.persistentVolumeClaimRetentionPolicy": "there are none of its claims",
        **_at("spec.leaderWorkerTemplate.leaderTemplate", {**_POD, **_NODES}),
        **_at("spec.leaderWorkerTemplate.workerTemplate", {**_POD, **_NODES}),
    },
}
OF_THE_GATEWAY: Mapping[str, Rules] = {
    "Deployment": {**_DEPLOYMENT, **_at("spec.template", {**_POD, **_OF_THE_GATEWAY})},
}
_SERVED = "clients reach pods as the stack says"
OF_ALL: Mapping[str, Rules] = {
    "Service": {
        **_IDENTITY,
        "spec.selector": _FOUND,
        "spec.ports": "clients, probes and network rules name them",
        **{
            f"spec.{field}": f"{_SERVED}; set gateway.expose for another way in"
            for field in (
                "type", "externalIPs", "externalName", "externalTrafficPolicy", "allocateLoadBalancerNodePorts",
                "healthCheckNodePort", "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges",
            )
        },
        "spec.clusterIP": _SERVED,
        "spec.clusterIPs": _SERVED,
        "spec.publishNotReadyAddresses": "nobody asks a pod that is not ready",
        "spec.sessionAffinity": "any pod answers any request",
        "spec.sessionAffinityConfig": "any pod answers any request",
    },
    "PodDisruptionBudget": {**_IDENTITY, "spec.selector": _FOUND},
    "HorizontalPodAutoscaler": {
        **_IDENTITY,
        "spec.scaleTargetRef": "is what it scales",
        "spec.minReplicas": _REPLICAS,
        "spec.maxReplicas": _REPLICAS,
        "spec.metrics": "is what was planned to come to rest; set {path}.scaling, or gateway.replicas",
    },
    "ScaledObject": {
        **_IDENTITY,
        "spec.scaleTargetRef": "is what it scales",
        "spec.minReplicaCount": _REPLICAS,
        "spec.maxReplicaCount": _REPLICAS,
        "spec.idleReplicaCount": _REPLICAS,
        "spec.triggers": "is what was planned to come to rest; set {path}.scaling",
    },
}  # fmt: skip
# Kinds of the stack that a patch never changes → why, or what does.
NEVER: Mapping[str, str] = {
    "ConfigMap": "what is in it is the stack's; LiteLLM's keys are gateway.settings",
    "Secret": "keys are made or named by settings",
    "NetworkPolicy": "is decided by network.extraEgress and network.extraIngress; set those",
    "ServiceAccount": "is decided by serviceAccountAnnotations; set that",
    "PersistentVolumeClaim": "claims outlive their stack, and nothing of them can be changed later",
    "Job": "another byte would run it again",
    "Ingress": "is decided by gateway.expose.annotations; set that",
    "HTTPRoute": "is decided by gateway.expose; set that",
    "PrometheusRule": "is decided by observability.alerts; set that",
    "Namespace": "is closed to all but the stack",
}
# Volumes that *restricted* has and that no setting offers; of the others extraVolumes counts what they take.
NEW_VOLUMES = ("projected", "downwardAPI", "ephemeral", "configMap", "secret", "csi", "persistentVolumeClaim")
# How the names of volumes begin that are not the stack's.
YOURS = "yours-"
