"""What rendered objects may say here: the one table of fields that are obeyed, or that mean nothing without a cluster.

Whatever is not in it is refused (workshop/local/unsupported.py), so a field nobody has thought of is never ignored in
silence.
docs/local.md has the same table for readers; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """The fields of one kind of mapping.

    `holds`: obeyed, and looked into: field → the row of what is in it, alone or in a list. `obeyed`: as they are.
    `only`: field → the values that are obeyed. `idle`: nothing here has to do anything for them.
    `one_of`: exactly one of these has to be there. `why`: field that is refused, or value → the reason and nearest fix.
    """

    holds: Mapping[str, str] = field(default_factory=dict)
    obeyed: tuple[str, ...] = ()
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)


# Fields of every object.
ENVELOPE = ("apiVersion", "kind", "metadata")
# Nearest fix where a row has no better one.
LEAVE_OUT = "leave it out, or use CLUSTER=sim"
EXEC = "a command would meet this machine's paths, not the container's; ask by httpGet"
# How a probe asks.
ASKED = ("failureThreshold", "initialDelaySeconds", "periodSeconds", "successThreshold", "timeoutSeconds")

SHAPES = {
    "ConfigMap": Shape(
        obeyed=("data",),
        idle=("immutable",),
        why={"binaryData": "only text is written out; use data"},
    ),
    "Secret": Shape(
        obeyed=("stringData",),
        idle=("immutable", "type"),
        why={"data": "encoded values are not read; use stringData"},
    ),
    "PersistentVolumeClaim.spec": Shape(
        only={"volumeMode": ("Filesystem",)},
        idle=("accessModes", "resources", "storageClassName"),
    ),
    "Service.spec": Shape(
        holds={"ports": "Service port"},
        obeyed=("selector",),
        only={
            "publishNotReadyAddresses": (False,),
            "sessionAffinity": ("None",),
            "type": ("ClusterIP", "LoadBalancer", "NodePort"),
        },
        idle=(
            "allocateLoadBalancerNodePorts", "externalTrafficPolicy", "internalTrafficPolicy", "ipFamilies",
            "ipFamilyPolicy", "loadBalancerClass", "loadBalancerSourceRanges", "trafficDistribution",
        ),
        why={"clusterIP": "a Service is a port of loopback and never headless; leave it out"},
    ),
    "Service port": Shape(
        obeyed=("port", "targetPort"),
        only={"protocol": ("TCP",)},
        idle=("appProtocol", "name", "nodePort"),
    ),
    "Deployment.spec": Shape(
        holds={"template": "pod template"},
        obeyed=("replicas",),
        only={"paused": (False,)},
        idle=("minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit", "selector", "strategy"),
    ),
    "Job.spec": Shape(
        holds={"podFailurePolicy": "podFailurePolicy", "template": "pod template"},
        obeyed=("activeDeadlineSeconds", "backoffLimit"),
        only={
            "completionMode": ("NonIndexed",),
            "completions": (1,),
            "parallelism": (1,),
            "suspend": (False,),
        },
        idle=("ttlSecondsAfterFinished",),
        why={
            "completions": "a Job has one pod at a time here",
            "parallelism": "a Job has one pod at a time here",
        },
    ),
    "podFailurePolicy": Shape(holds={"rules": "podFailurePolicy rule"}),
    "podFailurePolicy rule": Shape(
        holds={"onExitCodes": "onExitCodes"},
        only={"action": ("FailJob",)},
        why={"onPodConditions": "pods have no conditions here; leave the rule out"},
    ),
    "onExitCodes": Shape(
        obeyed=("containerName", "values"),
        only={"operator": ("In",)},
    ),
    "pod template": Shape(holds={"spec": "pod"}, obeyed=("metadata",)),
    "pod": Shape(
        holds={"containers": "container", "initContainers": "container", "volumes": "volume"},
        obeyed=("automountServiceAccountToken", "terminationGracePeriodSeconds"),
        only={"enableServiceLinks": (False,), "restartPolicy": ("Always", "Never")},
        idle=(
            "affinity", "imagePullSecrets", "nodeName", "nodeSelector", "preemptionPolicy", "priority",
            "priorityClassName", "runtimeClassName", "schedulerName", "securityContext", "serviceAccountName",
            "tolerations", "topologySpreadConstraints",
        ),
        why={
            "activeDeadlineSeconds": "only a Job as a whole has a deadline here; set its own",
            "restartPolicy": "another try is another pod here; use Never in a Job",
        },
    ),
    "container": Shape(
        holds={
            "env": "variable",
            "lifecycle": "lifecycle",
            "livenessProbe": "probe",
            "ports": "container port",
            "readinessProbe": "readiness probe",
            "resources": "resources",
            "startupProbe": "probe",
            "volumeMounts": "volume mount",
        },
        obeyed=("args", "command", "image", "name"),
        idle=("imagePullPolicy", "securityContext", "terminationMessagePath", "terminationMessagePolicy"),
        why={
            "envFrom": "variables are read one by one; use env",
            "restartPolicy": "a sidecar is not run; use a container",
            "workingDir": "a process starts in the pod's own folder; use absolute paths",
        },
    ),
    "container port": Shape(obeyed=("containerPort", "name"), only={"protocol": ("TCP",)}),
    "resources": Shape(idle=("limits", "requests")),
    "variable": Shape(holds={"valueFrom": "valueFrom"}, obeyed=("name", "value")),
    "valueFrom": Shape(holds={"secretKeyRef": "secretKeyRef"}, one_of=("secretKeyRef",)),
    "secretKeyRef": Shape(obeyed=("key", "name"), only={"optional": (False,)}),
    "volume mount": Shape(
        obeyed=("mountPath", "name"),
        idle=("readOnly",),
        why={
            "subPath": "a volume is mounted whole; use a volume of its own",
            "subPathExpr": "a volume is mounted whole; use a volume of its own",
        },
    ),
    "probe": Shape(
        holds={"httpGet": "httpGet", "tcpSocket": "tcpSocket"},
        obeyed=(*ASKED, "terminationGracePeriodSeconds"),
        one_of=("httpGet", "tcpSocket"),
        why={"exec": f"{EXEC} or tcpSocket"},
    ),
    "readiness probe": Shape(
        holds={"httpGet": "httpGet", "tcpSocket": "tcpSocket"},
        obeyed=ASKED,
        one_of=("httpGet", "tcpSocket"),
        why={
            "exec": f"{EXEC} or tcpSocket",
            "terminationGracePeriodSeconds": "it ends nothing, and Kubernetes refuses it there; leave it out",
        },
    ),
    "httpGet": Shape(
        holds={"httpHeaders": "HTTP header"},
        obeyed=("path", "port"),
        only={"scheme": ("HTTP",)},
        why={"host": "only the pod itself is asked; leave it out"},
    ),
    "HTTP header": Shape(obeyed=("name", "value")),
    "tcpSocket": Shape(obeyed=("port",), why={"host": "only the pod itself is asked; leave it out"}),
    "lifecycle": Shape(
        holds={"preStop": "preStop"},
        why={"stopSignal": "the signal is always SIGTERM; leave it out"},
    ),
    "preStop": Shape(
        holds={"httpGet": "httpGet", "sleep": "sleep"},
        one_of=("httpGet", "sleep"),
        why={"exec": f"{EXEC} or wait by sleep"},
    ),
    "sleep": Shape(obeyed=("seconds",)),
    "volume": Shape(
        holds={"configMap": "configMap", "emptyDir": "emptyDir", "persistentVolumeClaim": "persistentVolumeClaim"},
        obeyed=("name",),
        one_of=("configMap", "emptyDir", "persistentVolumeClaim"),
        why={"secret": "a Secret is not written to files; use a variable"},
    ),
    "configMap": Shape(
        obeyed=("name",),
        only={"optional": (False,)},
        why={
            "defaultMode": "files get the permissions of your umask; leave it out, or call a script by its program",
            "items": "files have the names of the entries; name those",
        },
    ),
    "emptyDir": Shape(idle=("medium", "sizeLimit")),
    "persistentVolumeClaim": Shape(obeyed=("claimName",), idle=("readOnly",)),
}  # fmt: skip
