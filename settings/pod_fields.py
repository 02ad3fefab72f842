"""The kinds of values that a user gives to pods beyond what is planned: labels, annotations, paths of mounts."""

import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from settings.scalars import DNS_NAME, HIGHEST_PORT, MOST_ANNOTATION_BYTES, LabelValue, QualifiedName

# Of one pod, beside ours; nothing that selects pods has more.
MOST_LABELS, MOST_ANNOTATIONS = 50, 200
# Resources of a node beside GPUs, cores and memory: real ones have a handful.
MOST_RESOURCES = 20
# Volumes of one pod, beside ours.
MOST_VOLUMES = 50
# Ways through the network rules of one stack, blocks of addresses of one of them, and its ports.
MOST_WAYS, MOST_BLOCKS, MOST_PEER_PORTS = 50, 100, 50


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


def _address_range(text: str) -> str:
    """Refuses what is no block of addresses as Kubernetes takes it, or could be read as two of them."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        why = "; a host has addresses, and kind: pods leads into the cluster" if re.search("[g-z]", text) else ""
        raise ValueError(f'"{text}" is no block of addresses, such as 10.20.0.0/16 or fd00:20::/48{why}') from None
    if str(network) != text:
        raise ValueError(f'"{text}" is not how the block is written; write {network}')
    return text


def _port_range(text: str) -> str:
    """Refuses a range that is empty, and ports that there are not."""
    ports = [int(port) for port in text.split("-")]
    if not 1 <= ports[0] <= ports[-1] <= HIGHEST_PORT:
        raise ValueError(
            f'"{text}" is no port, and no range of them: they are 1 to {HIGHEST_PORT}, the lower one first'
        )
    return text


# A block of addresses as CIDR, of either family; a port, or the first and the last of several.
AddressRange = Annotated[str, StringConstraints(max_length=50), AfterValidator(_address_range)]
PortRange = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,9}(-[0-9]{1,9})?$"), BeforeValidator(_amount), AfterValidator(_port_range)
]
# A count, or bytes of huge pages; what is counted may be any name that a node has.
Amount = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}(Mi|Gi)?$"), BeforeValidator(_amount)]
Labels = Annotated[dict[QualifiedName, LabelValue], Field(max_length=MOST_LABELS)]
Annotations = Annotated[dict[QualifiedName, str], Field(max_length=MOST_ANNOTATIONS), AfterValidator(small_annotations)]
MountPath = Annotated[str, StringConstraints(max_length=255), AfterValidator(_mount_path)]
# A driver of the Container Storage Interface, by the name that its CSIDriver has (63 characters at most).
CsiDriver = Annotated[str, StringConstraints(pattern=DNS_NAME, max_length=63)]
