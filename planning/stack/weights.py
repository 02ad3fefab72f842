"""Which checkpoints are fetched, and the claim of each; or that all of them are on one claim already.

One claim per checkpoint that is fetched, its size decided by the checkpoint alone: a claim can never shrink, and often
cannot grow, so one that is shared by a changing set of models would sooner or later be refused by the API server.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from catalog.schema import Model, Networks
from planning.capacity.budget import Parallelism
from planning.capacity.memory import GIB, weight_bytes
from planning.plan import (
    CheckpointPlan,
    ClaimVolume,
    ExistingClaim,
    Hub,
    ImagePlan,
    OwnClaim,
    Source,
    WeightsPlan,
)
from planning.stack.network import hub_egress, hub_problems
from planning.stack.timing import download_s, fetch
from settings.problems import Problem
from settings.schema import ExistingClaimWeights, SharedClaimWeights, WeightsSettings

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
    """The checkpoint of one server; its directory, and its claim unless that exists, follow from the revision."""
    pinned = revision or _known_commit(model, settings)
    chosen = pinned or UNPINNED_REVISION
    slug = repository.replace("/", "--")
    name = _name(slug, chosen)
    match settings:
        case SharedClaimWeights():
            place = _own_claim(name, model, settings)
        case ExistingClaimWeights():
            place = ExistingClaim(settings.claim_name)
    return CheckpointPlan(
        name=name,
        model=repository,
        revision=chosen,
        pinned=pinned is not None,
        disk_bytes=disk_bytes(model),
        counted=model.checkpoint.disk_bytes is not None,
        place=place,
        source=Source(
            argument=f"{MOUNT_PATH}/{slug}/{chosen}",
            load_format="safetensors",
            volume=ClaimVolume(place.name, MOUNT_PATH),
            read_mib_per_s=settings.read_mib_per_s,
            prewarm=prewarm(settings)[0],
        ),
    )


def prewarm(settings: WeightsSettings) -> tuple[bool, str]:
    """Whether pods read the weights into the page cache before their engine starts, and why."""
    if settings.prewarm is not None:
        return settings.prewarm, "given"
    match settings:
        case SharedClaimWeights() | ExistingClaimWeights():
            return (
                True,
                "several readers fill the page cache from the claim, and the engine's one finds all of it there",
            )


def _known_commit(model: Model, settings: WeightsSettings) -> str | None:
    """The catalogue's commit, which is one of Hugging Face; ModelScope has others."""
    match settings:
        case SharedClaimWeights(hub=hub) if hub.kind != "huggingface":
            return None
        case SharedClaimWeights() | ExistingClaimWeights():
            return model.revision


def _own_claim(name: str, model: Model, settings: SharedClaimWeights) -> OwnClaim:
    size = disk_bytes(model)
    return OwnClaim(
        f"weights-{name}",
        settings.storage_class,
        _step(size * CLAIM_MARGIN / GIB),
        fetch(
            least_bytes=_least_bytes(model),
            download_s=download_s(size, settings.download_mib_per_s),
            gated=model.gated and settings.hub.kind == "huggingface",
        ),
    )


def _name(slug: str, revision: str) -> str:
    """Short unique name; one that would be too long keeps its start and ends in a hash."""
    name = f"{slug.lower().replace('.', '-').replace('_', '-')}-{revision[:8]}"
    if len(name) <= JOB_NAME_LIMIT:
        return name
    return _hashed(name, f"{slug}@{revision}")


def apart(checkpoints: Sequence[CheckpointPlan]) -> dict[Source, CheckpointPlan]:
    """Source → checkpoint, no two under one name: where names meet, all but the first revision end in a hash.

    The first is that of the lowest commit, so the order of models in a stack file renames no claim.
    """
    chosen: dict[Source, CheckpointPlan] = {}
    taken: set[str] = set()
    for one in sorted({one.source: one for one in checkpoints}.values(), key=lambda one: one.source.argument):
        named = _renamed(one, _hashed(one.name, one.source.argument)) if one.name in taken else one
        taken.add(named.name)
        chosen[one.source] = named
    return chosen


def _renamed(checkpoint: CheckpointPlan, name: str) -> CheckpointPlan:
    """The same under another name, which its claim has too if it is ours."""
    match checkpoint.place:
        case OwnClaim() as place:
            claim = f"weights-{name}"
            source = replace(checkpoint.source, volume=replace(checkpoint.source.volume, claim_name=claim))
            return replace(checkpoint, name=name, place=replace(place, name=claim), source=source)
        case ExistingClaim():
            return replace(checkpoint, name=name)


def _hashed(name: str, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{name[: JOB_NAME_LIMIT - 9].rstrip('-')}-{digest}"


def gated_warnings(weights: WeightsPlan, *, has_token: bool) -> list[str]:
    """What is said of checkpoints that the hub refuses to whoever is nobody."""
    if has_token or weights.hub is None or weights.hub.token_secret is not None:
        return []
    return [
        f"{item.model} is gated and there is no hub token, so its download will be refused; accept its licence on the "
        "hub, then set the secret huggingFaceToken or weights.hub.tokenSecret"
        for item in weights.checkpoints
        if item.fetch and item.fetch.gated
    ]


def _xet(settings: SharedClaimWeights) -> tuple[dict[str, str], dict[str, str]]:
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


def weights_problems(settings: WeightsSettings, networks: Networks, namespace: str) -> list[Problem]:
    """What is wrong with where they come from. `namespace`: the stack's own."""
    match settings:
        case SharedClaimWeights(hub=hub):
            return hub_problems(hub, networks, namespace)
        case ExistingClaimWeights():
            return []


def resolve_weights(
    settings: WeightsSettings, checkpoints: Sequence[CheckpointPlan], image: ImagePlan, networks: Networks
) -> WeightsPlan:
    """All checkpoints, each once, and the hub they come from, whose Jobs run `image`."""
    distinct = tuple({one.source: one for one in checkpoints}.values())
    match settings:
        case ExistingClaimWeights():
            return WeightsPlan(None, distinct)
        case SharedClaimWeights(hub=hub, download_memory_gib=memory_gib):
            xet, reasons = _xet(settings)
            mirror = {ENDPOINT_VARIABLES[hub.kind]: hub.endpoint} if hub.endpoint else {}
            source = Hub(
                kind=hub.kind,
                endpoint=hub.endpoint,
                egress=hub_egress(hub, networks),
                token_variable=TOKEN_VARIABLES[hub.kind],
                token_secret=hub.token_secret,
                image=image,
                environment={**xet, **mirror},
                memory_gib=memory_gib // 2,
                memory_limit_gib=memory_gib,
            )
            return WeightsPlan(source, distinct, reasons)


def _step(gib: float) -> int:
    """The next of 2, 3, 4, 6, 8 … GiB, so that a better figure in the catalogue rarely asks for another size."""
    size = 2
    while size < gib:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size
