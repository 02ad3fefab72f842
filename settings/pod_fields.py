"""The kinds of values that a user gives to pods beyond what is planned: labels, annotations, paths of mounts."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from settings.scalars import DNS_NAME, MOST_ANNOTATION_BYTES, LabelValue, QualifiedName

# Of one pod, beside ours; nothing that selects pods has more.
MOST_LABELS, MOST_ANNOTATIONS = 50, 200
# Resources of a node beside GPUs, cores and memory: real ones have a handful.
MOST_RESOURCES = 20
# Volumes of one pod, beside ours.
MOST_VOLUMES = 50


def small_annotations(annotations: dict[str, str]) -> dict[str, str]:
    """Refuses more than Kubernetes keeps, keys and values together."""
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > MOST_ANNOTATION_BYTES:
        raise ValueError(f"have {size:,} bytes in all; at most {MOST_ANNOTATION_BYTES:,}")
    return annotations


def _mount_path(path: str) -> str:
    """Refuses a path that is not the shortest way to say it: two spellings of one place could not be told apart."""
    if not re.fullmatch(r"(/[A-Za-z0-9._-]{1,100})+", path) or {".", ".."} & set(path.split("/")):
        raise ValueError(f'"{path}" is not an absolute path of plain names, such as /data/prompts')
    return path


def _amount(value: Any) -> Any:
    """Text for a whole number, which most resources are counted by; `true` is none."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# A count, or bytes of huge pages; what is counted may be any name that a node has.
Amount = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}(Mi|Gi)?$"), BeforeValidator(_amount)]
Labels = Annotated[dict[QualifiedName, LabelValue], Field(max_length=MOST_LABELS)]
Annotations = Annotated[dict[QualifiedName, str], Field(max_length=MOST_ANNOTATIONS), AfterValidator(small_annotations)]
MountPath = Annotated[str, StringConstraints(max_length=255), AfterValidator(_mount_path)]
# A driver of the Container Storage Interface, by the name that its CSIDriver has (63 characters at most).
CsiDriver = Annotated[str, StringConstraints(pattern=DNS_NAME, max_length=63)]
