"""Classes and drivers that pods name, and that somebody has to have made."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from preview.rendering.manifests import Manifest

# Classes of devices that a chart brings along where pods claim them.
CLASSES_OF_CHART = {"gpu-operator": ("gpu.nvidia.com", "mig.nvidia.com")}


def device_classes(manifests: Sequence[Manifest], charts: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    """(DeviceClass, what it must be of) of every claim, but those that one of these charts brings along."""
    brought = {name for chart in charts for name in CLASSES_OF_CHART.get(chart, ())}
    names: dict[str, None] = {}
    for manifest in manifests:
        if manifest.kind == "ResourceClaimTemplate":
            requests = manifest.body["spec"]["spec"]["devices"]["requests"]
            names |= {request["exactly"]["deviceClassName"]: None for request in requests}
    for name in sorted(names):
        if name not in brought:
            yield name, "of a driver that publishes the GPUs of its nodes as devices (DRA)"


def pod_classes(contents: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[tuple[str, str, str]]:
    """(kind, name, note) of each; `contents`: objects with all mappings in them."""
    inside = [value for _, mappings in contents for value in mappings]
    for name in sorted({value["priorityClassName"] for value in inside if "priorityClassName" in value}):
        # those of Kubernetes itself are there
        if not name.startswith("system-"):
            yield "PriorityClass", name, ""
    for driver in sorted({value["csi"]["driver"] for value in inside if isinstance(value.get("csi"), dict)}):
        yield "CSIDriver", driver, "must take volumes of pods (volumeLifecycleModes: Ephemeral)"
