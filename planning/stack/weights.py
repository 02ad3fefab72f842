"""Which checkpoints are fetched, and the claim of each; or that all of them are on one claim already.

One claim per checkpoint that is fetched, its size decided by the checkpoint alone: a claim can never shrink, and often
cannot grow, so one that is shared by a changing set of models would sooner or later be refused by the API server.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from catalog.schema import Model
from planning.capacity.budget import Parallelism
from planning.capacity.memory import GIB, weight_bytes
from planning.plan import CheckpointPlan, EgressRule, ExistingClaim, ImagePlan, SharedClaims, WeightsPlan
from planning.stack.timing import download_s, fetch
from settings.schema import WeightsSettings

MOUNT_PATH = "/models"
# The environment variables of a client's token and of its mirror, by the kind of its hub.
TOKEN_VARIABLES = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}
ENDPOINT_VARIABLES = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}
# HF_XET_HIGH_PERFORMANCE buffers up to this much, whatever the container's limit; without it the buffers follow from
# the limit (xet-runtime 1.7.0, src/config/groups/reconstruction.rs, on docs.rs; read 2026-11-28).
XET_HIGH_PERFORMANCE_GIB = 64
# Filesystem overhead, and room for one more copy of the largest single file while it is checked.
CLAIM_MARGIN = 1.15
# What a revision is called when nobody has pinned one: the hub's newest, whatever branch the hub calls so.
UNPINNED_REVISION = "main"
# A Job's name is a label of its pods, 63 characters at most; "weights-" and Pulumi's ending take 17 of them.
JOB_NAME_LIMIT = 46


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
    """The checkpoint of one server; directory, and claim unless it exists, are decided by repository and revision."""
    # the catalogue's commits are Hugging Face's; ModelScope has others
    pinned = revision or (model.revision if settings.hub.kind == "huggingface" else None)
    chosen = pinned or UNPINNED_REVISION
    existing = settings.claim_name
    slug = repository.replace("/", "--")
    return CheckpointPlan(
        name=_name(slug, chosen),
        model=repository,
        revision=chosen,
        pinned=pinned is not None,
        directory=f"{MOUNT_PATH}/{slug}/{chosen}",
        claim_name=existing or f"weights-{_name(slug, chosen)}",
        disk_bytes=disk_bytes(model),
        fetch=None
        if existing
        else fetch(
            claim_gib=_step(disk_bytes(model) * CLAIM_MARGIN / GIB),
            least_bytes=_least_bytes(model),
            download_s=download_s(disk_bytes(model), settings.download_mib_per_s),
            gated=model.gated and settings.hub.kind == "huggingface",
        ),
    )


def _name(slug: str, revision: str) -> str:
    """Short unique name; one that would be too long keeps its start and ends in a hash."""
    name = f"{slug.lower().replace('.', '-').replace('_', '-')}-{revision[:8]}"
    if len(name) <= JOB_NAME_LIMIT:
        return name
    return _hashed(name, f"{slug}@{revision}")


def apart(checkpoints: Sequence[CheckpointPlan]) -> dict[str, CheckpointPlan]:
    """Directory → checkpoint, no two under one name: where names meet, all but the first revision end in a hash.

    The first is that of the lowest commit, so the order of models in a stack file renames no claim.
    """
    found: dict[str, CheckpointPlan] = {}
    taken: set[str] = set()
    for item in sorted({item.directory: item for item in checkpoints}.values(), key=lambda item: item.directory):
        chosen = item
        if item.name in taken:
            name = _hashed(item.name, item.directory)
            ours = item.claim_name == f"weights-{item.name}"
            chosen = replace(item, name=name, claim_name=f"weights-{name}" if ours else item.claim_name)
        taken.add(chosen.name)
        found[item.directory] = chosen
    return found


def _hashed(name: str, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{name[: JOB_NAME_LIMIT - 9].rstrip('-')}-{digest}"


def gated_warnings(checkpoints: Sequence[CheckpointPlan], settings: WeightsSettings, *, has_token: bool) -> list[str]:
    """What is said of checkpoints that the hub refuses to whoever is nobody."""
    if has_token or settings.hub.token_secret is not None:
        return []
    return [
        f"{item.model} is gated and there is no hub token, so its download will be refused; accept its licence on the "
        "hub, then set the secret huggingFaceToken or weights.hub.tokenSecret"
        for item in checkpoints
        if item.fetch and item.fetch.gated
    ]


def _xet(settings: WeightsSettings) -> tuple[dict[str, str], dict[str, str]]:
    """(environment, reasons): Xet is off where its servers cannot be had, and as large as the Job's memory allows."""
    hub, memory_gib = settings.hub, settings.download_memory_gib
    if hub.kind != "huggingface":
        return {}, {}
    if not (hub.endpoint is None if hub.xet is None else hub.xet):
        why = "false: mirrors do not serve Xet, whose servers are beside the hub" if hub.xet is None else "given"
        return {"HF_HUB_DISABLE_XET": "1"}, {"hub.xet": why}
    if memory_gib < XET_HIGH_PERFORMANCE_GIB:
        return {}, {}
    return {"HF_XET_HIGH_PERFORMANCE": "1"}, {
        "downloadMemoryGib": f"{memory_gib} GiB hold Xet's large buffers ({XET_HIGH_PERFORMANCE_GIB} GiB)"
    }


def resolve_weights(
    settings: WeightsSettings,
    checkpoints: Sequence[CheckpointPlan],
    image: ImagePlan,
    egress: tuple[EgressRule, ...],
) -> WeightsPlan:
    """The claims and their Jobs, which run `image` and may connect to `egress`; servers of one revision share one."""
    distinct = tuple({item.directory: item for item in checkpoints}.values())
    if settings.claim_name is not None:
        return WeightsPlan(ExistingClaim(settings.claim_name), MOUNT_PATH, settings.prewarm, distinct)
    assert settings.storage_class is not None, "settings demand one of the two"
    hub = settings.hub
    xet, reasons = _xet(settings)
    mirror = {ENDPOINT_VARIABLES[hub.kind]: hub.endpoint} if hub.endpoint else {}
    source = SharedClaims(
        storage_class=settings.storage_class,
        hub_kind=hub.kind,
        hub_endpoint=hub.endpoint,
        egress=egress,
        token_variable=TOKEN_VARIABLES[hub.kind],
        token_secret=hub.token_secret,
        image=image,
        environment={**xet, **mirror},
        memory_gib=settings.download_memory_gib // 2,
        memory_limit_gib=settings.download_memory_gib,
    )
    return WeightsPlan(source, MOUNT_PATH, settings.prewarm, distinct, reasons)


def _step(gib: float) -> int:
    """The next of 2, 3, 4, 6, 8 … GiB, so that a better figure in the catalogue rarely asks for another size."""
    size = 2
    while size < gib:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size
