"""Secrets and ConfigMaps a pod refers to: a kubelet starts no container while one is missing. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workshop.kubernetes import condition, is_ready

# the kubelet's own condition: volumes are mounted and the containers may be made
READY_TO_START = "PodReadyToStartContainers"
# what `kubectl get pods` and the events of a pod say on a real cluster
BAD_MOUNT, BAD_ENVIRONMENT = "FailedMount", "CreateContainerConfigError"
# fields of volumes and variables → what they name
KINDS = dict.fromkeys(("secret", "secretRef", "secretKeyRef"), "Secret")
KINDS |= dict.fromkeys(("configMap", "configMapRef", "configMapKeyRef"), "ConfigMap")
# Secret or ConfigMap → its keys; None when it does not exist
Contents = Mapping[tuple[str, str], frozenset[str] | None]


@dataclass(frozen=True)
class Reference:
    """One object a pod needs in its own namespace, and the keys it must have."""

    kind: str
    name: str
    keys: frozenset[str] = frozenset()
    mounted: bool = False

    def lack(self, contents: Contents) -> str:
        """The object or the keys that are missing; empty when none are."""
        present = contents[self.kind, self.name]
        if present is None:
            return f"{self.kind} '{self.name}' does not exist"
        absent = sorted(self.keys - present)
        return f"{self.kind} '{self.name}' has no key {', '.join(absent)}" if absent else ""


def references(pod: Mapping[str, Any]) -> list[Reference]:
    """Everything a pod cannot start without, each once; what may be missing is left out."""
    spec = pod["spec"]
    volumes = list(spec.get("volumes", []))
    volumes += [source for volume in volumes for source in volume.get("projected", {}).get("sources", [])]
    containers = (*spec.get("initContainers", []), *spec["containers"])
    variables = [source for container in containers for source in container.get("envFrom", [])]
    variables += [entry.get("valueFrom", {}) for container in containers for entry in container.get("env", [])]
    return list(dict.fromkeys([*_referred(volumes, mounted=True), *_referred(variables, mounted=False)]))


def _referred(sources: Iterable[Mapping[str, Any]], *, mounted: bool) -> Iterator[Reference]:
    for source in sources:
        for field, kind in KINDS.items():
            reference = source.get(field)
            if reference is not None and not reference.get("optional"):
                keys = frozenset(entry["key"] for entry in (reference, *reference.get("items", [])) if "key" in entry)
                yield Reference(kind, reference.get("secretName") or reference.get("name", ""), keys, mounted)


def waits(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has a node and is waiting there to be allowed to start."""
    return (
        bool(pod["spec"].get("nodeName"))
        and "podIP" not in pod.get("status", {})
        and "deletionTimestamp" not in pod["metadata"]
        and not is_ready(pod, READY_TO_START)
        and bool(references(pod))
    )


def status(needed: Iterable[Reference], contents: Contents) -> dict[str, Any]:
    """The status of a pod that needs these objects."""
    lacking = [(reference, lack) for reference in needed if (lack := reference.lack(contents))]
    if not lacking:
        return {"conditions": [{"type": READY_TO_START, "status": "True"}]}
    why = {
        # volumes come first: before they are there no container is made
        "reason": BAD_MOUNT if any(reference.mounted for reference, _ in lacking) else BAD_ENVIRONMENT,
        "message": "; ".join(lack for _, lack in lacking),
    }
    # in the pod's own reason, too: the column STATUS of `kubectl get pods` shows it
    return {"conditions": [{"type": READY_TO_START, "status": "False", **why}], **why}


def unstarted(pod: Mapping[str, Any]) -> str:
    """Reason why a pod may not start; empty otherwise."""
    seen = condition(pod, READY_TO_START)
    return f"{seen['reason']}: {seen['message']}" if seen.get("status") == "False" else ""
