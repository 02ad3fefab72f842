"""Which checkpoints are fetched, where each lies on the claim, and how large the claim must be."""

import ipaddress
from collections.abc import Mapping, Sequence
from math import ceil
from urllib.parse import urlsplit

from catalog.schema import Model
from planning.memory import GIB, weight_bytes
from planning.plan import CheckpointPlan, ImagePlan, Parallelism, WeightsPlan
from planning.timing import download_s, download_timeout_s
from settings.schema import HubSettings, WeightsSettings

MOUNT_PATH = "/models"
CLAIM_NAME = "model-weights"
# What a revision is called when nobody has pinned one; the Job records the commit it got.
UNPINNED_REVISION = {"huggingface": "main", "modelscope": "master"}
PRIVATE_SUFFIXES = (".svc", ".local", ".internal", ".lan", ".corp", ".intra")


def disk_bytes(model: Model) -> int:
    """Bytes of the checkpoint on disk: known, or what is loaded plus a twentieth for what is not."""
    if model.checkpoint.disk_bytes is not None:
        return model.checkpoint.disk_bytes
    return ceil(weight_bytes(model, Parallelism())[0] * 1.05)


def _least_bytes(model: Model) -> int:
    """Fewer safetensors bytes cannot be the whole checkpoint; a count from the shape is taken with a tenth off."""
    known = model.checkpoint.disk_bytes or model.checkpoint.loaded_bytes
    return known or int(weight_bytes(model, Parallelism())[0] * 0.9)


def checkpoint(repository: str, model: Model, revision: str | None, settings: WeightsSettings) -> CheckpointPlan:
    """The checkpoint of one server; its directory is decided by repository and revision alone."""
    pinned = revision or model.revision
    chosen = pinned or UNPINNED_REVISION[settings.hub.kind]
    expected = download_s(disk_bytes(model), settings.download_mib_per_s)
    slug = repository.replace("/", "--")
    return CheckpointPlan(
        name=f"{slug.lower().replace('.', '-').replace('_', '-')}-{chosen[:8]}",
        model=repository,
        revision=chosen,
        pinned=pinned is not None,
        directory=f"{MOUNT_PATH}/{slug}/{chosen}",
        disk_bytes=disk_bytes(model),
        least_bytes=_least_bytes(model),
        download_s=expected,
        await_timeout_s=download_timeout_s(expected),
    )


def weights(settings: WeightsSettings, checkpoints: Sequence[CheckpointPlan], image: ImagePlan) -> WeightsPlan:
    """The claim and its Jobs; servers that use the same revision share one download."""
    distinct = {item.directory: item for item in checkpoints}
    total = sum(item.disk_bytes for item in distinct.values())
    # a new revision is staged beside the old ones before it is published: room for the largest once more
    staging = max((item.disk_bytes for item in distinct.values()), default=0)
    derived = _step((total + staging) * 1.1 / GIB)
    reasons: Mapping[str, str] = (
        {"sizeGib": "given"}
        if settings.size_gib
        else {
            "sizeGib": f"{total / GIB:.0f} GiB of checkpoints + {staging / GIB:.0f} GiB to stage the largest again + "
            "a tenth, in steps that a removed model rarely undoes"
        }
    )
    private, port = _endpoint(settings.hub)
    return WeightsPlan(
        claim_name=CLAIM_NAME,
        storage_class=settings.storage_class,
        size_gib=settings.size_gib or derived,
        mount_path=MOUNT_PATH,
        prewarm=settings.prewarm,
        hub_kind=settings.hub.kind,
        hub_endpoint=settings.hub.endpoint,
        hub_is_private=private,
        hub_port=port,
        token_secret=settings.hub.token_secret,
        image=image,
        checkpoints=tuple(distinct.values()),
        reasons=reasons,
    )


def _step(gib: float) -> int:
    """The next of 2, 3, 4, 6, 8 … GiB: a claim can grow but never shrink, so it must not follow every change."""
    size = 2
    while size < gib:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def _endpoint(hub: HubSettings) -> tuple[bool, int]:
    """(whether the mirror is inside the private network, its port): what the download's network policy must allow."""
    if hub.endpoint is None:
        return False, 443
    parts = urlsplit(hub.endpoint)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        return ipaddress.ip_address(host).is_private, port
    except ValueError:
        return host.endswith(PRIVATE_SUFFIXES) or "." not in host, port
