"""Classes and drivers that pods name, and that somebody has to have made."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from preview.rendering.manifests import Manifest


def pod_classes(contents: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[tuple[str, str, str]]:
    """(kind, name, note) of each; `contents`: objects with all mappings in them."""
    inside = [value for _, mappings in contents for value in mappings]
    for name in sorted({value["priorityClassName"] for value in inside if "priorityClassName" in value}):
        # those of Kubernetes itself are there
        if not name.startswith("system-"):
            yield "PriorityClass", name, ""
    for driver in sorted({value["csi"]["driver"] for value in inside if isinstance(value.get("csi"), dict)}):
        yield "CSIDriver", driver, "must take volumes of pods (volumeLifecycleModes: Ephemeral)"
