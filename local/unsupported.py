"""What rendered workloads may ask for and processes of this machine cannot have, in words of a refusal. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

NO_API_SERVER = (
    "talks to the API server (it mounts a service account token), and there is none here; "
    "gpuOperator.verifyNodes: false leaves node verification out"
)
Object = Mapping[str, Any]
VOLUMES = ("configMap", "emptyDir", "persistentVolumeClaim", "secret")


def job_problems(spec: Object) -> Iterator[str]:
    """What a Job asks for besides one pod after the other; a Deployment has none of these fields."""
    for name in ("completions", "parallelism"):
        if spec.get(name, 1) > 1:
            yield f"{name}: {spec[name]}, and a Job has one pod at a time here"
    for rule in spec.get("podFailurePolicy", {}).get("rules", []):
        if rule.get("onExitCodes", {}).get("operator", "In") != "In":
            yield "podFailurePolicy names exit codes by NotIn, which is not read here"


def pod_problems(pod: Object) -> Iterator[str]:
    """What a pod asks for that a process on this machine cannot have."""
    for volume in pod.get("volumes", []):
        if not any(kind in volume for kind in VOLUMES):
            yield f"volume {volume['name']}: {', '.join(sorted(set(volume) - {'name'}))} is no volume this machine has"
        if "items" in volume.get("configMap", {}):
            yield f"volume {volume['name']} renames files of a ConfigMap (items), which is not done here"
    # Kubernetes mounts a token unless it is told not to; who asks for one wants to talk to the API server
    if pod.get("automountServiceAccountToken", True) and pod.get("serviceAccountName"):
        yield NO_API_SERVER
    for found in [*pod.get("initContainers", []), *pod["containers"]]:
        where = f"container {found['name']}"
        asked = found.get("resources", {}).get("limits", {})
        yield from (
            f"{where} asks for {name}: {asked[name]}, and processes of this machine get no devices; "
            "use a pool with gpu: none, or CLUSTER=sim"
            for name in asked
            if "/" in name
        )
        if found.get("restartPolicy") == "Always":
            yield f"{where} is a sidecar, which is not run here"
        if "envFrom" in found:
            yield f"{where}: envFrom is not read here"
        yield from (
            f"{where}: variable {item['name']} comes from {', '.join(item['valueFrom'])}, which is not read here"
            for item in found.get("env", [])
            if "valueFrom" in item and "secretKeyRef" not in item["valueFrom"]
        )
        yield from (
            f"{where}: {mount['mountPath']} mounts a part of a volume, which is not done here"
            for mount in found.get("volumeMounts", [])
            if "subPath" in mount or "subPathExpr" in mount
        )


def question_problems(question: Object, ports: Mapping[str, int]) -> Iterator[str]:
    """What a probe or hook asks for that cannot be asked on loopback."""
    for handler in ("httpGet", "tcpSocket"):
        if handler in question:
            detail = question[handler]
            if detail["port"] not in (*ports, *ports.values()):
                yield f"asks port {detail['port']}, which the container does not declare"
            if detail.get("scheme", "HTTP") != "HTTP":
                yield f"asks by {detail['scheme']}, which is not done here"
            if "host" in detail:
                yield f"asks another host, {detail['host']}"
